//! What an operation takes down with a link, kept byte for byte, so that it comes back as it was.
//!
//! The kernel describes an object and makes one in the same words, but for what it counts or finds out itself. So a
//! message of a dump, its payload kept, is also the request that makes the object again: with metrics, labels, lifetimes
//! and whatever else no type of this module knows of. What the kernel would refuse or has measured is left out.
//!
//! A link takes its addresses, its neighbours and all routes by it with it, of IPv6's routes with several next hops those
//! by it. To lose an address costs the routes that prefer it as their source: IPv4 loses them (`fib_sync_down_addr` in
//! net/ipv4/fib_semantics.c), IPv6 their preference (`fib6_remove_prefsrc` in net/ipv6/route.c). What the kernel sets by
//! itself comes back by itself and is not kept. A link is made by whoever knows what it leads to; what was set of it is kept.

pub(in crate::netlink) mod control;

use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr};

use neli::consts::{
    nl::NlmF,
    rtnl::{Ifa, Ifla, IflaInfo, Nda, Rta, Rtm, Rtn, Rtprot},
};

pub use self::control::{Control, control_of};
use super::{
    Error, Malformed, Request, Socket,
    addr::{self, Address},
    family, hop,
    link::{self, Link},
    message::{Attribute, Message, attributes},
    neigh::{self, Neighbour},
    route::{self, Route},
};

/// What the kernel takes of a next hop's flags: the others are its own findings, some of which it refuses
/// (`fib_create_info`). 2 is `RTNH_F_PERVASIVE`.
const TAKEN: u32 = hop::RTNH_F_ONLINK | 2;
/// libc has these numbers for glibc only.
const RTA_ENCAP: u16 = 22;
const RTA_EXPIRES: u16 = 23;
/// A next hop object, whose next hops the kernel lists beside it (`net.ipv4.nexthop_compat_mode`) and does not take
/// beside it. It goes with its link, so that the route comes back with next hops of its own.
const RTA_NH_ID: u16 = 30;
/// What the kernel takes of an address's flags (`inet6_rtm_newaddr`); the others are its own findings.
const IFA_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_OPTIMISTIC
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;
/// The flags of a link that somebody sets: `IFF_UP`, `IFF_DEBUG`, `IFF_NOARP`, `IFF_PROMISC`, `IFF_ALLMULTI`,
/// `IFF_MULTICAST`.
const LINK_FLAGS: u32 = (libc::IFF_UP
    | libc::IFF_DEBUG
    | libc::IFF_NOARP
    | libc::IFF_PROMISC
    | libc::IFF_ALLMULTI
    | libc::IFF_MULTICAST)
    .cast_unsigned();
/// Beyond it a table is not one of the kernel's own three.
const RT_TABLE_DEFAULT: u32 = 253;
/// `RT_TABLE_LOCAL`
const RT_TABLE_LOCAL: u32 = 255;

/// What a message of a dump is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A route.
    Route(Route),
    /// An address.
    Address(Address),
    /// A neighbour.
    Neighbour(Neighbour),
    /// A link's settings.
    Link(Box<Link>),
}

/// One object, as the kernel told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    about: About,
    payload: Vec<u8>,
}

impl Kept {
    /// Keeps what a message describes; `None` for a message that is about nothing of the kind.
    ///
    /// # Errors
    /// If its bytes break netlink's rules.
    pub fn of(message: &Message<'_>) -> Result<Option<Self>, Malformed> {
        let about = if let Some(route) = route::parse(message)? {
            About::Route(route)
        } else if let Some(address) = addr::parse(message)? {
            About::Address(address)
        } else if let Some(neighbour) = neigh::parse(message)? {
            About::Neighbour(neighbour)
        } else if let Some(link) = link::parse(message)? {
            About::Link(Box::new(link))
        } else {
            return Ok(None);
        };
        Ok(Some(Self::new(about, message)))
    }

    fn new(about: About, message: &Message<'_>) -> Self {
        Self { about, payload: message.payload.to_vec() }
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The indices of the links that it names: one, none of a route to nowhere, some of a route with several next hops.
    #[must_use]
    pub fn indices(&self) -> BTreeSet<u32> {
        match &self.about {
            About::Route(route) => {
                route.oif.into_iter().chain(route.hops.iter().map(|hop| hop.oif)).collect()
            }
            About::Address(address) => [address.index].into(),
            About::Neighbour(neighbour) => [neighbour.index].into(),
            About::Link(link) => [link.index].into(),
        }
    }

    /// The messages that make it again, in their order; `index` tells the index that a link has now, by the one that it
    /// had when this was kept.
    ///
    /// `EEXIST` to the first says that it is there already.
    ///
    /// - A route: `ip route append ..`, since IPv4 may have several of one destination, table and metric; of IPv6's, what
    ///   may be there still in part is replaced (`ip route replace ..`).
    /// - An address: `ip addr add ..`. To an IPv6 address that had passed its duplicate address detection before, that is
    ///   not done again, for it would be unusable for a second, also as the source that a route prefers; so it is added
    ///   with `nodad`, and a second message (`ip addr change ..`) takes this flag away.
    /// - A neighbour: `ip neigh add ..`.
    /// - A link is not made, for that takes what is not its own, a veth's other end; what was set of one that is there
    ///   again is set again: `ip link set ..` with its MTU, queue, group, alias, master and whether it is up, and a bridge's
    ///   or a port's own settings. Its MAC address is left to the caller, who can see whether it changed: one that is set
    ///   is no longer the kernel's choice, though it be the same (`NET_ADDR_SET`).
    #[must_use]
    pub fn requests(&self, index: impl Fn(u32) -> u32) -> Vec<Request> {
        match &self.about {
            About::Route(_) => self.route(index).into_iter().collect(),
            About::Address(address) => {
                const UNSURE: u32 = libc::IFA_F_NODAD | libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED;
                let kept = address.flags & IFA_FLAGS;
                let index = index(address.index);
                if address.address.addr().is_ipv6() && address.flags & UNSURE == 0 {
                    let first = self.address(index, NlmF::CREATE | NlmF::EXCL, kept | libc::IFA_F_NODAD);
                    first.into_iter().chain(self.address(index, NlmF::REPLACE, kept)).collect()
                } else {
                    self.address(index, NlmF::CREATE | NlmF::EXCL, kept).into_iter().collect()
                }
            }
            About::Neighbour(neighbour) => self.neighbour(index(neighbour.index)).into_iter().collect(),
            About::Link(link) => self.link(link, index).unwrap_or_default(),
        }
    }

    fn route(&self, index: impl Fn(u32) -> u32) -> Option<Request> {
        let (mut header, rest) = self.body::<12>()?;
        let About::Route(route) = &self.about else { return None };
        let [.., f0, f1, f2, f3] = &mut header;
        [*f0, *f1, *f2, *f3] = (route.flags & TAKEN).to_ne_bytes();
        let how = if is_left_in_part(route) { NlmF::REPLACE } else { NlmF::APPEND };
        let mut request = Request::new(Rtm::Newroute, NlmF::ACK | NlmF::CREATE | how, &header);
        for attribute in attributes(rest).flatten() {
            match (attribute.kind, Rta::from(attribute.kind)) {
                (RTA_NH_ID | RTA_EXPIRES, _) => {}
                (_, Rta::Cacheinfo) => {
                    if let Some(seconds) = route::expires(attribute.value) {
                        request.u32(RTA_EXPIRES, seconds.max(1));
                    }
                }
                (_, Rta::Oif) => renumber(&mut request, &attribute, &index),
                (_, Rta::Multipath) => {
                    request.attribute(attribute.kind, &next_hops(attribute.value, &index));
                }
                (RTA_ENCAP, _) | (_, Rta::Metrics) => request.encoded(attribute.kind, attribute.value),
                _ => request.attribute(attribute.kind, attribute.value),
            }
        }
        Some(request)
    }

    fn address(&self, index: u32, how: NlmF, flags: u32) -> Option<Request> {
        let About::Address(address) = &self.about else { return None };
        let (mut header, rest) = self.body::<8>()?;
        let [_, _, small_flags, _, at @ ..] = &mut header;
        *small_flags = 0;
        *at = index.to_ne_bytes();
        let mut request = Request::new(Rtm::Newaddr, NlmF::ACK | how, &header);
        for attribute in attributes(rest).flatten() {
            match Ifa::from(attribute.kind) {
                // Both are told anew.
                Ifa::Flags | Ifa::Cacheinfo => {}
                _ => request.attribute(attribute.kind, attribute.value),
            }
        }
        request.u32(Ifa::Flags, flags);
        let mut lifetimes = address.lifetimes;
        // One that ends this second; the kernel takes none that has ended.
        lifetimes.valid = lifetimes.valid.map(|seconds| seconds.max(1));
        request.attribute(Ifa::Cacheinfo, &lifetimes.to_bytes());
        Some(request)
    }

    fn neighbour(&self, index: u32) -> Option<Request> {
        let About::Neighbour(neighbour) = &self.about else { return None };
        let (_, rest) = self.body::<12>()?;
        let header = neigh::ndmsg(index, neighbour.address, settled(neighbour.state), neighbour.flags);
        let mut request = Request::new(Rtm::Newneigh, NlmF::ACK | NlmF::CREATE | NlmF::EXCL, &header);
        for attribute in attributes(rest).flatten() {
            match Nda::from(attribute.kind) {
                // What the kernel has measured.
                Nda::Cacheinfo | Nda::Probes => {}
                _ => request.attribute(attribute.kind, attribute.value),
            }
        }
        Some(request)
    }

    fn link(&self, link: &Link, index: impl Fn(u32) -> u32) -> Option<Vec<Request>> {
        let (mut header, rest) = self.body::<16>()?;
        let [_, _, _, _, i0, i1, i2, i3, _, _, _, _, change @ ..] = &mut header;
        [*i0, *i1, *i2, *i3] = index(link.index).to_ne_bytes();
        *change = LINK_FLAGS.to_ne_bytes();
        // Without NLM_F_CREATE it changes a link that is there, like RTM_SETLINK, which takes no IFLA_LINKINFO.
        let change = |header: &[u8]| Request::new(Rtm::Newlink, NlmF::ACK, header);
        let mut request = change(&header);
        let mut own = None;
        for attribute in attributes(rest).flatten() {
            match Ifla::from(attribute.kind) {
                // Not its MAC address, which the kernel would no longer choose.
                Ifla::Mtu | Ifla::Txqlen | Ifla::Group | Ifla::Ifalias => {
                    request.attribute(attribute.kind, attribute.value);
                }
                Ifla::Linkinfo => own = Some(attribute),
                _ => {}
            }
        }
        request.u32(Ifla::Master, link.master.map_or(0, &index));
        let mut requests = vec![request];
        let told = || own.iter().flat_map(Attribute::nested).flatten();
        let is_bridge =
            |kind: IflaInfo| told().any(|its| its.kind == u16::from(kind) && its.text() == "bridge");
        for info in told() {
            let (kind, taken): (_, fn(&Attribute<'_>) -> bool) = match IflaInfo::from(info.kind) {
                IflaInfo::Data if is_bridge(IflaInfo::Kind) => (IflaInfo::Kind, is_set_of_a_bridge),
                IflaInfo::SlaveData if is_bridge(IflaInfo::SlaveKind) => {
                    (IflaInfo::SlaveKind, is_set_of_a_port)
                }
                _ => continue,
            };
            // A port's settings are its bridge's to take: the kernel reads them before it plugs the port in.
            let mut request = change(&unchanged(header));
            request.nested(Ifla::Linkinfo, |own| {
                own.attribute(kind, b"bridge");
                own.nested(info.kind, |data| {
                    let settings = info.nested().flatten().filter(taken);
                    settings.for_each(|setting| data.attribute(setting.kind, setting.value));
                });
            });
            requests.push(request);
        }
        Some(requests)
    }

    fn body<const N: usize>(&self) -> Option<([u8; N], &[u8])> {
        self.payload.split_first_chunk().map(|(header, rest)| (*header, rest))
    }
}

/// The routes that go with links and do not come back by themselves, and others that are meant, in an order in which they can
/// be made again: what is on a link itself before what is reached by a gateway there.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn routes_by(
    socket: &mut Socket,
    links: &BTreeSet<u32>,
    is_meant: impl Fn(&Route) -> bool,
) -> Result<Vec<Kept>, Error> {
    let own: BTreeSet<IpAddr> = addr::dump(socket)?
        .into_iter()
        .filter(|address| links.contains(&address.index))
        .map(|address| address.address.addr())
        .collect();
    let goes = |route: &Route| {
        let is_ipv4 = route.destination.addr().is_ipv4();
        let is_source_lost =
            route.source.is_some_and(|source| own.contains(&source)) && (is_ipv4 || is_left_in_part(route));
        let is_by_them = links.iter().any(|&index| route.leads_by(index));
        (is_by_them || is_source_lost || is_meant(route)) && !comes_back(route)
    };
    let mut all = family::dump::<12, _>(socket, Rtm::Getroute, |message| {
        Ok(route::parse(message)?.filter(goes).map(|its| Kept::new(About::Route(its), message)))
    })?;
    all.sort_by_key(|kept| match &kept.about {
        About::Route(route) => {
            let is_far = route.gateway.is_some() || route.is_multipath();
            (is_far, Reverse(u8::from(route.scope)))
        }
        About::Address(_) | About::Neighbour(_) | About::Link(_) => (false, Reverse(0)),
    });
    Ok(all)
}

/// The addresses of links that do not come back by themselves, in the order in which they were added: of a subnet's IPv4
/// addresses the first is the primary one. The kernel lists IPv6 addresses of one scope backwards (`ipv6_link_dev_addr`).
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn addresses_of(socket: &mut Socket, links: &BTreeSet<u32>) -> Result<Vec<Kept>, Error> {
    let is_kept = |address: &Address| {
        let by_kernel = matches!(address.protocol, Some(addr::IFAPROT_KERNEL_LO | addr::IFAPROT_KERNEL_LL));
        let is_temporary = address.address.addr().is_ipv6() && address.flags & libc::IFA_F_TEMPORARY != 0;
        links.contains(&address.index) && !by_kernel && !is_temporary
    };
    let all = family::dump::<8, _>(socket, Rtm::Getaddr, |message| {
        Ok(addr::parse(message)?.filter(is_kept).map(|its| Kept::new(About::Address(its), message)))
    })?;
    let is_ipv4 = |kept: &Kept| matches!(&kept.about, About::Address(its) if its.address.addr().is_ipv4());
    let (mut ipv4, ipv6): (Vec<_>, Vec<_>) = all.into_iter().partition(is_ipv4);
    ipv4.extend(ipv6.into_iter().rev());
    Ok(ipv4)
}

/// The neighbours of links that somebody set: permanent ones and those that need no resolution, those that another
/// program keeps up to date, and the addresses that the link answers for (`ip neigh show proxy`).
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn neighbours_of(socket: &mut Socket, links: &BTreeSet<u32>) -> Result<Vec<Kept>, Error> {
    let mut all = Vec::new();
    for flags in [0, neigh::NTF_PROXY] {
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0];
        all.extend(socket.dump(Request::new(Rtm::Getneigh, NlmF::DUMP, &header), |message| {
            let its = neigh::parse(message)?.filter(|its| links.contains(&its.index) && its.is_set_by_hand());
            Ok(its.map(|its| Kept::new(About::Neighbour(its), message)))
        })?);
    }
    Ok(all)
}

/// The settings of links: set on one that is there again, they make it as it was.
///
/// A bridge's VLANs and what its ports learned are not among them.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn settings_of(socket: &mut Socket, links: &BTreeSet<u32>) -> Result<Vec<Kept>, Error> {
    socket.dump(link::get(NlmF::DUMP), |message| {
        let its = link::parse(message)?.filter(|link| links.contains(&link.index));
        Ok(its.map(|its| Kept::new(About::Link(Box::new(its)), message)))
    })
}

/// `IFLA_BR_*` in include/uapi/linux/if_link.h: what can be set, but for the address that its own frames go to (which then
/// counts as set by hand) and what cannot be set while there are ports. A kernel without VLAN filtering refuses also to turn
/// it off.
fn is_set_of_a_bridge(setting: &Attribute<'_>) -> bool {
    const IFLA_BR_VLAN_FILTERING: u16 = 7;
    let is_off = setting.kind == IFLA_BR_VLAN_FILTERING && setting.value == [0];
    matches!(setting.kind, 1..=9 | 22..=39 | 41 | 43 | 44) && !is_off
}

/// `IFLA_BRPORT_*` in include/uapi/linux/if_link.h: what can be set, but for the state, which the bridge finds out.
fn is_set_of_a_port(setting: &Attribute<'_>) -> bool {
    matches!(setting.kind, 2..=10 | 12 | 25 | 27..=33 | 37 | 39 | 40 | 42 | 43)
}

/// A link's header that leaves its flags alone.
fn unchanged(mut header: [u8; 16]) -> [u8; 16] {
    let [_, _, _, _, _, _, _, _, flags @ ..] = &mut header;
    *flags = [0; 8];
    header
}

/// Whether the kernel sets it when its link comes up or gets its address: to the link's own addresses and networks, and
/// to groups. What says the same in a table of its own was set by hand.
fn comes_back(route: &Route) -> bool {
    let is_own = matches!(route.kind, Rtn::Local | Rtn::Broadcast | Rtn::Anycast | Rtn::Multicast);
    route.protocol == Rtprot::Kernel && (is_own || (RT_TABLE_DEFAULT..=RT_TABLE_LOCAL).contains(&route.table))
}

/// Whether a part of it may be there still, which then stands in the way of the whole: an IPv6 route that has next hops by
/// other links, or that has only forgotten its source. Without a gateway IPv6 could take another's route for it.
fn is_left_in_part(route: &Route) -> bool {
    let has_source = route.source.is_some() && route.gateway.is_some();
    route.destination.addr().is_ipv6() && (route.is_multipath() || has_source)
}

/// The state in which a neighbour can be added: one that is being asked is one that was heard of.
fn settled(state: u16) -> u16 {
    match state {
        libc::NUD_DELAY | libc::NUD_PROBE => libc::NUD_STALE,
        state => state,
    }
}

/// `RTA_MULTIPATH` as the kernel takes it.
fn next_hops(value: &[u8], index: &impl Fn(u32) -> u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    for (&[l0, l1, flags, weight, i0, i1, i2, i3], rest) in hop::parts(value).flatten() {
        bytes.extend([l0, l1, flags & TAKEN as u8, weight]);
        bytes.extend(index(u32::from_ne_bytes([i0, i1, i2, i3])).to_ne_bytes());
        bytes.extend(rest);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Adds an attribute that is a link's index, as it is now.
fn renumber(request: &mut Request, attribute: &Attribute<'_>, index: &impl Fn(u32) -> u32) {
    if let Ok(old) = attribute.u32() {
        request.u32(attribute.kind, index(old));
    }
}

#[cfg(test)]
mod live;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::messages, *};

    /// What is kept of a message of `kind` with this family header and these attributes.
    fn kept(kind: Rtm, header: &[u8], fill: impl FnOnce(&mut Request)) -> Kept {
        let mut request = Request::new(kind, NlmF::MULTI, header);
        fill(&mut request);
        let message = messages(request.bytes()).next().unwrap().unwrap();
        Kept::of(&message).unwrap().unwrap()
    }

    /// Link 5 has come back as 50.
    fn now(index: u32) -> u32 {
        if index == 5 { 50 } else { index }
    }

    #[test]
    fn a_route_is_made_again_without_what_the_kernel_found_out() {
        let header = [10, 64, 0, 0, 0, 99, 0, 1, 0x15, 0, 0, 0]; // proto 99, DEAD | ONLINK | LINKDOWN
        let destination = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let kept = kept(Rtm::Newroute, &header, |request| {
            request.attribute(Rta::Dst, &destination);
            request.u32(Rta::Oif, 5);
            request.u32(RTA_NH_ID, 7);
            request.encoded(Rta::Metrics, &[8, 0, 2, 0, 0x78, 5, 0, 0]);
            request.attribute(Rta::Cacheinfo, &[0, 0, 60_001, 0, 0, 0, 0, 0].map(u32::to_ne_bytes).concat());
            request.attribute(20_u16, &[1]); // RTA_PREF
        });
        assert_eq!(kept.indices(), [5].into());
        #[rustfmt::skip]
        let golden = [
            &[84, 0, 0, 0, 24, 0, 0x05, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0][..], // REQUEST | ACK | CREATE | APPEND
            &[10, 64, 0, 0, 0, 99, 0, 1, 4, 0, 0, 0], // ONLINK
            &[20, 0, 1, 0], &destination,
            &[8, 0, 4, 0, 50, 0, 0, 0], // RTA_OIF
            &[12, 0, 8, 0x80, 8, 0, 2, 0, 0x78, 5, 0, 0], // RTA_METRICS: mtu 1400
            &[8, 0, 23, 0, 0x59, 2, 0, 0], // RTA_EXPIRES: 601 seconds
            &[5, 0, 20, 0, 1, 0, 0, 0],
        ]
        .concat();
        let requests = kept.requests(now);
        assert_eq!(requests.iter().map(Request::bytes).collect::<Vec<_>>(), [golden]);
    }

    #[test]
    fn every_next_hop_leads_by_the_link_as_it_is_now() {
        #[rustfmt::skip]
        let hops = [
            16, 0, 0x15, 2, 5, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 2, // DEAD | ONLINK | LINKDOWN, weight 3
            16, 0, 0, 0, 6, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 3,
        ];
        let kept = kept(Rtm::Newroute, &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], |request| {
            request.attribute(Rta::Multipath, &hops);
        });
        assert_eq!(kept.indices(), [5, 6].into());
        let mut golden = hops;
        (golden[2], golden[4]) = (4, 50);
        let requests = kept.requests(now);
        assert_eq!(requests[0].bytes()[28..], [&[36, 0, 9, 0][..], &golden].concat());
    }

    #[test]
    fn an_ipv6_address_that_was_in_use_is_in_use_at_once() {
        let own = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let of = |flags: u32| {
            kept(Rtm::Newaddr, &[10, 64, 0x80, 0, 5, 0, 0, 0], |request| {
                request.attribute(Ifa::Address, &own);
                request.u32(Ifa::Flags, flags);
                request.attribute(Ifa::Cacheinfo, &[0, 0, 1, 2].map(u32::to_ne_bytes).concat());
            })
        };
        let golden = |how: [u8; 2], flags: u32| {
            #[rustfmt::skip]
            let parts = [
                &[72, 0, 0, 0, 20, 0, how[0], how[1], 0, 0, 0, 0, 0, 0, 0, 0][..],
                &[10, 64, 0, 0, 50, 0, 0, 0],
                &[20, 0, 1, 0], &own, // IFA_ADDRESS
                &[8, 0, 8, 0], &flags.to_ne_bytes(), // IFA_FLAGS
                &[20, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // IFA_CACHEINFO: valid for a second yet
            ];
            parts.concat()
        };
        let sent = |flags| {
            let requests = of(flags).requests(now);
            requests.iter().map(|request| request.bytes().to_vec()).collect::<Vec<_>>()
        };
        let (new, change) = ([0x05, 0x06], [0x05, 0x01]);
        let (permanent, no_prefix_route) = (libc::IFA_F_PERMANENT, libc::IFA_F_NOPREFIXROUTE);
        assert_eq!(
            sent(permanent | no_prefix_route),
            [golden(new, no_prefix_route | libc::IFA_F_NODAD), golden(change, no_prefix_route)]
        );
        assert_eq!(sent(permanent | libc::IFA_F_TENTATIVE), [golden(new, 0)]);
        assert_eq!(sent(permanent | libc::IFA_F_NODAD), [golden(new, libc::IFA_F_NODAD)]);
    }

    #[test]
    fn a_neighbour_is_made_again_as_it_was_set() {
        let kept = kept(Rtm::Newneigh, &[2, 0, 0, 0, 5, 0, 0, 0, 0x08, 0, 0x90, 1], |request| {
            request.ip(Nda::Dst, [10, 0, 0, 7].into());
            request.attribute(Nda::Lladdr, &[2, 0, 0, 0, 0, 7]);
            request.u32(Nda::Probes, 4);
            request.attribute(Nda::Cacheinfo, &[0; 16]);
            request.attribute(12_u16, &[99]); // NDA_PROTOCOL
        });
        #[rustfmt::skip]
        let golden = [
            56, 0, 0, 0, 28, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 50, 0, 0, 0, 0x04, 0, 0x90, 0, // NUD_STALE, NTF_ROUTER | NTF_EXT_LEARNED
            8, 0, 1, 0, 10, 0, 0, 7,
            10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0,
            5, 0, 12, 0, 99, 0, 0, 0,
        ];
        assert_eq!(kept.requests(now)[0].bytes(), golden);
    }

    #[test]
    fn a_links_settings_are_set_again_and_a_ports_after_it_is_plugged_in() {
        let header = [0, 0, 1, 0, 5, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0]; // up, running, multicast, has a carrier
        let kept = kept(Rtm::Newlink, &header, |request| {
            request.name(Ifla::Ifname, "v0");
            request.u32(Ifla::Mtu, 1400);
            request.u32(Ifla::Promiscuity, 1);
            request.u32(Ifla::Master, 6);
            request.nested(Ifla::Linkinfo, |info| {
                info.attribute(IflaInfo::Kind, b"veth");
                info.attribute(IflaInfo::SlaveKind, b"bridge");
                info.nested(IflaInfo::SlaveData, |data| {
                    data.attribute(1_u16, &[3]); // IFLA_BRPORT_STATE
                    data.attribute(33_u16, &[1]); // IFLA_BRPORT_ISOLATED
                });
            });
        });
        #[rustfmt::skip]
        let settings = [
            48, 0, 0, 0, 16, 0, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWLINK, REQUEST | ACK
            0, 0, 1, 0, 50, 0, 0, 0, 0x43, 0x10, 1, 0, 0x85, 0x13, 0, 0,
            8, 0, 4, 0, 0x78, 5, 0, 0, // IFLA_MTU
            8, 0, 10, 0, 6, 0, 0, 0, // IFLA_MASTER
        ];
        #[rustfmt::skip]
        let port = [
            &[60, 0, 0, 0, 16, 0, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0, 0, 1, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[28, 0, 18, 0x80], // IFLA_LINKINFO
            &[10, 0, 4, 0], b"bridge\0\0", // IFLA_INFO_SLAVE_KIND
            &[12, 0, 5, 0x80], // IFLA_INFO_SLAVE_DATA
            &[5, 0, 33, 0, 1, 0, 0, 0],
        ]
        .concat();
        let requests = kept.requests(now);
        assert_eq!(requests.iter().map(Request::bytes).collect::<Vec<_>>(), [settings.as_slice(), &port]);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            kind in prop::sample::select(vec![Rtm::Newroute, Rtm::Newaddr, Rtm::Newneigh, Rtm::Newlink]),
            rest in prop::collection::vec(any::<u8>(), 0..120), family in prop::sample::select(vec![2_u8, 10]),
        ) {
            let payload = [&[family][..], &rest].concat();
            let message = Message { kind: kind.into(), flags: NlmF::MULTI, sequence: 0, payload: &payload };
            if let Ok(Some(kept)) = Kept::of(&message) {
                prop_assert!(!kept.requests(now).is_empty());
            }
        }
    }
}
