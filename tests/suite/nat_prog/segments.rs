//! TCP as it comes: openings from both sides, challenges, segments outside of any window, wrong checksums.

use netctl_tests::{
    packet::{Packet, check, flag, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat,
    },
};

use super::{FAMILIES, Family};

/// A segment of a connection between a client and a server, out or in.
fn out(family: &Family, flags: u8) -> Packet {
    tcp((family.red, 4321), (family.server, 80)).flags(flags)
}

fn back(family: &Family, flags: u8) -> Packet {
    tcp((family.server, 80), (family.gateway, 4321)).flags(flags)
}

/// All of them pass, by the client's own port; the last letter of a step tells its direction.
#[track_caller]
fn assert_passes(nat: &Nat, family: &Family, steps: &[(char, u8)]) {
    for &(direction, flags) in steps {
        if direction == '>' {
            nat.egress(&out(family, flags)).assert_only_changed(Src((family.gateway, 4321)));
        } else {
            nat.ingress(&back(family, flags)).assert_only_changed(Dst((family.red, 4321)));
        }
    }
}

#[test]
fn row_105_both_sides_may_open_at_once() {
    let nat = Nat::masquerading();
    let both = flag::SYN | flag::ACK;
    for family in &FAMILIES {
        let steps = [
            ('>', flag::SYN),
            ('<', flag::SYN),
            ('>', both),
            ('<', both),
            ('>', flag::ACK),
            ('<', flag::ACK),
        ];
        assert_passes(&nat, family, &steps);
    }
    nat.assert_flows(2);
}

/// As in the kernel's `syn_challenge_ack` packetdrill test.
#[test]
fn row_107_a_challenge_and_the_reset_it_provokes_do_not_end_the_attempt() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let steps = [
            ('>', flag::SYN),
            ('<', flag::ACK),
            ('>', flag::RST),
            ('>', flag::SYN),
            ('<', flag::SYN | flag::ACK),
            ('>', flag::ACK),
            ('<', flag::ACK),
        ];
        assert_passes(&nat, family, &steps);
    }
    nat.assert_flows(2);
}

#[test]
fn row_109_segments_outside_of_every_window_are_translated_both_ways() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        assert_passes(
            &nat,
            family,
            &[('>', flag::SYN), ('<', flag::SYN | flag::ACK), ('>', flag::ACK), ('<', flag::ACK)],
        );
        let header = if family.red.contains(':') { 54 } else { 34 };
        let shifted = |packet: Packet| {
            let mut frame = packet.frame();
            frame[header + 4] ^= 0x40; // 2^30 ahead
            frame
        };
        nat.egress(&shifted(out(family, flag::ACK))).assert_only_changed(Src((family.gateway, 4321)));
        nat.ingress(&shifted(back(family, flag::ACK))).assert_only_changed(Dst((family.red, 4321)));
        nat.ingress(&shifted(back(family, flag::RST))).assert_only_changed(Dst((family.red, 4321)));
    }
    nat.assert_flows(2);
}

#[test]
fn row_94_a_wrong_checksum_stays_as_wrong_as_it_was() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let datagram = udp((family.red, 4321), (family.server, 53));
        for (packet, field) in [(out(family, flag::SYN), 16), (datagram, 6)] {
            let at = if family.red.contains(':') { 54 } else { 34 } + field;
            let right = packet.frame();
            let mut wrong = right.clone();
            wrong[at] ^= 0x55;
            let left = nat.egress(&wrong).assert_only_changed(Src((family.gateway, 4321))).frame().to_vec();
            assert!(check::checksums(&left).is_err());
            nat.egress(&right).assert_checksums_valid();
        }
    }
}

#[test]
fn row_10_addresses_in_a_payload_are_left_alone() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        let command = format!("PORT {},17,112\r\n{}", family.red.replace('.', ","), family.red);
        let control = out(family, flag::ACK).payload(command.as_bytes());
        nat.egress(&control).assert_only_changed(Src((family.gateway, 4321))).assert_checksums_valid();
    }
}

#[test]
fn row_15_a_checksum_of_zero_over_ipv6_stays_zero() {
    let nat = Nat::masquerading();
    let datagram = udp("[fd15::1]:4321", "[2001:db8:113::2]:53").without_checksum();
    let left = nat.egress(&datagram).assert_only_changed(Src("[2001:db8:113::1]:4321")).frame().to_vec();
    assert_eq!(left[60..62], [0, 0]);
    let answer = datagram.from("[2001:db8:113::1]:4321").answer().without_checksum();
    let back = nat.ingress(&answer).assert_passed().frame().to_vec();
    assert_eq!(back[60..62], [0, 0]);
}

/// Who resets cannot be known to be one of the ends; they find out by themselves, and have four minutes for it.
#[test]
fn row_108_a_reset_passes_in_the_window_or_not_and_the_flow_stays() {
    let both = flag::SYN | flag::ACK;
    for family in &FAMILIES {
        let header = if family.red.contains(':') { 54 } else { 34 };
        for (from_inside, is_out_of_window) in [(true, false), (true, true), (false, false), (false, true)] {
            let nat = Nat::masquerading();
            let open = [('>', flag::SYN), ('<', both), ('>', flag::ACK), ('<', flag::ACK)];
            assert_passes(&nat, family, &open);
            let packet = if from_inside { out(family, flag::RST) } else { back(family, flag::RST) };
            let mut reset = packet.frame();
            if is_out_of_window {
                reset[header + 4] ^= 0x40; // 2^30 ahead
                check::repair(&mut reset);
            }
            if from_inside {
                nat.egress(&reset).assert_only_changed(Src((family.gateway, 4321))).assert_checksums_valid();
            } else {
                nat.ingress(&reset).assert_only_changed(Dst((family.red, 4321))).assert_checksums_valid();
            }
            nat.assert_flows(1);
            assert_passes(&nat, family, &[('<', flag::ACK), ('>', flag::ACK), ('<', flag::RST)]);
            nat.assert_flows(1);
        }
    }
}
