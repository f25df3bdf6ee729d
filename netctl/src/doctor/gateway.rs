//! A gateway: what of its namespace, and of others' doing there, keeps it from translating.

use std::net::IpAddr;

use netctl_ebpf::watch::Watcher;
use nix::net::if_::if_nametoindex;

use super::Finding;
use crate::{
    firewall::{self, Chain},
    hint, holder,
    model::{Backend, Gateway, IfName, Place, Shortcut, TopologyName},
    nat::ebpf::{
        self, Pins, attach,
        maps::Tables,
        watch::{Watch, Way},
    },
    netns::{Netns, NetnsError},
    shell, single,
    state::Directories,
    sysctl::{self, Key, SysctlError, reverse_path},
};

/// What is to say of the gateway of a topology, or of nobody.
pub(super) fn examine(
    gateway: &Gateway,
    owner: Option<&TopologyName>,
    directories: &Directories,
) -> Vec<Finding> {
    let place = &gateway.place;
    let netns = match open(place) {
        Ok(netns) => netns,
        Err(error) => return vec![Finding::unknown(&format!("`{place}`"), &error)],
    };
    let mut findings = Vec::new();
    findings.extend(reverse_paths(gateway, &netns));
    findings.extend(filters(gateway, &netns));
    findings.extend(gateway_ports(gateway, &netns));
    if gateway.backend == Backend::Ebpf {
        findings.extend(others(gateway, &netns));
        findings.extend(watched(gateway, owner, &netns, directories));
        findings.extend(drops(gateway, owner, directories));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("nothing of others is in the way of `{place}`")));
    }
    findings
}

fn open(place: &Place) -> Result<Netns, NetnsError> {
    match place {
        Place::Host => Netns::current(),
        Place::Netns(name) => Netns::open(name),
    }
}

/// Those sysctls of a place that are not as they have to be.
pub(super) fn sysctls<'a>(
    place: &Place,
    needed: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<Finding> {
    let Ok(netns) = open(place) else { return Vec::new() };
    let differs = |(key, value): (&String, &String)| match read(&netns, [key.clone()]) {
        Ok(values) => {
            let found = values.into_iter().next().flatten().filter(|found| found != value)?;
            Some(Finding::problem(format!("{key} of `{place}` is {found}"), set(place, key, value)))
        }
        Err(error) => Some(Finding::unknown(key, &error)),
    };
    needed.filter_map(differs).collect()
}

/// The command that sets a sysctl of a place.
fn set(place: &Place, key: &str, value: &str) -> String {
    match place {
        Place::Host => format!("netctl sysctl set {}", shell::quoted(&format!("{key}={value}"))),
        Place::Netns(name) => {
            format!("netctl -n {name:#} sysctl set {}", shell::quoted(&format!("{key}={value}")))
        }
    }
}

fn read(netns: &Netns, keys: impl IntoIterator<Item = String>) -> Result<Vec<Option<String>>, SysctlError> {
    let keys: Vec<Key> = keys.into_iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
    sysctl::read(netns, &keys)
}

fn reverse_paths(gateway: &Gateway, netns: &Netns) -> Option<Finding> {
    let strict = match reverse_path::strict(netns, gateway.uplinks.iter().chain(&gateway.insides)) {
        Ok(strict) => strict,
        Err(error) => return Some(Finding::unknown("rp_filter", &error)),
    };
    if strict.is_empty() {
        return None;
    }
    let place = &gateway.place;
    let text = format!(
        "{} of `{place}`: strict reverse path filter, which drops IPv4 that comes by another interface than its answer \
         leaves by",
        strict.iter().map(|link| format!("`{link}`")).collect::<Vec<_>>().join(", ")
    );
    Some(Finding::warning(text, set(place, &reverse_path::key("all"), "2")))
}

/// Filters of others that drop what it forwards; where netfilter sees bridged packets, also what goes from one port of a
/// bridge to another.
fn filters(gateway: &Gateway, netns: &Netns) -> Vec<Finding> {
    let sources = gateway.masquerades.iter().map(|rule| rule.source.addr());
    let addresses: Vec<IpAddr> = sources.chain(gateway.forwards.iter().map(|rule| rule.to)).collect();
    let filters = match firewall::drops_forwarded(netns) {
        Ok(filters) => filters,
        Err(error) => return vec![Finding::unknown("packet filters", &error)],
    };
    let sees = |chain: &&Chain| addresses.iter().any(|address| chain.family.sees(address.is_ipv4()));
    let mut findings = Vec::new();
    for chain in filters.iter().filter(sees) {
        findings.push(filter(chain, &gateway.place));
        let key = if chain.family.sees(true) { "iptables" } else { "ip6tables" };
        let key = format!("net.bridge.bridge-nf-call-{key}");
        let sees_bridged = read(netns, [key.clone()]).is_ok_and(|values| values == [Some("1".to_owned())]);
        if sees_bridged {
            let text = format!("{chain} sees what bridges of `{}` carry, too: {key} is 1", gateway.place);
            findings.push(Finding::warning(text, set(&gateway.place, &key, "0")));
        }
    }
    findings
}

fn filter(chain: &Chain, place: &Place) -> Finding {
    if chain.has_rules {
        let text = format!("`{place}` forwards nothing that no rule accepts: {chain} drops it");
        return Finding::warning(text, format!("if no rule accepts it yet: {}", chain.remedy(place)));
    }
    let text = format!("`{place}` forwards nothing: {chain} drops it, and has no rule that accepts any");
    Finding::problem(text, chain.remedy(place))
}

/// A process that has a port which a forward takes the packets of.
fn gateway_ports(gateway: &Gateway, netns: &Netns) -> Option<Finding> {
    let place = &gateway.place;
    match holder::of_port(netns, &gateway.forwards) {
        Ok(None) => None,
        Ok(Some(held)) => Some(Finding::warning(
            format!("{held}, and gets nothing from outside while `{place}` forwards the port"),
            "another port for the one or the other",
        )),
        Err(error) => Some(Finding::unknown("listening sockets", &error)),
    }
}

/// Programs of others at the interfaces of the gateway.
fn others(gateway: &Gateway, netns: &Netns) -> Vec<Finding> {
    let look = |link: &IfName| netns.run(|| Ok::<_, NetnsError>(attach::others(link)));
    let mut findings = Vec::new();
    for link in gateway.uplinks.iter().chain(&gateway.insides) {
        match look(link) {
            Ok(Ok(others)) => findings.extend(others.into_iter().map(|(hook, name)| {
                let text = format!(
                    "program `{name}` of somebody else at the {hook} of `{link}` of `{}`",
                    gateway.place
                );
                Finding::warning(text, "if packets are lost, look at what it does with them: `bpftool net`")
            })),
            Ok(Err(ebpf::Error::NoInterface(_))) => {}
            Ok(Err(error)) => findings.push(Finding::unknown(&format!("programs at `{link}`"), &error)),
            Err(error) => findings.push(Finding::unknown(&format!("programs at `{link}`"), &error)),
        }
    }
    findings
}

/// Who keeps packets from going straight, each once. With leases nobody does.
fn watched(
    gateway: &Gateway,
    owner: Option<&TopologyName>,
    netns: &Netns,
    directories: &Directories,
) -> Vec<Finding> {
    let place = &gateway.place;
    let by_hand = TopologyName::by_hand();
    let pins = Pins::new(&directories.bpffs, owner.unwrap_or(&by_hand), place);
    if Tables::open(&pins).and_then(|tables| tables.shortcut()).is_ok_and(|its| its != Shortcut::Auto) {
        return Vec::new();
    }
    let families = |is_v4: bool| {
        let mut sources = gateway.masquerades.iter().map(|rule| rule.source.addr());
        sources.any(|its| its.is_ipv4() == is_v4)
            || gateway.forwards.iter().any(|rule| rule.to.is_ipv4() == is_v4)
    };
    let mut seen: Vec<(Watcher, String)> = Vec::new();
    let asked = netns.run(|| {
        let watch = Watch::open(&pins)?;
        let index = |name: &IfName| if_nametoindex(name.as_str()).ok();
        for port in gateway.ports.iter().filter_map(index) {
            let uplinks = gateway.uplinks.iter().filter_map(index);
            let ways = uplinks.map(|uplink| Way::In { uplink, port }).chain([Way::Out { port }]);
            for (way, is_v4) in ways.flat_map(|way| [(way, true), (way, false)]) {
                if !families(is_v4) {
                    continue;
                }
                let family = if is_v4 { "IPv4" } else { "IPv6" };
                let direction = if matches!(way, Way::Out { .. }) { "outwards" } else { "inwards" };
                if let Some(watcher) = watch.ask(way, is_v4)? {
                    let what = (watcher, format!("{family} {direction}"));
                    if !seen.contains(&what) {
                        seen.push(what);
                    }
                }
            }
        }
        Ok::<_, Asking>(())
    });
    if let Err(error) = asked {
        return vec![Finding::unknown(&format!("who watches the packets of `{place}`"), &error)];
    }
    let finding = |(watcher, what): (Watcher, String)| {
        let text = format!("{what} no packet of `{place}` goes straight: {}", watcher.text());
        Finding::warning(text, hint::of_watcher(watcher.id()))
    };
    seen.into_iter().map(finding).collect()
}

/// Why it is not known who watches.
#[derive(Debug, thiserror::Error)]
enum Asking {
    #[error("{0}")]
    Netns(#[from] NetnsError),
    #[error("{0}")]
    Program(#[from] ebpf::Error),
}

/// A table that is nearly full, and drops that somebody can do something about.
fn drops(gateway: &Gateway, owner: Option<&TopologyName>, directories: &Directories) -> Vec<Finding> {
    let place = &gateway.place;
    let all = match single::nat::stats(Some(place), directories) {
        Ok(all) => all,
        Err(error) => return vec![Finding::unknown(&format!("the counters of `{place}`"), &error)],
    };
    let mut findings = Vec::new();
    for stats in all.iter().filter(|stats| stats.topology.as_ref() == owner) {
        let table = stats.table;
        if is_nearly_full(table.flows, table.max) {
            let text = format!("`{place}` has {} of {} flows that there is room for", table.flows, table.max);
            findings.push(Finding::warning(text, "`[nat] max-flows`, or shorter `[nat.timeouts]`"));
        }
        for drop in &stats.drops {
            if let Some(remedy) = hint::of_drop(drop.reason) {
                let text = format!("`{place}` has dropped {} packets: {}", drop.packets, drop.text);
                findings.push(Finding::warning(text, remedy));
            }
        }
    }
    findings
}

/// From four fifths on.
fn is_nearly_full(flows: u64, max: u64) -> bool {
    flows.saturating_mul(5) >= max.saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};
    use crate::firewall::{Family, Kind};

    #[test]
    fn a_dropping_policy_without_rules_is_a_problem_and_with_some_perhaps() {
        let chain = |has_rules| Chain {
            kind: Kind::Nftables,
            family: Family::Ip,
            table: "filter".to_owned(),
            chain: "FORWARD".to_owned(),
            has_rules,
            drops: true,
        };
        let found = filter(&chain(false), &Place::Host);
        assert_eq!(
            (found.verdict, found.fix.as_deref()),
            (Verdict::Problem, Some("iptables -P FORWARD ACCEPT"))
        );
        assert_eq!(filter(&chain(true), &Place::Host).verdict, Verdict::Warning);
    }

    #[test]
    fn a_table_is_nearly_full_from_four_fifths_on() {
        assert!(!is_nearly_full(79, 100) && is_nearly_full(80, 100));
    }
}
