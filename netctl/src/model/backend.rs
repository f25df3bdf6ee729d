//! What translates a gateway's addresses, and which rules netfilter has no words for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Gateway, IfName, Mapping, Problem, Timeouts,
    behaviour::{Word, word},
    error::Error,
};
use crate::spec::{KeyPath, Nat, key_path};

/// Who translates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// netctl's own programs.
    #[default]
    Ebpf,
    /// Netfilter, with rules that `iptables` and `ip6tables` write.
    Iptables,
    /// Netfilter, with rules that `nft` writes.
    Nftables,
}

impl Word for Backend {
    const ALL: &'static [Self] = &[Self::Ebpf, Self::Iptables, Self::Nftables];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Lets the gateway's own processes reach a forwarded port by 127.0.0.1: only then does the kernel send packets of that
/// source to a neighbour (`__mkroute_output` in net/ipv4/route.c).
pub(crate) const ROUTE_LOCALNET: &str = "net.ipv4.conf.all.route_localnet";

/// Where these are 1, the kernel's default where it has them, rules are also asked about what a bridge passes on by
/// itself, and a packet that a bridge takes back to the port it came from is lost.
pub(crate) const BRIDGED: [&str; 2] =
    ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];

/// What a gateway needs for netfilter to translate: nothing if that is not what does, and the file's timeouts as
/// netfilter calls them.
pub(super) fn sysctls(gateway: &Gateway, timeouts: &Timeouts) -> Vec<(String, String)> {
    if gateway.backend == Backend::Ebpf {
        return Vec::new();
    }
    let has_ipv4 = gateway.forwards.iter().any(|rule| rule.to.is_ipv4());
    let localnet = has_ipv4.then(|| (ROUTE_LOCALNET.to_owned(), "1".to_owned()));
    let lifetimes = timeouts
        .iter()
        .flat_map(|(timeout, lifetime)| timeout.conntrack_keys().map(|key| (key, lifetime.0.to_string())));
    localnet.into_iter().chain(lifetimes).collect()
}

fn path() -> KeyPath {
    key_path!["nat", "backend"]
}

/// The file's backend.
pub(super) fn resolve(nat: &Nat) -> Result<Backend, Error> {
    word(nat.backend.as_deref(), &path())
}

/// Refuses what the classic backends cannot do.
pub(super) fn check(nat: &Nat, gateways: &[Gateway]) -> Result<(), Error> {
    let backend = resolve(nat)?;
    if backend != Backend::Ebpf && nat.max_flows.is_some() {
        return Err(Error::new(key_path!["nat", "max-flows"], Problem::ClassicMaxFlows { backend }));
    }
    for gateway in gateways.iter().filter(|gateway| gateway.backend != Backend::Ebpf) {
        let (backend, outs) = (gateway.backend, gateway.masquerades.iter().flat_map(|rule| &rule.out));
        if let Some(name) = outs.into_iter().find(|name| !is_plain(name)) {
            return Err(Error::new(path(), Problem::ClassicName { backend, name: name.clone() }));
        }
        let mappings = gateway.masquerades.iter().map(|rule| rule.mapping);
        if let Some(mapping) = mappings.into_iter().find(|mapping| *mapping != Mapping::default()) {
            return Err(Error::new(path(), Problem::ClassicMapping { backend, mapping }));
        }
    }
    Ok(())
}

/// Whether both tools take the name for just this interface: a `+` or a `*` at the end stands for any more characters.
fn is_plain(name: &IfName) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    name.as_str().chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, office};
    use super::*;

    const RULE: &str = "[[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.0/24'\nout = 'wan0'\n";

    #[test]
    fn a_gateway_has_the_backend_of_the_file() {
        for (word, backend) in [
            ("", Backend::Ebpf),
            ("backend = 'ebpf'", Backend::Ebpf),
            ("backend = 'iptables'", Backend::Iptables),
            ("backend = 'nftables'", Backend::Nftables),
        ] {
            assert_eq!(office(&format!("[nat]\n{word}\n{RULE}")).gateways[0].backend, backend, "{word}");
        }
    }

    #[test]
    fn a_backend_that_there_is_not_is_refused_with_the_nearest() {
        assert_office_refused(&[
            (
                "[nat]\nbackend = 'iptable'",
                "15: `iptable` is not one of the words here (`nat.backend`)",
                "did you mean `iptables`?",
            ),
            (
                "[nat]\nbackend = 'pf'",
                "15: `pf` is not one of the words here (`nat.backend`)",
                "write `ebpf` or `iptables` or `nftables`",
            ),
        ]);
    }

    #[test]
    fn an_interface_that_netfilter_takes_for_many_is_refused() {
        let rule = RULE.replace("router", "host").replace("wan0", "wan+");
        assert_office_refused(&[(
            &format!("[nat]\nbackend = 'iptables'\n{rule}"),
            "15: iptables has no name for the interface `wan+` alone (`nat.backend`)",
            "use `backend = \"ebpf\"`, or call it otherwise",
        )]);
        office(&rule);
    }

    #[test]
    fn what_netfilter_has_no_rules_for_is_refused() {
        let rule = format!("{RULE}mapping = 'endpoint-independent'\n");
        assert_office_refused(&[(
            &format!("[nat]\nbackend = 'iptables'\n{rule}"),
            "15: iptables has no endpoint-independent mapping (`nat.backend`)",
            "`backend = \"ebpf\"` has",
        )]);
        office(&rule);
        assert_office_refused(&[(
            "[nat]\nbackend = 'nftables'\nmax-flows = 1000",
            "16: nftables has no table of flows for each gateway (`nat.max-flows`)",
            "the kernel has one limit for the whole machine, `net.netfilter.nf_conntrack_max`",
        )]);
    }

    #[test]
    fn netfilters_timeouts_are_the_files_and_no_others() {
        let text = format!("[nat]\nbackend = 'iptables'\ntimeouts.icmp = '1m30s'\n{RULE}");
        let sysctls = &office(&text).sysctls[&"router".to_owned().try_into().unwrap()];
        let of_netfilter = sysctls.iter().filter(|(key, _)| key.contains("netfilter"));
        let of_netfilter: Vec<_> = of_netfilter.map(|(key, value)| format!("{key}={value}")).collect();
        let expected =
            ["icmp_timeout", "icmpv6_timeout"].map(|key| format!("net.netfilter.nf_conntrack_{key}=90"));
        assert_eq!(of_netfilter, expected);
        assert!(!sysctls.contains_key(ROUTE_LOCALNET), "without a forward");
    }
}
