//! Gateways, as the file has them. Pure.

use std::collections::HashSet;

use super::{left::Left, seen::Seen, wanted::Wanted};
use crate::{
    model::{Backend, Filtering, Forward, Mapping, Masquerade, Place, Protocol, Shortcut, Timeout, Timeouts},
    spec::{self, Spec},
};

/// Puts the rules and settings into `spec`.
pub(super) fn write(seen: &Seen, wanted: &mut Wanted, spec: &mut Spec, left: &mut Vec<Left>) {
    let gateways =
        || seen.places.iter().flat_map(|(place, there)| there.gateways.iter().map(move |its| (place, its)));
    let Some((_, first)) = gateways().next() else { return };
    spec.nat.backend = (first.backend != Backend::default()).then(|| first.backend.to_string());
    let is_usual = first.max_flows.is_none_or(|flows| flows == netctl_ebpf::config::MAX_FLOWS);
    spec.nat.max_flows = first.max_flows.filter(|_| !is_usual).map(i64::from);
    spec.nat.timeouts = timeouts(&first.timeouts);
    wanted.is_without_shortcuts =
        first.backend == Backend::Ebpf && gateways().all(|(_, its)| its.shortcut.is_none());
    let is_told = |shortcut: &Shortcut| *shortcut != Shortcut::default();
    spec.nat.shortcut =
        first.shortcut.filter(is_told).map(|shortcut| spec::Shortcut::Word(shortcut.to_string()));
    for (place, gateway) in gateways() {
        if gateway.backend != first.backend {
            let what = format!("translation by `{}`", gateway.backend);
            left.push(Left::new(place, what, format!("the file has that by `{}`", first.backend)));
            continue;
        }
        for (is_same, what) in [
            (gateway.timeouts == first.timeouts, "how long flows live"),
            (gateway.max_flows == first.max_flows, "how many flows there may be"),
            (gateway.shortcut == first.shortcut, "where there are shortcuts"),
        ] {
            if !is_same {
                left.push(Left::new(place, what, "the file has another gateway's"));
            }
        }
        for rule in &gateway.masquerades {
            match rule.out.as_slice() {
                [] => {
                    let what = format!("masquerade rule of {}", rule.source);
                    left.push(Left::new(place, what, "its uplinks are not there"));
                    continue;
                }
                [_] => {}
                several => {
                    let several = several.iter().cloned().collect();
                    wanted.uplinks.insert((place.clone(), rule.source), several);
                }
            }
            spec.nat.masquerade.push(masquerade(place, rule));
        }
        spec.nat.forward.extend(forwards(place, &gateway.forwards));
    }
}

/// A rule of several uplinks leaves it to the model which these are.
fn masquerade(place: &Place, rule: &Masquerade) -> spec::Masquerade {
    let out = match rule.out.as_slice() {
        [only] => Some(only.to_string()),
        _ => None,
    };
    let is_independent = rule.mapping != Mapping::default();
    spec::Masquerade {
        namespace: place.to_string(),
        source: Some(rule.source.to_string()),
        out,
        address: rule.address.map(|address| address.to_string()),
        ports: rule.ports.map(|(first, last)| format!("{first}-{last}")),
        routed: rule.routed,
        mapping: is_independent.then(|| rule.mapping.to_string()),
        filtering: (rule.filtering != Filtering::default()).then(|| rule.filtering.to_string()),
    }
}

/// Two that differ in their protocol alone are one of the file's.
fn forwards(place: &Place, rules: &[Forward]) -> Vec<spec::Forward> {
    let of = |rule: &Forward, protocol| Forward { protocol, ..rule.clone() };
    let all: HashSet<&Forward> = rules.iter().collect();
    let has = |rule: &Forward, protocol| all.contains(&of(rule, protocol));
    let mut written = Vec::new();
    for rule in rules {
        let is_both = has(rule, Protocol::Tcp) && has(rule, Protocol::Udp);
        let listen = match rule.protocol {
            Protocol::Udp if is_both => continue,
            Protocol::Tcp if is_both => rule.listen().replace("/tcp", "/tcp+udp"),
            Protocol::Tcp | Protocol::Udp => rule.listen(),
        };
        written.push(spec::Forward {
            namespace: place.to_string(),
            listen,
            to: target(rule),
            allow: rule.allow.as_ref().map(|networks| networks.iter().map(ToString::to_string).collect()),
        });
    }
    written
}

/// Where it leads; of a range, the first port says it all.
fn target(Forward { to, to_port, .. }: &Forward) -> String {
    if to.is_ipv6() { format!("[{to}]:{to_port}") } else { format!("{to}:{to_port}") }
}

/// Those that are not by themselves so.
fn timeouts(all: &Timeouts) -> spec::Timeouts {
    let of = |timeout: Timeout| {
        let lifetime = all.get(&timeout).filter(|lifetime| **lifetime != timeout.default_lifetime());
        lifetime.map(|lifetime| spec::Duration::Text(lifetime.to_string()))
    };
    spec::Timeouts {
        tcp_established: of(Timeout::TcpEstablished),
        tcp_opening: of(Timeout::TcpOpening),
        tcp_closing: of(Timeout::TcpClosing),
        udp: of(Timeout::Udp),
        udp_unanswered: of(Timeout::UdpUnanswered),
        icmp: of(Timeout::Icmp),
        other: of(Timeout::Other),
    }
}
