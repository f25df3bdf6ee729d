//! The sysctls that the file sets, in the order in which the kernel has them hold: some set others.

use super::Planner;
use crate::{
    model::{IfName, LOCAL_PORTS, Place, keys},
    op::{Change, Op, SysctlChange},
};

impl Planner<'_> {
    /// What links begin with: set before there are new ones.
    pub(super) fn sysctls_of_new_links(&mut self) {
        for (place, wanted) in &self.given.topology.sysctls {
            for (key, value) in wanted.iter().filter(|(key, _)| Scope::of(key) == Scope::Default) {
                self.sysctl(place, key, value);
            }
        }
    }

    pub(super) fn sysctls(&mut self) {
        self.keep_advertised_routes();
        for (place, wanted) in &self.given.topology.sysctls {
            let mut rest: Vec<_> = wanted.iter().filter(|(key, _)| *key != LOCAL_PORTS).collect();
            rest.sort_by_key(|(key, _)| Scope::of(key));
            for (key, value) in rest {
                let scope = Scope::of(key);
                if scope != Scope::Default || self.is_overwritten(place, key) {
                    self.sysctl(place, key, value);
                }
            }
        }
    }

    pub(super) fn sysctl(&mut self, place: &Place, key: &str, value: &str) {
        let found = self.given.there(place).and_then(|there| there.sysctls.get(key));
        let is_new =
            interface_of(key).is_some_and(|interface| self.fresh.contains(&(place.clone(), interface)));
        let before = found.cloned().flatten().filter(|_| !is_new);
        if before.as_deref() != Some(value) || self.is_overwritten(place, key) {
            let (key, value) = (key.to_owned(), value.to_owned());
            self.ops.push(Op::new(place, SysctlChange { key, value, before }));
        }
    }

    /// Whether what this plan sets so far changes the key, too: turning forwarding sets that of every link, and of those
    /// to come (`inet_forward_change` in net/ipv4/devinet.c, `addrconf_forward_change` in net/ipv6/addrconf.c), and
    /// `conf.all.disable_ipv6` likewise (`addrconf_disable_change`).
    fn is_overwritten(&self, place: &Place, key: &str) -> bool {
        let Some(by) = keys::set_by(key) else { return false };
        let sets =
            |op: &Op| op.place == *place && matches!(&op.change, Change::Sysctl(change) if change.key == by);
        self.ops.iter().any(sets)
    }
}

/// What a sysctl is about, in the order to set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// Forwarding, which sets other keys.
    Forwarding,
    /// Every link that there is.
    All,
    /// Links to come.
    Default,
    /// One link, or something else.
    One,
}

impl Scope {
    fn of(key: &str) -> Self {
        if matches!(key, keys::IPV4 | keys::IPV6) {
            return Self::Forwarding;
        }
        match part_for_links(key) {
            Some("all") => Self::All,
            Some("default") => Self::Default,
            Some(_) | None => Self::One,
        }
    }
}

/// `NAME` of `net.ipv4.conf.NAME.forwarding`, as the key has it.
fn part_for_links(key: &str) -> Option<&str> {
    let parts: Vec<&str> = key.split('.').collect();
    match *parts.as_slice() {
        ["net", "ipv4" | "ipv6" | "mpls", "conf" | "neigh", name, _, ..] => Some(name),
        _ => None,
    }
}

/// The interface that a key is about.
fn interface_of(key: &str) -> Option<IfName> {
    part_for_links(key)?.replace('/', ".").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_one_link_of_all_of_them_or_of_those_to_come() {
        for (key, scope, interface) in [
            (keys::IPV4, Scope::Forwarding, None),
            (keys::IPV6, Scope::Forwarding, None),
            ("net.ipv4.conf.all.rp_filter", Scope::All, None),
            ("net.ipv6.conf.default.accept_dad", Scope::Default, None),
            ("net.ipv4.neigh.default.gc_thresh1", Scope::Default, None),
            ("net.ipv4.conf.wan0/7.rp_filter", Scope::One, Some("wan0.7")),
            ("net.ipv6.neigh.eth0.retrans_time_ms", Scope::One, Some("eth0")),
            ("net.core.somaxconn", Scope::One, None),
        ] {
            let found = interface_of(key);
            assert_eq!((Scope::of(key), found.as_ref().map(IfName::as_str)), (scope, interface), "{key}");
        }
    }
}
