//! ICMP errors: whoever they reach finds the packet quoted as he sent it, every checksum as right as it was.
//!
//! What must come out is built and not computed from what went in: the error as it would be without a NAT in between.

use std::collections::HashMap;

use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Packet, icmp, ping, proto, tcp, udp},
    prog::{Nat, forward, masquerade},
};

use super::{FAMILIES, Family, openings};

/// Errors of a family: type and code.
fn kinds(family: &Family) -> &'static [(u8, u8)] {
    if family.red.contains(':') {
        &[(1, 0), (1, 4), (2, 0), (3, 0), (4, 1)]
    } else {
        &[(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (4, 0), (11, 0), (11, 1), (12, 0)]
    }
}

/// The bytes of a packet that an error quotes: all of them, or the IP header and eight more.
fn quotes(packet: &Packet) -> [Vec<u8>; 2] {
    let datagram = packet.frame()[14..].to_vec();
    let shortest = datagram.len().min(datagram.len() - packet_payload(packet) + 8);
    [datagram.clone(), datagram[..shortest].to_vec()]
}

/// Bytes behind the IP header and its options or extensions.
fn packet_payload(packet: &Packet) -> usize {
    let extensions: usize = packet.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
    let header = if packet.src.is_ipv4() { 20 + packet.options.len() } else { 40 + extensions };
    packet.frame().len() - 14 - header
}

fn error(from: &str, to: &str, (kind, code): (u8, u8), quote: &[u8]) -> Packet {
    icmp((from, 0), (to, 0), kind, code, quote)
}

#[test]
fn rows_59_60_61_an_error_from_outside_reaches_the_sender_with_the_packet_as_he_sent_it() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        // The second client's ports are taken, so that translating the port is seen too.
        for client in [family.red, family.blue] {
            for sent in openings(client, 4321, family.server) {
                let left = nat.egress(&sent);
                let seen = sent.clone().from(left.src());
                for &kind in kinds(family) {
                    for (quote, wanted) in quotes(&seen).iter().zip(quotes(&sent)) {
                        let outcome = nat.ingress(&error(family.stranger, family.gateway, kind, quote));
                        assert_eq!(
                            outcome.assert_passed().frame(),
                            error(family.stranger, client, kind, &wanted).frame(),
                            "kind {kind:?}"
                        );
                    }
                }
            }
        }
    }
    nat.assert_flows(12);
}

#[test]
fn row_70_an_error_from_inside_leaves_with_the_packet_as_its_sender_knows_it() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for client in [family.red, family.blue] {
            for sent in openings(client, 4321, family.server) {
                let outside = nat.egress(&sent).src();
                let answer = sent.clone().from(outside).answer();
                nat.ingress(&answer).assert_passed();
                for &kind in kinds(family) {
                    for (quote, wanted) in quotes(&sent.answer()).iter().zip(quotes(&answer)) {
                        // From the client, and from a router of the inside.
                        for source in [client, family.blue] {
                            let outcome = nat.egress(&error(source, family.server, kind, quote));
                            assert_eq!(
                                outcome.assert_passed().frame(),
                                error(family.gateway, family.server, kind, &wanted).frame(),
                                "kind {kind:?} from {source}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// TTL, MTU or neighbour: the gateway sees the packet after its destination has become an inside one.
#[test]
fn rows_72_73_the_gateways_own_error_about_a_packet_already_translated_quotes_it_as_it_came() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let sent = udp((family.red, 4321), (family.server, 53));
        let answer = sent.clone().from(nat.egress(&sent).src()).answer();
        nat.ingress(&answer).assert_passed();
        let [quote, _] = quotes(&sent.answer());
        let [wanted, _] = quotes(&answer);
        for &kind in kinds(family) {
            let outcome = nat.egress(&error(family.gateway, family.server, kind, &quote));
            let wanted = error(family.gateway, family.server, kind, &wanted);
            assert_eq!(outcome.assert_passed().frame(), wanted.frame());
        }

        let listen = netctl_tests::packet::Endpoint::endpoint((family.gateway, 8080));
        nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
        let call = udp((family.server, 777), (family.gateway, 8080));
        nat.ingress(&call).assert_passed();
        let [quote, _] = quotes(&call.clone().to((family.blue, 80)));
        let [wanted, _] = quotes(&call);
        for &kind in kinds(family) {
            for source in [family.gateway, family.blue] {
                let outcome = nat.egress(&error(source, family.server, kind, &quote));
                let wanted = error(family.gateway, family.server, kind, &wanted);
                assert_eq!(outcome.assert_passed().frame(), wanted.frame(), "from {source}");
            }
        }
    }
}

#[test]
fn row_72_an_error_about_a_forwarded_answer_reaches_the_server() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let listen = netctl_tests::packet::Endpoint::endpoint((family.gateway, 8080));
        nat.forward(&forward(&format!("{listen}/tcp"), (family.blue, 80)));
        let call = tcp((family.server, 777), (family.gateway, 8080)).syn();
        nat.ingress(&call).assert_passed();
        let answer = call.clone().to((family.blue, 80)).answer();
        nat.egress(&answer).assert_passed();
        for &kind in kinds(family) {
            for (quote, wanted) in quotes(&call.answer()).iter().zip(quotes(&answer)) {
                let outcome = nat.ingress(&error(family.stranger, family.gateway, kind, quote));
                let wanted = error(family.stranger, family.blue, kind, &wanted);
                assert_eq!(outcome.assert_passed().frame(), wanted.frame());
            }
        }
    }
}

#[test]
fn row_42_an_error_about_a_hairpinned_packet_reaches_its_sender() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let listen = netctl_tests::packet::Endpoint::endpoint((family.gateway, 8080));
        nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
        let call = udp((family.red, 777), (family.gateway, 8080));
        nat.inside_ingress(&call).assert_passed();
        let half_way = call.clone().to((family.blue, 80));
        let arrived = half_way.clone().from(nat.inside_egress(&half_way).src());
        for &kind in kinds(family) {
            let [quote, _] = quotes(&arrived);
            let back = nat.inside_ingress(&error(family.blue, family.gateway, kind, &quote));
            let [quote, _] = quotes(&half_way);
            let expected = error(family.blue, family.red, kind, &quote);
            assert_eq!(back.assert_passed().frame(), expected.frame(), "on the way in");
            let [quote, _] = quotes(&call);
            let told = nat.inside_egress(&expected);
            let expected = error(family.gateway, family.red, kind, &quote);
            assert_eq!(told.assert_passed().frame(), expected.frame(), "on the way out");
        }
    }
}

#[test]
fn rows_19_62_63_a_quote_is_found_past_options_and_without_a_checksum() {
    let nat = Nat::masquerading();
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    let [v4, v6] = FAMILIES.map(|family| udp((family.red, 4321), (family.server, 53)));
    let sent = [
        (0, v4.clone().without_checksum()),
        (0, Packet { options: vec![1; 12], ..v4.clone() }),
        (0, Packet { options: vec![1; 40], ..v4 }),
        (1, v6.clone().without_checksum()),
        (1, v6.clone().extension(proto::DESTINATION, &options)),
        (1, v6.extension(proto::HOP_BY_HOP, &options).extension(proto::DESTINATION, &options)),
    ];
    for (family, packet) in sent {
        let Family { red, gateway, stranger, .. } = FAMILIES[family];
        let kind = kinds(&FAMILIES[family])[0];
        let seen = packet.clone().from(nat.egress(&packet).src());
        for (quote, wanted) in quotes(&seen).iter().zip(quotes(&packet)) {
            let outcome = nat.ingress(&error(stranger, gateway, kind, quote));
            assert_eq!(outcome.assert_passed().frame(), error(stranger, red, kind, &wanted).frame());
        }
    }
}

#[test]
fn rows_66_68_69_71_an_error_about_nothing_known_is_left_to_the_gateway_and_never_leaves() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let sent = udp((family.red, 4321), (family.server, 53));
        let seen = sent.clone().from(nat.egress(&sent).src());
        let [quote, _] = quotes(&seen);
        let unknown = quotes(&seen.clone().from((family.gateway, 9)))[0].clone();
        for &kind in kinds(family) {
            // Of an unknown flow; to another address than the quoted sender's; cut before the ports; of no
            // packet's beginning.
            nat.ingress(&error(family.stranger, family.gateway, kind, &unknown)).assert_untouched();
            nat.ingress(&error(family.stranger, family.stranger, kind, &quote)).assert_untouched();
            let header = quote.len() - packet_payload(&seen);
            for length in [0, 10, header, header + 7] {
                nat.ingress(&error(family.stranger, family.gateway, kind, &quote[..length]))
                    .assert_untouched();
            }
            let later = quotes(&seen.clone().fragment(2, false))[0].clone();
            nat.ingress(&error(family.stranger, family.gateway, kind, &later)).assert_untouched();
            let unknown = quotes(&sent.clone().from((family.red, 9)).answer())[0].clone();
            nat.egress(&error(family.red, family.server, kind, &unknown)).assert_dropped(DropReason::Icmp);
        }
    }
    nat.assert_flows(2);
}

/// RFC 5508 REQ-6, RFC 4787 REQ-12.
#[test]
fn row_75_errors_neither_end_a_flow_nor_keep_it_alive() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for sent in openings(family.red, 4321, family.server) {
            let seen = sent.clone().from(nat.egress(&sent).src());
            let state = || -> HashMap<_, _> {
                let entries = nat.entries().into_iter();
                entries.map(|(key, half)| (key, (half.last_seen_ns, half.packets, half.tcp_seen))).collect()
            };
            let before = state();
            for &kind in kinds(family) {
                let quote = &quotes(&seen)[0];
                nat.ingress(&error(family.stranger, family.gateway, kind, quote)).assert_passed();
            }
            assert_eq!(state(), before);
        }
    }
}

/// A redirect is for the one who sent the packet on, which the gateway is.
#[test]
fn row_76_a_redirect_from_outside_does_not_reach_the_inside() {
    let nat = Nat::masquerading();
    for (family, redirect) in FAMILIES.iter().zip([(5, 1), (137, 0)]) {
        let sent = udp((family.red, 4321), (family.server, 53));
        let seen = sent.clone().from(nat.egress(&sent).src());
        nat.ingress(&error(family.stranger, family.gateway, redirect, &quotes(&seen)[0])).assert_untouched();
    }
}

#[test]
fn an_error_about_an_ended_flow_is_about_nothing_known() {
    let mut nat = Nat::masquerading();
    let sent = ping(("192.168.15.1", 7), ("203.0.113.2", 0));
    let seen = sent.clone().from(nat.egress(&sent).src());
    for numbered in nat.tables.masquerades(&std::collections::BTreeMap::new()).unwrap() {
        nat.tables.remove_masquerade(numbered.id).unwrap();
    }
    nat.masquerade(&masquerade("192.168.15.0/24"));
    nat.ingress(&error("203.0.113.3", "203.0.113.1", (11, 0), &quotes(&seen)[0])).assert_untouched();
}

#[test]
fn rows_19_64_65_a_wrong_quoted_checksum_and_what_follows_the_quote_are_kept() {
    let nat = Nat::masquerading();
    for (family, exceeded) in FAMILIES.iter().zip([(11, 0), (3, 0)]) {
        let sent = udp((family.red, 4321), (family.server, 53)).payload(&[7; 120]);
        let seen = sent.clone().from(nat.egress(&sent).src());
        let (mut quote, mut wanted) = (seen.frame()[14..].to_vec(), sent.frame()[14..].to_vec());
        for quoted in [&mut quote, &mut wanted] {
            quoted[60] ^= 0x55; // its checksum knows nothing of that
            quoted.truncate(128);
            quoted.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x11, 0x41]); // a label stack (RFC 4884, RFC 4950)
        }
        let outcome = nat.ingress(&error(family.stranger, family.gateway, exceeded, &quote));
        let wanted = error(family.stranger, family.red, exceeded, &wanted);
        assert_eq!(outcome.assert_passed().frame(), wanted.frame());
    }
}
