//! Protocols without ports that can change: another address, as long as that is unambiguous.

use netctl_ebpf::{proto as number, reason::DropReason};
use netctl_tests::{
    packet::{Packet, icmp, other, proto},
    prog::{Change::Dst, Change::Src, Nat},
};

use super::FAMILIES;

const IPIP: u8 = 4;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;

fn packet(protocol: u8, from: &str, to: &str) -> Packet {
    let ports = if protocol == number::SCTP { [0x10, 0xe1, 0, 80] } else { [1, 2, 3, 4] };
    other(protocol, (from, 0), (to, 0)).payload(&[&ports[..], &[7; 60]].concat())
}

#[test]
fn rows_9_14_protocols_without_ports_get_another_address_and_answers_find_back() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for protocol in [IPIP, proto::GRE, ESP, AUTHENTICATION, number::SCTP, 253] {
            let out = packet(protocol, family.red, family.server);
            nat.egress(&out).assert_only_changed(Src((family.gateway, 0)));
            let mut back = packet(protocol, family.server, family.gateway);
            if protocol == number::SCTP {
                back = back.payload(&[0, 80, 0x10, 0xe1, 9, 9, 9, 9, 9, 9, 9, 9]);
            }
            nat.ingress(&back).assert_only_changed(Dst((family.red, 0)));
        }
    }
    nat.assert_flows(12);
}

#[test]
fn row_9_a_second_client_of_one_peer_cannot_be_told_apart_and_is_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for protocol in [proto::GRE, ESP, number::SCTP] {
            nat.egress(&packet(protocol, family.red, family.server)).assert_passed();
            nat.egress(&packet(protocol, family.blue, family.server)).assert_dropped(DropReason::NoPort);
            nat.egress(&packet(protocol, family.blue, family.stranger)).assert_passed();
        }
    }
}

#[test]
fn row_56_queries_with_an_identifier_are_translated_and_other_types_dropped() {
    let nat = Nat::masquerading();
    for (ask, answer) in [(13, 14), (15, 16), (17, 18)] {
        let mut query = icmp(("192.168.15.1", 0), ("203.0.113.2", 0), ask, 0, &[0; 12]).frame();
        query[38..40].copy_from_slice(&[ask, 9]);
        fix_sum(&mut query);
        let left = nat.egress(&query).assert_passed().assert_checksums_valid().frame().to_vec();
        assert_eq!(left[26..30], [203, 0, 113, 1]);
        let mut reply = icmp(("203.0.113.2", 0), ("203.0.113.1", 0), answer, 0, &[0; 12]).frame();
        reply[38..40].copy_from_slice(&left[38..40]);
        fix_sum(&mut reply);
        let back = nat.ingress(&reply).assert_passed().assert_checksums_valid().frame().to_vec();
        assert_eq!((back[30..34].to_vec(), back[38..40].to_vec()), (vec![192, 168, 15, 1], vec![ask, 9]));
    }
    nat.assert_flows(3);
    for kind in [9, 10, 30, 200] {
        let packet = icmp(("192.168.15.1", 0), ("203.0.113.2", 0), kind, 0, &[0; 12]);
        nat.egress(&packet).assert_dropped(DropReason::Icmp);
    }
}

/// Of ICMPv6's messages echoes alone have an identifier: group queries, router and neighbour discovery, node information
/// and what has no meaning yet have none.
#[test]
fn rows_19_56_messages_of_icmpv6_without_an_identifier_are_dropped() {
    let nat = Nat::masquerading();
    let family = &FAMILIES[1];
    for kind in [100, 130, 133, 135, 136, 139, 140, 143, 200] {
        let packet = icmp((family.red, 0), (family.server, 0), kind, 0, &[0; 24]);
        nat.egress(&packet).assert_dropped(DropReason::Icmp);
    }
    nat.assert_flows(0);
}

/// Sets the checksum of an ICMP message in an IPv4 frame without options.
fn fix_sum(frame: &mut [u8]) {
    frame[36..38].fill(0);
    let words =
        frame[34..].chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into()));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[36..38].copy_from_slice(&sum.to_be_bytes());
}
