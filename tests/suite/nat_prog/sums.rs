//! Checksums that are wrong already: errors with such are dropped, headers with such open nothing, the rest stays as
//! wrong as it came.

use netctl::model::{Filtering, Mapping};
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Endpoint as _, Packet, icmp, ping, udp},
    prog::{Change::Dst, Nat, forward},
};

use super::{FAMILIES, Family, openings};

/// Where an IP header ends in a frame without options.
fn header_end(family: &Family) -> usize {
    if family.red.contains(':') { 54 } else { 34 }
}

/// Destination unreachable, in a family's own words.
fn unreachable(family: &Family, [from, to]: [&str; 2], quote: &[u8]) -> Packet {
    let (kind, code) = if family.red.contains(':') { (1, 4) } else { (3, 3) };
    icmp((from, 0), (to, 0), kind, code, quote)
}

/// A packet of a flow as a router outside would quote it, and the flow's first packet as its sender knows it.
fn quotes(nat: &Nat, family: &Family) -> Vec<Vec<u8>> {
    let quote = |sent: Packet| sent.clone().from(nat.egress(&sent).src()).frame()[14..].to_vec();
    openings(family.red, 4321, family.server).map(quote).to_vec()
}

#[test]
fn row_67_an_error_with_a_wrong_checksum_is_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for quote in quotes(&nat, family) {
            let error = unreachable(family, [family.stranger, family.gateway], &quote);
            nat.ingress(&error).assert_passed();
            let right = error.frame();
            // The checksum itself; the unused word; the second and the last byte of what is quoted.
            for at in [2, 3, 5, 9, 8 + quote.len() - 1] {
                let mut wrong = right.clone();
                wrong[header_end(family) + at] ^= 0x10;
                nat.ingress(&wrong).assert_dropped(DropReason::Checksum);
            }
            nat.ingress(&right).assert_passed();
        }
        // From inside as well.
        let sent = udp((family.red, 4321), (family.server, 53));
        let mut error =
            unreachable(family, [family.red, family.server], &sent.answer().frame()[14..]).frame();
        nat.egress(&error).assert_passed();
        error[header_end(family) + 2] ^= 1;
        nat.egress(&error).assert_dropped(DropReason::Checksum);
    }
    nat.assert_flows(6);
}

/// RFC 5508 REQ-3a; IPv6 headers have none.
#[test]
fn row_67_an_error_that_quotes_a_header_with_a_wrong_checksum_is_dropped() {
    let nat = Nat::masquerading();
    let family = &FAMILIES[0];
    for mut quote in quotes(&nat, family) {
        for at in [10, 8] {
            quote[at] ^= 1;
            nat.ingress(&unreachable(family, [family.stranger, family.gateway], &quote))
                .assert_dropped(DropReason::Checksum);
            quote[at] ^= 1;
        }
        nat.ingress(&unreachable(family, [family.stranger, family.gateway], &quote)).assert_passed();
    }
}

/// RFC 5508 REQ-3c: it is about the sender's own packet, and may have been damaged on its way.
#[test]
fn row_64_an_error_that_quotes_a_wrong_transport_checksum_is_passed_on_as_wrong_as_it_was() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let ip = header_end(family) - 14;
        for (mut quote, (sent, checksum)) in quotes(&nat, family)
            .into_iter()
            .zip(openings(family.red, 4321, family.server).into_iter().zip([16, 6, 2]))
        {
            quote[ip + checksum] ^= 0x40;
            let mut wanted = sent.frame()[14..].to_vec();
            let error = unreachable(family, [family.stranger, family.gateway], &quote);
            let outcome = nat.ingress(&error);
            outcome.assert_passed().assert_checksums_valid();
            // The sum that it is off by is what was put in.
            let arrived = outcome.frame()[header_end(family) + 8..].to_vec();
            let field = ip + checksum..ip + checksum + 2;
            assert_ne!(arrived[field.clone()], wanted[field.clone()], "a wrong checksum made right");
            wanted[field.clone()].copy_from_slice(&arrived[field]);
            assert_eq!(arrived, wanted);
        }
    }
}

/// Ethernet's padding is no part of what is quoted, RFC 4884's is.
#[test]
fn rows_65_69_a_quote_ends_where_the_error_does() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for (quote, sent) in quotes(&nat, family).iter().zip(openings(family.red, 4321, family.server)) {
            // Cut before the ports by the error's own length, though the frame goes on.
            let cut = header_end(family) - 14 + 7;
            let error = unreachable(family, [family.stranger, family.gateway], &quote[..cut]);
            let frame = [error.frame(), quote[cut..].to_vec(), vec![0; 40]].concat();
            nat.ingress(&frame).assert_untouched();

            let pad = |quote: &[u8]| [quote, &vec![0; 128 - quote.len()], &[0x20, 0, 0x9e, 0x9f]].concat();
            let error = unreachable(family, [family.stranger, family.gateway], &pad(quote));
            let wanted = unreachable(family, [family.stranger, family.red], &pad(&sent.frame()[14..]));
            assert_eq!(nat.ingress(&error).assert_passed().frame(), wanted.frame());
        }
    }
}

/// What the IP layer, which comes after ingress, drops.
#[test]
fn row_91_a_header_with_a_wrong_checksum_opens_no_flow_and_belongs_to_none() {
    let mut nat = Nat::masquerading_as(|rule| {
        rule.mapping = Mapping::EndpointIndependent;
        rule.filtering = Filtering::EndpointIndependent;
    });
    let family = &FAMILIES[0];
    let listen = (family.gateway, 8080).endpoint();
    nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
    nat.egress(&udp((family.red, 4321), (family.server, 53))).assert_passed();
    nat.assert_flows(1);
    for call in [udp((family.stranger, 777), listen), udp((family.stranger, 777), (family.gateway, 4321))] {
        for damaged in [24, 25, 18, 22] {
            let mut frame = call.frame();
            frame[damaged] ^= 1;
            nat.ingress(&frame).assert_dropped(DropReason::Malformed);
            nat.inside_ingress(&frame).assert_dropped(DropReason::Malformed);
        }
    }
    nat.assert_flows(1);
    let mut answer = udp((family.server, 53), (family.gateway, 4321)).frame();
    answer[24] ^= 1;
    nat.ingress(&answer).assert_dropped(DropReason::Malformed);
}

#[test]
fn row_91_what_is_no_ip_header_is_left_to_the_ip_layer() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        nat.egress(&udp((family.red, 4321), (family.server, 53))).assert_passed();
        // Of no version, of another one, and IPv4 headers that are too short.
        let wrong: &[u8] =
            if family.red.contains(':') { &[0x00, 0x45, 0x70] } else { &[0x05, 0x44, 0x40, 0x65] };
        for &first in wrong {
            let mut answer = udp((family.server, 53), (family.gateway, 4321)).frame();
            answer[14] = first;
            nat.ingress(&answer).assert_untouched();
        }
    }
    nat.assert_flows(2);
}

/// An identifier of 0 is one like any other, and makes a query's tuple its answer's.
#[test]
fn row_57_a_ping_from_outside_with_a_clients_identifier_is_the_gateways() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for id in [0, 7] {
            let own = ping((family.red, id), (family.server, 0));
            nat.egress(&own).assert_passed();
            nat.ingress(&ping((family.server, id), (family.gateway, 0))).assert_untouched();
            nat.egress(&ping((family.server, id), (family.gateway, 0)).answer()).assert_untouched();
            let answer = own.clone().from((family.gateway, id)).answer();
            nat.ingress(&answer).assert_only_changed(Dst(own.src)).assert_checksums_valid();
        }
    }
    nat.assert_flows(4);
    assert_eq!(nat.drops(), []);
}
