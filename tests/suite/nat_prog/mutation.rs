//! Damaged packets, many of them, always the same ones: none leaves with an inside source, none that is not ours is
//! changed, and all goes on as before.

use std::net::IpAddr;

use netctl_tests::{
    packet::{
        Packet,
        check::{self, View},
        icmp, other, proto, tcp, udp,
    },
    prog::{Change::Src, Nat, UPLINK_INDEX, forward},
    random::Random,
};

use super::{FAMILIES, openings};

/// A million in each direction.
const MUTATIONS: u32 = 2_000_000;
const SEED: u64 = 0x6e65_7463_746c;

/// Flips bits, replaces bytes, cuts or lengthens, a few times; most of it in the headers.
fn mutate(random: &mut Random, frame: &mut Vec<u8>) {
    const SHORTEST: usize = 14 + 20;
    for _ in 0..=random.below(4) {
        let headers = 60.min(frame.len() - 12);
        let reach = if random.below(4) == 0 { frame.len() - 12 } else { headers };
        let at = 12 + random.below(reach);
        match random.below(8) {
            0..4 => frame[at] ^= 1 << random.below(8),
            4..6 => frame[at] = random.number() as u8,
            6 => frame.truncate(SHORTEST.max(at)),
            _ => frame.extend((0..random.below(64)).map(|i| i as u8)),
        }
    }
}

/// What the kernel's IP layer would hand to an interface: the programs rely on it for the rest.
fn is_ip(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame[14] >> 4 == 4 && frame[14] & 0x0f >= 5,
        [0x86, 0xdd] => frame[14] >> 4 == 6 && frame.len() >= 54,
        _ => false,
    }
}

/// Source and destination address; `None` of what is no IP packet.
fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let array = |at: usize| <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap();
    let short = |at: usize| <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap();
    is_ip(frame).then(|| match frame[12] {
        0x08 => (short(26).into(), short(30).into()),
        _ => (array(22).into(), array(38).into()),
    })
}

fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[192, 168, 15]),
        IpAddr::V6(v6) => v6.segments()[..4] == [0xfd15, 0, 0, 0],
    }
}

fn is_gateway(address: IpAddr) -> bool {
    FAMILIES.iter().any(|family| family.gateway.parse() == Ok(address))
}

/// An address that nobody sends from.
fn is_nobody(address: IpAddr) -> bool {
    let reserved = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 224);
    reserved || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// Whole packets to damage, out or in.
fn seeds() -> Vec<Vec<u8>> {
    let mut packets: Vec<Packet> = Vec::new();
    for family in &FAMILIES {
        for (client, server) in
            [(family.red, family.server), (family.gateway, family.server), (family.server, family.gateway)]
        {
            packets.extend(openings(client, 4321, server));
            packets.push(tcp((client, 4321), (server, 80)));
            packets.push(udp((client, 4321), (server, 8080)));
            packets.push(icmp((client, 0), (server, 0), 3, 1, &[0x45; 28]));
            packets.push(other(proto::GRE, (client, 0), (server, 0)));
        }
        packets.extend(
            openings(family.red, 4321, family.server).map(|p| p.from((family.gateway, 4321)).answer()),
        );
        packets.push(udp((family.server, 9), (family.red, 4321)));
    }
    let v4 = packets[0].clone();
    packets.push(Packet { options: vec![1; 40], ..v4 });
    let v6 = udp("[fd15::1]:4321", "[2001:db8:113::2]:53");
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    packets.push(v6.extension(proto::HOP_BY_HOP, &options).extension(proto::DESTINATION, &options));
    packets.iter().map(Packet::frame).collect()
}

fn assert_invariants(program: &str, sent: &[u8], left: &[u8], passed: bool) {
    let describe = || format!("{program}\nsent {sent:02x?}\nleft {left:02x?}\n{:?}", View::read(sent));
    if !passed {
        let addresses =
            addresses(sent).unwrap_or_else(|| panic!("dropped what is no IP packet: {}", describe()));
        let (src, dst) = addresses;
        let is_spoofed = program == "uplink_ingress" && (is_inside(src) || is_gateway(src) || is_nobody(src));
        let is_ours = is_inside(if program == "uplink_egress" { src } else { dst });
        // A part of a datagram waits for the one with the ports, and goes where that one went.
        let may_wait = View::read(sent).is_some_and(|view| view.is_fragment);
        // It would open a flow before the IP layer has looked at its header.
        let is_broken = program == "uplink_ingress" && is_gateway(dst) && check::checksums(sent).is_err();
        assert!(is_ours || is_spoofed || may_wait || is_broken, "dropped what is not ours: {}", describe());
        return;
    }
    assert_eq!(left.len(), sent.len(), "{}", describe());
    let (before, after) = (addresses(sent), addresses(left));
    if program == "uplink_egress" {
        assert!(!after.is_some_and(|(src, _)| is_inside(src)), "inside source: {}", describe());
        let was_inside = before.is_some_and(|(src, _)| is_inside(src));
        // The gateway's own packet whose tuple a client's flow has gets another port, and keeps its address.
        let is_own = before.is_some_and(|(src, _)| is_gateway(src)) && before == after;
        assert!(was_inside || is_own || left == sent, "changed what is not ours: {}", describe());
    } else {
        let gained = after.is_some_and(|(_, dst)| is_inside(dst));
        let is_own = before.is_some_and(|(_, dst)| is_gateway(dst)) && before == after;
        assert!(gained || is_own || left == sent, "changed what is not ours: {}", describe());
        assert_eq!(before.map(|(src, _)| src), after.map(|(src, _)| src), "{}", describe());
    }
}

#[test]
fn row_140_damaged_packets_never_leave_with_an_inside_source_nor_are_changed_if_they_are_not_ours() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("0.0.0.0:8080/udp", "192.168.15.2:80"));
    nat.forward(&forward("[::]:8080/udp", "[fd15::2]:80"));
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            nat.egress(&packet).assert_passed();
        }
    }
    let seeds = seeds();
    nat.within(|| {
        let mut random = Random::new(SEED);
        let (mut translated, mut untouched, mut dropped) = (0, 0, 0);
        for _ in 0..MUTATIONS {
            let mut frame = seeds[random.below(seeds.len())].clone();
            mutate(&mut random, &mut frame);
            if frame[12..14] == [0x86, 0xdd] && frame.len() < 54 {
                frame.resize(54, 0); // BPF_PROG_TEST_RUN takes no less
            }
            let program = ["uplink_egress", "uplink_ingress"][random.below(2)];
            let (action, left) = nat.test_run(program, UPLINK_INDEX, &frame);
            assert!(matches!(action, -1 | 2), "{program} returned {action} for {frame:02x?}");
            assert_invariants(program, &frame, &left, action == -1);
            *match action {
                2 => &mut dropped,
                _ if left == frame => &mut untouched,
                _ => &mut translated,
            } += 1;
        }
        let least = [translated, untouched, dropped].into_iter().min().unwrap();
        assert!(least > MUTATIONS / 20, "{translated} translated, {untouched} untouched, {dropped} dropped");
    });
    let entries = nat.entries();
    assert!(
        entries.iter().all(|(_, half)| entries.contains_key(&half.to.reversed())),
        "every half has another"
    );
    for family in &FAMILIES {
        let packet = udp((family.red, 4444), (family.server, 5353));
        nat.egress(&packet).assert_only_changed(Src((family.gateway, 4444))).assert_checksums_valid();
    }
}
