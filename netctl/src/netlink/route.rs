//! Routes: to next hops, and to nowhere.
//!
//! Follows net/ipv4/fib_frontend.c, net/ipv6/route.c and include/uapi/linux/rtnetlink.h; what a command leaves open is
//! filled in as iproute2 does it (ip/iproute.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use neli::consts::{
    nl::NlmF,
    rtnl::{RtScope, RtTable, Rta, Rtm, Rtn, Rtprot},
};
use nix::errno::Errno;

use super::{
    Error, Malformed, Refusal, Request, Socket, family,
    hop::{self, Hop},
    message::{Message, attributes},
};

/// Who set a route, a policy rule (`FRA_PROTOCOL`) or an address (`IFA_PROTO`): netctl, for a topology. Of the numbers
/// that include/uapi/linux/rtnetlink.h leaves to programs, one that no known program has.
pub const RTPROT_NETCTL: u8 = 110;

/// Asks for the table that a route is found in.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;

/// In how many parts the kernel tells a second to programs (`USER_HZ`).
const USER_HZ: u32 = 100;

/// A route to add, to put in another's place, or to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRoute {
    /// The destination, host bits zero; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// `Unicast`, or how what goes there is refused: `Blackhole`, `Unreachable`, `Prohibit`. When `None`, `Unicast` to
    /// add and any to delete; IPv6 deletes any in either case (`ip6_route_del`).
    pub kind: Option<Rtn>,
    /// The next hop; an IPv6 one serves IPv4 as well.
    pub gateway: Option<IpAddr>,
    /// The index of the link to send by; needed without a gateway, and with a link-local one.
    pub device: Option<u32>,
    /// Takes the gateway for a neighbour on the link though no address says so (`RTNH_F_ONLINK`).
    pub on_link: bool,
    /// The metric; the kernel's default (IPv4 0, IPv6 1024) when `None`.
    pub metric: Option<u32>,
    /// The table; the main one when `None`.
    pub table: Option<u32>,
    /// Who sets it, such as [`RTPROT_NETCTL`]. When `None`, `boot` to add (by hand) and anybody to delete.
    pub protocol: Option<u8>,
}

impl NewRoute {
    /// One to `destination` that leaves everything else open.
    #[must_use]
    pub fn to(destination: IpNet) -> Self {
        Self {
            destination,
            kind: None,
            gateway: None,
            device: None,
            on_link: false,
            metric: None,
            table: None,
            protocol: None,
        }
    }
}

/// `ip route add [blackhole|unreachable|prohibit] DESTINATION [via GATEWAY] [dev LINK] [onlink] [metric N] [table N]
/// [proto N]`
///
/// As iproute2 has it, an IPv4 route without a gateway has scope `link`, unless it leads nowhere.
#[must_use]
pub fn add(route: &NewRoute) -> Request {
    make(route, NlmF::EXCL)
}

/// `ip route replace ..`, as [`add`]: in the place of the first route of the same destination, table and metric, if
/// there is one (`fib_table_insert`, `fib6_add_rt2node`).
#[must_use]
pub fn replace(route: &NewRoute) -> Request {
    make(route, NlmF::REPLACE)
}

/// `ip route delete [TYPE] DESTINATION [via GATEWAY] [dev LINK] [metric N] [table N] [proto N]`
///
/// What is `None` is not compared: the first route that fits goes, that of the smallest metric.
#[must_use]
pub fn delete(route: &NewRoute) -> Request {
    let scope = if route.destination.addr().is_ipv4() { RtScope::Nowhere } else { RtScope::Universe };
    let kind = route.kind.unwrap_or(Rtn::Unspec);
    let header = rtmsg(route, Rtprot::Unspec, scope, kind);
    let mut request = Request::new(Rtm::Delroute, NlmF::ACK, &header);
    describe(&mut request, route);
    request
}

fn make(route: &NewRoute, flag: NlmF) -> Request {
    let kind = route.kind.unwrap_or(Rtn::Unicast);
    let is_near = kind == Rtn::Unicast && route.gateway.is_none() && route.destination.addr().is_ipv4();
    let scope = if is_near { RtScope::Link } else { RtScope::Universe };
    let header = rtmsg(route, Rtprot::Boot, scope, kind);
    let mut request = Request::new(Rtm::Newroute, NlmF::ACK | NlmF::CREATE | flag, &header);
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
    /// The sources that it is for, if not for all; IPv6 only.
    pub from: Option<IpNet>,
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
    /// `RTNH_F_*`: of the next hop, if there is but one.
    pub flags: u32,
    /// Its next hops if it has several; `gateway` and `oif` are then `None`.
    pub hops: Vec<Hop>,
    /// In how many seconds it ends by itself; IPv6 only.
    pub expires: Option<u32>,
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

    /// Whether it has several next hops.
    #[must_use]
    pub fn is_multipath(&self) -> bool {
        !self.hops.is_empty()
    }

    /// Whether it leads out by that link, be it by one next hop of several.
    #[must_use]
    pub fn leads_by(&self, index: u32) -> bool {
        self.oif == Some(index) || self.hops.iter().any(|hop| hop.oif == index)
    }

    /// Whether the kernel has set it by itself, with an address or a link.
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        self.protocol == Rtprot::Kernel
    }

    /// Whether netctl has set it for a topology, by its protocol.
    #[must_use]
    pub fn is_netctls(&self) -> bool {
        u8::from(self.protocol) == RTPROT_NETCTL
    }

    /// Whether the gateway is a neighbour on the link though no address says so.
    #[must_use]
    pub fn is_on_link(&self) -> bool {
        self.flags & hop::RTNH_F_ONLINK != 0
    }

    /// Whether it is not used, since its link is down.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.flags & hop::RTNH_F_DEAD != 0
    }

    /// Whether its link has no carrier.
    #[must_use]
    pub fn is_link_down(&self) -> bool {
        self.flags & hop::RTNH_F_LINKDOWN != 0
    }

    /// Whether it is in the table of the place's own addresses.
    #[must_use]
    pub fn is_of_local_table(&self) -> bool {
        self.table == u32::from(u8::from(RtTable::Local))
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
    // IPv6 tells the table unasked, and takes the flag for an error.
    let [f0, f1, f2, f3] = if to.is_ipv4() { RTM_F_LOOKUP_TABLE } else { 0 }.to_ne_bytes();
    let header = [family::of(to), length(to), from.map_or(0, length), 0, 0, 0, 0, 0, f0, f1, f2, f3];
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
    let (&[family, prefix, from_prefix, _, table, protocol, scope, kind, f0, f1, f2, f3], rest) =
        message.body::<12>()?;
    let everything: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Ok(None),
    };
    let (mut destination, mut from) = (everything, everything);
    let mut route = Route {
        table: table.into(),
        destination: everything.into(),
        from: None,
        gateway: None,
        oif: None,
        metric: None,
        protocol: protocol.into(),
        scope: scope.into(),
        kind: kind.into(),
        source: None,
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        hops: Vec::new(),
        expires: None,
    };
    for attribute in attributes(rest) {
        let attribute = attribute?;
        if attribute.kind == hop::RTA_VIA {
            route.gateway = Some(hop::via(&attribute)?);
            continue;
        }
        match Rta::from(attribute.kind) {
            Rta::Dst => destination = attribute.ip()?,
            Rta::Src => from = attribute.ip()?,
            Rta::Gateway => route.gateway = Some(attribute.ip()?),
            Rta::Oif => route.oif = Some(attribute.u32()?),
            Rta::Priority => route.metric = Some(attribute.u32()?),
            Rta::Prefsrc => route.source = Some(attribute.ip()?),
            Rta::Table => route.table = attribute.u32()?,
            Rta::Multipath => route.hops = hop::hops(attribute.value).collect::<Result<_, _>>()?,
            Rta::Cacheinfo => route.expires = expires(attribute.value),
            _ => {}
        }
    }
    let Ok(destination) = IpNet::new(destination, prefix) else {
        return Ok(None);
    };
    let from = IpNet::new(from, from_prefix).ok().filter(|from| from.prefix_len() > 0);
    Ok(Some(Route { destination, from, ..route }))
}

/// Of `struct rta_cacheinfo`, when the route ends, in seconds: `rta_expires`, the third of its 32-bit numbers, which is 0
/// of one that lasts.
pub(super) fn expires(cache_info: &[u8]) -> Option<u32> {
    let field: [u8; 4] = cache_info.get(8..12)?.try_into().ok()?;
    let ticks = i32::from_ne_bytes(field);
    (ticks != 0).then(|| ticks.max(0).unsigned_abs().div_ceil(USER_HZ))
}

/// `struct rtmsg`. A table of more than 8 bits is in `RTA_TABLE` alone.
fn rtmsg(route: &NewRoute, protocol: Rtprot, scope: RtScope, kind: Rtn) -> [u8; 12] {
    let (family, prefix) = (family::of(route.destination.addr()), route.destination.prefix_len());
    let table = match route.table {
        Some(table) => u8::try_from(table).unwrap_or(RtTable::Unspec.into()),
        None => RtTable::Main.into(),
    };
    let protocol = route.protocol.unwrap_or(protocol.into());
    let [f0, f1, f2, f3] = if route.on_link { hop::RTNH_F_ONLINK } else { 0 }.to_ne_bytes();
    [family, prefix, 0, 0, table, protocol, scope.into(), kind.into(), f0, f1, f2, f3]
}

fn describe(request: &mut Request, route: &NewRoute) {
    if route.destination.prefix_len() > 0 {
        request.ip(Rta::Dst, route.destination.network());
    }
    match route.gateway {
        Some(gateway) if gateway.is_ipv4() == route.destination.addr().is_ipv4() => {
            request.ip(Rta::Gateway, gateway);
        }
        Some(gateway) => request.attribute(hop::RTA_VIA, &hop::rtvia(gateway)),
        None => {}
    }
    if let Some(device) = route.device {
        request.u32(Rta::Oif, device);
    }
    if let Some(table) = route.table.filter(|&table| u8::try_from(table).is_err()) {
        request.u32(Rta::Table, table);
    }
    if let Some(metric) = route.metric {
        request.u32(Rta::Priority, metric);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{super::message::messages, *};
    use crate::{
        model::IfName,
        netlink::{addr, link},
        netns::tests::isolated,
    };

    fn new(destination: &str, gateway: Option<&str>) -> NewRoute {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        NewRoute { gateway, ..NewRoute::to(destination.parse().unwrap()) }
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

    #[test]
    fn a_route_to_nowhere_of_another_table_says_whose_it_is() {
        let route = NewRoute {
            kind: Some(Rtn::Blackhole),
            metric: Some(9),
            table: Some(100),
            protocol: Some(RTPROT_NETCTL),
            ..new("10.9.0.0/16", None)
        };
        #[rustfmt::skip]
        let mut golden = [
            44, 0, 0, 0, 24, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWROUTE, REQUEST | ACK | CREATE | EXCL
            2, 16, 0, 0, 100, 110, 0, 6, 0, 0, 0, 0, // table 100, proto 110, scope universe, RTN_BLACKHOLE
            8, 0, 1, 0, 10, 9, 0, 0, // RTA_DST
            8, 0, 6, 0, 9, 0, 0, 0, // RTA_PRIORITY
        ];
        assert_eq!(add(&route).bytes(), golden);
        golden[7] = 0x05; // CREATE | REPLACE
        assert_eq!(replace(&route).bytes(), golden);
        (golden[4], golden[7], golden[22]) = (25, 0, 255); // RTM_DELROUTE, scope nowhere
        assert_eq!(delete(&route).bytes(), golden);
    }

    #[test]
    fn a_table_of_more_than_8_bits_and_a_gateway_that_no_address_covers_are_iproute2s() {
        let route = NewRoute {
            device: Some(3),
            on_link: true,
            table: Some(1000),
            ..new("0.0.0.0/0", Some("203.0.113.1"))
        };
        #[rustfmt::skip]
        let golden = [
            52, 0, 0, 0, 24, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0, 3, 0, 1, 4, 0, 0, 0, // table unspecified, RTNH_F_ONLINK
            8, 0, 5, 0, 203, 0, 113, 1, // RTA_GATEWAY
            8, 0, 4, 0, 3, 0, 0, 0, // RTA_OIF
            8, 0, 15, 0, 232, 3, 0, 0, // RTA_TABLE
        ];
        assert_eq!(add(&route).bytes(), golden);
    }

    #[test]
    fn what_the_kernel_tells_of_a_route_is_read_in_full() {
        let header = [10, 64, 48, 0, 0, 110, 0, 1, 0x15, 0, 0, 0]; // ONLINK | LINKDOWN | DEAD
        let mut request = Request::new(Rtm::Newroute, NlmF::empty(), &header);
        let net = |net: &str| net.parse::<IpNet>().unwrap();
        let (to, from, source) = (net("fd09::/64"), net("fd01::/48"), "fd00::1".parse().unwrap());
        request.ip(Rta::Dst, to.addr());
        request.ip(Rta::Src, from.addr());
        request.ip(Rta::Prefsrc, source);
        request.u32(Rta::Table, 1000);
        let cache_info = [0, 0, 3601, 0, 0, 0, 0, 0].map(u32::to_ne_bytes).concat();
        request.attribute(Rta::Cacheinfo, &cache_info);
        let message = messages(request.bytes()).next().unwrap().unwrap();
        let its = parse(&message).unwrap().unwrap();
        assert_eq!((its.table, its.destination, its.from, its.source), (1000, to, Some(from), Some(source)));
        assert!(its.is_netctls() && its.is_on_link() && its.is_dead() && its.is_link_down());
        assert_eq!((its.expires, its.is_multipath()), (Some(37), false));
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
            v4: bool, v4_gateway: bool, on_link: bool, table in prop::option::of(1_u32..), protocol in prop::option::of(4_u8..),
            kind in prop::option::of(prop::sample::select(vec![Rtn::Unicast, Rtn::Blackhole, Rtn::Prohibit])),
        ) {
            let address = |octets: [u8; 16], v4| match octets {
                [a, b, c, d, ..] if v4 => IpAddr::from([a, b, c, d]),
                octets => IpAddr::from(octets),
            };
            let prefix = if v4 { prefix / 4 } else { prefix };
            let destination = IpNet::new(address(destination, v4), prefix).unwrap().trunc();
            let gateway = Some(address(gateway, v4_gateway));
            let request = add(&NewRoute { destination, kind, gateway, device, on_link, metric, table, protocol });
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message).unwrap().unwrap(), Route {
                table: table.unwrap_or(254), destination, from: None, gateway, oif: device, metric,
                protocol: protocol.map_or(Rtprot::Boot, Rtprot::from), scope: RtScope::Universe,
                kind: kind.unwrap_or(Rtn::Unicast), source: None, flags: if on_link { 4 } else { 0 }, hops: Vec::new(),
                expires: None,
            });
        }
    }

    /// A bridge of index 5 with an address of each family, up.
    fn bridge(socket: &mut Socket) {
        let name: IfName = "br0".parse().unwrap();
        let new = link::NewLink { index: Some(5), up: true, ..link::NewLink::named(&name) };
        let address = |address: &str| {
            addr::add(&addr::NewAddress { no_dad: true, ..addr::NewAddress::of(5, address.parse().unwrap()) })
        };
        let batch = vec![link::create_bridge(&new), address("10.0.0.1/24"), address("fd00::1/64")];
        assert_eq!(socket.execute(batch).unwrap(), [Ok(()), Ok(()), Ok(())]);
        // The kernel sets the routes of an IPv6 address a moment after it has taken it.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !dump(socket).unwrap().iter().any(|its| its.is_local("fd00::1".parse().unwrap())) {
            assert!(Instant::now() < deadline, "the address has no route of its own");
        }
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
                assert_eq!((its.protocol, its.kind, its.is_multipath()), (Rtprot::Boot, Rtn::Unicast, false));
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
    fn a_route_with_several_next_hops_is_listed_with_all() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let hop = |last| [16, 0, 0, 0, 5, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, last];
            let destination: IpNet = "10.7.0.0/16".parse().unwrap();
            let header = rtmsg(&NewRoute::to(destination), Rtprot::Boot, RtScope::Universe, Rtn::Unicast);
            let mut request = Request::new(Rtm::Newroute, NlmF::ACK | NlmF::CREATE, &header);
            request.ip(Rta::Dst, destination.addr());
            request.attribute(Rta::Multipath, &[hop(2), hop(3)].concat());
            assert_eq!(socket.execute(vec![request]).unwrap(), [Ok(())]);
            let all = dump(&mut socket).unwrap();
            let its = all.into_iter().find(|its| its.destination == destination).unwrap();
            assert_eq!((its.is_multipath(), its.gateway, its.oif, its.leads_by(5)), (true, None, None, true));
            let hops: Vec<_> = its.hops.iter().map(|hop| (hop.gateway, hop.oif, hop.weight)).collect();
            assert_eq!(hops, [2, 3].map(|last| (Some([10, 0, 0, last].into()), 5, 1)));
        });
    }

    #[test]
    fn routes_of_any_type_table_and_owner_come_and_go_each_by_itself() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let nowhere = |to, kind| NewRoute { kind: Some(kind), ..new(to, None) };
            let mine = NewRoute { protocol: Some(RTPROT_NETCTL), ..new("10.9.0.0/16", Some("10.0.0.9")) };
            let routes = [
                nowhere("10.8.0.0/16", Rtn::Blackhole),
                nowhere("fd08::/64", Rtn::Unreachable),
                NewRoute { table: Some(1000), ..nowhere("10.8.0.0/16", Rtn::Prohibit) },
                NewRoute { on_link: true, device: Some(5), ..new("10.7.0.0/16", Some("203.0.113.1")) },
                NewRoute { metric: Some(7), ..mine },
                NewRoute { on_link: true, device: Some(5), ..new("fd07::/64", Some("2001:db8::1")) },
            ];
            assert_eq!(socket.execute(routes.iter().map(add).collect()).unwrap(), vec![Ok(()); 6]);
            let is = |its: &Route, wanted: &NewRoute| {
                its.destination == wanted.destination
                    && its.table == wanted.table.unwrap_or(254)
                    && its.kind == wanted.kind.unwrap_or(Rtn::Unicast)
                    && its.gateway == wanted.gateway
                    && its.is_on_link() == wanted.on_link
                    && u8::from(its.protocol) == wanted.protocol.unwrap_or(3)
            };
            let count = |socket: &mut Socket| {
                let all = dump(socket).unwrap();
                routes.map(|wanted| all.iter().filter(|its| is(its, &wanted)).count())
            };
            assert_eq!(count(&mut socket), [1; 6]);

            let anothers = NewRoute { protocol: Some(99), ..mine };
            assert!(socket.execute(vec![delete(&anothers)]).unwrap()[0].is_err(), "it is netctl's");
            let of_another_type = NewRoute { kind: Some(Rtn::Unicast), ..routes[0] };
            assert!(socket.execute(vec![delete(&of_another_type)]).unwrap()[0].is_err(), "it leads nowhere");
            for (number, route) in routes.iter().enumerate() {
                assert_eq!(socket.execute(vec![delete(route)]).unwrap(), [Ok(())]);
                assert_eq!(count(&mut socket).iter().sum::<usize>(), 5 - number, "{route:?}");
            }
        });
    }

    #[test]
    fn a_route_takes_the_place_of_another() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            bridge(&mut socket);
            let (old, new) = (new("10.9.0.0/16", Some("10.0.0.9")), new("10.9.0.0/16", Some("10.0.0.8")));
            assert_eq!(socket.execute(vec![replace(&old), replace(&new)]).unwrap(), [Ok(()), Ok(())]);
            let all = dump(&mut socket).unwrap();
            let there: Vec<_> = all.iter().filter(|its| its.destination == old.destination).collect();
            assert!(there.len() == 1 && there[0].gateway == new.gateway, "{there:?}");
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
