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
}

impl Neighbour {
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
    let mut header = [0; 12];
    header[0] = family::of(address);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut request = Request::new(Rtm::Delneigh, NlmF::ACK, &header);
    request.ip(Nda::Dst, address);
    request
}

/// Reads an `RTM_NEWNEIGH`; `None` for any other message, for a bridge's forwarding entries, which share the type, and
/// for other families.
pub fn parse(message: &Message<'_>) -> Result<Option<Neighbour>, Malformed> {
    if !message.is(Rtm::Newneigh) {
        return Ok(None);
    }
    let (&[family, _, _, _, i0, i1, i2, i3, s0, s1, ..], rest) = message.body::<12>()?;
    if !family::is_ip(family) {
        return Ok(None);
    }
    let (mut address, mut mac) = (None, None);
    for attribute in attributes(rest) {
        let attribute = attribute?;
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

    fn expected(address: IpAddr) -> Neighbour {
        Neighbour { index: 5, address, mac: Some([2, 0, 0, 0, 0, 7]), state: libc::NUD_PERMANENT }
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
            index: u32, state: u16, octets: [u8; 16], v4: bool, mac: Option<[u8; 6]>,
        ) {
            let [a, b, c, d, ..] = octets;
            let (family, address) = if v4 { (2, IpAddr::from([a, b, c, d])) } else { (10, octets.into()) };
            let mut header = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            header[8..10].copy_from_slice(&state.to_ne_bytes());
            let mut request = Request::new(Rtm::Newneigh, NlmF::empty(), &header);
            request.ip(Nda::Dst, address);
            if let Some(mac) = mac {
                request.attribute(Nda::Lladdr, &mac);
            }
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message), Ok(Some(Neighbour { index, address, mac, state })));
        }
    }

    #[test]
    fn the_kernels_neighbours_are_listed_and_deleted() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let bridge: IfName = "br0".parse().unwrap();
            let new = link::NewLink { index: Some(5), up: true, ..link::NewLink::named(&bridge) };
            let own = addr::NewAddress {
                index: 5,
                address: "10.0.0.1/24".parse().unwrap(),
                broadcast: None,
                no_dad: false,
            };
            let (v4, v6) = ("10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap());
            let create = NlmF::ACK | NlmF::CREATE;
            let batch = vec![
                link::create_bridge(&new),
                addr::add(&own),
                permanent(2, create, v4),
                permanent(10, create, v6),
            ];
            assert_eq!(socket.execute(batch).unwrap(), vec![Ok(()); 4]);
            let all = dump(&mut socket).unwrap();
            for address in [v4, v6] {
                assert!(all.contains(&expected(address)), "{all:?}");
            }
            assert_eq!(socket.execute(vec![delete(5, v4), delete(5, v6)]).unwrap(), vec![Ok(()); 2]);
            let all = dump(&mut socket).unwrap();
            assert!(!all.iter().any(|its| [v4, v6].contains(&its.address)), "{all:?}");
        });
    }
}
