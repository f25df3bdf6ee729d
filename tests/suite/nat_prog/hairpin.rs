//! A forwarded port, called from inside (RFC 4787 REQ-9): the packet turns round at the inside interface.

use netctl_tests::{
    packet::{Endpoint, Packet, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward,
    },
};

use super::FAMILIES;

fn nat() -> Nat {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        for protocol in ["tcp", "udp"] {
            let listen = (family.gateway, 8080).endpoint();
            nat.forward(&forward(&format!("{listen}/{protocol}"), (family.blue, 80)));
        }
    }
    nat
}

/// Takes a call through the gateway and its answer back; returns the port that the server saw.
fn call(nat: &Nat, packet: &Packet, server: impl Endpoint) -> u16 {
    let server = server.endpoint();
    nat.inside_ingress(packet).assert_only_changed(Dst(server)).assert_checksums_valid();
    let arriving = packet.clone().to(server);
    let leaving = nat.inside_egress(&arriving);
    let seen = leaving.src();
    assert_eq!(seen.ip(), packet.dst.ip(), "the server sees the address that was called");
    leaving.assert_only_changed(Src(seen)).assert_checksums_valid();

    let answer = arriving.from(seen).answer();
    nat.inside_ingress(&answer).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
    let answer = answer.to(packet.src);
    nat.inside_egress(&answer).assert_only_changed(Src(packet.dst)).assert_checksums_valid();
    seen.port()
}

#[test]
fn rows_38_39_a_client_inside_reaches_a_forwarded_port_by_the_outside_address() {
    let nat = nat();
    for family in &FAMILIES {
        for opening in [tcp, udp] {
            let packet = opening((family.red, 4321), (family.gateway, 8080));
            assert_eq!(call(&nat, &packet, (family.blue, 80)), 4321);
            assert_eq!(call(&nat, &packet, (family.blue, 80)), 4321);
        }
    }
    nat.assert_flows(8);
}

#[test]
fn row_40_the_server_reaches_itself() {
    let nat = nat();
    for family in &FAMILIES {
        let packet = tcp((family.blue, 4321), (family.gateway, 8080)).syn();
        assert_eq!(call(&nat, &packet, (family.blue, 80)), 4321);
    }
    nat.assert_flows(4);
}

#[test]
fn two_clients_with_one_port_are_told_apart() {
    let nat = nat();
    for (family, other) in FAMILIES.iter().zip(["192.168.15.3", "fd15::3"]) {
        let [first, second] = [family.red, other].map(|client| udp((client, 4321), (family.gateway, 8080)));
        assert_eq!(call(&nat, &first, (family.blue, 80)), 4321);
        let port = call(&nat, &second, (family.blue, 80));
        assert_ne!(port, 4321);
        assert_eq!(call(&nat, &first, (family.blue, 80)), 4321);
        assert_eq!(call(&nat, &second, (family.blue, 80)), port);
    }
    nat.assert_flows(8);
}

#[test]
fn other_traffic_of_the_inside_is_left_alone() {
    let nat = nat();
    for family in &FAMILIES {
        for (from, to) in [
            ((family.red, 4321), (family.gateway, 8081)),
            ((family.red, 4321), (family.server, 8080)),
            ((family.red, 8080), (family.blue, 80)),
        ] {
            let packet = udp(from, to);
            nat.inside_ingress(&packet).assert_untouched();
            nat.inside_egress(&packet).assert_untouched();
            nat.inside_egress(&packet.answer()).assert_untouched();
        }
    }
    nat.assert_flows(0);
}
