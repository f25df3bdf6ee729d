//! Plans of larger files, from and to the state in which they have nothing to do.

use std::collections::BTreeMap;

use crate::{
    model::Topology,
    observed::Observed,
    op::{AddressChange, Change, Effect, LinkChange, NamespaceChange, Op, RouteChange},
    plan::plan,
    spec::QUICKSTART,
};

fn topology(text: &str) -> Topology {
    Topology::parse(text, "f", "trial".parse().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

fn steps(topology: &Topology, observed: &Observed) -> Vec<String> {
    let sign = |op: &Op| op.effect().map_or(' ', Effect::sign);
    plan(topology, observed).unwrap().iter().map(|op| format!("{} {op}", sign(op))).collect()
}

/// Bridges on the host and elsewhere, counted namespaces, two gateways in a row, long names.
const CHAIN: &str = "
    [namespaces.client]
    count = 3
    [namespaces.home]
    [namespaces.provider]
    [namespaces.internet]
    [bridges.the-living-room-network]
    namespace = 'home'
    addresses = ['192.168.1.1/24', 'fd01::1/64']
    ports.client = {}
    [bridges.lan]
    addresses = ['10.9.0.1/24']
    ports.internet = {}
    [[cables]]
    a = { namespace = 'home', interface = 'wan0', addresses = ['100.64.0.2/30'] }
    b = { namespace = 'provider', interface = 'home', addresses = ['100.64.0.1/30'] }
    [[cables]]
    a = { namespace = 'provider', interface = 'wan0', addresses = ['203.0.113.1/24'] }
    b = { namespace = 'internet', interface = 'wan0', addresses = ['203.0.113.2/24'] }
    [[routes]]
    namespace = 'home'
    to = 'default'
    via = '100.64.0.1'
    [[nat.masquerade]]
    namespace = 'home'
    source = '192.168.1.0/24'
    out = 'wan0'
    [[nat.masquerade]]
    namespace = 'provider'
    source = '100.64.0.0/10'
    out = 'wan0'
    [[nat.forward]]
    namespace = 'provider'
    listen = '203.0.113.1:8080'
    to = '100.64.0.2:8080'
    [[nat.forward]]
    namespace = 'home'
    listen = '100.64.0.2:8080'
    to = '192.168.1.2:80'
";

#[test]
fn what_is_up_as_the_file_says_needs_nothing() {
    for text in [QUICKSTART, CHAIN] {
        let topology = topology(text);
        assert_eq!(steps(&topology, &Observed::settled(&topology)), [""; 0]);
    }
}

#[test]
fn a_topology_that_is_gone_leaves_nothing_and_back_again() {
    let (topology, nothing) = (topology(CHAIN), topology(""));
    let down = steps(&nothing, &Observed::settled(&topology));
    assert_eq!(down.iter().filter(|step| step.starts_with("- delete namespace")).count(), 6);
    let created = steps(&topology, &Observed::default());
    assert_eq!(created.iter().filter(|step| step.starts_with("+ create")).count(), 6 + 2 + 6);
}

#[test]
fn a_shortened_link_is_marked_with_its_full_name() {
    let topology = topology(CHAIN);
    let ops = plan(&topology, &Observed::default()).unwrap();
    let aliases = ops.iter().filter_map(|op| match &op.change {
        Change::Link(LinkChange::MarkLink { interface, alias, .. }) if alias.contains('/') => {
            Some((interface.to_string(), alias.clone()))
        }
        _ => None,
    });
    let aliases: BTreeMap<String, String> = aliases.collect();
    let full: Vec<&str> = aliases.values().map(String::as_str).collect();
    assert_eq!(aliases.len(), 5);
    assert!(full.contains(&"netctl:trial/the-living-room-network"), "{full:?}");
    assert!(full.contains(&"netctl:trial/veth-client-2-br"), "{full:?}");
}

#[test]
fn ends_of_two_cables_with_the_same_indexes_are_not_confused() {
    // `one` and `two` count their ports alike, and so do `a` and `b` their only links.
    let text = "
        [namespaces.one]
        [namespaces.two]
        [namespaces.a]
        [namespaces.b]
        [bridges.br1]
        namespace = 'one'
        ports.a = { addresses = [] }
        [bridges.br2]
        namespace = 'two'
        ports.b = { addresses = [] }";
    let without = text.replace("ports.b = { addresses = [] }", "");
    assert_eq!(
        steps(&topology(&without), &Observed::settled(&topology(text))),
        ["- delete link `eth0` in namespace `b`"]
    );
}

#[test]
fn one_namespace_more_is_all_that_is_added() {
    let before = topology(CHAIN);
    let after = topology(&CHAIN.replace("count = 3", "count = 4"));
    let steps = steps(&after, &Observed::settled(&before));
    let changes: Vec<&str> = steps
        .iter()
        .map(String::as_str)
        .filter(|step| !step.starts_with(' ') && !step.starts_with('~'))
        .collect();
    let port =
        changes.iter().find_map(|step| step.strip_prefix("+ create cable `")?.split('`').next()).unwrap();
    let is_about_it = |step: &&&str| step.contains("client-3") || step.contains(port);
    assert_eq!(
        changes.iter().filter(is_about_it).count(),
        changes.len(),
        "something else changes: {changes:?}"
    );
    assert!(
        changes.contains(&"+ add address 192.168.1.5/24 to `eth0` in namespace `client-3`"),
        "{changes:?}"
    );
}

#[test]
fn a_thousand_namespaces_are_planned_completely() {
    let many =
        topology("[namespaces.w]\ncount = 1000\n[bridges.br]\naddresses = ['10.0.0.1/16']\nports.w = {}");
    let ops = plan(&many, &Observed::default()).unwrap();
    let count = |is: fn(&Op) -> bool| ops.iter().filter(|op| is(op)).count();
    assert_eq!(count(|op| op.change == Change::Namespace(NamespaceChange::CreateNamespace)), 1000);
    assert_eq!(count(|op| matches!(op.change, Change::Link(LinkChange::CreateCable { .. }))), 1000);
    assert_eq!(count(|op| matches!(op.change, Change::Address(AddressChange::AddAddress { .. }))), 1001);
    assert_eq!(count(|op| matches!(op.change, Change::Route(RouteChange::AddRoute { .. }))), 1000);
    assert_eq!(steps(&many, &Observed::settled(&many)).len(), 0);
    assert!(steps(&topology(""), &Observed::settled(&many)).len() >= 2000);
}
