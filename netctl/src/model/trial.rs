//! A small topology for the tests of this module, to which each adds what it is about.

use std::fmt::Write as _;

use super::{Backend, End, FullName, Topology};
use crate::advice;

/// 13 lines: what a test adds begins on line 14.
const OFFICE: &str = r#"[namespaces.red]
[namespaces.blue]
[namespaces.router]
[namespaces.internet]
[bridges.br0]
namespace = "router"
addresses = ["10.0.0.5/24", "fd15::5/64"]
[bridges.br0.ports]
red = { addresses = ["10.0.0.1/24", "fd15::1/64"] }
blue = { addresses = ["10.0.0.2/24"] }
[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24", "2001:db8::1/64"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24", "2001:db8::2/64"] }
"#;

/// The topology of a text.
pub(super) fn topology(text: &str) -> Topology {
    Topology::parse(text, "f", "trial".parse().unwrap()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The office with something added.
pub(super) fn office(added: &str) -> Topology {
    topology(&format!("{OFFICE}{added}"))
}

/// Asserts that each text is refused with this `LINE: WHAT` and this hint (empty for none).
pub(super) fn assert_refused(cases: &[(&str, &str, &str)]) {
    for (text, message, hint) in cases {
        match Topology::parse(text, "f", "trial".parse().unwrap()) {
            Ok(_) => panic!("accepted instead of {message}:\n{text}"),
            Err(error) => {
                assert_eq!(error.to_string(), format!("f:{message}"), "{text}");
                assert_eq!(advice::of(&error).unwrap_or_default(), *hint, "{text}");
            }
        }
    }
}

/// As [`assert_refused`], of texts added to the office.
pub(super) fn assert_office_refused(cases: &[(&str, &str, &str)]) {
    for (added, message, hint) in cases {
        assert_refused(&[(&format!("{OFFICE}{added}"), message, hint)]);
    }
}

/// What a topology comes to, a line each: bridges, cables, routes, sysctls, gateways. The hashes in shortened names are
/// left out.
pub(super) fn drawn(topology: &Topology) -> String {
    let mut out = String::new();
    for bridge in &topology.bridges {
        let name = named(bridge.name.as_str(), bridge.full_name.as_ref());
        writeln!(out, "bridge {} {name}{}", bridge.place, listed(&bridge.addresses)).unwrap();
    }
    for cable in &topology.cables {
        writeln!(out, "cable {} - {}", end(&cable.a), end(&cable.b)).unwrap();
    }
    for route in &topology.routes {
        writeln!(out, "route {} {route}", route.place).unwrap();
    }
    for (place, sysctls) in &topology.sysctls {
        let sysctls: Vec<String> = sysctls.iter().map(|(key, value)| format!("{key}={value}")).collect();
        writeln!(out, "sysctl {place}{}", listed(&sysctls)).unwrap();
    }
    for gateway in &topology.gateways {
        let (uplinks, insides) = (listed(&gateway.uplinks), listed(&gateway.insides));
        let backend = match gateway.backend {
            Backend::Ebpf => String::new(),
            backend => format!(" by {backend}"),
        };
        writeln!(out, "gateway {}{backend} out{uplinks} in{insides}", gateway.place).unwrap();
        gateway.masquerades.iter().for_each(|rule| writeln!(out, "  masquerade {rule}").unwrap());
        gateway.forwards.iter().for_each(|rule| writeln!(out, "  forward {rule}").unwrap());
    }
    out
}

fn end(end: &End) -> String {
    let name = named(end.interface.as_str(), end.full_name.as_ref());
    let master = end.master.iter().map(|master| format!(" in {master}")).collect::<String>();
    format!("{} {name}{}{master}", end.place, listed(&end.addresses))
}

fn named(name: &str, full: Option<&FullName>) -> String {
    full.map_or_else(|| name.to_owned(), |full| format!("{}zzzzzz ({full})", &name[..name.len() - 6]))
}

fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!(" {item}")).collect()
}
