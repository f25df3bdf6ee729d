//! Addresses of links.
//!
//! Follows net/ipv4/devinet.c, net/ipv6/addrconf.c and include/uapi/linux/if_addr.h.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use neli::consts::{
    nl::NlmF,
    rtnl::{Ifa, RtScope, Rtm},
};

use super::{
    Error, Malformed, Request, Socket, family,
    message::{Message, attributes},
    route::RTPROT_NETCTL,
};

/// Who set an address: the kernel (`IFAPROT_*` in include/uapi/linux/if_addr.h), or a program's number, netctl's being
/// [`RTPROT_NETCTL`]. neli and libc lack the number.
///
/// Kernels before 5.18 neither keep nor tell it. They take no offence either: `inet_rtm_newaddr` and
/// `inet6_rtm_newaddr` read the attributes of a request leniently (`nlmsg_parse_deprecated`), whatever strictness the
/// socket asks for.
pub const IFA_PROTO: u16 = 11;
/// The metric of the address's connected route. neli lacks the number.
const IFA_RT_PRIORITY: u16 = 9;
/// The kernel's own for the loopback's addresses.
pub(super) const IFAPROT_KERNEL_LO: u8 = 1;
/// The kernel's own for a link-local address.
pub(super) const IFAPROT_KERNEL_LL: u8 = 3;
/// What lasts for ever, in a lifetime (`INFINITY_LIFE_TIME` in include/net/addrconf.h).
const FOREVER: u32 = u32::MAX;

/// How long an address is there, in seconds; for ever when `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long it can be used at all, at least 1.
    pub valid: Option<u32>,
    /// How long it is taken for new connections, too; not longer than it is valid. 0 makes it deprecated at once.
    pub preferred: Option<u32>,
}

impl Lifetimes {
    /// `struct ifa_cacheinfo`: the preferred and the valid lifetime, and two times that the kernel sets.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let [preferred, valid] = [self.preferred, self.valid].map(|its| its.unwrap_or(FOREVER));
        [preferred, valid, 0, 0].map(u32::to_ne_bytes).concat()
    }

    fn parse(&[p0, p1, p2, p3, v0, v1, v2, v3, ..]: &[u8; 16]) -> Self {
        let seconds = |bytes| Some(u32::from_ne_bytes(bytes)).filter(|&seconds| seconds != FOREVER);
        Self { valid: seconds([v0, v1, v2, v3]), preferred: seconds([p0, p1, p2, p3]) }
    }
}

/// An address to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAddress {
    /// The link's index.
    pub index: u32,
    /// The link's own address and its subnet's prefix length; the host bits stay.
    pub address: IpNet,
    /// IPv4's broadcast address: none when `None`, as `ip addr add` has it without `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// Makes an IPv6 address usable at once, without duplicate address detection (`IFA_F_NODAD`). IPv4 has no such
    /// detection and takes no notice.
    pub no_dad: bool,
    /// Who sets it ([`IFA_PROTO`]); nobody in particular when `None`.
    pub protocol: Option<u8>,
    /// How long it is there.
    pub lifetimes: Lifetimes,
}

impl NewAddress {
    /// One of the link of that index, for ever and otherwise as the kernel likes.
    #[must_use]
    pub fn of(index: u32, address: IpNet) -> Self {
        Self {
            index,
            address,
            broadcast: None,
            no_dad: false,
            protocol: None,
            lifetimes: Lifetimes::default(),
        }
    }
}

/// `ip addr add ADDRESS/LENGTH [brd ADDRESS] dev LINK [nodad] [proto N] [valid_lft N] [preferred_lft N]`
///
/// The scope is `host` for 127.0.0.0/8 and else `global`, as iproute2 has it.
#[must_use]
pub fn add(new: &NewAddress) -> Request {
    let loopback = matches!(new.address.addr(), IpAddr::V4(v4) if v4.is_loopback());
    let scope = if loopback { RtScope::Host } else { RtScope::Universe };
    let flags = NlmF::ACK | NlmF::CREATE | NlmF::EXCL;
    let mut request = Request::new(Rtm::Newaddr, flags, &ifaddrmsg(new.index, new.address, scope));
    own_address(&mut request, new.address);
    if let Some(broadcast) = new.broadcast {
        request.ip(Ifa::Broadcast, broadcast.into());
    }
    if new.no_dad {
        request.u32(Ifa::Flags, libc::IFA_F_NODAD);
    }
    if new.lifetimes != Lifetimes::default() {
        request.attribute(Ifa::Cacheinfo, &new.lifetimes.to_bytes());
    }
    if let Some(protocol) = new.protocol {
        request.attribute(IFA_PROTO, &[protocol]);
    }
    request
}

/// `ip addr delete ADDRESS/LENGTH dev LINK`
#[must_use]
pub fn delete(index: u32, address: IpNet) -> Request {
    let header = ifaddrmsg(index, address, RtScope::Universe);
    let mut request = Request::new(Rtm::Deladdr, NlmF::ACK, &header);
    own_address(&mut request, address);
    request
}

/// An address as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// The link's own address (`IFA_LOCAL`) and the prefix length.
    pub address: IpNet,
    /// The other side's address, if it is a point-to-point one (`IFA_ADDRESS`); the prefix is then its.
    pub peer: Option<IpAddr>,
    /// IPv4's broadcast address.
    pub broadcast: Option<IpAddr>,
    /// How far it is valid.
    pub scope: RtScope,
    /// `IFA_F_*`: all 32 bits, from `IFA_FLAGS` where the kernel gives it.
    pub flags: u32,
    /// IPv4's name for it: the link's, or one that begins so (`w0:1`).
    pub label: Option<String>,
    /// Who set it ([`IFA_PROTO`]); `None` also where the kernel does not say.
    pub protocol: Option<u8>,
    /// How long it will still be there.
    pub lifetimes: Lifetimes,
    /// The metric of its connected route, if it is not 0.
    pub priority: Option<u32>,
}

impl Address {
    /// Whether netctl has set it for a topology, by its protocol; never on kernels before 5.18, which keep none.
    #[must_use]
    pub fn is_netctls(&self) -> bool {
        self.protocol == Some(RTPROT_NETCTL)
    }

    /// Whether duplicate address detection has not yet ended, so that the address cannot be used.
    #[must_use]
    pub fn is_tentative(&self) -> bool {
        self.flags & libc::IFA_F_TENTATIVE != 0
    }

    /// Whether the kernel takes it for a source only where it has no other: an IPv4 address beside the first of its
    /// subnet, an IPv6 address that is temporary (the same flag), deprecated, or not known to be its own.
    #[must_use]
    pub fn is_second_choice(&self) -> bool {
        const FLAGS: u32 =
            libc::IFA_F_TEMPORARY | libc::IFA_F_DEPRECATED | libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED;
        self.flags & FLAGS != 0
    }
}

/// `ip addr show`: every IPv4 and IPv6 address of the socket's namespace.
///
/// # Errors
/// Those of [`Socket::dump`].
pub fn dump(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    family::dump::<8, _>(socket, Rtm::Getaddr, parse)
}

/// Reads an `RTM_NEWADDR`; `None` for any other message and for other families.
pub fn parse(message: &Message<'_>) -> Result<Option<Address>, Malformed> {
    if !message.is(Rtm::Newaddr) {
        return Ok(None);
    }
    let (&[family, prefix, flags, scope, i0, i1, i2, i3], rest) = message.body::<8>()?;
    if !family::is_ip(family) {
        return Ok(None);
    }
    let (mut local, mut remote, mut broadcast) = (None, None, None);
    let (mut label, mut protocol, mut priority) = (None, None, None);
    let mut lifetimes = Lifetimes::default();
    let mut flags = u32::from(flags);
    for attribute in attributes(rest) {
        let attribute = attribute?;
        match attribute.kind {
            IFA_PROTO => protocol = Some(attribute.u8()?),
            IFA_RT_PRIORITY => priority = Some(attribute.u32()?),
            _ => {}
        }
        match Ifa::from(attribute.kind) {
            Ifa::Local => local = Some(attribute.ip()?),
            Ifa::Address => remote = Some(attribute.ip()?),
            Ifa::Broadcast => broadcast = Some(attribute.ip()?),
            Ifa::Flags => flags = attribute.u32()?,
            Ifa::Label => label = Some(attribute.text()),
            Ifa::Cacheinfo => lifetimes = Lifetimes::parse(&attribute.array()?),
            _ => {}
        }
    }
    // IPv6 gives IFA_LOCAL to point-to-point addresses only.
    let Some(address) = local.or(remote).and_then(|own| IpNet::new(own, prefix).ok()) else {
        return Ok(None);
    };
    Ok(Some(Address {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        address,
        peer: remote.filter(|&remote| remote != address.addr()),
        broadcast,
        scope: scope.into(),
        flags,
        label,
        protocol,
        lifetimes,
        priority,
    }))
}

/// `struct ifaddrmsg`; the flags travel in `IFA_FLAGS`, which has room for all of them.
fn ifaddrmsg(index: u32, address: IpNet, scope: RtScope) -> [u8; 8] {
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    [family::of(address.addr()), address.prefix_len(), 0, scope.into(), i0, i1, i2, i3]
}

/// Without a peer the kernel wants the own address twice: `IFA_ADDRESS` is the subnet's or the peer's.
fn own_address(request: &mut Request, address: IpNet) {
    request.ip(Ifa::Local, address.addr());
    request.ip(Ifa::Address, address.addr());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::messages, *};
    use crate::{netlink::link, netns::tests::isolated};

    fn new(index: u32, address: &str) -> NewAddress {
        NewAddress::of(index, address.parse().unwrap())
    }

    const FD00_1: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    #[test]
    fn ipv4_addresses_are_iproute2s() {
        #[rustfmt::skip]
        let golden = [
            40, 0, 0, 0, 20, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL
            2, 24, 0, 0, 3, 0, 0, 0,
            8, 0, 2, 0, 10, 0, 0, 1, // IFA_LOCAL
            8, 0, 1, 0, 10, 0, 0, 1, // IFA_ADDRESS
        ];
        assert_eq!(add(&new(3, "10.0.0.1/24")).bytes(), golden);
        let mut deletion = golden;
        deletion[4] = 21; // RTM_DELADDR
        deletion[7] = 0; // neither CREATE nor EXCL
        assert_eq!(delete(3, "10.0.0.1/24".parse().unwrap()).bytes(), deletion);
        assert_eq!(add(&new(1, "127.0.0.9/8")).bytes()[19], 254, "scope host");
    }

    #[test]
    fn a_broadcast_address_follows_the_own_one() {
        let broadcast = NewAddress { broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)), ..new(3, "10.0.0.1/24") };
        assert_eq!(add(&broadcast).bytes()[40..], [8, 0, 4, 0, 10, 0, 0, 255]);
    }

    #[test]
    fn ipv6_addresses_are_iproute2s_but_for_the_place_of_the_flags() {
        let address = NewAddress { no_dad: true, ..new(3, "fd00::1/64") };
        #[rustfmt::skip]
        let golden = [
            &[72, 0, 0, 0, 20, 0, 0x05, 0x06, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[10, 64, 0, 0, 3, 0, 0, 0],
            &[20, 0, 2, 0], &FD00_1, // IFA_LOCAL
            &[20, 0, 1, 0], &FD00_1, // IFA_ADDRESS
            &[8, 0, 8, 0, 2, 0, 0, 0], // IFA_FLAGS: IFA_F_NODAD
        ]
        .concat();
        assert_eq!(add(&address).bytes(), golden);
    }

    #[test]
    fn an_address_that_ends_is_iproute2s_and_says_whose_it_is() {
        let lifetimes = Lifetimes { valid: None, preferred: Some(60) };
        let address = NewAddress { lifetimes, protocol: Some(RTPROT_NETCTL), ..new(3, "10.0.0.1/24") };
        #[rustfmt::skip]
        let golden = [
            20, 0, 6, 0, 60, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, // IFA_CACHEINFO
            5, 0, 11, 0, 110, 0, 0, 0, // IFA_PROTO
        ];
        assert_eq!(add(&address).bytes()[40..], golden);
    }

    #[test]
    fn the_own_address_is_the_local_one() {
        let mut request = Request::new(Rtm::Newaddr, NlmF::empty(), &[2, 32, 0x80, 0, 3, 0, 0, 0]);
        request.ip(Ifa::Address, [10, 0, 0, 2].into());
        request.ip(Ifa::Local, [10, 0, 0, 1].into());
        request.u32(Ifa::Flags, 0x480);
        request.name(Ifa::Label, "w0:1");
        request.u32(IFA_RT_PRIORITY, 7);
        request.attribute(Ifa::Cacheinfo, &[u32::MAX, 60, 1, 2].map(u32::to_ne_bytes).concat());
        let message = messages(request.bytes()).next().unwrap().unwrap();
        let expected = Address {
            index: 3,
            address: "10.0.0.1/32".parse().unwrap(),
            peer: Some([10, 0, 0, 2].into()),
            broadcast: None,
            scope: RtScope::Universe,
            flags: 0x480,
            label: Some("w0:1".into()),
            protocol: None,
            lifetimes: Lifetimes { valid: Some(60), preferred: None },
            priority: Some(7),
        };
        assert_eq!(parse(&message).unwrap(), Some(expected));
    }

    proptest! {
        #[test]
        fn no_message_makes_the_parser_panic(payload in prop::collection::vec(any::<u8>(), 0..120), v6: bool) {
            let mut payload = payload;
            if let Some(family) = payload.first_mut() {
                *family = if v6 { 10 } else { 2 };
            }
            let (kind, flags) = (Rtm::Newaddr.into(), NlmF::empty());
            let _ = parse(&Message { kind, flags, sequence: 0, payload: &payload });
        }

        #[test]
        fn what_is_added_is_what_is_parsed(
            index: u32, octets: [u8; 16], prefix in 0_u8..=128, v4: bool, broadcast: Option<[u8; 4]>, no_dad: bool,
            protocol: Option<u8>, valid in prop::option::of(1..u32::MAX), preferred in prop::option::of(0..u32::MAX),
        ) {
            let [a, b, c, d, ..] = octets;
            let address = if v4 { IpAddr::from([a, b, c, d]) } else { octets.into() };
            let address = IpNet::new(address, if v4 { prefix / 4 } else { prefix }).unwrap();
            let broadcast = broadcast.filter(|_| v4).map(Ipv4Addr::from);
            let lifetimes = Lifetimes { valid, preferred };
            let request = add(&NewAddress { index, address, broadcast, no_dad, protocol, lifetimes });
            let message = messages(request.bytes()).next().unwrap().unwrap();
            prop_assert_eq!(parse(&message).unwrap().unwrap(), Address {
                index, address, peer: None, broadcast: broadcast.map(IpAddr::V4),
                scope: if v4 && a == 127 { RtScope::Host } else { RtScope::Universe },
                flags: if no_dad { libc::IFA_F_NODAD } else { 0 },
                label: None, protocol, lifetimes, priority: None,
            });
        }
    }

    #[test]
    fn the_kernel_keeps_whose_an_address_is_and_how_long_it_lasts() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let lifetimes = Lifetimes { valid: Some(3600), preferred: Some(1800) };
            let addresses = ["10.0.0.1/24", "fd00::1/64"].map(|address| NewAddress {
                protocol: Some(RTPROT_NETCTL),
                lifetimes,
                ..new(1, address)
            });
            let mut batch = vec![link::set_up(1), add(&new(1, "10.0.1.1/24"))];
            batch.extend(addresses.iter().map(add));
            assert!(socket.execute(batch).unwrap().iter().all(Result::is_ok));
            let all = dump(&mut socket).unwrap();
            let its = |wanted: &str| all.iter().find(|its| its.address == wanted.parse().unwrap()).unwrap();
            for address in ["10.0.0.1/24", "fd00::1/64"] {
                let its = its(address);
                assert!(its.is_netctls());
                let (valid, preferred) = (its.lifetimes.valid.unwrap(), its.lifetimes.preferred.unwrap());
                assert!((3590..=3600).contains(&valid) && (1790..=1800).contains(&preferred), "{its:?}");
            }
            let anothers = its("10.0.1.1/24");
            assert_eq!((anothers.is_netctls(), anothers.lifetimes), (false, Lifetimes::default()));
            assert_eq!(anothers.label.as_deref(), Some("lo"));
        });
    }

    #[test]
    fn addresses_come_and_go() {
        isolated(|| {
            let mut socket = Socket::open().unwrap();
            let v4 = NewAddress { broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)), ..new(1, "10.0.0.1/24") };
            let v6 = NewAddress { no_dad: true, ..new(1, "fd00::1/64") };
            let batch = vec![link::set_up(1), add(&v4), add(&v6), add(&v4)];
            let answers = socket.execute(batch).unwrap();
            let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
            assert_eq!(refused, [false, false, false, true]);
            let found = |socket: &mut Socket, wanted: &NewAddress| {
                let all = dump(socket).unwrap();
                all.into_iter().find(|its| its.address == wanted.address)
            };
            let four = found(&mut socket, &v4).unwrap();
            assert_eq!(four.broadcast, v4.broadcast.map(IpAddr::V4));
            assert_eq!((four.index, four.peer, four.scope), (1, None, RtScope::Universe));
            let six = found(&mut socket, &v6).unwrap();
            assert!(six.flags & libc::IFA_F_NODAD != 0 && !six.is_tentative());
            let batch = vec![delete(1, v4.address), delete(1, v6.address)];
            assert_eq!(socket.execute(batch).unwrap(), [Ok(()), Ok(())]);
            assert_eq!((found(&mut socket, &v4), found(&mut socket, &v6)), (None, None));
        });
    }
}
