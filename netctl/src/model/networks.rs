//! Networks, each with a value, by which those that contain or overlap another are found without looking at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

/// A value by network. Of two values for one network, the first is kept.
#[derive(Debug, Clone)]
pub(crate) struct Networks<T> {
    by_network: BTreeMap<IpNet, T>,
    /// The prefix lengths that occur, by family: a lookup tries these alone.
    lengths: BTreeSet<(bool, u8)>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self { by_network: BTreeMap::new(), lengths: BTreeSet::new() }
    }
}

impl<T> Networks<T> {
    /// Adds the network that `net` is an address of.
    pub(crate) fn insert(&mut self, net: IpNet, value: T) {
        self.lengths.insert((net.addr().is_ipv4(), net.prefix_len()));
        self.by_network.entry(net.trunc()).or_insert(value);
    }

    /// As [`Networks::insert`], but this value is the one that is kept.
    pub(crate) fn replace(&mut self, net: IpNet, value: T) {
        self.lengths.insert((net.addr().is_ipv4(), net.prefix_len()));
        self.by_network.insert(net.trunc(), value);
    }

    pub(crate) fn get(&self, network: &IpNet) -> Option<&T> {
        self.by_network.get(network)
    }

    pub(crate) fn get_mut(&mut self, network: &IpNet) -> Option<&mut T> {
        self.by_network.get_mut(network)
    }

    /// Those that contain all of `net`, the most specific first.
    pub(crate) fn covering(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &T)> {
        let ipv4 = net.addr().is_ipv4();
        let lengths = self.lengths.range((ipv4, 0)..=(ipv4, net.prefix_len())).rev();
        lengths.filter_map(move |&(_, length)| {
            let wider = IpNet::new(net.addr(), length).ok()?.trunc();
            self.by_network.get(&wider).map(|value| (wider, value))
        })
    }

    /// Those that `net` contains all of, in the order of their addresses.
    pub(crate) fn within(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &T)> {
        let last = IpNet::from(net.broadcast());
        let inside = self.by_network.range(net.trunc()..=last);
        // A wider network may begin at the same address, but not one that is looked for.
        inside
            .filter(move |(other, _)| other.prefix_len() >= net.prefix_len())
            .map(|(&net, value)| (net, value))
    }

    /// Those that have an address in common with `net`.
    pub(crate) fn overlapping(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &T)> {
        let wider = self.covering(net).filter(move |(other, _)| other.prefix_len() < net.prefix_len());
        wider.chain(self.within(net))
    }

    /// The most specific one that `address` is in.
    pub(crate) fn longest(&self, address: IpAddr) -> Option<(IpNet, &T)> {
        self.covering(address.into()).next()
    }
}

impl<T> FromIterator<(IpNet, T)> for Networks<T> {
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(pairs: I) -> Self {
        let mut networks = Self::default();
        for (net, value) in pairs {
            networks.insert(net, value);
        }
        networks
    }
}

/// Whether two networks have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn families_are_kept_apart_and_the_first_value_stays() {
        let networks: Networks<u8> = [("0.0.0.0/0", 4), ("::/0", 6), ("10.0.0.1/24", 1), ("10.0.0.2/24", 2)]
            .map(|(net, value)| (net.parse().unwrap(), value))
            .into_iter()
            .collect();
        let value = |address: &str| networks.longest(address.parse().unwrap()).map(|(_, value)| *value);
        assert_eq!([value("10.0.0.7"), value("10.0.1.7"), value("fd15::1")], [Some(1), Some(4), Some(6)]);
    }

    /// Networks close enough together that many contain each other.
    fn nets() -> impl Strategy<Value = Vec<IpNet>> {
        let net = (0u32..64, 24u8..=32).prop_map(|(host, length)| {
            IpNet::new(Ipv4Addr::from(0x0a00_0000 | host << 3).into(), length).unwrap()
        });
        proptest::collection::vec(net, 1..40)
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_looking_at_all_finds(nets in nets(), one in 0..40usize) {
            let networks: Networks<()> = nets.iter().map(|&net| (net, ())).collect();
            let one = nets[one % nets.len()].trunc();
            let all: BTreeSet<IpNet> = nets.iter().map(IpNet::trunc).collect();
            let found = |found: &mut dyn Iterator<Item = (IpNet, &())>| -> BTreeSet<IpNet> { found.map(|(net, ())| net).collect() };
            let expected = |f: &dyn Fn(&IpNet) -> bool| -> BTreeSet<IpNet> { all.iter().filter(|net| f(net)).copied().collect() };
            prop_assert_eq!(found(&mut networks.covering(one)), expected(&|net| net.contains(&one)));
            prop_assert_eq!(found(&mut networks.within(one)), expected(&|net| one.contains(net)));
            prop_assert_eq!(found(&mut networks.overlapping(one)), expected(&|net| overlap(net, &one)));
        }
    }
}
