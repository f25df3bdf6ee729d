//! Neighbours: which MAC address an IP address has been found at.
//!
//! Follows net/core/neighbour.c and include/uapi/linux/neighbour.h.

use std::net::IpAddr;

use neli::consts::{
    nl::NlmF,
    rtnl::{Nda, Rtm},
};

use super::{
    Error, Malformed, Request, Socket, family,
    message::{Message, attributes},
};

/// libc and neli lack the numbers of these attributes: who set the neighbour, and flags beyond the first eight.
const NDA_PROTOCOL: u16 = 12;
const NDA_FLAGS_EXT: u16 = 15;
/// In a question, and in an entry's flags: an address that a link answers for in another's place.
pub(super) const NTF_PROXY: u8 = 0x08;
/// In an entry's flags: another program keeps it up to date. libc lacks the number.
const NTF_EXT_LEARNED: u8 = 0x10;
/// In the flags beyond the first eight: the kernel keeps it resolved (`ip neigh add .. managed`).
const NTF_EXT_MANAGED: u32 = 1;

/// A neighbour to add or to set: permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNeighbour {
    /// The index of the link it is behind.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Who sets it (`NDA_PROTOCOL`), such as [`RTPROT_NETCTL`](super::route::RTPROT_NETCTL); nobody in particular when
    /// `None`.
    pub protocol: Option<u8>,
}

/// `ip neigh add ADDRESS lladdr MAC dev LINK nud permanent [protocol N]`
#[must_use]
pub fn add(new: &NewNeighbour) -> Request {
    make(new, NlmF::EXCL)
}

/// `ip neigh replace ADDRESS lladdr MAC dev LINK nud permanent [protocol N]`: also where the kernel has found the address
/// out itself.
#[must_use]
pub fn replace(new: &NewNeighbour) -> Request {
    make(new, NlmF::REPLACE)
}

fn make(new: &NewNeighbour, flag: NlmF) -> Request {
    let header = ndmsg(new.index, new.address, libc::NUD_PERMANENT, 0);
    let mut request = Request::new(Rtm::Newneigh, NlmF::ACK | NlmF::CREATE | flag, &header);
    request.ip(Nda::Dst, new.address);
    request.attribute(Nda::Lladdr, &new.mac);
    if let Some(protocol) = new.protocol {
        request.attribute(NDA_PROTOCOL, &[protocol]);
    }
    request
}

/// A neighbour as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The index of the link it is behind.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, once it is known.
    pub mac: Option<[u8; 6]>,
    /// `NUD_*`.
    pub state: u16,
    /// `NTF_*`: the first eight.
    pub flags: u8,
    /// `NTF_EXT_*`: the others.
    pub more_flags: u32,
    /// Who set it; `None` also of one that the kernel found out.
    pub protocol: Option<u8>,
}

impl Neighbour {
    /// Whether an administrator or a program set it, and it can be set again: not what the kernel found out by asking,
    /// nor what it knows of groups.
    #[must_use]
    pub fn is_set_by_hand(&self) -> bool {
        const UNKNOWN: u16 = libc::NUD_INCOMPLETE | libc::NUD_FAILED;
        let is_fixed = self.state & (libc::NUD_PERMANENT | libc::NUD_NOARP) != 0;
        let is_kept = self.flags & NTF_EXT_LEARNED != 0
            || self.more_flags & NTF_EXT_MANAGED != 0
            || self.protocol.is_some_and(|protocol| protocol != 0);
        let is_proxy = self.flags & NTF_PROXY != 0;
        let is_known = self.state != libc::NUD_NONE && self.state & UNKNOWN == 0;
        let is_group =
            self.state & libc::NUD_NOARP != 0 && (self.address.is_multicast() || self.mac == Some([0xff; 6]));
        is_proxy || is_known && (is_fixed || is_kept) && !is_group
    }

    /// The state as `ip neigh` prints it.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            libc::NUD_NONE => "NONE",
            libc::NUD_INCOMPLETE => "INCOMPLETE",
            libc::NUD_REACHABLE => "REACHABLE",
            libc::NUD_STALE => "STALE",
            libc::NUD_DELAY => "DELAY",
            libc::NUD_PROBE => "PROBE",
            libc::NUD_FAILED => "FAILED",
            libc::NUD_NOARP => "NOARP",
            libc::NUD_PERMANENT => "PERMANENT",
            _ => "UNKNOWN",
        }
    }
}

/// `ip neigh show nud all`: every IPv4 and IPv6 neighbour of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Neighbour>, Error> {
    socket.dump(Request::new(Rtm::Getneigh, NlmF::DUMP, &[0; 12]), parse)
}

/// `ip neigh delete ADDRESS dev LINK`
#[must_use]
pub fn delete(index: u32, address: IpAddr) -> Request {
    let header = ndmsg(index, address, libc::NUD_NONE, 0);
    let mut request = Request::new(Rtm::Delneigh, NlmF::ACK, &header);
    request.ip(Nda::Dst, address);
    request
}

/// `struct ndmsg`
pub(super) fn ndmsg(index: u32, address: IpAddr, state: u16, flags: u8) -> [u8; 12] {
    let ([i0, i1, i2, i3], [s0, s1]) = (index.to_ne_bytes(), state.to_ne_bytes());
    [family::of(address), 0, 0, 0, i0, i1, i2, i3, s0, s1, flags, 0]
}

/// Reads an `RTM_NEWNEIGH`; `None` for any other message, for a bridge's forwarding entries, which share the type, and
/// for other families.
pub fn parse(message: &Message<'_>) -> Result<Option<Neighbour>, Malformed> {
    if !message.is(Rtm::Newneigh) {
        return Ok(None);
    }
    let (&[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _], rest) = message.body::<12>()?;
    if !family::is_ip(family) {
        return Ok(None);
    }
    let (mut address, mut mac, mut protocol, mut more_flags) = (None, None, None, 0);
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match attribute.kind {
            NDA_PROTOCOL => protocol = Some(attribute.u8()?),
            NDA_FLAGS_EXT => more_flags = attribute.u32()?,
            _ => {}
        }
        match Nda::from(attribute.kind) {
            Nda::Dst => address = Some(attribute.ip()?),
            Nda::Lladdr => mac = attribute.array().ok(),
            _ => {}
        }
    }
    Ok(address.map(|address| Neighbour {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        address,
        mac,
        state: u16::from_ne_bytes([s0, s1]),
        flags,
        more_flags,
        protocol,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::messages, *};
    use crate::{
        model::IfName,
        netlink::{addr, link},
        netns::tests::isolated,
    };

    /// An `RTM_NEWNEIGH` of `family` behind link 5, permanent.
    fn permanent(family: u8, flags: NlmF, address: IpAddr) -> Request {
        let mut request = Request::new(Rtm::Newneigh, flags, &[family, 0, 0, 0, 5, 0, 0, 0, 0x80, 0, 0, 0]);
        request.ip(Nda::Dst, address);
        request.attribute(Nda::Lladdr, &[2, 0, 0, 0, 0, 7]);
        request
    }

    fn new(address: IpAddr) -> NewNeighbour {
        NewNeighbour { index: 5, address, mac: [2, 0, 0, 0, 0, 7], protocol: None }
    }

    fn expected(address: IpAddr) -> Neighbour {
        Neighbour {
            index: 5,
            address,
            mac: Some([2, 0, 0, 0, 0, 7]),
            state: libc::NUD_PERMANENT,
            flags: 0,
            more_flags: 0,
            protocol: None,
        }
    }

    #[test]
    fn a_permanent_neighbour_is_iproute2s() {
        let owned = NewNeighbour { protocol: Some(110), ..new([10, 0, 0, 7].into()) };
        #[rustfmt::skip]
        let mut golden = [
            56, 0, 0, 0, 28, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWNEIGH, REQUEST | ACK | CREATE | EXCL
            2, 0, 0, 0, 5, 0, 0, 0, 0x80, 0, 0, 0, // link 5, NUD_PERMANENT
            8, 0, 1, 0, 10, 0, 0, 7, // NDA_DST
            10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0, // NDA_LLADDR
            5, 0, 12, 0, 110, 0, 0, 0, // NDA_PROTOCOL
        ];
        assert_eq!(add(&owned).bytes(), golden);
        golden[7] = 0x05; // CREATE | REPLACE
        assert_eq!(replace(&owned).bytes(), golden);
    }

    #[test]
    fn what_the_kernel_found_out_is_not_set_by_hand() {
        let (near, group) = (IpAddr::from([10, 0, 0, 7]), IpAddr::from([224, 0, 0, 22]));
        let its = |state| Neighbour { state, ..expected(near) };
        let owned = |state| Neighbour { protocol: Some(99), ..its(state) };
        for (its, is_set) in [
            (its(libc::NUD_PERMANENT), true),
            (its(libc::NUD_NOARP), true),
            (its(libc::NUD_REACHABLE), false),
            (its(libc::NUD_STALE), false),
            (owned(libc::NUD_STALE), true),
            (owned(libc::NUD_FAILED), false),
            (Neighbour { flags: NTF_EXT_LEARNED, ..its(libc::NUD_REACHABLE) }, true),
            (Neighbour { more_flags: NTF_EXT_MANAGED, ..its(libc::NUD_REACHABLE) }, true),
            (Neighbour { flags: NTF_PROXY, mac: None, ..its(libc::NUD_NONE) }, true),
            (Neighbour { address: group, ..its(libc::NUD_NOARP) }, false),
            (Neighbour { mac: Some([0xff; 6]), ..its(libc::NUD_NOARP) }, false),
        ] {
            assert_eq!(its.is_set_by_hand(), is_set, "{its:?}");
        }
    }

    #[test]
    fn neighbours_are_read_and_bridge_entries_are_not() {
        let address = IpAddr::from([10, 0, 0, 7]);
        for (family, found) in [(2, Some(expected(address))), (7, None)] {
            let request = permanent(family, NlmF::empty(), address);
            let message = messages(request.bytes()).next().unwrap().unwrap();
            assert_eq!(parse(&message), Ok(found));
        }
    }

    #[test]
    fn states_have_iproute2s_names() {
        let name = |state| {
            let address = IpAddr::from([10, 0, 0, 7]);
            let neighbour = Neighbour { state, ..expected(address) };
            neighbour.state_name()
        };
        assert_eq!([0x02, 0x04, 0x20, 0x80].map(name), ["REACHABLE", "STALE", "FAILED", "PERMANENT"]);
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let payload = [&[2; 12][..], &rest].concat();
            let message = Message { kind: Rtm::Newneigh.into(), flags: NlmF::empty(), sequence: 0, payload: &payload };
            let _ = parse(&message);
            let _ = parse(&Message { payload: &rest, ..message });
        }

        #[test]
        fn what_is_written_is_what_is_parsed(
            index: u32, state: u16, octets: [u8; 16], v4: bool, mac: Option<[u8; 6]>, flags: u8,
            more_flags: u32, protocol: Option<u8>,
        ) {
            let [a, b, c, d, ..] = octets;
            let address = if v4 { IpAddr::from([a, b, c, d]) } else { octets.into() };
            let header = ndmsg(index, address, state, flags);
            let mut request = Request::new(Rtm::Newneigh, NlmF::empty(), &header);
            request.ip(Nda::Dst, address);
            if let Some(mac) = mac {
                request.attribute(Nda::Lladdr, &mac);
            }
            request.u32(NDA_FLAGS_EXT, more_flags);
            if let Some(protocol) = protocol {
                request.attribute(NDA_PROTOCOL, &[protocol]);
            }
            let message = messages(request.bytes()).next().unwrap().unwrap();
            let its = Neighbour { index, address, mac, state, flags, more_flags, protocol };
            prop_assert_eq!(parse(&message), Ok(Some(its)));
        }
    }

    #[test]
    fn the_kernels_neighbours_are_listed_and_deleted() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let bridge: IfName = "br0".parse().unwrap();
            let bridge_to_be = link::NewLink { index: Some(5), up: true, ..link::NewLink::named(&bridge) };
            let own = addr::NewAddress::of(5, "10.0.0.1/24".parse().unwrap());
            let (v4, v6) = ("10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap());
            let other = NewNeighbour { mac: [2, 0, 0, 0, 0, 8], protocol: Some(110), ..new(v4) };
            let batch = vec![
                link::create_bridge(&bridge_to_be),
                addr::add(&own),
                add(&other),
                replace(&new(v4)),
                add(&new(v6)),
                add(&other),
            ];
            let answers = socket.execute(batch).unwrap();
            let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
            assert_eq!(refused, [false, false, false, false, false, true], "it exists");
            let all = dump(&mut socket).unwrap();
            let its = |address| all.iter().find(|its| its.address == address).unwrap();
            assert_eq!((its(v4).mac, its(v4).protocol), (Some([2, 0, 0, 0, 0, 7]), Some(110)));
            assert_eq!(its(v6), &expected(v6));
            assert_eq!(socket.execute(vec![delete(5, v4), delete(5, v6)]).unwrap(), vec![Ok(()); 2]);
            let all = dump(&mut socket).unwrap();
            assert!(!all.iter().any(|its| [v4, v6].contains(&its.address)), "{all:?}");
        });
    }
}
