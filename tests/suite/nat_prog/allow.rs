//! Forwarded ports that are not for everyone.

use std::collections::BTreeSet;

use netctl::model::Forward;
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Endpoint as _, Packet, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward,
    },
};

use super::{FAMILIES, Family};

/// Port 8080 of the gateway leads to blue's port 80, for these networks.
fn nat(allowed: &[&str]) -> Nat {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let is_of_family = |network: &&&str| network.contains(':') == family.gateway.contains(':');
        let allowed: BTreeSet<_> =
            allowed.iter().filter(is_of_family).map(|network| network.parse().unwrap()).collect();
        for protocol in ["tcp", "udp"] {
            let listen = (family.gateway, 8080).endpoint();
            let rule = forward(&format!("{listen}/{protocol}"), (family.blue, 80));
            nat.forward(&Forward { allow: Some(allowed.clone()), ..rule });
        }
    }
    nat
}

fn calls(family: &Family, client: &str) -> [Packet; 2] {
    let (client, listen) = ((client, 777), (family.gateway, 8080));
    [tcp(client, listen).syn(), udp(client, listen)]
}

#[test]
fn who_is_on_the_list_is_let_in_and_everyone_else_is_dropped() {
    let nat = nat(&["203.0.113.2/32", "198.51.100.0/25", "2001:db8:113::2/128", "2001:db8:51::/65"]);
    let clients = [
        [("203.0.113.2", true), ("203.0.113.3", false), ("198.51.100.127", true), ("198.51.100.128", false)],
        [
            ("2001:db8:113::2", true),
            ("2001:db8:113::3", false),
            ("2001:db8:51:0:7fff::1", true),
            ("2001:db8:51:0:8000::1", false),
        ],
    ];
    for (family, clients) in FAMILIES.iter().zip(clients) {
        for (client, allowed) in clients {
            for call in calls(family, client) {
                if allowed {
                    nat.ingress(&call).assert_only_changed(Dst((family.blue, 80))).assert_checksums_valid();
                    let answer = call.clone().to((family.blue, 80)).answer();
                    nat.egress(&answer).assert_only_changed(Src(call.dst));
                } else {
                    nat.ingress(&call).assert_dropped(DropReason::NotAllowed);
                }
            }
        }
    }
    nat.assert_flows(8);
}

#[test]
fn a_client_inside_has_to_be_on_the_list_as_well() {
    let nat = nat(&["192.168.15.1/32", "fd15::1/128"]);
    for family in &FAMILIES {
        for call in calls(family, family.blue) {
            nat.inside_ingress(&call).assert_dropped(DropReason::NotAllowed);
        }
        for call in calls(family, family.server) {
            nat.ingress(&call).assert_dropped(DropReason::NotAllowed);
        }
        nat.assert_flows(if family.red.contains(':') { 4 } else { 0 });
        for call in calls(family, family.red) {
            nat.inside_ingress(&call).assert_only_changed(Dst((family.blue, 80)));
            let arriving = call.to((family.blue, 80));
            let seen = (family.gateway, 777);
            nat.inside_egress(&arriving).assert_only_changed(Src(seen)).assert_checksums_valid();
        }
    }
    nat.assert_flows(8);
}

#[test]
fn an_empty_list_lets_nobody_in() {
    let nat = nat(&[]);
    for family in &FAMILIES {
        for call in calls(family, family.server) {
            nat.ingress(&call).assert_dropped(DropReason::NotAllowed);
        }
    }
    nat.assert_flows(0);
}

#[test]
fn a_list_is_its_own_rules_and_goes_with_it() {
    let mut nat = nat(&["203.0.113.2/32", "2001:db8:113::2/128"]);
    let family = &FAMILIES[0];
    let other = (family.gateway, 9090).endpoint();
    let only_stranger = Some(BTreeSet::from(["203.0.113.3/32".parse().unwrap()]));
    nat.forward(&Forward { allow: only_stranger, ..forward(&format!("{other}/udp"), (family.blue, 80)) });
    nat.ingress(&udp((family.server, 777), other)).assert_dropped(DropReason::NotAllowed);
    nat.ingress(&udp((family.stranger, 777), other)).assert_only_changed(Dst((family.blue, 80)));

    for rule in nat.tables.forwards().unwrap() {
        nat.tables.remove_forward(rule.id).unwrap();
    }
    let listen = (family.gateway, 8080).endpoint();
    nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
    nat.ingress(&udp((family.stranger, 778), listen)).assert_only_changed(Dst((family.blue, 80)));
}
