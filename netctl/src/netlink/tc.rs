//! Traffic control, as far as it attaches programs: the `clsact` qdisc and its `bpf` filters.
//!
//! For kernels before 6.6, which have no TCX links. Follows net/sched/sch_api.c, net/sched/cls_api.c and
//! net/sched/cls_bpf.c.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use neli::consts::{
    nl::NlmF,
    rtnl::{Rtm, Tca},
};

use super::{
    Error, Malformed, Request, Socket,
    message::{Message, attributes},
};

/// Where a filter sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the packet goes up.
    Ingress,
    /// Before it leaves.
    Egress,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and its like.
    pub(super) const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// `TC_H_CLSACT`: where the qdisc is.
const CLSACT: u32 = 0xffff_fff1;
/// `TC_H_MAKE(TC_H_CLSACT, 0)`: its handle.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Filters run in the order of their priorities; netctl's are late, so that others see packets as they came. One more
/// than what the kernel gives the first filter that asks for none (`tcf_auto_prio` in net/sched/cls_api.c).
pub(super) const PRIORITY: u32 = 0xc001;

/// One of netctl's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// The interface's index.
    pub index: u32,
    /// Where at it.
    pub hook: Hook,
    /// Tells netctl's filters there apart: from 1 to 0x7fffffff.
    pub handle: u32,
}

/// `tc qdisc add dev LINK clsact`; `EEXIST` if there is one.
#[must_use]
pub fn add_clsact(index: u32) -> Request {
    let flags = NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
    let mut request = Request::new(Rtm::Newqdisc, flags, &tcmsg(index, CLSACT_HANDLE, CLSACT, 0));
    request.name(Tca::Kind, "clsact");
    request
}

/// `tc qdisc del dev LINK clsact`, with every filter on it
#[must_use]
pub fn delete_clsact(index: u32) -> Request {
    Request::new(Rtm::Delqdisc, NlmF::ACK, &tcmsg(index, CLSACT_HANDLE, CLSACT, 0))
}

// From include/uapi/linux/pkt_cls.h.
pub(super) const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
pub(super) const TCA_BPF_TAG: u16 = 10;
pub(super) const TCA_BPF_ID: u16 = 11;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// `tc filter replace dev LINK HOOK prio 49153 handle HANDLE bpf direct-action object-pinned PROGRAM`: where there is such a
/// filter, packets meet either the old program or the new one (`cls_bpf_change` in net/sched/cls_bpf.c).
///
/// The program's descriptor has to stay open until this is sent.
#[must_use]
pub fn replace_filter(filter: Filter, program: BorrowedFd<'_>, name: &str) -> Request {
    let flags = NlmF::ACK | NlmF::CREATE;
    let mut request = Request::new(Rtm::Newtfilter, flags, &filter.header());
    request.name(Tca::Kind, "bpf");
    request.nested(Tca::Options, |options| {
        options.attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
        options.name(TCA_BPF_NAME, name);
        options.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    });
    request
}

/// `tc filter del dev LINK HOOK prio 49153 handle HANDLE bpf`
#[must_use]
pub fn delete_filter(filter: Filter) -> Request {
    let mut request = Request::new(Rtm::Deltfilter, NlmF::ACK, &filter.header());
    request.name(Tca::Kind, "bpf");
    request
}

/// A queueing discipline that somebody has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// The interface's index.
    pub index: u32,
    /// `htb`, `netem`, ..
    pub kind: String,
}

/// `tc qdisc show`: those of the socket's namespace that have a handle, which the kernel's own have not, but for `clsact`,
/// which delays nothing.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn qdiscs(socket: &mut Socket) -> Result<Vec<Qdisc>, Error> {
    let read = |message: &Message<'_>| -> Result<Option<Qdisc>, Malformed> {
        if !message.is(Rtm::Newqdisc) {
            return Ok(None);
        }
        let (&[_, _, _, _, i0, i1, i2, i3, h0, h1, h2, h3, ..], rest) = message.body::<20>()?;
        let (index, handle) = (u32::from_ne_bytes([i0, i1, i2, i3]), u32::from_ne_bytes([h0, h1, h2, h3]));
        for attribute in attributes(rest) {
            let attribute = attribute?;
            if attribute.kind == u16::from(Tca::Kind) {
                let kind = attribute.text();
                return Ok((handle != 0 && kind != "clsact").then_some(Qdisc { index, kind }));
            }
        }
        Ok(None)
    };
    socket.dump(Request::new(Rtm::Getqdisc, NlmF::DUMP, &tcmsg(0, 0, 0, 0)), read)
}

/// `tc filter show dev LINK HOOK`: how many filters of whatever owner there are.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn count_filters(socket: &mut Socket, index: u32, hook: Hook) -> Result<usize, Error> {
    let header = tcmsg(index, 0, hook.parent(), 0);
    let is_filter = |message: &Message<'_>| -> Result<Option<()>, Malformed> {
        // A line of the dump stands for a priority as a whole and has no handle.
        let (&[_, _, _, _, _, _, _, _, h0, h1, h2, h3, ..], _) = message.body::<20>()?;
        let handle = u32::from_ne_bytes([h0, h1, h2, h3]);
        Ok((message.is(Rtm::Newtfilter) && handle != 0).then_some(()))
    };
    Ok(socket.dump(Request::new(Rtm::Gettfilter, NlmF::DUMP, &header), is_filter)?.len())
}

/// `tc filter get dev LINK HOOK prio 49153 handle HANDLE bpf`: the id of the program that runs there, if one does.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn filter_program(socket: &mut Socket, filter: Filter) -> Result<Option<u32>, Error> {
    let header = tcmsg(filter.index, 0, filter.hook.parent(), 0);
    let program = |message: &Message<'_>| -> Result<Option<u32>, Malformed> {
        let (found, rest) = message.body::<20>()?;
        // The kernel fills in the protocol that the filter was made with, so that all of the header is the same.
        if !message.is(Rtm::Newtfilter) || *found != filter.header() {
            return Ok(None);
        }
        for attribute in attributes(rest) {
            let attribute = attribute?;
            if attribute.kind == u16::from(Tca::Options) {
                for option in attribute.nested() {
                    let option = option?;
                    if option.kind == TCA_BPF_ID {
                        return option.u32().map(Some);
                    }
                }
            }
        }
        Ok(None)
    };
    Ok(socket.dump(Request::new(Rtm::Gettfilter, NlmF::DUMP, &header), program)?.first().copied())
}

impl Filter {
    fn header(self) -> [u8; 20] {
        const ETH_P_ALL: u16 = 3;
        let info = PRIORITY << 16 | u32::from(ETH_P_ALL.to_be());
        tcmsg(self.index, self.handle, self.hook.parent(), info)
    }
}

/// `struct tcmsg`: family unspecified, index, handle, parent, and a filter's priority and protocol.
pub(super) fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    let (_, fields) = header.split_at_mut(4);
    for (field, value) in fields.chunks_exact_mut(4).zip([index, handle, parent, info]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::IfName,
        netlink::link::{self, NewLink},
        netns::tests::isolated,
    };

    #[test]
    fn messages_are_those_of_tc() {
        let add = add_clsact(7);
        let index_handle_parent_info = [7, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf1, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(add.bytes()[20..36], index_handle_parent_info);
        assert_eq!(add.bytes()[36..], *b"\x0b\0\x01\0clsact\0\0");
        let delete = delete_filter(Filter { index: 7, hook: Hook::Egress, handle: 1 });
        assert_eq!(delete.bytes()[20..36], [7, 0, 0, 0, 1, 0, 0, 0, 0xf3, 0xff, 0xff, 0xff, 0, 3, 1, 0xc0]);
    }

    #[test]
    fn a_qdisc_comes_and_goes_and_its_filters_are_counted() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let name: IfName = "br0".parse().unwrap();
            let run = |socket: &mut Socket, request| socket.execute(vec![request]).unwrap().remove(0);
            run(&mut socket, link::create_bridge(&NewLink::named(&name))).unwrap();
            let index = link::find(&mut socket, &name).unwrap().unwrap().index;
            run(&mut socket, add_clsact(index)).unwrap();
            let again = run(&mut socket, add_clsact(index)).unwrap_err();
            assert_eq!(again.errno, nix::errno::Errno::EEXIST);
            let tc = ["filter", "add", "dev", "br0", "ingress", "matchall", "action", "pass"];
            let added = std::process::Command::new("tc").args(tc).status().unwrap();
            let expected = usize::from(added.success());
            assert_eq!(count_filters(&mut socket, index, Hook::Ingress).unwrap(), expected);
            assert_eq!(count_filters(&mut socket, index, Hook::Egress).unwrap(), 0);
            run(&mut socket, delete_clsact(index)).unwrap();
            assert!(run(&mut socket, delete_clsact(index)).is_err());
        });
    }
}
