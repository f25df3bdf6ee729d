//! Datagrams in parts: what was decided with the one that has the ports holds for all of them.

use std::net::SocketAddr;

use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{
        Endpoint as _, Packet,
        check::{self, Side},
        parts::{parts, place, whole},
        ping, tcp, udp,
    },
    prog::{Nat, Outcome, forward, masquerade},
};

use super::FAMILIES;

/// A large datagram of each protocol that is translated.
fn large(client: &str, port: u16, server: &str) -> [Packet; 3] {
    let payload: Vec<u8> = (0..3000_u32).map(|i| (i * 7) as u8).collect();
    let client = (client, port);
    [tcp(client, (server, 80)).syn(), udp(client, (server, 53)), ping(client, (server, 0))]
        .map(|packet| packet.payload(&payload))
}

/// The parts of `packet` in that order all pass and are together what `packet` is with one end changed.
#[track_caller]
fn assert_becomes(run: impl Fn(&Vec<u8>) -> Outcome, packet: &Packet, side: Side, to: SocketAddr) {
    let sent = parts(&packet.frame(), 1200, 0x1234);
    assert!(sent.len() >= 3);
    let left = sent.iter().map(|part| run(part).assert_passed().frame().to_vec()).collect();
    let (left, expected) = (whole(left), check::with(&whole(sent), side, to));
    check::checksums(&left).unwrap();
    let without_id = |frame: &[u8]| {
        let mut frame = check::without_checksums(frame);
        if packet.src.is_ipv4() {
            frame[18..20].fill(0);
        }
        frame
    };
    assert_eq!(without_id(&left), without_id(&expected));
}

#[test]
fn rows_19_58_77_85_parts_of_a_datagram_are_translated_alike_out_and_in() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let client = (family.red, 4321);
        for packet in large(family.red, 4321, family.server) {
            assert_becomes(|part| nat.egress(part), &packet, Side::Src, (family.gateway, 4321).endpoint());
            let answer = packet.from((family.gateway, 4321)).answer();
            assert_becomes(|part| nat.ingress(part), &answer, Side::Dst, client.endpoint());
        }
    }
    nat.assert_flows(6);
    // A first part without the whole TCP header has no checksum to keep right.
    for family in &FAMILIES {
        let [tcp, ..] = large(family.red, 4321, family.server);
        let tiny = &parts(&tcp.frame(), 8, 7)[0];
        nat.egress(tiny).assert_dropped(DropReason::Malformed);
    }
}

#[test]
fn row_77_parts_to_a_forwarded_port_and_of_its_answers_are_translated() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let server = (family.blue, 53);
        let listen = if family.gateway.contains(':') {
            format!("[{}]:8053/udp", family.gateway)
        } else {
            format!("{}:8053/udp", family.gateway)
        };
        nat.forward(&forward(&listen, server));
        let [_, datagram, _] = large(family.stranger, 999, family.gateway);
        let datagram = datagram.to((family.gateway, 8053));
        assert_becomes(|part| nat.ingress(part), &datagram, Side::Dst, server.endpoint());
        let answer = datagram.to(server).answer();
        let seen = (family.gateway, 8053).endpoint();
        assert_becomes(|part| nat.egress(part), &answer, Side::Src, seen);
    }
    nat.assert_flows(2);
}

#[test]
fn rows_19_82_83_two_clients_with_one_identification_stay_apart() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let [one, two] = [family.red, family.blue].map(|client| {
            let [_, datagram, _] = large(client, 4321, family.server);
            parts(&datagram.frame(), 1200, 0x4242)
        });
        let (mut left_first, mut left_second) = (Vec::new(), Vec::new());
        for (a, b) in one.iter().zip(&two) {
            left_first.push(nat.egress(a).assert_passed().frame().to_vec());
            left_second.push(nat.egress(b).assert_passed().frame().to_vec());
        }
        // Drawn at random, so that of a few hardly all are the one that both clients sent. IPv6's are random already.
        let drawn = [&one[0], &two[0], &one[0], &two[0]].map(|part| place(nat.egress(part).frame()).0);
        let is_kept = drawn.iter().all(|id| *id == place(&one[0]).0);
        assert_eq!(is_kept, family.red.contains(':'), "{drawn:?}");
        for left in [left_first, left_second] {
            check::checksums(&whole(left)).unwrap();
        }
    }
}

/// The first part of a datagram.
fn first(datagram: &Packet, id: u16) -> Vec<u8> {
    parts(&datagram.frame(), 1200, id).swap_remove(0)
}

#[test]
fn row_79_without_the_first_part_nothing_leaves() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for packet in large(family.red, 4321, family.server) {
            for part in &parts(&packet.frame(), 1200, 9)[1..] {
                nat.egress(part).assert_dropped(DropReason::Fragment);
            }
        }
    }
    nat.assert_flows(0);
}

#[test]
fn rows_19_84_a_part_that_overlaps_the_first_is_dropped_and_a_second_copy_is_not() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for (packet, id) in large(family.red, 4321, family.server).iter().zip(1..) {
            nat.egress(&first(packet, id)).assert_passed();
            for (unit, number) in [(8, 1), (400, 2), (8, 149)] {
                let overlapping = parts(&packet.frame(), unit, id).swap_remove(number);
                nat.egress(&overlapping).assert_dropped(DropReason::Malformed);
            }
            for part in parts(&packet.frame(), 1200, id) {
                let copies = [0, 1].map(|_| nat.egress(&part).assert_passed().frame().to_vec());
                let addresses = if family.red.contains(':') { 22..54 } else { 26..34 };
                assert_eq!(copies[0][addresses.clone()], copies[1][addresses]);
            }
        }
    }
}

#[test]
fn rows_19_86_a_flood_of_first_parts_leaves_whole_packets_alone() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let whole = udp((family.red, 4321), (family.server, 53));
        nat.egress(&whole).assert_passed();
        let [_, large, _] = large(family.blue, 5555, family.server);
        let frame = large.frame();
        for id in 0..20_000 {
            nat.egress(&parts(&frame, 1200, id).swap_remove(0)).assert_passed();
        }
        nat.egress(&whole).assert_passed();
    }
    nat.assert_flows(4);
}

#[test]
fn row_80_parts_are_sent_on_before_the_last_has_come() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for packet in large(family.red, 4321, family.server) {
            let answer = packet.clone().from((family.gateway, 4321)).answer();
            let [out, back] = [packet, answer].map(|packet| parts(&packet.frame(), 1200, 80));
            for (out, back) in out.iter().zip(&back).rev().skip(1).rev() {
                assert_eq!(nat.egress(out).assert_passed().src().ip(), (family.gateway, 0).endpoint().ip());
                assert_eq!(nat.ingress(back).assert_passed().dst().ip(), (family.red, 0).endpoint().ip());
            }
        }
    }
}

#[test]
fn row_88_parts_that_may_not_be_taken_apart_stay_so() {
    const MAY_NOT: u8 = 0x40;
    let nat = Nat::masquerading();
    let family = &FAMILIES[0];
    for packet in large(family.red, 4321, family.server) {
        let answer = packet.clone().from((family.gateway, 4321)).answer();
        let [out, back] = [packet, answer].map(|packet| {
            let mut parts = parts(&packet.frame(), 1200, 88);
            for part in &mut parts {
                part[20] |= MAY_NOT;
                part[24..26].fill(0);
                let sum = check::sum(&[&part[14..34]]);
                part[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            parts
        });
        for (out, back) in out.iter().zip(&back) {
            assert_eq!(nat.egress(out).assert_passed().frame()[20..22], out[20..22]);
            assert_eq!(nat.ingress(back).assert_passed().frame()[20..22], back[20..22]);
        }
    }
}

#[test]
fn row_87_atomic_fragments_are_whole_packets() {
    let nat = Nat::masquerading();
    for packet in
        [tcp("[fd15::1]:1", "[2001:db8:113::2]:80").syn(), udp("[fd15::1]:1", "[2001:db8:113::2]:53")]
    {
        let atomic = parts(&packet.frame(), 8 * 1024, 77);
        assert_eq!(atomic.len(), 1);
        let left = nat.egress(&atomic[0]).assert_passed().frame().to_vec();
        check::checksums(&left).unwrap();
        assert_eq!(place(&left).0, 77);
    }
    nat.assert_flows(2);
}

#[test]
fn what_is_routed_passes_in_parts_as_well() {
    let mut nat = Nat::new();
    nat.masquerade(&netctl::model::Masquerade { routed: true, ..masquerade("192.168.15.0/24") });
    let [_, datagram, _] = large("203.0.113.2", 53, "192.168.15.1");
    for part in parts(&datagram.frame(), 1200, 3) {
        nat.ingress(&part).assert_untouched();
    }
}
