//! What a file alone does not tell: whether the machine that it is brought up on has room for it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    Backend, IfName, Interface, LinkKind, Place, Topology,
    keys::{IPV4, IPV6},
};

impl Topology {
    /// What only the machine knows that is to bring it up, each as words behind "not checked:".
    #[must_use]
    pub fn unchecked(&self) -> Vec<String> {
        let mut unchecked = Vec::new();
        if !self.namespaces.is_empty() || self.own_of_host().next().is_some() {
            unchecked.push("whether its names are free".to_owned());
        }
        let foreign: Vec<String> = self.foreign().iter().map(|name| format!("`{name}`")).collect();
        if !foreign.is_empty() {
            unchecked.push(format!("whether the host has {}", foreign.join(", ")));
        }
        let subnets: BTreeSet<String> = self.subnets_of_host().map(|net| net.trunc().to_string()).collect();
        if !subnets.is_empty() {
            let subnets: Vec<String> = subnets.into_iter().collect();
            unchecked.push(format!("whether the host knows {} already", subnets.join(", ")));
        }
        let beyond: BTreeSet<IpAddr> = self.next_hops_beyond().collect();
        unchecked.extend(beyond.iter().map(|via| format!("whether {via} is a neighbour of the host")));
        unchecked.extend(self.of_kernel());
        unchecked
    }

    /// What the kernel, or the machine, has or has not.
    fn of_kernel(&self) -> Option<String> {
        let backends: BTreeSet<Backend> = self.gateways.iter().map(|gateway| gateway.backend).collect();
        let mut asked: Vec<String> = Vec::new();
        for backend in backends {
            asked.push(match backend {
                Backend::Ebpf => "loads the NAT programs".to_owned(),
                backend => format!("has `{backend}`"),
            });
        }
        if self.links.iter().any(|link| matches!(link.kind, LinkKind::Vlan { .. })) {
            asked.push("has VLANs".to_owned());
        }
        if self.links.iter().any(|link| link.kind == LinkKind::Dummy) {
            asked.push("has dummies".to_owned());
        }
        // Forwarding, every kernel has.
        let mut keys = self.sysctls.values().flat_map(|sysctls| sysctls.keys());
        if keys.any(|key| key != IPV4 && key != IPV6) {
            asked.push("has the sysctls".to_owned());
        }
        (!asked.is_empty()).then(|| format!("whether the kernel {}", asked.join(", ")))
    }

    /// The interfaces that it makes on the host.
    fn own_of_host(&self) -> impl Iterator<Item = Interface<'_>> {
        self.interfaces().filter(|its| *its.place == Place::Host)
    }

    /// The interfaces of the host that it names and does not make.
    fn foreign(&self) -> BTreeSet<&IfName> {
        let own: BTreeSet<&IfName> = self.own_of_host().map(|its| its.interface).collect();
        let gateways = self.gateways.iter().filter(|gateway| gateway.place == Place::Host);
        let routes = self.routes.iter().filter(|route| route.place == Place::Host);
        let rules = self.rules.iter().filter(|rule| rule.place == Place::Host);
        let links = self.links.iter().filter(|link| link.place == Place::Host);
        let parents = links.filter_map(|link| match &link.kind {
            LinkKind::Vlan { parent, .. } => Some(parent),
            LinkKind::Dummy => None,
        });
        let named = gateways
            .flat_map(|gateway| &gateway.uplinks)
            .chain(routes.filter_map(|route| route.dev.as_ref()))
            .chain(rules.flat_map(|rule| [&rule.iif, &rule.oif]).flatten())
            .chain(parents);
        named.filter(|name| name.as_str() != "lo" && !own.contains(name)).collect()
    }

    /// The subnets that the host gets by it.
    fn subnets_of_host(&self) -> impl Iterator<Item = &IpNet> {
        self.own_of_host().flat_map(|its| its.addresses)
    }

    /// The next hops of the host that are in none of these subnets.
    fn next_hops_beyond(&self) -> impl Iterator<Item = IpAddr> {
        let routes = self.routes.iter().filter(|route| route.place == Place::Host && route.dev.is_none());
        let near = |via: &IpAddr| self.subnets_of_host().any(|net| net.contains(via));
        routes.filter_map(|route| route.via).filter(move |via| !near(via))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::topology;

    #[test]
    fn what_the_file_decides_alone_leaves_nothing_open() {
        assert!(topology("").unchecked().is_empty());
    }

    #[test]
    fn what_the_machine_decides_is_told() {
        let text = "[namespaces.red]\nsysctls = { 'net.ipv4.tcp_ecn' = '1' }\n[bridges.lan]\naddresses = ['10.0.0.1/24', 'fd15::1/64']\nports.red = {}\n\
                    [[links]]\ninterface = 'v'\nkind = 'vlan'\nparent = 'enp1s0'\nid = 7\n\
                    [[routes]]\nnamespace = 'host'\nto = '10.9.0.0/16'\nvia = '10.0.0.2'\n\
                    [[routes]]\nnamespace = 'host'\nto = '10.8.0.0/16'\nvia = '172.30.0.1'\n\
                    [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'\nout = 'wlan0'";
        assert_eq!(
            topology(text).unchecked(),
            [
                "whether its names are free",
                "whether the host has `enp1s0`, `wlan0`",
                "whether the host knows 10.0.0.0/24, fd15::/64 already",
                "whether 172.30.0.1 is a neighbour of the host",
                "whether the kernel loads the NAT programs, has VLANs, has the sysctls",
            ]
        );
    }
}
