//! What no rule covers passes byte for byte, and what comes straight to an inside address does not pass.

use netctl::model::Masquerade;
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Packet, flag, icmp, other, ping, proto, tcp, udp},
    prog::{Change::Src, Nat, forward, masquerade},
};

use super::{FAMILIES, openings};

/// Packets of every kind from `src` to `dst`, whole and broken.
fn all_kinds(src: &str, dst: &str) -> Vec<Vec<u8>> {
    let mut packets: Vec<Packet> = openings(src, 4321, dst).into();
    packets.extend(openings(src, 4321, dst).map(|packet| packet.answer().from((src, 80)).to((dst, 4321))));
    packets.extend(openings(src, 4321, dst).map(|packet| packet.fragment(0, true)));
    packets.push(tcp((src, 4321), (dst, 80)).flags(flag::RST));
    packets.push(other(proto::GRE, (src, 0), (dst, 0)));
    packets.push(icmp((src, 0), (dst, 0), 3, 3, &[0; 28]));
    let mut frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
    for packet in &packets[..3] {
        let mut cut = packet.frame();
        cut.truncate(if src.contains(':') { 58 } else { 38 });
        frames.push(cut);
    }
    frames
}

#[test]
fn rows_16_44_134_what_leaves_from_elsewhere_than_the_inside_network_is_left_alone() {
    let nat = Nat::masquerading();
    for (src, dst) in [
        ("203.0.113.1", "203.0.113.2"),
        ("192.168.14.255", "203.0.113.2"),
        ("192.168.16.0", "203.0.113.2"),
        ("10.0.0.1", "203.0.113.2"),
        ("0.0.0.0", "255.255.255.255"),
        ("203.0.113.2", "192.168.15.1"),
        ("2001:db8:113::1", "2001:db8:113::2"),
        ("fd15:0:0:1::1", "2001:db8:113::2"),
        ("fe80::1", "ff02::1"),
        ("::", "ff02::1:ff00:1"),
        ("2001:db8:113::2", "fd15::1"),
    ] {
        for frame in all_kinds(src, dst) {
            nat.egress(&frame).assert_untouched();
        }
    }
    nat.assert_flows(0);
}

#[test]
fn row_44_what_is_no_ip_is_left_alone() {
    let nat = Nat::masquerading();
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53").frame();
    for ethertype in [[0x08, 0x06], [0x81, 0x00], [0x88, 0xa8], [0x88, 0xcc], [0x86, 0xdd]] {
        let frame = [&packet[..12], &ethertype, &packet[14..]].concat();
        nat.egress(&frame).assert_untouched();
        nat.ingress(&frame).assert_untouched();
    }
    nat.assert_flows(0);
}

#[test]
fn rows_57_129_what_comes_for_the_gateway_itself_is_left_to_it() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.2:80"));
    nat.forward(&forward("[2001:db8:113::1]:8080/tcp", "[fd15::2]:80"));
    for family in &FAMILIES {
        for frame in all_kinds(family.server, family.gateway) {
            nat.ingress(&frame).assert_untouched();
        }
    }
    nat.assert_flows(0);
}

#[test]
fn row_130_what_comes_straight_to_an_inside_address_is_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for frame in all_kinds(family.server, family.red) {
            nat.ingress(&frame).assert_dropped(DropReason::Unsolicited);
        }
    }
    nat.assert_flows(0);
}

/// The answer to what came in untranslated leaves untranslated, and what the same host begins is masqueraded.
#[test]
fn row_8_a_routed_network_is_reached_from_outside_and_answers_in_its_own_name() {
    for (network, family) in ["192.168.15.0/24", "fd15::/64"].into_iter().zip(&FAMILIES) {
        let mut nat = Nat::new();
        nat.masquerade(&Masquerade { routed: true, ..masquerade(network) });
        for frame in all_kinds(family.server, family.red) {
            nat.ingress(&frame).assert_untouched();
        }
        for packet in openings(family.server, 777, family.blue) {
            nat.ingress(&packet).assert_untouched();
            nat.egress(&packet.answer()).assert_untouched();
        }
        let own = udp((family.blue, 53), (family.stranger, 777));
        nat.egress(&own).assert_only_changed(Src((family.gateway, 53))).assert_checksums_valid();
    }
}

#[test]
fn row_136_frames_for_other_machines_are_left_alone() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.2:80"));
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53");
    nat.egress(&packet).assert_passed();
    for to_mac in [[2, 0, 0, 0, 0, 0x99], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        for packet in [
            packet.clone().from("203.0.113.1:4321").answer(),
            tcp("203.0.113.2:777", "203.0.113.1:8080").syn(),
            ping("203.0.113.2:7", "192.168.15.1"),
        ] {
            nat.ingress(&Packet { to_mac, ..packet }).assert_untouched();
        }
        let hairpin = tcp("192.168.15.1:4321", "203.0.113.1:8080").syn();
        nat.inside_ingress(&Packet { to_mac, ..hairpin }).assert_untouched();
    }
    nat.assert_flows(1);
}

#[test]
fn row_131_what_comes_from_outside_for_the_gateways_inside_address_is_left_to_it() {
    let nat = Nat::masquerading();
    for (server, inside) in [("203.0.113.2", "192.168.15.5"), ("2001:db8:113::2", "fd15::5")] {
        for frame in all_kinds(server, inside) {
            nat.ingress(&frame).assert_untouched();
        }
    }
    nat.assert_flows(0);
}

/// What the links of a gateway need among themselves, in all directions (RFC 4861, RFC 2710, RFC 3810).
#[test]
fn row_16_neighbour_discovery_router_advertisements_and_group_messages_are_left_alone() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("[2001:db8:113::1]:8080/tcp", "[fd15::2]:80"));
    let router_alert = [0, 0, 5, 2, 0, 0, 0, 0];
    let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
    for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
        let message = |from: &str, to: &str| {
            let message = Packet { ttl: 255, ..icmp((from, 0), (to, 0), kind, 0, &[0; 24]) };
            if matches!(kind, 133..=136) {
                message
            } else {
                message.extension(proto::HOP_BY_HOP, &router_alert)
            }
        };
        for (own, other) in [
            ("2001:db8:113::1", "2001:db8:113::2"),
            ("fe80::1", "fe80::2"),
            ("fe80::1", "2001:db8:113::2"),
            ("2001:db8:113::1", "ff02::1"),
            ("::", "ff02::1:ff00:1"),
        ] {
            nat.egress(&message(own, other)).assert_untouched();
        }
        for (other, own) in [
            ("2001:db8:113::2", "2001:db8:113::1"),
            ("fe80::2", "2001:db8:113::1"),
            ("fe80::2", "ff02::1"),
            ("::", "ff02::1:ff00:1"),
        ] {
            nat.ingress(&message(other, own)).assert_untouched();
            nat.ingress(&Packet { to_mac: all_nodes, ..message(other, own) }).assert_untouched();
        }
        for (one, other) in
            [("fd15::1", "fd15::5"), ("fd15::5", "fd15::1"), ("fd15::1", "ff02::1"), ("fe80::1", "ff02::1")]
        {
            nat.inside_ingress(&message(one, other)).assert_untouched();
            nat.inside_egress(&message(one, other)).assert_untouched();
        }
    }
    nat.assert_flows(0);
}
