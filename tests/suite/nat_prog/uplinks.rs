//! Uplinks whose addresses change, and more than one of them.

use std::time::{Duration, Instant};

use netctl::model::{Filtering, Mapping, Masquerade};
use netctl_tests::{
    lab::eventually,
    packet::{Endpoint as _, Packet, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, UPLINK_INDEX, masquerade,
    },
};

use super::{FAMILIES, openings};

const OTHER_INDEX: u32 = 20;

/// What the gateway is called at its other uplink, by family.
const OTHER: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];

/// Servers that either uplink can lead to.
const SERVERS: [&str; 2] = ["192.0.2.2", "2001:db8:99::2"];

/// Has an uplink lead to [`SERVERS`].
fn route_by(nat: &Nat, uplink: u32) {
    for command in match uplink {
        UPLINK_INDEX => [
            "route replace 192.0.2.0/24 via 203.0.113.2 dev wan0",
            "-6 route replace 2001:db8:99::/64 via 2001:db8:113::2 dev wan0",
        ],
        _ => [
            "route replace 192.0.2.0/24 via 198.51.100.2 dev wan1",
            "-6 route replace 2001:db8:99::/64 via 2001:db8:51::2 dev wan1",
        ],
    } {
        nat.ip(command);
    }
}

/// A gateway with two uplinks.
fn with_two_uplinks(change: impl Fn(&mut Masquerade)) -> Nat {
    let mut nat = Nat::new();
    for command in [
        "link add wan1 index 20 address 02:00:00:00:00:01 type veth peer name far-wan1",
        "link set wan1 up",
        "link set far-wan1 up",
        "addr add 198.51.100.1/24 dev wan1",
        "addr add 2001:db8:51::1/64 dev wan1 nodad",
    ] {
        nat.ip(command);
    }
    for network in ["192.168.15.0/24", "fd15::/64"] {
        let mut rule = masquerade(network);
        change(&mut rule);
        nat.tables.add_masquerade(&rule, &[UPLINK_INDEX, OTHER_INDEX], None).unwrap();
    }
    nat
}

#[test]
fn row_6_the_address_is_the_one_that_routing_names() {
    let nat = Nat::masquerading();
    for command in [
        "addr add 203.0.113.9/24 dev wan0",
        "addr add 203.0.114.1/24 dev wan0",
        "route add 198.51.100.0/25 via 203.0.113.2 dev wan0",
        "route add 198.51.100.128/25 via 203.0.113.2 dev wan0 src 203.0.113.9",
        "addr add 2001:db8:113::9/64 dev wan0 nodad",
        "-6 route add 2001:db8:51::/64 via 2001:db8:113::2 dev wan0 src 2001:db8:113::9",
        "-6 route add 2001:db8:52::/64 via 2001:db8:113::2 dev wan0 src 2001:db8:113::1",
    ] {
        nat.ip(command);
    }
    for (client, server, outside) in [
        ("192.168.15.1", "203.0.113.2", "203.0.113.1"),
        ("192.168.15.1", "203.0.114.2", "203.0.114.1"),
        ("192.168.15.1", "198.51.100.1", "203.0.113.1"),
        ("192.168.15.1", "198.51.100.129", "203.0.113.9"),
        ("fd15::1", "2001:db8:51::2", "2001:db8:113::9"),
        ("fd15::1", "2001:db8:52::2", "2001:db8:113::1"),
    ] {
        for packet in openings(client, 4321, server) {
            nat.egress(&packet).assert_only_changed(Src((outside, 4321))).assert_checksums_valid();
            let answer = packet.clone().from((outside, 4321)).answer();
            nat.ingress(&answer).assert_only_changed(Dst(packet.src));
        }
    }
    nat.assert_flows(18);
}

/// What becomes of the flows of both families when `wan0` has other addresses.
fn assert_follows_the_address(nat: &Nat) {
    let olds = FAMILIES.each_ref().map(|family| openings(family.red, 4321, family.server));
    for packet in olds.iter().flatten() {
        nat.egress(packet).assert_passed();
    }
    for command in [
        "addr del 203.0.113.1/24 dev wan0",
        "addr add 203.0.113.7/24 dev wan0",
        "addr del 2001:db8:113::1/64 dev wan0",
        "addr add 2001:db8:113::7/64 dev wan0 nodad",
    ] {
        nat.ip(command);
    }
    let since = Instant::now();
    for ((family, packets), new) in FAMILIES.iter().zip(&olds).zip(["203.0.113.7", "2001:db8:113::7"]) {
        for packet in openings(family.blue, 5000, family.server) {
            nat.egress(&packet).assert_only_changed(Src((new, 5000))).assert_checksums_valid();
        }
        eventually("the flows have moved", || {
            let left = packets.each_ref().map(|packet| nat.egress(packet).src());
            left.iter().all(|src| *src == (new, 4321).endpoint())
        });
        for packet in packets {
            let answer = packet.answer();
            let late = nat.ingress(&answer.clone().to((family.gateway, 4321)));
            assert_eq!(late.dst(), (family.gateway, 4321).endpoint(), "the old address leads nowhere");
            nat.ingress(&answer.to((new, 4321)))
                .assert_only_changed(Dst(packet.src))
                .assert_checksums_valid();
        }
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "about a second was promised: {took:?}");
    nat.assert_flows(12);
}

#[test]
fn row_146_when_the_address_is_replaced_flows_move_to_the_new_one_and_stay_there() {
    let nat = Nat::masquerading();
    assert_follows_the_address(&nat);
    // For longer than an answer about the address is good for.
    let until = Instant::now() + Duration::from_secs(2);
    eventually("two seconds are over", || {
        for (family, new) in FAMILIES.iter().zip(["203.0.113.7", "2001:db8:113::7"]) {
            for packet in openings(family.red, 4321, family.server) {
                nat.egress(&packet).assert_only_changed(Src((new, 4321)));
            }
        }
        Instant::now() > until
    });
    nat.assert_flows(12);
}

#[test]
fn row_146_a_mapping_for_everyone_moves_with_its_flows() {
    let nat = Nat::masquerading_as(|rule| {
        rule.mapping = Mapping::EndpointIndependent;
        rule.filtering = Filtering::AddressDependent;
    });
    assert_follows_the_address(&nat);
    for (family, new) in FAMILIES.iter().zip(["203.0.113.7", "2001:db8:113::7"]) {
        let elsewhere = udp((family.red, 4321), (family.stranger, 53));
        nat.egress(&elsewhere).assert_only_changed(Src((new, 4321)));
        let stranger = udp((family.stranger, 54), (new, 4321));
        nat.ingress(&stranger).assert_only_changed(Dst((family.red, 4321)));
    }
}

/// A second address that stays does not make flows move, though it may be another one that routing names by now.
#[test]
fn row_146_a_flow_keeps_an_address_that_the_gateway_still_has() {
    let nat = Nat::masquerading();
    let packet = udp("192.168.15.1:4321", "203.0.113.2:53");
    nat.egress(&packet).assert_only_changed(Src("203.0.113.1:4321"));
    nat.ip("addr add 203.0.113.9/24 dev wan0");
    nat.ip("route change 203.0.113.0/24 dev wan0 scope link src 203.0.113.9");
    nat.egress(&packet.clone().to("203.0.113.3:53")).assert_only_changed(Src("203.0.113.9:4321"));
    let until = Instant::now() + Duration::from_secs(3);
    eventually("three seconds are over", || {
        nat.egress(&packet).assert_only_changed(Src("203.0.113.1:4321"));
        Instant::now() > until
    });
    nat.assert_flows(2);
}

/// Its address may be one that is routed to the gateway and that no interface has.
#[test]
fn row_6_an_address_of_the_rules_own_is_kept_whatever_the_uplink_has() {
    let nat = Nat::masquerading_as(|rule| {
        let is_v4 = rule.source.addr().is_ipv4();
        rule.address = Some(if is_v4 { "198.51.100.77" } else { "2001:db8:77::77" }.parse().unwrap());
    });
    let addresses = ["198.51.100.77", "2001:db8:77::77"];
    // The second client's port is one that only its flow knows.
    let mut flows: Vec<(Packet, _)> = Vec::new();
    for (family, address) in FAMILIES.iter().zip(addresses) {
        for client in [family.red, family.blue] {
            let packet = tcp((client, 4321), (family.server, 80)).syn();
            let outside = nat.egress(&packet).src();
            assert_eq!(outside.ip(), address.parse::<std::net::IpAddr>().unwrap());
            flows.push((packet, outside));
        }
    }
    let until = Instant::now() + Duration::from_secs(3);
    eventually("three seconds are over", || {
        for (packet, outside) in &flows {
            nat.egress(packet).assert_only_changed(Src(*outside));
            nat.ingress(&packet.clone().from(*outside).answer()).assert_only_changed(Dst(packet.src));
        }
        Instant::now() > until
    });
    for flow in nat.tables.flows().unwrap() {
        assert!(flow.there.packets > 20, "the same flow all the time: {flow:?}");
    }
    nat.assert_flows(4);
}

#[test]
fn rows_150_151_each_flow_has_the_address_of_its_uplink_and_answers_may_come_by_the_other() {
    let nat = with_two_uplinks(|_| {});
    for (index, port) in [(UPLINK_INDEX, 4321), (OTHER_INDEX, 4322)] {
        route_by(&nat, index);
        for ((family, server), other) in FAMILIES.iter().zip(SERVERS).zip(OTHER) {
            let address = if index == OTHER_INDEX { other } else { family.gateway };
            for packet in openings(family.red, port, server) {
                let left = nat.egress_at(index, &packet);
                left.assert_only_changed(Src((address, port))).assert_checksums_valid();
                let answer = packet.clone().from((address, port)).answer();
                for arrives_at in [UPLINK_INDEX, OTHER_INDEX] {
                    let arrived = nat.ingress_at(arrives_at, &answer);
                    arrived.assert_only_changed(Dst(packet.src)).assert_checksums_valid();
                }
            }
        }
    }
    nat.assert_flows(12);
}

#[test]
fn row_150_when_the_route_flips_no_packet_leaves_with_the_other_uplinks_address() {
    for mapping in [Mapping::AddressAndPortDependent, Mapping::EndpointIndependent] {
        let nat = with_two_uplinks(|rule| rule.mapping = mapping);
        for index in [UPLINK_INDEX, OTHER_INDEX].repeat(3) {
            route_by(&nat, index);
            for ((family, server), other) in FAMILIES.iter().zip(SERVERS).zip(OTHER) {
                let outside = (if index == OTHER_INDEX { other } else { family.gateway }, 4321);
                for packet in openings(family.red, 4321, server) {
                    nat.egress_at(index, &packet).assert_only_changed(Src(outside)).assert_checksums_valid();
                    nat.egress_at(index, &packet).assert_only_changed(Src(outside));
                    let answer = packet.clone().from(outside).answer();
                    nat.ingress_at(index, &answer).assert_only_changed(Dst(packet.src));
                }
            }
            nat.assert_flows(6);
        }
    }
}

/// A connection in its middle is picked up with the new address, so that its peer can refuse it.
#[test]
fn row_150_a_connection_whose_route_flips_is_refused_by_its_peer_and_not_left_hanging() {
    let nat = with_two_uplinks(|_| {});
    for ((family, server), other) in FAMILIES.iter().zip(SERVERS).zip(OTHER) {
        let packet = tcp((family.red, 4321), (server, 80));
        route_by(&nat, UPLINK_INDEX);
        nat.egress(&packet.clone().syn()).assert_only_changed(Src((family.gateway, 4321)));
        nat.ingress(&packet.clone().syn().from((family.gateway, 4321)).answer()).assert_passed();
        route_by(&nat, OTHER_INDEX);
        let left = nat.egress_at(OTHER_INDEX, &packet);
        left.assert_only_changed(Src((other, 4321))).assert_checksums_valid();
        let reset = packet.clone().from((other, 4321)).answer().rst();
        nat.ingress_at(OTHER_INDEX, &reset).assert_only_changed(Dst(packet.src));
    }
}
