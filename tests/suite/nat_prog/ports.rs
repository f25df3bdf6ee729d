//! Which port a flow gets.

use std::{
    collections::HashSet,
    net::{IpAddr, TcpListener, UdpSocket},
};

use netctl::model::Masquerade;
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Endpoint, Packet, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward, masquerade,
    },
};

use super::{FAMILIES, openings};

/// Sends the packet out and an answer back; returns the port it was given.
fn round_trip(nat: &Nat, packet: &Packet, gateway: &str) -> u16 {
    let out = nat.egress(packet);
    let outside = out.src();
    assert_eq!(outside.ip(), gateway.parse::<IpAddr>().unwrap());
    out.assert_only_changed(Src(outside)).assert_checksums_valid();
    let answer = packet.clone().from(outside).answer();
    nat.ingress(&answer).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
    outside.port()
}

#[test]
fn rows_95_116_any_free_port_is_kept() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for port in [0, 1, 511, 1023, 1024, 8080, 32768, 60999, 61000, 65535] {
            for packet in openings(family.red, port, family.server) {
                assert_eq!(round_trip(&nat, &packet, family.gateway), port, "{packet:?}");
            }
        }
    }
}

#[test]
fn rows_4_13_a_second_client_with_the_same_port_and_peer_gets_another_port_and_each_its_own_answers() {
    let nat = Nat::masquerading();
    for (already, family) in FAMILIES.iter().enumerate() {
        for (number, packet) in openings(family.red, 4321, family.server).into_iter().enumerate() {
            let second = packet.clone().from((family.blue, 4321));
            assert_eq!(round_trip(&nat, &packet, family.gateway), 4321);
            let port = round_trip(&nat, &second, family.gateway);
            assert_ne!(port, 4321);
            assert_eq!(round_trip(&nat, &packet, family.gateway), 4321, "the first keeps its port");
            assert_eq!(round_trip(&nat, &second, family.gateway), port, "and so does the second");
            nat.assert_flows(2 * (already * 3 + number + 1));
        }
    }
}

#[test]
fn rows_120_123_one_port_serves_clients_of_different_peers_and_protocols() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for (client, server) in [(family.red, family.server), (family.blue, family.stranger)] {
            for packet in openings(client, 4321, server) {
                assert_eq!(round_trip(&nat, &packet, family.gateway), 4321);
            }
        }
        let other_port = udp((family.blue, 4321), (family.server, 54));
        assert_eq!(round_trip(&nat, &other_port, family.gateway), 4321);
    }
    nat.assert_flows(14);
}

#[test]
fn rows_48_53_twenty_clients_with_one_port_get_twenty_ports() {
    let nat = Nat::masquerading();
    for (family, network) in FAMILIES.iter().zip(["192.168.15.", "fd15::"]) {
        let clients: Vec<String> = (10..30).map(|host| format!("{network}{host}")).collect();
        for kind in 0..3 {
            let packets: Vec<Packet> =
                clients.iter().map(|client| openings(client, 40000, family.server)[kind].clone()).collect();
            let ports: Vec<u16> = packets.iter().map(|p| round_trip(&nat, p, family.gateway)).collect();
            assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 20, "{ports:?}");
            let chosen = &ports[1..];
            assert!(
                chosen.iter().all(|port| (1024..32768).contains(port)),
                "the gateway's own range: {ports:?}"
            );
            let again: Vec<u16> = packets.iter().map(|p| round_trip(&nat, p, family.gateway)).collect();
            assert_eq!(again, ports);
        }
    }
    nat.assert_flows(120);
}

#[test]
fn row_117_a_system_port_is_replaced_by_a_system_port() {
    let nat = Nat::masquerading();
    for port in [1, 123, 1023] {
        let packets = openings("192.168.15.1", port, "203.0.113.2");
        for packet in packets {
            assert_eq!(round_trip(&nat, &packet, "203.0.113.1"), port);
            let second = round_trip(&nat, &packet.clone().from(("192.168.15.2", port)), "203.0.113.1");
            assert!((1..1024).contains(&second), "{second}");
        }
    }
}

#[test]
fn row_121_a_rules_ports_are_all_used_and_then_new_flows_are_refused() {
    for (network, family) in ["192.168.15.0/24", "fd15::/64"].into_iter().zip(&FAMILIES) {
        let mut nat = Nat::new();
        nat.masquerade(&Masquerade { ports: Some((20000, 20003)), ..masquerade(network) });
        for (number, packet) in openings(family.red, 4321, family.server).into_iter().enumerate() {
            let clients = [4321, 4322, 4323, 4324].map(|port| packet.clone().from((family.red, port)));
            let ports = clients.each_ref().map(|packet| round_trip(&nat, packet, family.gateway));
            assert_eq!(HashSet::from(ports), HashSet::from([20000, 20001, 20002, 20003]));
            nat.egress(&packet.clone().from((family.red, 4325))).assert_dropped(DropReason::NoPort);
            nat.egress(&packet.clone().from((family.blue, 20000))).assert_dropped(DropReason::NoPort);
            assert_eq!(clients.each_ref().map(|packet| round_trip(&nat, packet, family.gateway)), ports);
            nat.assert_flows(4 * (number + 1));
        }
        let elsewhere = udp((family.red, 4325), (family.stranger, 53));
        assert!((20000..=20003).contains(&round_trip(&nat, &elsewhere, family.gateway)), "another peer");
    }
}

#[test]
fn a_port_of_the_rules_own_range_is_kept() {
    let mut nat = Nat::new();
    nat.masquerade(&Masquerade { ports: Some((20000, 29999)), ..masquerade("192.168.15.0/24") });
    let kept = round_trip(&nat, &udp("192.168.15.1:25000", "203.0.113.2:53"), "203.0.113.1");
    assert_eq!(kept, 25000);
    let moved = round_trip(&nat, &udp("192.168.15.1:30000", "203.0.113.2:53"), "203.0.113.1");
    assert!((20000..30000).contains(&moved), "{moved}");
}

/// A mapping on such a port would steal what is for the forward or the socket.
#[test]
fn row_27_a_port_that_a_forward_listens_on_is_not_taken() {
    let mut nat = Nat::masquerading();
    for (listen, to) in [
        ("203.0.113.1:8080/tcp", "192.168.15.2:80"),
        ("0.0.0.0:9090/udp", "192.168.15.2:90"),
        ("[2001:db8:113::1]:8080/tcp", "[fd15::2]:80"),
        ("[::]:9090/udp", "[fd15::2]:90"),
    ] {
        nat.forward(&forward(listen, to));
    }
    for family in &FAMILIES {
        let port = |packet: Packet| round_trip(&nat, &packet, family.gateway);
        assert_ne!(port(tcp((family.red, 8080), (family.server, 777)).syn()), 8080);
        assert_ne!(port(udp((family.red, 9090), (family.server, 777))), 9090);
        assert_eq!(port(udp((family.red, 8080), (family.server, 777))), 8080, "the other protocol");
        assert_eq!(port(tcp((family.red, 9090), (family.server, 777)).syn()), 9090);
    }
}

#[test]
fn rows_46_47_a_port_that_a_socket_of_the_gateway_has_is_not_taken() {
    let nat = Nat::masquerading();
    let _sockets = nat.within(|| {
        let listeners = ["0.0.0.0:2222", "[2001:db8:113::1]:2222"].map(|at| TcpListener::bind(at).unwrap());
        let bound = ["0.0.0.0:1405", "[2001:db8:113::1]:1405"].map(|at| UdpSocket::bind(at).unwrap());
        let connected = FAMILIES.each_ref().map(|family| {
            let socket = UdpSocket::bind((family.gateway, 5000).endpoint()).unwrap();
            socket.connect((family.server, 53).endpoint()).unwrap();
            socket
        });
        (listeners, bound, connected)
    });
    for family in &FAMILIES {
        let port = |packet: Packet| round_trip(&nat, &packet, family.gateway);
        assert_ne!(port(tcp((family.red, 2222), (family.server, 80)).syn()), 2222, "a listener");
        assert_ne!(port(udp((family.red, 1405), (family.server, 53))), 1405, "a bound socket");
        assert_ne!(port(udp((family.red, 5000), (family.server, 53))), 5000, "a connected socket");
        assert_eq!(port(udp((family.red, 5000), (family.stranger, 53))), 5000, "to another peer");
        assert_eq!(port(udp((family.red, 2222), (family.server, 53))), 2222, "of the other protocol");
    }
}
