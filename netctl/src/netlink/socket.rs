//! A netlink socket, of `NETLINK_ROUTE` unless said otherwise: sends batches and matches their acknowledgements, takes dumps.
//!
//! A socket belongs to the network namespace of the thread that opened it, for good; it may then be used from any
//! thread. rtnetlink does its work inside `send` (net/netlink/af_netlink.c, `netlink_unicast_kernel`), so when a batch
//! has been sent all its acknowledgements are already there, each in a datagram of its own. A batch is kept so small
//! that they cannot overrun the receive buffer that the socket was granted, which would lose them (`ENOBUFS`).

#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod listen;
#[cfg(test)]
mod live;
mod reply;

use std::{
    ffi::c_int,
    io::{IoSlice, IoSliceMut},
    mem::size_of,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockopt, recvmsg,
            sendmsg, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use self::reply::{Acks, Dump};
use super::{Error, Malformed, Refusal, Request, message::Message};

/// The most messages of one `send`, where the receive buffer has room for their acknowledgements.
const BATCH_MESSAGES: usize = 100;
/// What an acknowledgement takes of the receive buffer, at the most: some 100 bytes and the kernel's text and offset
/// in an allocation of 1 KiB, and its `struct sk_buff`.
const ACKNOWLEDGEMENT: usize = 2048;
/// The most bytes of one `send`, unless a single message is longer.
const BATCH_BYTES: usize = 32 * 1024;
/// The receive buffer asked for, in bytes.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// How long to wait for an answer, in seconds. The kernel answers before `send` returns, so this only ends the wait
/// for an answer that it failed to give.
const PATIENCE: i64 = 10;
/// How often an interrupted dump is taken before giving up.
const DUMP_TRIES: u32 = 32;

/// What the kernel says to one message of a batch.
pub type Answer = Result<(), Refusal>;

/// A netlink socket, bound to the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// The next request's number.
    sequence: u32,
    buffer: Vec<u8>,
    /// The most messages of one `send`.
    batch: usize,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace, with extended acknowledgements, short ones (the
    /// refused message is not sent back) and strict checking of dump requests.
    ///
    /// # Errors
    /// Failing system calls: too many open files, or a kernel older than 4.20.
    pub fn open() -> Result<Self, Error> {
        Self::with_receive_buffer(SockProtocol::NetlinkRoute, RECEIVE_BUFFER)
    }

    /// As [`Socket::open`], to ask for sockets: `NETLINK_SOCK_DIAG`.
    ///
    /// # Errors
    /// Also where the kernel has no such family.
    pub fn open_for_sockets() -> Result<Self, Error> {
        Self::with_receive_buffer(SockProtocol::NetlinkSockDiag, RECEIVE_BUFFER)
    }

    /// As [`Socket::open`], to ask for packet filters: `NETLINK_NETFILTER`.
    ///
    /// # Errors
    /// Also where the kernel has no such family.
    pub fn open_for_filters() -> Result<Self, Error> {
        Self::with_receive_buffer(SockProtocol::NetlinkNetFilter, RECEIVE_BUFFER)
    }

    /// Opens one of a netlink family and asks for a receive buffer of so many bytes.
    fn with_receive_buffer(family: SockProtocol, bytes: usize) -> Result<Self, Error> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, family)
            .map_err(failed("open"))?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            enable(&fd, option).map_err(failed("set an option of"))?;
        }
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0))
            .map_err(failed("set an option of"))?;
        // Beyond net.core.rmem_max only with CAP_NET_ADMIN in the initial user namespace, and then twice what was asked for
        // (`__sock_set_rcvbuf` in net/core/sock.c); with less, batches are smaller.
        let granted = if setsockopt(&fd, sockopt::RcvBufForce, &bytes).is_ok() {
            2 * bytes
        } else {
            setsockopt(&fd, sockopt::RcvBuf, &bytes).map_err(failed("set an option of"))?;
            getsockopt(&fd, sockopt::RcvBuf).map_err(failed("read an option of"))?
        };
        let batch = (granted / ACKNOWLEDGEMENT).clamp(1, BATCH_MESSAGES);
        Ok(Self { fd, sequence: 1, buffer: vec![0; 32 * 1024], batch })
    }

    /// Sends the requests in their order, as few `send`s as is safe, and returns the kernel's answer to each in the
    /// same order. A refused request does not keep the later ones from being done. Each has to ask for its answer with
    /// `NLM_F_ACK`, as all the builders' do.
    ///
    /// # Errors
    /// When sending or receiving itself fails; how much has been done is then unknown.
    pub fn execute(&mut self, mut requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests.as_mut_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at_mut(batch_length(rest, self.batch));
            answers.extend(self.execute_batch(batch)?);
            rest = later;
        }
        Ok(answers)
    }

    /// Sends one request with `NLM_F_DUMP` and collects what `parse` makes of the answers; it returns `None` for those
    /// that do not belong in the list. A dump that the kernel calls inconsistent (`NLM_F_DUMP_INTR`) is taken again.
    ///
    /// Without `NLM_F_DUMP`, but with `NLM_F_ACK`, this asks for a single object.
    ///
    /// # Errors
    /// When the kernel refuses, answers with malformed bytes, or the list never came out consistent.
    pub fn dump<T>(
        &mut self,
        mut request: Request,
        parse: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, Error> {
        if request.is_overlong() {
            return Err(Error::Refused(Refusal::overlong()));
        }
        for _ in 0..DUMP_TRIES {
            let mut dump = Dump::new(self.number(std::slice::from_mut(&mut request)));
            self.send(&[IoSlice::new(request.bytes())])?;
            while !dump.done {
                dump.take(self.receive()?, &parse)?;
            }
            if let Some(failure) = dump.failure {
                return Err(failure);
            }
            if !dump.interrupted {
                return Ok(dump.items);
            }
        }
        Err(Error::DumpInterrupted { tries: DUMP_TRIES })
    }

    fn execute_batch(&mut self, batch: &mut [Request]) -> Result<Vec<Answer>, Error> {
        let mut acks = Acks::new(self.number(batch), batch);
        let slices: Vec<_> = batch
            .iter()
            .filter(|request| !request.is_overlong())
            .map(|request| IoSlice::new(request.bytes()))
            .collect();
        if !slices.is_empty() {
            self.send(&slices)?;
        }
        while acks.missing > 0 {
            acks.take(self.receive()?)?;
        }
        Ok(acks.answers.into_iter().flatten().collect())
    }

    /// Gives the requests their sequence numbers and returns the first.
    fn number(&mut self, requests: &mut [Request]) -> u32 {
        let first = self.sequence;
        for request in requests {
            request.set_sequence(self.sequence);
            self.sequence = self.sequence.wrapping_add(1);
        }
        first
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> Result<(), Error> {
        let kernel = NetlinkAddr::new(0, 0);
        retry(|| sendmsg(self.fd.as_raw_fd(), slices, &[], MsgFlags::empty(), Some(&kernel)))
            .map(drop)
            .map_err(failed("send on"))
    }

    /// The next datagram from the kernel, whole: the buffer grows to its size, asked for beforehand.
    fn receive(&mut self) -> Result<&[u8], Error> {
        let length = loop {
            let (length, _) = receive(&self.fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
            if length > self.buffer.len() {
                self.buffer.resize(length, 0);
            }
            let (length, sender) = receive(&self.fd, &mut self.buffer, MsgFlags::empty())?;
            if sender == Some(0) {
                break length;
            }
        };
        Ok(self.buffer.get(..length).unwrap_or_default())
    }
}

/// How many of the requests go into the next `send`: at least one, and not more than `most`.
fn batch_length(requests: &[Request], most: usize) -> usize {
    let fitting = requests
        .iter()
        .scan(0, |bytes, request| {
            *bytes += request.bytes().len();
            Some(*bytes)
        })
        .take(most)
        .take_while(|&bytes| bytes <= BATCH_BYTES)
        .count();
    fitting.max(1)
}

/// Receives into `buffer`; returns the datagram's length and the sender's port, 0 for the kernel.
fn receive(fd: &OwnedFd, buffer: &mut [u8], flags: MsgFlags) -> Result<(usize, Option<u32>), Error> {
    retry(|| {
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg::<NetlinkAddr>(fd.as_raw_fd(), &mut slices, None, flags)?;
        Ok((received.bytes, received.address.map(|address| address.pid())))
    })
    .map_err(failed("receive from"))
}

/// Turns a netlink option on. nix knows none of them.
fn enable(fd: &OwnedFd, option: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    // SAFETY: the descriptor is open, and the kernel only reads the `c_int` behind the pointer, whose size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Calls until no signal gets in between.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Names the call that failed.
fn failed(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Socket { call, errno }
}

#[cfg(test)]
mod tests {
    use neli::consts::{
        nl::NlmF,
        rtnl::{Ifla, Rtm},
    };

    use super::*;
    use crate::{
        model::IfName,
        netlink::{addr, link},
        netns::{
            NetnsError,
            tests::{create, isolated, name},
        },
    };

    #[test]
    fn batches_are_bounded_in_messages_and_bytes_but_never_empty() {
        let small = link::set_up(1);
        let mut large = small.clone();
        large.attribute(Ifla::Ifalias, &[0; 20_000]);
        assert_eq!(batch_length(&vec![small.clone(); 3], 100), 3);
        assert_eq!(batch_length(&vec![small.clone(); 1000], 100), 100);
        assert_eq!(batch_length(&[small, large.clone(), large.clone()], 100), 2);
        large.attribute(Ifla::Ifalias, &[0; 20_000]);
        assert_eq!(batch_length(&[large.clone(), large], 100), 1);
    }

    #[test]
    fn a_socket_can_move_to_another_thread() {
        fn moves<T: Send>() {}
        moves::<Socket>();
    }

    #[test]
    fn a_large_batch_is_answered_message_by_message() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let request = |number: usize| link::set_mtu(if number % 7 == 3 { 999 } else { 1 }, 1500);
            let answers = socket.execute((0..1000).map(request).collect()).unwrap();
            assert_eq!(answers.len(), 1000);
            for (number, answer) in answers.iter().enumerate() {
                let expected = if number % 7 == 3 { Err(Errno::ENODEV) } else { Ok(()) };
                assert_eq!(answer.as_ref().copied().map_err(|refusal| refusal.errno), expected, "{number}");
            }
            assert_eq!(socket.execute(Vec::new()).unwrap(), []);
        });
    }

    #[test]
    fn a_refusal_carries_the_kernels_own_words() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let bridge: IfName = "br0".parse().unwrap();
            let new = link::create_bridge(&link::NewLink::named(&bridge));
            let answers = socket.execute(vec![new, link::set_mtu(&bridge, 1_000_000)]).unwrap();
            let refusal = answers[1].as_ref().unwrap_err().to_string();
            assert_eq!(refusal, "Invalid argument (kernel: mtu greater than device maximum)");
        });
    }

    #[test]
    fn an_overlong_request_is_refused_alone() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let overlong = link::set_alias(1, &"x".repeat(70_000));
            let answers = socket.execute(vec![link::set_up(1), overlong.clone(), link::set_alias(1, "me")]);
            let errnos: Vec<_> = answers.unwrap().into_iter().map(|a| a.map_err(|r| r.errno)).collect();
            assert_eq!(errnos, [Ok(()), Err(Errno::EMSGSIZE), Ok(())]);
            assert!(socket.execute(vec![overlong]).unwrap()[0].is_err());
            let links = link::dump(&mut socket).unwrap();
            assert_eq!((links[0].up, links[0].alias.as_deref()), (true, Some("me")));
        });
    }

    #[test]
    fn a_long_dump_is_whole_and_the_buffer_grows_to_it() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let address = |number: u32| {
                let address = format!("10.0.{}.{}/32", number / 250, number % 250).parse().unwrap();
                addr::NewAddress::of(1, address)
            };
            let requests = (0..2000).map(|number| addr::add(&address(number))).collect();
            assert!(socket.execute(requests).unwrap().iter().all(Result::is_ok));
            socket.buffer.truncate(16);
            assert_eq!(addr::dump(&mut socket).unwrap().len(), 2000);
            assert!(socket.buffer.len() > 16);
        });
    }

    #[test]
    fn a_refused_dump_says_why_and_leaves_the_socket_usable() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let mut header = [0; 16];
            header[4] = 1; // an index, which the strict check refuses
            let refused = socket.dump(Request::new(Rtm::Getlink, NlmF::DUMP, &header), link::parse);
            assert_eq!(
                refused.unwrap_err().to_string(),
                "ask the kernel for a list: Invalid argument (kernel: Filter by device index not supported for link dumps)"
            );
            assert_eq!(link::dump(&mut socket).unwrap().len(), 1);
        });
    }

    #[test]
    fn a_socket_stays_in_the_namespace_it_was_opened_in() {
        isolated(|| {
            let red = create(&name("red"));
            let mut inside = red.run(|| Ok::<_, NetnsError>(Socket::open())).unwrap().unwrap();
            let bridge: IfName = "br0".parse().unwrap();
            let answers = inside.execute(vec![link::create_bridge(&link::NewLink::named(&bridge))]);
            assert_eq!(answers.unwrap(), [Ok(())]);
            assert!(link::find(&mut inside, &bridge).unwrap().is_some());
            let mut outside = Socket::open().unwrap();
            assert_eq!(link::find(&mut outside, &bridge).unwrap(), None);
        });
    }
}
