//! Addresses that the file leaves out: the same ones on every run.
//!
//! A bridge's ports are served in the order of the file, and each takes the lowest address of each subnet that nobody
//! has. What a port gets thus depends on the file alone, and on nothing below the port but addresses that the file
//! gives: a port that is added at the end, or the last port's `count` when it grows, moves no other. A port removed
//! moves those below it; an address that must never move is one to write down.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::address::is_link_local;

/// The addresses of one bridge's subnets that are still to be had.
pub(super) struct Allotment {
    subnets: Vec<Subnet>,
    taken: BTreeSet<IpAddr>,
}

struct Subnet {
    net: IpNet,
    /// The lowest address that may still be free, and the last that a host may have, as numbers.
    next: u128,
    last: u128,
}

/// A subnet whose addresses are all taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted(pub(super) IpNet);

impl Allotment {
    /// Of a bridge with these addresses, and others of its ports that the file gives.
    pub(super) fn new(bridge: &[IpNet], given: impl Iterator<Item = IpAddr>) -> Self {
        let mut subnets: BTreeMap<IpNet, usize> = BTreeMap::new();
        for (order, net) in bridge.iter().enumerate() {
            // An address of full length is in no subnet, and link-local ones every interface has by itself.
            if net.prefix_len() < net.max_prefix_len() && !is_link_local(net.addr()) {
                subnets.entry(net.trunc()).or_insert(order);
            }
        }
        let mut subnets: Vec<(IpNet, usize)> = subnets.into_iter().collect();
        subnets.sort_by_key(|&(_, order)| order);
        Self {
            subnets: subnets.into_iter().map(|(net, _)| Subnet::new(net)).collect(),
            taken: bridge.iter().map(IpNet::addr).chain(given).collect(),
        }
    }

    /// Whether there is no subnet at all.
    pub(super) fn is_empty(&self) -> bool {
        self.subnets.is_empty()
    }

    /// The addresses of the next port: one of each subnet, in the order of the bridge's.
    pub(super) fn next(&mut self) -> Result<Vec<IpNet>, Exhausted> {
        let taken = &mut self.taken;
        self.subnets.iter_mut().map(|subnet| subnet.take(taken).ok_or(Exhausted(subnet.net))).collect()
    }
}

impl Subnet {
    /// Without the network's own address, which in IPv6 is that of any router (RFC 4291, 2.6.1), and without IPv4's
    /// broadcast address; subnets of two have neither (RFC 3021, RFC 6164).
    fn new(net: IpNet) -> Self {
        let (first, last) = (number(net.network()), number(net.broadcast()));
        let is_pair = net.prefix_len() + 1 == net.max_prefix_len();
        let has_broadcast = net.addr().is_ipv4() && !is_pair;
        Self { net, next: first + u128::from(!is_pair), last: last - u128::from(has_broadcast) }
    }

    fn take(&mut self, taken: &mut BTreeSet<IpAddr>) -> Option<IpNet> {
        while self.next <= self.last {
            let address = self.address(self.next)?;
            self.next += 1;
            if taken.insert(address) {
                return IpNet::new(address, self.net.prefix_len()).ok();
            }
        }
        None
    }

    fn address(&self, number: u128) -> Option<IpAddr> {
        Some(match self.net {
            IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).ok()?).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn allotment(bridge: &[&str], given: &[&str]) -> Allotment {
        Allotment::new(&nets(bridge), given.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn each_port_takes_the_next_free_address_of_each_subnet() {
        let mut allotment =
            allotment(&["192.168.15.5/24", "fd15::1/64"], &["192.168.15.2", "192.168.15.3", "fd15::2"]);
        assert_eq!(allotment.next().unwrap(), nets(&["192.168.15.1/24", "fd15::3/64"]));
        assert_eq!(allotment.next().unwrap(), nets(&["192.168.15.4/24", "fd15::4/64"]));
        assert_eq!(allotment.next().unwrap(), nets(&["192.168.15.6/24", "fd15::5/64"]));
    }

    #[test]
    fn network_and_broadcast_stay_free_but_in_a_subnet_of_two() {
        for (bridge, free) in [
            ("10.0.0.1/30", &["10.0.0.2/30"][..]),
            ("10.0.0.0/31", &["10.0.0.1/31"]),
            ("255.255.255.255/31", &["255.255.255.254/31"]),
            ("fd15::1/126", &["fd15::2/126", "fd15::3/126"]),
            ("fd15::1/127", &["fd15::/127"]),
        ] {
            let mut allotment = allotment(&[bridge], &[]);
            for net in nets(free) {
                assert_eq!(allotment.next().unwrap(), [net]);
            }
            let exhausted = bridge.parse::<IpNet>().unwrap().trunc();
            assert_eq!(allotment.next(), Err(Exhausted(exhausted)));
        }
    }

    #[test]
    fn single_and_link_local_addresses_are_no_subnets_and_two_of_one_subnet_are_one() {
        assert!(allotment(&["10.0.0.1/32", "fe80::1/64"], &[]).is_empty());
        let mut allotment = allotment(&["10.0.0.1/24", "10.0.0.2/24"], &[]);
        assert_eq!(allotment.next().unwrap(), nets(&["10.0.0.3/24"]));
    }

    proptest! {
        #[test]
        fn nobody_gets_an_address_that_another_has(
            length in 22u8..=31, host in any::<u8>(), given in proptest::collection::btree_set(0u32..600, 0..50),
        ) {
            let bridge = IpNet::new(Ipv4Addr::new(10, 0, 0, host).into(), length).unwrap();
            let given: BTreeSet<IpAddr> = given.iter().map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
            let mut allotment = Allotment::new(&[bridge], given.iter().copied());
            let mut seen = given.clone();
            seen.insert(bridge.addr());
            while let Ok(addresses) = allotment.next() {
                for net in addresses {
                    prop_assert_eq!(net.trunc(), bridge.trunc());
                    prop_assert!(seen.insert(net.addr()), "{} twice", net);
                }
            }
            let hosts = match bridge.trunc() { IpNet::V4(net) => net.hosts(), IpNet::V6(_) => unreachable!() };
            for host in hosts {
                prop_assert!(seen.contains(&host.into()), "{} was left", host);
            }
        }
    }
}
