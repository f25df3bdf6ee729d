//! Unicast routes.
//!
//! Follows net/ipv4/fib_frontend.c, net/ipv6/route.c and include/uapi/linux/rtnetlink.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use neli::consts::{
    nl::NlmF,
    rtnl::{RtScope, RtTable, Rta, Rtm, Rtn, Rtprot},
};
use nix::errno::Errno;

use super::{
    Error, Malformed, Refusal, Request, Socket, family,
    message::{Attribute, Message, attributes, ip},
};

/// A next hop of the other family: `struct rtvia`. libc has the number for glibc only.
const RTA_VIA: u16 = 18;

/// A unicast route of the main table, to add or to delete.
#[derive(Debug, Clone, Copy)]
pub struct NewRoute {
    /// The destination, host bits zero; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// The next hop; an IPv6 one serves IPv4 as well.
    pub gateway: Option<IpAddr>,
    /// The index of the link to send by; needed without a gateway, and with a link-local one.
    pub device: Option<u32>,
    /// The metric; the kernel's default (IPv4 0, IPv6 1024) when `None`.
    pub metric: Option<u32>,
}

/// `ip route add DESTINATION [via GATEWAY] [dev LINK] [metric N]`
///
/// As iproute2 has it: protocol `boot`, and an IPv4 route without a gateway has scope `link`.
#[must_use]
pub fn add(route: &NewRoute) -> Request {
    let on_link = route.gateway.is_none() && route.destination.addr().is_ipv4();
    let header = rtmsg(
        route.destination,
        Rtprot::Boot,
        if on_link { RtScope::Link } else { RtScope::Universe },
        Rtn::Unicast,
    );
    let flags = NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
    let mut request = Request::new(Rtm::Newroute, flags, &header);
    describe(&mut request, route);
    request
}

/// `ip route delete DESTINATION [via GATEWAY] [dev LINK] [metric N]`
///
/// What is `None` is not compared: the first route that fits goes.
#[must_use]
pub fn delete(route: &NewRoute) -> Request {
    let header = rtmsg(route.destination, Rtprot::Unspec, RtScope::Nowhere, Rtn::Unspec);
    let mut request = Request::new(Rtm::Delroute, NlmF::ACK, &header);
    describe(&mut request, route);
    request
}

/// A route as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The table's number; [`Route::is_main`] tells the main one.
    pub table: u32,
    /// The destination; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The index of the link to send by.
    pub oif: Option<u32>,
    /// The metric, if it is not 0.
    pub metric: Option<u32>,
    /// Who set it.
    pub protocol: Rtprot,
    /// How far away the destination is; of IPv6 always `Universe`.
    pub scope: RtScope,
    /// `unicast`, `local`, `blackhole`, ..
    pub kind: Rtn,
    /// The source address it prefers.
    pub source: Option<IpAddr>,
    /// Whether it has several next hops; `gateway` and `oif` are then `None`.
    pub multipath: bool,
}

impl Route {
    /// Whether it is what has the kernel take packets for `address` as its own.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.kind == Rtn::Local
            && self.destination.addr() == address
            && self.destination.prefix_len() == self.destination.max_prefix_len()
    }

    /// Whether a router's advertisement set it (RFC 4861): `RTPROT_RA`, for which neli has no name.
    #[must_use]
    pub fn is_advertised(&self) -> bool {
        const RTPROT_RA: u8 = 9;
        u8::from(self.protocol) == RTPROT_RA
    }

    /// Whether it is in the table that `ip route` shows.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.table == u32::from(u8::from(RtTable::Main))
    }
}

/// `ip route show table all`: every IPv4 and IPv6 route of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Route>, Error> {
    family::dump::<12, _>(socket, Rtm::Getroute, parse)
}

/// A packet that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Its destination.
    pub to: IpAddr,
    /// Its source; chosen by the answer where there is none yet.
    pub from: Option<IpAddr>,
    /// The index of the link that it comes in by; `None` if it is the place's own.
    pub iif: Option<u32>,
}

/// `ip route get TO [from FROM] [iif LINK]`: where the kernel would send it. Of one that comes in, the source is checked as
/// that of a real one would be (`EXDEV`: the reverse path filter).
///
/// # Errors
/// Those of [`Socket::dump`]; a refusal is the fate of the packet.
pub fn get(socket: &mut Socket, question: &Question) -> Result<Result<Route, Refusal>, Error> {
    let Question { to, from, iif } = *question;
    let length = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let header = [family::of(to), length(to), from.map_or(0, length), 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut request = Request::new(Rtm::Getroute, NlmF::ACK, &header);
    request.ip(Rta::Dst, to);
    if let Some(from) = from {
        request.ip(Rta::Src, from);
    }
    if let Some(iif) = iif {
        request.u32(Rta::Iif, iif);
    }
    match socket.dump(request, parse) {
        Ok(routes) => {
            let none = || Refusal { errno: Errno::ENETUNREACH, message: None };
            Ok(routes.into_iter().next().ok_or_else(none))
        }
        Err(Error::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}

/// Reads an `RTM_NEWROUTE`; `None` for any other message and for other families (the multicast tables).
pub fn parse(message: &Message<'_>) -> Result<Option<Route>, Malformed> {
    if !message.is(Rtm::Newroute) {
        return Ok(None);
    }
    let (&[family, prefix, _, _, table, protocol, scope, kind, ..], rest) = message.body::<12>()?;
    let everything: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Ok(None),
    };
    let mut destination = everything;
    let mut route = Route {
        table: table.into(),
        destination: everything.into(),
        gateway: None,
        oif: None,
        metric: None,
        protocol: protocol.into(),
        scope: scope.into(),
        kind: kind.into(),
        source: None,
        multipath: false,
    };
    for attribute in attributes(rest) {
        let attribute = attribute?;
        if attribute.kind == RTA_VIA {
            route.gateway = Some(via(&attribute)?);
            continue;
        }
        match Rta::from(attribute.kind) {
            Rta::Dst => destination = attribute.ip()?,
            Rta::Gateway => route.gateway = Some(attribute.ip()?),
            Rta::Oif => route.oif = Some(attribute.u32()?),
            Rta::Priority => route.metric = Some(attribute.u32()?),
            Rta::Prefsrc => route.source = Some(attribute.ip()?),
            Rta::Table => route.table = attribute.u32()?,
            Rta::Multipath => route.multipath = true,
            _ => {}
        }
    }
    let Ok(destination) = IpNet::new(destination, prefix) else {
        return Ok(None);
    };
    Ok(Some(Route { destination, ..route }))
}

/// `struct rtmsg` of the main table.
fn rtmsg(destination: IpNet, protocol: Rtprot, scope: RtScope, kind: Rtn) -> [u8; 12] {
    let (family, prefix) = (family::of(destination.addr()), destination.prefix_len());
    let table = RtTable::Main.into();
    [family, prefix, 0, 0, table, protocol.into(), scope.into(), kind.into(), 0, 0, 0, 0]
}

fn describe(request: &mut Request, route: &NewRoute) {
    if route.destination.prefix_len() > 0 {
        request.ip(Rta::Dst, route.destination.network());
    }
    match route.gateway {
        Some(gateway) if gateway.is_ipv4() == route.destination.addr().is_ipv4() => {
            request.ip(Rta::Gateway, gateway);
        }
        Some(gateway) => request.attribute(RTA_VIA, &rtvia(gateway)),
        None => {}
    }
    if let Some(device) = route.device {
        request.u32(Rta::Oif, device);
    }
    if let Some(metric) = route.metric {
        request.u32(Rta::Priority, metric);
    }
}

/// `struct rtvia`: the family in two bytes, then the address.
fn rtvia(gateway: IpAddr) -> Vec<u8> {
    let mut value = u16::from(family::of(gateway)).to_ne_bytes().to_vec();
    match gateway {
        IpAddr::V4(address) => value.extend(address.octets()),
        IpAddr::V6(address) => value.extend(address.octets()),
    }
    value
}

fn via(attribute: &Attribute<'_>) -> Result<IpAddr, Malformed> {
    let address = attribute.value.get(2..).and_then(ip);
    address.ok_or_else(|| attribute.wrong_size())
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

    fn new(destination: &str, gateway: Option<&str>) -> NewRoute {
        NewRoute {
            destination: destination.parse().unwrap(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            device: None,
            metric: None,
        }
    }

    const FD00_2: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    /// Header of a `RTM_NEWROUTE` of `length` bytes and a `struct rtmsg`.
    fn header(length: u8, family: u8, prefix: u8, scope: u8) -> Vec<u8> {
        let header = [length, 0, 0, 0, 24, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0];
        [&header[..], &[family, prefix, 0, 0, 254, 3, scope, 1, 0, 0, 0, 0]].concat()
    }

    #[test]
    fn an_ipv4_default_route_is_iproute2s() {
        let golden = [header(36, 2, 0, 0), vec![8, 0, 5, 0, 10, 0, 0, 254]].concat();
        assert_eq!(add(&new("0.0.0.0/0", Some("10.0.0.254"))).bytes(), golden);
    }

    #[test]
    fn an_ipv6_default_route_is_iproute2s() {
        let route = NewRoute { device: Some(3), metric: Some(7), ..new("::/0", Some("fd00::2")) };
        #[rustfmt::skip]
        let golden = [
            header(64, 10, 0, 0).as_slice(),
            &[20, 0, 5, 0], &FD00_2, // RTA_GATEWAY
            &[8, 0, 4, 0, 3, 0, 0, 0], // RTA_OIF
            &[8, 0, 6, 0, 7, 0, 0, 0], // RTA_PRIORITY
        ]
        .concat();
        assert_eq!(add(&route).bytes(), golden);
    }

    #[test]
    fn a_route_without_a_gateway_has_scope_link_and_one_by_the_other_family_says_so() {
        let device = NewRoute { device: Some(3), ..new("10.9.0.0/16", None) };
        let golden = [header(44, 2, 16, 253), vec![8, 0, 1, 0, 10, 9, 0, 0, 8, 0, 4, 0, 3, 0, 0, 0]].concat();
        assert_eq!(add(&device).bytes(), golden);
        let other = NewRoute { device: Some(3), ..new("10.8.0.0/16", Some("fd00::2")) };
        #[rustfmt::skip]
        let golden = [
            header(68, 2, 16, 0).as_slice(),
            &[8, 0, 1, 0, 10, 8, 0, 0], // RTA_DST
            &[22, 0, 18, 0, 10, 0], &FD00_2, &[0, 0], // RTA_VIA
            &[8, 0, 4, 0, 3, 0, 0, 0], // RTA_OIF
        ]
        .concat();
        assert_eq!(add(&other).bytes(), golden);
    }

    #[test]
    fn a_deletion_leaves_open_what_is_not_said() {
        #[rustfmt::skip]
        let golden = [
            36, 0, 0, 0, 25, 0, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_DELROUTE, REQUEST | ACK
            2, 16, 0, 0, 254, 0, 255, 0, 0, 0, 0, 0, // any protocol, scope nowhere, any type
            8, 0, 1, 0, 10, 9, 0, 0,
        ];
        assert_eq!(delete(&new("10.9.0.0/16", None)).bytes(), golden);
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..160), v6: bool) {
            let mut payload = payload;
            if let Some(family) = payload.first_mut() {
                *family = if v6 { 10 } else { 2 };
            }
            let (kind, flags) = (Rtm::Newroute.into(), NlmF::empty());
            let _ = parse(&Message { kind, flags, sequence: 0, payload: &payload });
        }

        #[test]
        fn what_is_added_is_what_is_parsed(
            destination: [u8; 16], prefix in 0_u8..=128, gateway: [u8; 16], device: Option<u32>, metric: Option<u32>,
            v4: bool, v4_gateway: bool,
        ) {
            let address = |octets: [u8; 16], v4| match octets {
                [a, b, c, d, ..] if v4 => IpAddr::from([a, b, c, d]),
                octets => IpAddr::from(octets),
            };
            let prefix = if v4 { prefix / 4 } else { prefix };
            let destination = IpNet::new(address(destination, v4), prefix).unwrap().trunc();
            let gateway = Some(address(gateway, v4_gateway));
            let request = add(&NewRoute { destination, gateway, device, metric });
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message).unwrap().unwrap(), Route {
                table: 254, destination, gateway, oif: device, metric, protocol: Rtprot::Boot,
                scope: RtScope::Universe, kind: Rtn::Unicast, source: None, multipath: false,
            });
        }
    }

    /// A bridge of index 5 with an address of each family, up.
    fn bridge(socket: &mut Socket) {
        let name: IfName = "br0".parse().unwrap();
        let new = link::NewLink { index: Some(5), up: true, ..link::NewLink::named(&name) };
        let address = |address: &str| {
            addr::add(&addr::NewAddress {
                index: 5,
                address: address.parse().unwrap(),
                broadcast: None,
                no_dad: true,
            })
        };
        let batch = vec![link::create_bridge(&new), address("10.0.0.1/24"), address("fd00::1/64")];
        assert_eq!(socket.execute(batch).unwrap(), [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn routes_come_and_go() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let routes = [
                new("0.0.0.0/0", Some("10.0.0.254")),
                NewRoute { metric: Some(7), ..new("::/0", Some("fd00::2")) },
                NewRoute { device: Some(5), ..new("10.9.0.0/16", None) },
                NewRoute { device: Some(5), ..new("10.8.0.0/16", Some("fd00::2")) },
            ];
            assert_eq!(socket.execute(routes.iter().map(add).collect()).unwrap(), vec![Ok(()); 4]);
            let found = |socket: &mut Socket, wanted: &NewRoute| {
                let all = dump(socket).unwrap();
                all.into_iter().find(|its| its.is_main() && its.destination == wanted.destination)
            };
            for route in &routes {
                let its = found(&mut socket, route).unwrap();
                assert_eq!((its.gateway, its.oif), (route.gateway, Some(5)), "{route:?}");
                assert_eq!((its.protocol, its.kind, its.multipath), (Rtprot::Boot, Rtn::Unicast, false));
                assert_eq!(its.metric, route.metric);
            }
            let connected = found(&mut socket, &new("10.0.0.0/24", None)).unwrap();
            assert_eq!(connected.source, Some([10, 0, 0, 1].into()));
            assert_eq!((connected.protocol, connected.scope), (Rtprot::Kernel, RtScope::Link));
            assert!(dump(&mut socket).unwrap().iter().any(|its| its.kind == Rtn::Local && !its.is_main()));

            assert_eq!(socket.execute(routes.iter().map(delete).collect()).unwrap(), vec![Ok(()); 4]);
            assert!(routes.iter().all(|route| found(&mut socket, route).is_none()));
            let refused = socket.execute(vec![delete(&routes[0])]).unwrap();
            assert!(refused[0].is_err());
        });
    }

    #[test]
    fn a_route_with_several_next_hops_is_listed_without_one() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let hop = |last| [16, 0, 0, 0, 5, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, last];
            let destination: IpNet = "10.7.0.0/16".parse().unwrap();
            let header = rtmsg(destination, Rtprot::Boot, RtScope::Universe, Rtn::Unicast);
            let mut request = Request::new(Rtm::Newroute, NlmF::ACK | NlmF::CREATE, &header);
            request.ip(Rta::Dst, destination.addr());
            request.attribute(Rta::Multipath, &[hop(2), hop(3)].concat());
            assert_eq!(socket.execute(vec![request]).unwrap(), [Ok(())]);
            let all = dump(&mut socket).unwrap();
            let its = all.into_iter().find(|its| its.destination == destination).unwrap();
            assert_eq!((its.multipath, its.gateway, its.oif), (true, None, None));
        });
    }
    #[test]
    fn the_kernel_says_where_it_would_send_a_packet() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let mut ask = |to: &str, from: Option<&str>, iif| {
                let from = from.map(|from| from.parse().unwrap());
                let answer = get(&mut socket, &Question { to: to.parse().unwrap(), from, iif }).unwrap();
                answer.map(|route| (route.kind, route.oif, route.source.map(|source| source.to_string())))
            };
            for (own, near) in [("10.0.0.1", "10.0.0.7"), ("fd00::1", "fd00::7")] {
                assert_eq!(ask(near, None, None).unwrap(), (Rtn::Unicast, Some(5), Some(own.to_owned())));
                assert_eq!(ask(own, Some(near), Some(5)).unwrap().0, Rtn::Local);
            }
            for far in ["192.0.2.1", "2001:db8::1"] {
                assert_eq!(ask(far, None, None).unwrap_err().errno, Errno::ENETUNREACH);
            }
            assert_eq!(ask("192.0.2.1", Some("10.0.0.7"), Some(5)).unwrap_err().errno, Errno::EHOSTUNREACH);
        });
    }
}
