//! What a rule covers and cannot be translated: dropped under its reason, never passed with its inside source.

use netctl_ebpf::{proto as number, reason::DropReason};
use netctl_tests::{
    packet::{Packet, flag, icmp, other, ping, proto, tcp, udp},
    prog::{Change::Src, Nat, forward},
};

use super::{FAMILIES, openings};

#[test]
fn row_110_a_segment_that_opens_nothing_is_dropped() {
    let nat = Nat::masquerading();
    let segments = [
        flag::RST,
        flag::RST | flag::ACK,
        flag::FIN,
        flag::FIN | flag::ACK,
        flag::SYN | flag::ACK,
        flag::SYN | flag::FIN,
        flag::SYN | flag::RST,
        flag::PSH,
        0,
        0xff,
    ];
    for family in &FAMILIES {
        for flags in segments {
            let packet = tcp((family.red, 4321), (family.server, 80)).flags(flags);
            nat.egress(&packet).assert_dropped(DropReason::NoConnection);
        }
    }
    nat.assert_flows(0);
}

#[test]
fn row_111_a_connection_whose_state_was_lost_is_picked_up() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let packet = tcp((family.red, 4321), (family.server, 80)).flags(flag::ACK | flag::PSH);
        nat.egress(&packet).assert_only_changed(Src((family.gateway, 4321))).assert_checksums_valid();
    }
    nat.assert_flows(2);
}

#[test]
fn icmp_that_is_neither_query_nor_error_is_dropped_even_if_it_quotes_a_flow() {
    let nat = Nat::masquerading();
    for (family, kinds) in
        FAMILIES.iter().zip([&[(5, 1), (10, 0), (30, 0), (200, 0)][..], &[(135, 0), (137, 0), (200, 0)]])
    {
        let quoted = udp((family.server, 53), (family.red, 4321));
        nat.egress(&quoted.answer()).assert_passed();
        for &(kind, code) in kinds {
            let packet = icmp((family.red, 0), (family.server, 0), kind, code, &quoted.frame()[14..]);
            nat.egress(&packet).assert_dropped(DropReason::Icmp);
        }
    }
    nat.assert_flows(2);
}

#[test]
fn an_echo_reply_that_nobody_asked_for_is_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let reply = ping((family.server, 7), (family.red, 0)).answer();
        nat.egress(&reply).assert_dropped(DropReason::Icmp);
    }
    nat.assert_flows(0);
}

/// Their checksums cover the addresses. Protocol 1 has no meaning over IPv6, nor has 58 over IPv4.
#[test]
fn row_9_protocols_that_no_address_can_be_changed_of_are_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let foreign_icmp = if family.red.contains(':') { proto::ICMP } else { proto::ICMPV6 };
        for protocol in [number::DCCP, number::UDP_LITE, foreign_icmp] {
            // Where it might be taken for an ICMP query, it is one.
            let payload = [if foreign_icmp == proto::ICMP { 8 } else { 128 }, 0, 0, 0, 16, 225, 0, 1];
            let packet = other(protocol, (family.red, 0), (family.server, 0)).payload(&payload);
            nat.egress(&packet).assert_dropped(DropReason::Protocol);
        }
    }
    nat.assert_flows(0);
}

/// The frame of `packet` with some bytes replaced, counted from the transport header on.
fn with(packet: &Packet, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = packet.frame();
    let at = if packet.src.is_ipv4() { 34 } else { 54 } + offset;
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The frame of `packet` cut short after so many bytes of transport, the IP header still promising all of it.
fn cut(packet: &Packet, length: usize) -> Vec<u8> {
    let mut frame = packet.frame();
    frame.truncate(if packet.src.is_ipv4() { 34 } else { 54 } + length);
    frame
}

#[test]
fn row_92_headers_cut_short_or_contradicting_themselves_are_dropped() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let (client, server) = ((family.red, 4321), (family.server, 80));
        let (syn, datagram, echo) = (tcp(client, server).syn(), udp(client, server), ping(client, server));
        let mut frames = vec![
            with(&syn, 12, &[0x40]), // a header of 16 bytes
            with(&syn, 12, &[0x00]),
            with(&syn, 12, &[0xf0]), // of 60 bytes, in a datagram of 24
            with(&datagram, 4, &[0, 7]),
            with(&datagram, 4, &[0, 1]),
            with(&datagram, 4, &[0xff, 0xff]),
            with(&datagram, 4, &25_u16.to_be_bytes()), // 8 + 16 bytes are there
        ];
        frames.extend([0, 1, 4, 8, 13, 19, 20].map(|length| cut(&syn, length)));
        frames.extend([0, 1, 4, 7].map(|length| cut(&datagram, length)));
        frames.extend([0, 1, 4, 7].map(|length| cut(&echo, length)));
        for frame in &frames {
            nat.egress(frame).assert_dropped(DropReason::Malformed);
        }
    }
    nat.assert_flows(0);
}

#[test]
fn ipv4_options_that_end_after_the_packet_are_dropped() {
    let nat = Nat::masquerading();
    for packet in openings("192.168.15.1", 4321, "203.0.113.2") {
        let mut frame = packet.payload(b"").frame();
        frame[14] = 0x4f; // a header of 60 bytes
        nat.egress(&frame).assert_dropped(DropReason::Malformed);
    }
    nat.assert_flows(0);
}

#[test]
fn extension_headers_without_end_are_dropped() {
    let nat = Nat::masquerading();
    for packet in openings("fd15::1", 4321, "2001:db8:113::2") {
        let options = [0, 0, 1, 4, 0, 0, 0, 0];
        let many = (0..9).fold(packet.clone(), |packet, _| packet.extension(proto::DESTINATION, &options));
        nat.egress(&many).assert_dropped(DropReason::Malformed);

        let mut too_long = packet.extension(proto::DESTINATION, &options).frame();
        too_long[55] = 255; // 2048 bytes of options
        nat.egress(&too_long).assert_dropped(DropReason::Malformed);
        too_long.truncate(56);
        nat.egress(&too_long).assert_dropped(DropReason::Malformed);
    }
    nat.assert_flows(0);
}

/// Of IPv4, the kernel refuses them before the packet leaves, by options that the programs do not read.
#[test]
fn row_90_what_a_routing_header_sends_on_to_others_makes_no_flow() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("[2001:db8:113::1]:80/tcp", "[fd15::2]:80"));
    let family = &FAMILIES[1];
    // Of type 0, of type 2, of segment routing: one segment left.
    for kind in [0, 2, 4] {
        let header = [&[0, 2, kind, 1, 0, 0, 0, 0, 0xfd, 0x15][..], &[0; 13], &[9]].concat();
        let routed = |packet: Packet| packet.extension(proto::ROUTING, &header);
        for packet in openings(family.red, 4321, family.server) {
            nat.egress(&routed(packet)).assert_dropped(DropReason::Protocol);
        }
        let call = tcp((family.server, 777), (family.gateway, 80)).syn();
        nat.ingress(&routed(call)).assert_untouched();
        let call = tcp((family.red, 777), (family.gateway, 80)).syn();
        nat.inside_ingress(&routed(call)).assert_untouched();
    }
    nat.assert_flows(0);
}

#[test]
fn without_an_outside_address_nothing_leaves() {
    let nat = Nat::masquerading();
    for address in ["203.0.113.1/24", "2001:db8:113::1/64"] {
        nat.ip(&format!("addr del {address} dev wan0"));
    }
    nat.ip("link set far-wan0 down");
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            nat.egress(&packet).assert_dropped(DropReason::NoAddress);
        }
    }
    nat.assert_flows(0);
}
