//! A link's traffic control, as others set it: its qdiscs, their classes and their filters.
//!
//! What the kernel makes with a link has no handle, and comes by itself. netctl's own filters, and a `clsact` that has no
//! others, are made by whoever attaches them. Not kept, since the kernel does not tell of them or they belong to no link
//! alone: size tables, templates of chains, and filters of a block that links share.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use neli::consts::{
    nl::NlmF,
    rtnl::{Rtm, Tca},
};
use nix::errno::Errno;

use super::super::{
    Error, Malformed, Request, Socket,
    message::{Attribute, Message, attributes},
    tc::{self, Hook},
};

/// The kinds of qdiscs whose classes are not theirs, but somebody's.
const WITH_CLASSES: [&str; 4] = ["htb", "hfsc", "drr", "qfq"];
// From include/uapi/linux/rtnetlink.h; libc lacks them.
const TCA_CHAIN: u16 = 11;
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
// From include/uapi/linux/pkt_cls.h.
const TCA_U32_HASH: u16 = 2;
/// The part of a u32 filter's handle that names its table; with no other it is the table itself.
const TABLE: u32 = 0xfff0_0000;
/// The table that each priority's lookup begins with, whatever its handle (`TC_U32_ROOT`).
const ROOT_TABLE: u32 = 0xfff0_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Qdisc,
    Class,
    Filter,
}

/// A qdisc, a class or a filter, as the kernel told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    what: What,
    index: u32,
    handle: u32,
    parent: u32,
    /// A filter's priority and protocol; of others, what the kernel counts.
    info: u32,
    kind: String,
    chain: u32,
    /// The id of the program that a filter runs.
    program: Option<u32>,
    /// Of a u32 filter, the handle of its priority's first table. The kernel numbers those itself.
    root: u32,
    attributes: Vec<u8>,
}

/// What others set of the traffic control of links, in an order in which it can be made again.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn control_of(socket: &mut Socket, links: &BTreeSet<u32>) -> Result<Vec<Control>, Error> {
    let qdiscs = match dump(socket, What::Qdisc, 0, 0) {
        // A kernel without traffic control.
        Err(Error::Refused(refusal)) if refusal.errno == Errno::EOPNOTSUPP => return Ok(Vec::new()),
        answer => answer?,
    };
    let (mut carriers, mut filters) = (Vec::new(), Vec::new());
    for qdisc in qdiscs.into_iter().filter(|its| links.contains(&its.index) && its.handle != 0) {
        let mut classes = Vec::new();
        if WITH_CLASSES.contains(&&*qdisc.kind) {
            classes = dump(socket, What::Class, qdisc.index, qdisc.handle)?;
            classes.retain(|class| class.handle != qdisc.handle);
        }
        let mut parents = vec![qdisc.handle];
        parents.extend(classes.iter().map(|class| class.handle));
        if qdisc.kind == "clsact" {
            parents = Hook::ALL.map(Hook::parent).into();
        }
        let mut on_it = Vec::new();
        for parent in parents {
            on_it.extend(filters_of(socket, qdisc.index, parent)?);
        }
        let is_netctls = on_it.iter().any(Control::is_netctls);
        let on_it = of_others(on_it);
        if !on_it.is_empty() || !is_netctls {
            carriers.push(qdisc);
            carriers.extend(classes);
            filters.extend(on_it);
        }
    }
    // Tables before the filters that lead to them.
    filters.sort_by_key(|filter| match (filter.handle, filter.is_table()) {
        (0, _) => (0, filter.root),
        (_, true) => (1, 0),
        (_, false) => (2, 0),
    });
    let mut all = in_order(carriers);
    all.extend(filters);
    Ok(all)
}

/// All filters of a qdisc, a class or a hook. The first of each priority stands for the priority itself.
fn filters_of(socket: &mut Socket, index: u32, parent: u32) -> Result<Vec<Control>, Error> {
    let mut filters = dump(socket, What::Filter, index, parent)?;
    filters.retain(|filter| filter.index == index);
    for of_priority in filters.chunk_by_mut(|_, next| next.handle != 0) {
        let Some(first) = of_priority.first().filter(|first| first.is_u32()) else { continue };
        let root = root_of(socket, first)?;
        of_priority.iter_mut().for_each(|filter| filter.root = root);
    }
    Ok(filters)
}

/// The handle of the first table of a priority with u32 filters; 0 if it has gone meanwhile.
fn root_of(socket: &mut Socket, priority: &Control) -> Result<u32, Error> {
    let header = tc::tcmsg(priority.index, ROOT_TABLE, priority.parent, priority.info);
    let mut request = Request::new(Rtm::Gettfilter, NlmF::ACK, &header);
    request.name(Tca::Kind, "u32");
    request.u32(TCA_CHAIN, priority.chain);
    match socket.dump(request, parse) {
        Ok(tables) => Ok(tables.first().map_or(0, |table| table.handle)),
        Err(Error::Refused(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Of a qdisc's filters those that somebody else made. u32 filters of a qdisc know each other's tables, so that some are
/// told of with each hook and chain that has their priority.
fn of_others(mut filters: Vec<Control>) -> Vec<Control> {
    let roots: BTreeSet<u32> = filters.iter().map(|filter| filter.root).collect();
    let mut seen = BTreeSet::new();
    filters.retain(|filter| match filter.handle {
        _ if filter.is_netctls() => false,
        // Other priorities are made with their first filter.
        0 => filter.is_u32(),
        _ if !filter.is_u32() => true,
        handle if roots.contains(&(handle & TABLE)) => filter.is_in_root() && !filter.is_table(),
        handle => seen.insert(handle),
    });
    filters
}

/// Each after what it hangs on.
fn in_order(mut all: Vec<Control>) -> Vec<Control> {
    let mut ordered = Vec::new();
    while !all.is_empty() {
        let missing: BTreeSet<(u32, u32)> = all.iter().map(|its| (its.index, its.handle)).collect();
        let is_ready = |its: &Control| !its.hangs_on().any(|handle| missing.contains(&(its.index, handle)));
        let (ready, later): (Vec<_>, Vec<_>) = all.into_iter().partition(is_ready);
        let is_stuck = ready.is_empty();
        ordered.extend(ready);
        all = later;
        if is_stuck {
            ordered.append(&mut all);
        }
    }
    ordered
}

fn dump(socket: &mut Socket, what: What, index: u32, parent: u32) -> Result<Vec<Control>, Error> {
    let kind = match what {
        What::Qdisc => Rtm::Getqdisc,
        What::Class => Rtm::Gettclass,
        What::Filter => Rtm::Gettfilter,
    };
    socket.dump(Request::new(kind, NlmF::DUMP, &tc::tcmsg(index, 0, parent, 0)), parse)
}

/// Reads a message about a qdisc, a class or a filter; `None` for one about something else.
///
/// # Errors
/// If its bytes break netlink's rules.
pub(in crate::netlink) fn parse(message: &Message<'_>) -> Result<Option<Control>, Malformed> {
    let what = match Rtm::from(message.kind) {
        Rtm::Newqdisc => What::Qdisc,
        Rtm::Newtclass => What::Class,
        Rtm::Newtfilter => What::Filter,
        _ => return Ok(None),
    };
    let (header, rest) = message.body::<20>()?;
    let &[_, _, _, _, i0, i1, i2, i3, h0, h1, h2, h3, p0, p1, p2, p3, n0, n1, n2, n3] = header;
    let mut its = Control {
        what,
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        handle: u32::from_ne_bytes([h0, h1, h2, h3]),
        parent: u32::from_ne_bytes([p0, p1, p2, p3]),
        info: u32::from_ne_bytes([n0, n1, n2, n3]),
        kind: String::new(),
        chain: 0,
        program: None,
        root: 0,
        attributes: rest.to_vec(),
    };
    let mut options = None;
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match (attribute.kind, Tca::from(attribute.kind)) {
            (TCA_CHAIN, _) => its.chain = attribute.u32()?,
            (_, Tca::Kind) => its.kind = attribute.text(),
            (_, Tca::Options) => options = Some(attribute),
            _ => {}
        }
    }
    if what == What::Filter && its.kind == "bpf" {
        let mut options = options.iter().flat_map(Attribute::nested).flatten();
        let id = options.find(|option| option.kind == tc::TCA_BPF_ID);
        its.program = id.map(|id| id.u32()).transpose()?;
    }
    Ok(Some(its))
}

impl Control {
    /// The index of its link.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The id of the program that a filter runs. It goes with the last that holds it, so whoever wants the filter back has
    /// to hold it, too.
    #[must_use]
    pub fn program(&self) -> Option<u32> {
        self.program
    }

    /// Whether this is the other, which was kept when its link had another index.
    #[must_use]
    pub fn is(&self, other: &Self, index: impl Fn(u32) -> u32) -> bool {
        let place = |its: &Self| (its.handle, its.parent, its.chain);
        let is_there = self.index == index(other.index) && place(self) == place(other);
        let is_such = self.what == other.what && self.kind == other.kind;
        is_there && is_such && (self.what != What::Filter || self.info == other.info)
    }

    /// The message that makes it again: `tc qdisc add ..`, `tc class add ..` or `tc filter add ..`; `index` tells the index
    /// that a link has now, by the one that it had when this was kept. `EEXIST` says that it is there already. `None` of a
    /// filter whose program is not given.
    #[must_use]
    pub fn request(&self, index: impl Fn(u32) -> u32, program: Option<BorrowedFd<'_>>) -> Option<Request> {
        let (kind, is_filter) = match self.what {
            What::Qdisc => (Rtm::Newqdisc, false),
            What::Class => (Rtm::Newtclass, false),
            What::Filter => (Rtm::Newtfilter, true),
        };
        if self.program.is_some() && program.is_none() {
            return None;
        }
        let handle = if self.is_in_root() { self.handle & !TABLE } else { self.handle };
        let info = if is_filter { self.info } else { 0 };
        let flags = NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
        let mut request = Request::new(kind, flags, &tc::tcmsg(index(self.index), handle, self.parent, info));
        for attribute in attributes(&self.attributes).flatten() {
            match (attribute.kind, Tca::from(attribute.kind)) {
                (TCA_CHAIN | TCA_INGRESS_BLOCK | TCA_EGRESS_BLOCK, _) | (_, Tca::Kind) => {
                    request.attribute(attribute.kind, attribute.value);
                }
                (_, Tca::Stab) if !has_table(&attribute) => {
                    request.attribute(attribute.kind, attribute.value);
                }
                (_, Tca::Options) if is_filter => {
                    let mut options = self.filter_options(attribute.value, &index);
                    if let Some(program) = program {
                        options.extend(8_u16.to_ne_bytes());
                        options.extend(tc::TCA_BPF_FD.to_ne_bytes());
                        options.extend(program.as_raw_fd().to_ne_bytes());
                    }
                    request.encoded(attribute.kind, &options);
                }
                (_, Tca::Options) if self.what == What::Qdisc && self.kind == "htb" => {
                    request.encoded(attribute.kind, &htb_options(attribute.value));
                }
                (_, Tca::Options) => request.encoded(attribute.kind, attribute.value),
                _ => {}
            }
        }
        Some(request)
    }

    /// A filter's options as the kernel takes them.
    fn filter_options(&self, options: &[u8], index: &impl Fn(u32) -> u32) -> Vec<u8> {
        /// `TCA_CLS_FLAGS_SKIP_HW`, `TCA_CLS_FLAGS_SKIP_SW` and `TCA_CLS_FLAGS_VERBOSE`; the others tell where it runs.
        const TAKEN: u32 = 1 | 2 | 16;
        // `TCA_U32_FLAGS` and the like, and `TCA_U32_ACT`.
        let (flags, actions) = match &*self.kind {
            "u32" => (11, 7),
            "flower" => (22, 3),
            "matchall" => (3, 2),
            "bpf" => (9, 1),
            "basic" => (0, 3),
            "fw" => (0, 4),
            "route" => (0, 6),
            "flow" => (0, 9),
            "cgroup" => (0, 1),
            _ => (0, 0),
        };
        rewritten(options, |option| match option.kind {
            kind if kind == actions => Some(actions_of(option, index).into()),
            kind if kind == flags => Some(number(option, |all| all & TAKEN)),
            TCA_U32_HASH if self.is_in_root() => Some(number(option, |_| ROOT_TABLE)),
            tc::TCA_BPF_TAG | tc::TCA_BPF_ID if self.program.is_some() => None,
            _ => Some(option.value.into()),
        })
    }

    /// What of the same link has to be there first, by its handle.
    fn hangs_on(&self) -> impl Iterator<Item = u32> {
        /// Beyond it a parent is no qdisc and no class, but a place at the link (`TC_H_ROOT` and the like).
        const PLACES: u32 = 0xffff_fff0;
        let parent = (self.parent < PLACES).then_some([self.parent, self.parent & 0xffff_0000]);
        let qdisc = (self.what == What::Class).then_some(self.handle & 0xffff_0000);
        parent.into_iter().flatten().chain(qdisc)
    }

    fn is_u32(&self) -> bool {
        self.what == What::Filter && self.kind == "u32"
    }

    /// Whether it is in the table that came with its priority.
    fn is_in_root(&self) -> bool {
        self.is_u32() && self.handle & TABLE == self.root
    }

    fn is_table(&self) -> bool {
        self.is_u32() && self.handle != 0 && self.handle & !TABLE == 0
    }

    fn is_netctls(&self) -> bool {
        self.kind == "bpf" && self.info >> 16 == tc::PRIORITY
    }
}

/// An htb's options as the kernel takes them: of its version the first half only.
fn htb_options(options: &[u8]) -> Vec<u8> {
    const TCA_HTB_INIT: u16 = 2;
    rewritten(options, |option| match option.value.split_first_chunk() {
        Some((version, rest)) if option.kind == TCA_HTB_INIT => {
            let version = u32::from_ne_bytes(*version) >> 16;
            Some([&version.to_ne_bytes(), rest].concat().into())
        }
        _ => Some(option.value.into()),
    })
}

/// A filter's actions, the link that one sends to as it is now, without when it was used: some refuse that.
fn actions_of(actions: &Attribute<'_>, index: &impl Fn(u32) -> u32) -> Vec<u8> {
    // `TCA_ACT_KIND`, `TCA_ACT_OPTIONS`, `TCA_MIRRED_PARMS`.
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const MIRRED_PARMS: u16 = 2;
    rewritten(actions.value, |action| {
        let kind = action.nested().flatten().find(|its| its.kind == KIND).map(|its| its.text());
        let kind = kind.unwrap_or_default();
        let options = |options: &Attribute<'_>| {
            rewritten(options.value, |option| match (&*kind, option.kind) {
                ("mpls" | "gate", 1) | ("ct" | "ctinfo", 2) => None,
                // `struct tc_mirred` ends in the link's index.
                ("mirred", MIRRED_PARMS) => Some(match option.value.split_last_chunk() {
                    Some((first, to)) => {
                        [first, &index(u32::from_ne_bytes(*to)).to_ne_bytes()].concat().into()
                    }
                    None => option.value.into(),
                }),
                _ => Some(option.value.into()),
            })
        };
        let its = rewritten(action.value, |its| match its.kind {
            KIND => Some(its.value.into()),
            OPTIONS => Some(options(its).into()),
            // `TCA_ACT_INDEX`, `TCA_ACT_COOKIE`, `TCA_ACT_FLAGS`, `TCA_ACT_HW_STATS`.
            3 | 6 | 7 | 8 => Some(its.value.into()),
            _ => None,
        });
        Some(its.into())
    })
}

/// Attributes as the kernel encoded them, also the marks of nests, with other values or left out.
fn rewritten<'a>(bytes: &'a [u8], value: impl Fn(&Attribute<'a>) -> Option<Cow<'a, [u8]>>) -> Vec<u8> {
    let (mut rest, mut all) = (bytes, Vec::with_capacity(bytes.len()));
    for attribute in attributes(bytes).flatten() {
        let Some((&[_, _, k0, k1], after)) = rest.split_first_chunk() else { break };
        rest = after.get(attribute.value.len().next_multiple_of(4)..).unwrap_or_default();
        let Some(value) = value(&attribute) else { continue };
        let Ok(length) = u16::try_from(4 + value.len()) else { continue };
        all.extend(length.to_ne_bytes());
        all.extend([k0, k1]);
        all.extend(&*value);
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}

fn number<'a>(attribute: &Attribute<'a>, change: impl Fn(u32) -> u32) -> Cow<'a, [u8]> {
    match attribute.u32() {
        Ok(number) => change(number).to_ne_bytes().to_vec().into(),
        Err(_) => attribute.value.into(),
    }
}

/// Whether a `TCA_STAB` goes with a table, which the kernel does not tell.
fn has_table(stab: &Attribute<'_>) -> bool {
    // `struct tc_sizespec` in `TCA_STAB_BASE` ends in the table's size.
    let base = stab.nested().flatten().find(|its| its.kind == 1);
    base.is_none_or(|base| !base.value.ends_with(&[0; 4]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(kind: Rtm, payload: &[u8]) -> Control {
        let message = Message { kind: kind.into(), flags: NlmF::MULTI, sequence: 0, payload };
        parse(&message).unwrap().unwrap()
    }

    /// Link 5 has come back as 50.
    fn now(index: u32) -> u32 {
        if index == 5 { 50 } else { index }
    }

    #[test]
    fn a_qdisc_is_made_again_without_what_the_kernel_counts() {
        #[rustfmt::skip]
        let kept = [
            0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, // handle 1:, root, three users
            8, 0, 1, 0, b'h', b't', b'b', 0,
            28, 0, 2, 0, 24, 0, 2, 0, 17, 0, 3, 0, 5, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, // version 3.17
            5, 0, 12, 0, 0, 0, 0, 0, // TCA_HW_OFFLOAD
            8, 0, 7, 0, 1, 2, 3, 4, // TCA_STATS2
        ];
        #[rustfmt::skip]
        let golden = [
            72, 0, 0, 0, 36, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWQDISC, REQUEST | ACK | CREATE | EXCL
            0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
            8, 0, 1, 0, b'h', b't', b'b', 0,
            28, 0, 2, 0x80, 24, 0, 2, 0, 3, 0, 0, 0, 5, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
        ];
        assert_eq!(control(Rtm::Newqdisc, &kept).request(now, None).unwrap().bytes(), golden);
    }

    #[test]
    fn a_u32_filter_is_made_again_in_the_table_that_comes_with_its_priority() {
        #[rustfmt::skip]
        let kept = [
            0, 0, 0, 0, 5, 0, 0, 0, 0, 8, 0x10, 0x80, 0xf2, 0xff, 0xff, 0xff, 8, 0, 9, 0, // handle 801::800
            8, 0, 1, 0, b'u', b'3', b'2', 0,
            8, 0, 11, 0, 4, 0, 0, 0, // chain 4
            20, 0, 2, 0, 8, 0, 2, 0, 0, 0, 0x10, 0x80, 8, 0, 11, 0, 9, 0, 0, 0, // in 801:, SKIP_HW | NOT_IN_HW
        ];
        #[rustfmt::skip]
        let golden = [
            72, 0, 0, 0, 44, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 50, 0, 0, 0, 0, 8, 0, 0, 0xf2, 0xff, 0xff, 0xff, 8, 0, 9, 0,
            8, 0, 1, 0, b'u', b'3', b'2', 0,
            8, 0, 11, 0, 4, 0, 0, 0,
            20, 0, 2, 0x80, 8, 0, 2, 0, 0, 0, 0xf0, 0xff, 8, 0, 11, 0, 1, 0, 0, 0,
        ];
        let filter = Control { root: 0x8010_0000, ..control(Rtm::Newtfilter, &kept) };
        assert_eq!(filter.request(now, None).unwrap().bytes(), golden);
    }

    #[test]
    fn qdiscs_and_classes_are_made_after_what_they_hang_on() {
        let of = |kind: Rtm, handle, parent| control(kind, &tc::tcmsg(5, handle, parent, 0));
        let leaf = of(Rtm::Newqdisc, 0x20_0000, 0x1_0020);
        let class = of(Rtm::Newtclass, 0x1_0020, 0x1_0001);
        let first = of(Rtm::Newtclass, 0x1_0001, 0xffff_ffff);
        let root = of(Rtm::Newqdisc, 0x1_0000, 0xffff_ffff);
        let clsact = of(Rtm::Newqdisc, 0xffff_0000, 0xffff_fff1);
        let [a, b, c, d, e] = [&leaf, &class, &first, &root, &clsact].map(Clone::clone);
        assert_eq!(in_order(vec![a, b, c, d, e]), [root, clsact, first, class, leaf]);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            kind in prop::sample::select(vec![Rtm::Newqdisc, Rtm::Newtclass, Rtm::Newtfilter]),
            name in prop::sample::select(vec!["u32", "bpf", "htb", "flower"]),
            rest in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut request = Request::new(kind, NlmF::MULTI, &[1; 20]);
            request.name(Tca::Kind, name);
            request.attribute(Tca::Options, &rest);
            let payload = &request.bytes()[16..];
            let message = Message { kind: kind.into(), flags: NlmF::MULTI, sequence: 0, payload };
            if let Ok(Some(kept)) = parse(&message) {
                prop_assert_eq!(kept.request(now, None).is_none(), kept.program().is_some());
            }
        }
    }
}
