//! Source NAT: what leaves, and the answers' way back.

use std::fs;

use netctl_tests::{
    packet::{Packet, flag, ping, proto, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Context, Nat, UPLINK_INDEX, masquerade,
    },
};

use super::{FAMILIES, openings};

/// The payload for which `packet` has the UDP checksum that stands for zero.
fn with_checksum_ffff(packet: &Packet) -> Vec<u8> {
    let candidates = (0..=u16::MAX).map(|word| word.to_be_bytes().to_vec());
    let checksum = |payload: &[u8]| {
        let frame = packet.clone().payload(payload).frame();
        [frame[frame.len() - 4], frame[frame.len() - 3]]
    };
    candidates.into_iter().find(|payload| checksum(payload) == [0xff, 0xff]).unwrap()
}

#[test]
fn rows_1_12_52_a_flow_leaves_with_the_uplinks_address_and_its_own_port_and_answers_find_back() {
    let nat = Nat::masquerading();
    for (already, family) in FAMILIES.iter().enumerate() {
        for (number, packet) in openings(family.red, 4321, family.server).into_iter().enumerate() {
            let (client, outside) = (packet.src, (family.gateway, 4321));
            nat.egress(&packet).assert_only_changed(Src(outside)).assert_checksums_valid();
            nat.assert_flows(already * 3 + number + 1);
            let answer = packet.clone().from(outside).answer();
            for _twice in 0..2 {
                nat.ingress(&answer).assert_only_changed(Dst(client)).assert_checksums_valid();
            }
            nat.egress(&packet).assert_only_changed(Src(outside)).assert_checksums_valid();
            nat.assert_flows(already * 3 + number + 1);
        }
    }
    assert_eq!(nat.drops(), []);
}

#[test]
fn a_rules_own_address_is_taken_and_the_narrower_of_two_networks_decides() {
    let mut nat = Nat::new();
    nat.masquerade(&masquerade("192.168.0.0/16"));
    let address = Some("203.0.113.9".parse().unwrap());
    nat.masquerade(&netctl::model::Masquerade { address, ..masquerade("192.168.15.0/24") });
    for (client, outside) in [("192.168.15.1:7", "203.0.113.9:7"), ("192.168.16.1:7", "203.0.113.1:7")] {
        let packet = udp(client, "203.0.113.2:53");
        nat.egress(&packet).assert_only_changed(Src(outside)).assert_checksums_valid();
        nat.ingress(&packet.clone().from(outside).answer()).assert_only_changed(Dst(client));
    }
    nat.assert_flows(2);
}

#[test]
fn row_2_a_whole_connection_passes_both_ways() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let (client, server, outside) = ((family.red, 4321), (family.server, 80), (family.gateway, 4321));
        let (out, back) = (tcp(client, server), tcp(server, outside));
        for flags in [flag::SYN, flag::ACK, flag::ACK | flag::PSH, flag::FIN | flag::ACK, flag::ACK] {
            let packet = out.clone().flags(flags);
            nat.egress(&packet).assert_only_changed(Src(outside)).assert_checksums_valid();
            let packet = back.clone().flags(flags | flag::ACK);
            nat.ingress(&packet).assert_only_changed(Dst(client)).assert_checksums_valid();
        }
    }
    nat.assert_flows(2);
}

#[test]
fn flows_count_the_packets_and_bytes_of_each_direction() {
    let nat = Nat::masquerading();
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53");
    let answer = packet.clone().from("203.0.113.1:4321").answer().payload(b"longer than the question");
    for _ in 0..3 {
        nat.egress(&packet).assert_passed();
    }
    nat.ingress(&answer).assert_passed();
    let flows = nat.tables.flows().unwrap();
    let [flow] = flows.as_slice() else { panic!("{flows:?}") };
    assert_eq!((flow.there.packets, flow.there.bytes), (3, 3 * packet.frame().len() as u64));
    assert_eq!((flow.back.packets, flow.back.bytes), (1, answer.frame().len() as u64));
}

#[test]
fn row_96_a_udp_checksum_of_zero_means_none_and_stays() {
    let nat = Nat::masquerading();
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53").without_checksum();
    let out = nat.egress(&packet);
    out.assert_only_changed(Src("203.0.113.1:4321")).assert_checksums_valid();
    let back = nat.ingress(&packet.clone().from("203.0.113.1:4321").answer());
    back.assert_only_changed(Dst("192.168.15.1:4321")).assert_checksums_valid();
    for frame in [out.frame(), back.frame()] {
        assert_eq!(frame[40..42], [0, 0]);
    }
}

#[test]
fn row_97_a_udp_checksum_that_comes_out_as_zero_is_sent_as_ffff() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let packet = udp((family.red, 4321), (family.server, 53));
        let outside = (family.gateway, 4321);
        let packet = packet.clone().payload(&with_checksum_ffff(&packet.from(outside)));
        let out = nat.egress(&packet);
        out.assert_only_changed(Src(outside)).assert_checksums_valid();
        assert_eq!(out.frame(), packet.clone().from(outside).frame(), "as its sender would have written it");

        let answer = packet.clone().from(outside).answer();
        let answer = answer.clone().payload(&with_checksum_ffff(&answer.to(packet.src)));
        let back = nat.ingress(&answer);
        back.assert_only_changed(Dst(packet.src)).assert_checksums_valid();
        assert_eq!(back.frame(), answer.to(packet.src).frame());
    }
}

#[test]
fn row_102_payloads_of_any_length_keep_valid_checksums() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for length in [0, 1, 2, 3, 7, 63, 64, 1399, 1400] {
            let payload: Vec<u8> = (0..length).map(|i| (i * 7 + 1) as u8).collect();
            for packet in openings(family.red, 4321, family.server) {
                let packet = packet.payload(&payload);
                let outside = (family.gateway, 4321);
                nat.egress(&packet).assert_only_changed(Src(outside)).assert_checksums_valid();
                let answer = packet.clone().from(outside).answer();
                nat.ingress(&answer).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
            }
        }
    }
}

#[test]
fn rows_14_89_93_the_transport_header_is_found_past_options_extensions_and_before_padding() {
    let nat = Nat::masquerading();
    let (v4, v6) = (&FAMILIES[0], &FAMILIES[1]);
    let (mut cases, none) = (Vec::new(), Vec::new());
    for packet in openings(v4.red, 4321, v4.server) {
        for options in [vec![1; 4], vec![0x94, 4, 0, 0], [7, 39, 4].into_iter().chain([0; 37]).collect()] {
            cases.push((v4, Packet { options, ..packet.clone() }, none.clone()));
        }
        cases.push((v4, packet, vec![0; 20]));
    }
    let (pad, router_alert) = ([0, 0, 1, 4, 0, 0, 0, 0], [0, 0, 5, 2, 0, 0, 1, 0]);
    let no_segments_left = [0, 2, 4, 0, 0, 0, 0, 0, 0xfd, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let long_options = [&[0, 3, 1, 28][..], &[0; 28]].concat();
    for packet in openings(v6.red, 4321, v6.server) {
        for extended in [
            packet.clone().extension(proto::HOP_BY_HOP, &router_alert),
            packet.clone().extension(proto::DESTINATION, &pad),
            packet.clone().extension(proto::HOP_BY_HOP, &pad).extension(proto::DESTINATION, &long_options),
            packet.clone().extension(proto::ROUTING, &no_segments_left),
            packet.clone().fragment(0, false), // an atomic fragment is whole (RFC 6946)
        ] {
            cases.push((v6, extended, none.clone()));
        }
        cases.push((v6, packet, vec![0; 20]));
    }
    for (family, packet, padding) in cases {
        let outside = (family.gateway, 4321);
        let frame = [packet.frame(), padding.clone()].concat();
        nat.egress(&frame).assert_only_changed(Src(outside)).assert_checksums_valid();
        let frame = [packet.clone().from(outside).answer().frame(), padding].concat();
        nat.ingress(&frame).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
    }
    nat.assert_flows(6);
}

#[test]
fn rows_128_129_what_is_no_answer_to_the_flow_does_not_reach_the_client() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            nat.egress(&packet).assert_passed();
            let answer = packet.from((family.gateway, 4321)).answer();
            nat.ingress(&answer.clone().from((family.stranger, answer.src.port()))).assert_untouched();
            nat.ingress(&answer.clone().to((family.gateway, answer.dst.port() ^ 1))).assert_untouched();
        }
        let other_port = tcp((family.server, 81), (family.gateway, 4321));
        nat.ingress(&other_port).assert_untouched();
        let request = ping((family.server, 4321), (family.gateway, 0));
        nat.ingress(&request).assert_untouched();
    }
    nat.assert_flows(6);
}

/// Of whole packets and of parts, which take a new identification.
#[test]
fn row_11_mark_priority_and_departure_time_survive() {
    let nat = Nat::masquerading();
    let run = |program, packet: &Packet| {
        let mut context = Context::at(UPLINK_INDEX).marked(0x00c0_ffee).queued(0x0001_000a, [5, 6]);
        let before = context.words();
        let (_, frame) = nat.within(|| nat.test_run_with(program, &mut context, &packet.frame()));
        assert_eq!(context.words(), before, "{program} of {packet:?}");
        assert_ne!(frame, packet.frame(), "{program} translates {packet:?}");
    };
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            run("uplink_egress", &packet);
            run("uplink_egress", &packet.clone().fragment(0, true));
            run("uplink_ingress", &packet.from((family.gateway, 4321)).answer());
        }
    }
    nat.assert_flows(6);
}

/// RFC 6724 as the kernel has it. The address that is good shares the least with the peer's, so that nothing but its
/// being good speaks for it.
#[test]
fn row_17_the_outside_address_is_global_and_not_tentative_deprecated_or_temporary() {
    const GOOD: &str = "2001:db8:113:0:8000::1";
    let nat = Nat::masquerading();
    let set = |key: &str, value: &str| {
        nat.within(|| fs::write(format!("/proc/sys/net/ipv6/{key}"), value).unwrap());
    };
    let sent = udp("[fd15::1]:4321", "[2001:db8:113::2]:53");
    nat.egress(&sent).assert_only_changed(Src("[2001:db8:113::1]:4321"));

    nat.ip("address delete 2001:db8:113::1/64 dev wan0");
    // One that is being looked for stays so for as long as the test takes.
    set("neigh/wan0/retrans_time_ms", "1000000");
    nat.ip("address add 2001:db8:113::6/64 dev wan0");
    nat.ip("address add 2001:db8:113::3/64 dev wan0 nodad preferred_lft 0");
    // Makes a temporary one of the same subnet.
    set("conf/wan0/use_tempaddr", "1");
    nat.ip(&format!("address add {GOOD}/64 dev wan0 nodad mngtmpaddr"));
    for which in ["tentative", "deprecated", "temporary"] {
        assert_ne!(nat.ip(&format!("-6 address show dev wan0 scope global {which}")), "", "none is {which}");
    }
    let sent = sent.from("[fd15::1]:4322");
    nat.egress(&sent).assert_only_changed(Src(format!("[{GOOD}]:4322").as_str()));
}
