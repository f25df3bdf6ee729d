//! How flows end: with their rule at once, and a connection's with the next one on its tuple.

use netctl::model::Masquerade;
use netctl_ebpf::tcp::flag::{FIN, RST, SYN};
use netctl_tests::{
    packet::{Endpoint, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward, masquerade,
    },
};

use super::{FAMILIES, openings};

fn remove_masquerades(nat: &mut Nat) {
    for rule in nat.tables.masquerades(&Default::default()).unwrap() {
        nat.tables.remove_masquerade(rule.id).unwrap();
    }
}

#[test]
fn row_161_removing_a_masquerade_ends_its_flows_at_once() {
    let mut nat = Nat::masquerading();
    let packets = FAMILIES.each_ref().map(|family| openings(family.red, 4321, family.server));
    for packet in packets.iter().flatten() {
        nat.egress(packet).assert_passed();
    }
    remove_masquerades(&mut nat);
    assert!(nat.tables.flows().unwrap().is_empty());
    for (family, packets) in FAMILIES.iter().zip(&packets) {
        for packet in packets {
            let answer = packet.clone().from((family.gateway, 4321)).answer();
            nat.ingress(&answer).assert_untouched();
            nat.egress(packet).assert_untouched();
        }
    }
    nat.assert_flows(0);
}

#[test]
fn row_161_removing_a_forward_ends_its_flows_at_once() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let listen = (family.gateway, 8080).endpoint();
        nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
        let call = udp((family.server, 777), listen);
        nat.ingress(&call).assert_only_changed(Dst((family.blue, 80)));
        let rule = nat.tables.forwards().unwrap().remove(0);
        nat.tables.remove_forward(rule.id).unwrap();
        nat.ingress(&call).assert_untouched();
        nat.assert_flows(0);
        let own = call.to((family.blue, 80)).answer();
        nat.egress(&own).assert_only_changed(Src((family.gateway, 80)));
        nat.tables.remove_masquerade(1).unwrap();
        nat.egress(&own).assert_untouched();
        nat.masquerade(&masquerade("fd15::/64"));
    }
}

#[test]
fn row_161_a_rule_that_comes_back_starts_afresh() {
    let mut nat = Nat::new();
    let rule = || Masquerade { ports: Some((20000, 20003)), ..masquerade("192.168.15.0/24") };
    nat.masquerade(&rule());
    let from = |port: u16| udp(("192.168.15.1", port), "203.0.113.2:53");
    for port in 1..=4 {
        nat.egress(&from(port)).assert_passed();
    }
    remove_masquerades(&mut nat);
    nat.masquerade(&rule());
    assert!(nat.tables.flows().unwrap().is_empty());
    // Other clients, so that nobody but the ports themselves reminds of the flows before.
    for port in 5..=8 {
        nat.egress(&from(port)).assert_passed();
    }
    assert_eq!(nat.tables.flows().unwrap().len(), 4);
    nat.assert_flows(4);
}

#[test]
fn row_161_a_rule_that_changes_takes_its_flows_along() {
    let mut nat = Nat::masquerading();
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53");
    nat.egress(&packet).assert_only_changed(Src("203.0.113.1:4321"));
    remove_masquerades(&mut nat);
    let address = Some("203.0.113.9".parse().unwrap());
    nat.masquerade(&Masquerade { address, ..masquerade("192.168.15.0/24") });
    nat.egress(&packet).assert_only_changed(Src("203.0.113.9:4321")).assert_checksums_valid();
    nat.ingress(&packet.clone().from("203.0.113.1:4321").answer()).assert_untouched();
    nat.ingress(&packet.clone().from("203.0.113.9:4321").answer()).assert_only_changed(Dst(packet.src));
    nat.assert_flows(1);
}

#[test]
fn row_106_a_syn_on_the_tuple_of_a_connection_that_is_over_opens_a_new_one() {
    for family in &FAMILIES {
        let (client, outside) = ((family.red, 4321), (family.gateway, 4321));
        let out = tcp(client, (family.server, 80));
        let back = out.clone().from(outside).answer();
        for (ending, [there, here]) in [
            ("both closed", [out.clone().fin(), back.clone().fin()]),
            ("reset by the client", [out.clone().rst(), back.clone()]),
            ("reset by the server", [out.clone(), back.clone().rst()]),
        ] {
            let nat = Nat::masquerading();
            nat.egress(&out.clone().syn()).assert_passed();
            nat.ingress(&back.clone().syn()).assert_passed();
            nat.egress(&there).assert_only_changed(Src(outside));
            nat.ingress(&here).assert_only_changed(Dst(client));
            nat.assert_flows(1);

            nat.egress(&out.clone().syn()).assert_only_changed(Src(outside)).assert_checksums_valid();
            nat.assert_flows(1);
            let flow = nat.tables.flows().unwrap().remove(0);
            assert_eq!((flow.there.packets, flow.there.tcp_seen), (1, SYN), "{ending}");
            assert_eq!((flow.back.packets, flow.back.tcp_seen), (0, 0), "{ending}");
            nat.ingress(&out.clone().syn().from(outside).answer()).assert_only_changed(Dst(client));
        }
    }
}

/// With one place a CPU, each attempt waits where the last one did.
#[test]
fn row_106_a_connection_that_begins_anew_is_not_taken_for_its_last_attempt() {
    let mut nat = Nat::with_room_for(8);
    nat.masquerade(&masquerade("192.168.15.0/24"));
    let out = tcp("192.168.15.1:4321", "203.0.113.2:80");
    for _ in 0..20 {
        nat.egress(&out.clone().syn()).assert_only_changed(Src("203.0.113.1:4321"));
        nat.assert_flows(1);
        nat.egress(&out.clone().rst()).assert_only_changed(Src("203.0.113.1:4321"));
    }
}

#[test]
fn a_segment_that_can_open_nothing_does_not_end_a_connection_that_is_over() {
    let nat = Nat::masquerading();
    let out = tcp("192.168.15.1:4321", "203.0.113.2:80");
    nat.egress(&out.clone().syn()).assert_passed();
    nat.egress(&out.clone().rst()).assert_passed();
    for flags in [SYN | RST, SYN | FIN, 0x3f] {
        nat.egress(&out.clone().flags(flags)).assert_only_changed(Src("203.0.113.1:4321"));
        nat.assert_flows(1);
    }
}

#[test]
fn a_syn_repeated_or_after_half_a_close_belongs_to_its_connection() {
    let nat = Nat::masquerading();
    let out = tcp("192.168.15.1:4321", "203.0.113.2:80");
    let answer = out.clone().from("203.0.113.1:4321").answer();
    for packet in [out.clone().syn(), out.clone().syn(), out.clone().fin(), out.clone().syn()] {
        nat.egress(&packet).assert_only_changed(Src("203.0.113.1:4321"));
        nat.ingress(&answer).assert_only_changed(Dst("192.168.15.1:4321"));
    }
    nat.assert_flows(1);
    assert_eq!(nat.tables.flows().unwrap()[0].there.packets, 4);
}

#[test]
fn what_the_ip_layer_will_drop_neither_keeps_a_connection_nor_ends_it() {
    let family = &FAMILIES[0];
    let nat = Nat::masquerading();
    let call = tcp((family.red, 4321), (family.server, 80));
    nat.egress(&call.clone().syn()).assert_passed();
    let answer = tcp((family.server, 80), (family.gateway, 4321));
    nat.ingress(&answer).assert_only_changed(Dst((family.red, 4321)));
    let before = nat.entries();
    let mut broken = answer.rst().frame();
    broken[24] ^= 1;
    nat.ingress(&broken).assert_untouched();
    let seen = |entries: &std::collections::HashMap<_, netctl_ebpf::flow::Half>| {
        let mut seen: Vec<_> =
            entries.values().map(|half| (half.direction, half.packets, half.tcp_seen)).collect();
        seen.sort_unstable();
        seen
    };
    assert_eq!(seen(&nat.entries()), seen(&before));
}
