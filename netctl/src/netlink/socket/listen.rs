//! Hears what changes: the multicast groups of `NETLINK_ROUTE`.
//!
//! The kernel drops what a full receive buffer has no room for and says so once (`ENOBUFS`, `netlink_overrun` in
//! net/netlink/af_netlink.c); what it had room for can still be read then.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket,
        sockopt,
    },
};

use super::{Error, failed, receive};

/// The receive buffer asked for, in bytes.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Links, addresses, routes and neighbours.
const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE
    | libc::RTMGRP_NEIGH;

/// A socket that hears of every change in the network namespace that it was opened in, which it keeps alive.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// What there is to hear.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Messages.
    Datagram(&'a [u8]),
    /// Some were lost before those that are heard from now on.
    Overrun,
    /// Nothing now.
    Nothing,
}

impl Listener {
    /// Opens one in the calling thread's network namespace. It never waits: its descriptor tells when there is more.
    ///
    /// # Errors
    /// Failing system calls.
    pub fn open() -> Result<Self, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .map_err(failed("open"))?;
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER))
            .map_err(failed("set an option of"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS.cast_unsigned())).map_err(failed("bind"))?;
        Ok(Self { fd, buffer: vec![0; 32 * 1024] })
    }

    /// What comes next.
    ///
    /// # Errors
    /// If receiving fails otherwise than by an overrun.
    pub fn hear(&mut self) -> Result<Heard<'_>, Error> {
        match self.next() {
            Ok(length) => Ok(Heard::Datagram(self.buffer.get(..length).unwrap_or_default())),
            Err(Error::Socket { errno: Errno::ENOBUFS, .. }) => Ok(Heard::Overrun),
            Err(Error::Socket { errno: Errno::EAGAIN, .. }) => Ok(Heard::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Reads the kernel's next datagram into the buffer, which grows to it; its length.
    fn next(&mut self) -> Result<usize, Error> {
        loop {
            let (length, _) = receive(&self.fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
            if length > self.buffer.len() {
                self.buffer.resize(length, 0);
            }
            let (length, sender) = receive(&self.fd, &mut self.buffer, MsgFlags::empty())?;
            if sender == Some(0) {
                return Ok(length);
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        netlink::{Socket, addr, link, message::messages},
        netns::tests::isolated,
    };

    fn address(number: u32) -> addr::NewAddress {
        let address = format!("10.0.{}.{}/32", number / 250, number % 250).parse().unwrap();
        addr::NewAddress::of(1, address)
    }

    #[test]
    fn changes_are_heard_in_their_order_and_silence_is_no_error() {
        isolated(|| {
            let (mut listener, mut socket) = (Listener::open().unwrap(), Socket::open().unwrap());
            assert!(matches!(listener.hear().unwrap(), Heard::Nothing));
            socket.execute(vec![link::set_up(1), addr::add(&address(1))]).unwrap();
            let (mut up, mut added) = (false, false);
            while let Heard::Datagram(datagram) = listener.hear().unwrap() {
                for message in messages(datagram) {
                    let message = message.unwrap();
                    up |= link::parse(&message).unwrap().is_some_and(|link| link.up);
                    let is_it = |its: addr::Address| its.address == address(1).address;
                    added |= up && addr::parse(&message).unwrap().is_some_and(is_it);
                }
            }
            assert!(up && added);
        });
    }

    #[test]
    fn an_overrun_is_said_once_and_what_was_kept_is_still_heard() {
        isolated(|| {
            let (mut listener, mut socket) = (Listener::open().unwrap(), Socket::open().unwrap());
            let added = socket.execute((0..6000).map(|number| addr::add(&address(number))).collect());
            assert!(added.unwrap().iter().all(Result::is_ok));
            let (mut overruns, mut datagrams) = (0, 0);
            loop {
                match listener.hear().unwrap() {
                    Heard::Overrun => overruns += 1,
                    Heard::Datagram(_) => datagrams += 1,
                    Heard::Nothing => break,
                }
            }
            assert!(overruns == 1 && (1..12_000).contains(&datagrams), "{overruns}, {datagrams}");
        });
    }
}
