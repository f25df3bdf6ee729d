//! Places, routes and rules in the words of people: what plans, errors and listings call them.

use std::fmt;

use ipnet::IpNet;

use super::{Filtering, Forward, Mapping, Masquerade, Place, Route, RouteKind, Rule, RuleAction};

/// `` `eth0` in namespace `red` ``, `` `br0` on the host ``
pub(crate) struct At<'a>(pub(crate) &'a Place);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Host => f.write_str("on the host"),
            Place::Netns(name) => write!(f, "in namespace `{name}`"),
        }
    }
}

/// `default` or the network.
pub(crate) struct Destination<'a>(pub(crate) &'a IpNet);

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == 0 { f.write_str("default") } else { self.0.fmt(f) }
    }
}

/// `8080`, `8000-8009`
pub(crate) struct Ports(pub(crate) (u16, u16));

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

/// With commas, as flags and `iptables` take them.
fn listed(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Masquerade {
    /// `192.168.15.0/24 out wan0`, with `as ADDRESS`, `ports A-B`, `routed`, `mapping …` and `filtering …` where the
    /// rule says so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} out {}", self.source, listed(&self.out))?;
        if let Some(address) = self.address {
            write!(f, " as {address}")?;
        }
        if let Some(ports) = self.ports {
            write!(f, " ports {}", Ports(ports))?;
        }
        if self.routed {
            f.write_str(" routed")?;
        }
        if self.mapping != Mapping::default() {
            write!(f, " mapping {}", self.mapping)?;
        }
        if self.filtering != Filtering::default() {
            write!(f, " filtering {}", self.filtering)?;
        }
        Ok(())
    }
}

impl Forward {
    /// What it listens on, as the file's `listen` has it: `203.0.113.1:8080/tcp`.
    #[must_use]
    pub fn listen(&self) -> String {
        let ports = Ports(self.ports);
        match self.address {
            Some(address) if address.is_ipv6() => format!("[{address}]:{ports}/{}", self.protocol),
            Some(address) => format!("{address}:{ports}/{}", self.protocol),
            None => format!("{ports}/{}", self.protocol),
        }
    }

    /// The ports that its ports map to, first to last.
    pub(crate) fn targets(&self) -> (u16, u16) {
        (self.to_port, self.to_port.saturating_add(self.ports.1 - self.ports.0))
    }

    /// Where it sends to, as the file's `to` has it: `192.168.15.2:80`.
    #[must_use]
    pub fn target(&self) -> String {
        let ports = Ports(self.targets());
        if self.to.is_ipv6() { format!("[{}]:{ports}", self.to) } else { format!("{}:{ports}", self.to) }
    }
}

impl fmt::Display for Forward {
    /// `203.0.113.1:8080/tcp to 192.168.15.2:80`, with `allow NETWORKS` where the rule says so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.listen(), self.target())?;
        match &self.allow {
            Some(networks) => write!(f, " allow {}", listed(networks)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Route {
    /// As `ip route add` takes it, with `{:#}` as a shell reads it: `default via 10.0.0.1 dev eth0 metric 5`, `blackhole 10.9.0.0/16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Prohibit => f.write_str("prohibit ")?,
        }
        Destination(&self.to).fmt(f)?;
        if let Some(via) = self.via {
            let family = if via.is_ipv6() && self.to.addr().is_ipv4() { "inet6 " } else { "" };
            write!(f, " via {family}{via}")?;
        }
        if let Some(dev) = &self.dev {
            f.write_str(" dev ")?;
            dev.fmt(f)?;
        }
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if self.onlink { f.write_str(" onlink") } else { Ok(()) }
    }
}

impl fmt::Display for Rule {
    /// As `ip rule add` takes it, with `{:#}` as a shell reads it: `priority 100 from 10.0.0.0/24 table 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority {}", self.priority)?;
        for (word, network) in [("from", self.from), ("to", self.to)] {
            if let Some(network) = network {
                write!(f, " {word} {network}")?;
            }
        }
        for (word, interface) in [("iif", &self.iif), ("oif", &self.oif)] {
            if let Some(interface) = interface {
                write!(f, " {word} ")?;
                interface.fmt(f)?;
            }
        }
        match self.mark {
            None => {}
            Some((mark, u32::MAX)) => write!(f, " fwmark {mark:#x}")?,
            Some((mark, mask)) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
        }
        match self.action {
            RuleAction::Table(table) => write!(f, " table {table}"),
            RuleAction::Blackhole => f.write_str(" blackhole"),
            RuleAction::Unreachable => f.write_str(" unreachable"),
            RuleAction::Prohibit => f.write_str(" prohibit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn rules_read_as_the_file_has_them() {
        let mut forward = Forward {
            address: Some("203.0.113.1".parse().unwrap()),
            ports: (8080, 8080),
            protocol: Protocol::Tcp,
            to: "192.168.15.2".parse().unwrap(),
            to_port: 80,
            allow: None,
        };
        assert_eq!(forward.to_string(), "203.0.113.1:8080/tcp to 192.168.15.2:80");
        forward.address = Some("2001:db8::1".parse().unwrap());
        forward.to = "fd15::2".parse().unwrap();
        forward.ports = (8000, 8009);
        assert_eq!(forward.to_string(), "[2001:db8::1]:8000-8009/tcp to [fd15::2]:80-89");
        forward.address = None;
        forward.allow = Some(["fd00::/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into());
        assert_eq!(forward.listen(), "8000-8009/tcp");
        assert_eq!(forward.to_string(), "8000-8009/tcp to [fd15::2]:80-89 allow 2001:db8::/32,fd00::/8");
        let masquerade = Masquerade {
            source: "10.0.0.0/8".parse().unwrap(),
            out: vec!["wan0".parse().unwrap(), "wan1".parse().unwrap()],
            address: None,
            ports: Some((20000, 29999)),
            routed: true,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
        };
        assert_eq!(
            masquerade.to_string(),
            "10.0.0.0/8 out wan0,wan1 ports 20000-29999 routed mapping endpoint-independent filtering address-dependent"
        );
    }
}
