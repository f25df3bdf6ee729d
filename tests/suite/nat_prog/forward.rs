//! Destination NAT: forwarded ports, seen from outside.

use netctl::model::Forward;
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Endpoint, Packet, flag, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward, masquerade,
    },
};

use super::{FAMILIES, Family};

/// A packet from the server outside, and its like for UDP.
fn calls(family: &Family, client_port: u16, port: u16) -> [Packet; 2] {
    let (client, listen) = ((family.server, client_port), (family.gateway, port));
    [tcp(client, listen).syn(), udp(client, listen)]
}

/// The packet reaches `to` from where it came, and the answer leaves from where the packet went.
#[track_caller]
fn assert_forwarded(nat: &Nat, packet: &Packet, to: impl Endpoint) {
    let to = to.endpoint();
    nat.ingress(packet).assert_only_changed(Dst(to)).assert_checksums_valid();
    let answer = packet.clone().to(to).answer();
    nat.egress(&answer).assert_only_changed(Src(packet.dst)).assert_checksums_valid();
}

fn both_families(listen: [&str; 2], to: [&str; 2]) -> Nat {
    let mut nat = Nat::masquerading();
    for (listen, to) in listen.into_iter().zip(to) {
        nat.forward(&forward(listen, to));
    }
    nat
}

#[test]
fn row_20_a_forwarded_port_leads_inside_and_the_answer_bears_its_address() {
    let mut nat = both_families(
        ["203.0.113.1:8080/tcp", "[2001:db8:113::1]:8080/tcp"],
        ["192.168.15.2:80", "[fd15::2]:80"],
    );
    nat.forward(&forward("203.0.113.1:5353/udp", "192.168.15.2:53"));
    nat.forward(&forward("[2001:db8:113::1]:5353/udp", "[fd15::2]:53"));
    for family in &FAMILIES {
        let [call, _] = calls(family, 777, 8080);
        assert_forwarded(&nat, &call, (family.blue, 80));
        assert_forwarded(&nat, &call.clone().flags(flag::ACK), (family.blue, 80));
        let [_, call] = calls(family, 777, 5353);
        assert_forwarded(&nat, &call, (family.blue, 53));
        for unheard in calls(family, 778, 8081) {
            nat.ingress(&unheard).assert_untouched();
        }
    }
    nat.assert_flows(4);
}

#[test]
fn row_24_tcp_and_udp_of_one_port_are_apart() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.2:80"));
    let [segment, datagram] = calls(&FAMILIES[0], 777, 8080);
    assert_forwarded(&nat, &segment, "192.168.15.2:80");
    nat.ingress(&datagram).assert_untouched();
    nat.forward(&forward("203.0.113.1:8080/udp", "192.168.15.1:90"));
    assert_forwarded(&nat, &datagram, "192.168.15.1:90");
    let rules = nat.tables.forwards().unwrap();
    nat.tables.remove_forward(rules[0].id).unwrap();
    nat.ingress(&segment).assert_untouched();
    assert_forwarded(&nat, &datagram, "192.168.15.1:90");
}

#[test]
fn row_24_one_port_of_two_addresses_is_two_forwards() {
    let mut nat = Nat::masquerading();
    nat.ip("addr add 203.0.113.9/24 dev wan0");
    nat.tables.set_locals(["203.0.113.1", "203.0.113.9"].map(|a| a.parse().unwrap())).unwrap();
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.1:80"));
    nat.forward(&forward("203.0.113.9:8080/tcp", "192.168.15.2:80"));
    let [first, second] = ["203.0.113.1:8080", "203.0.113.9:8080"].map(|to| tcp("203.0.113.2:777", to).syn());
    assert_forwarded(&nat, &first, "192.168.15.1:80");
    assert_forwarded(&nat, &second, "192.168.15.2:80");
    nat.tables.remove_forward(nat.tables.forwards().unwrap()[0].id).unwrap();
    nat.ingress(&first).assert_untouched();
    assert_forwarded(&nat, &second, "192.168.15.2:80");
}

#[test]
fn row_22_a_range_maps_port_by_port_and_ends_where_it_says() {
    let mut nat = Nat::masquerading();
    for (listen, to) in
        [("203.0.113.1:9001/udp", "192.168.15.2:101"), ("[2001:db8:113::1]:9001/udp", "[fd15::2]:101")]
    {
        nat.forward(&Forward { ports: (9001, 9100), ..forward(listen, to) });
    }
    for family in &FAMILIES {
        for (port, to) in [(9001, 101), (9002, 102), (9050, 150), (9099, 199), (9100, 200)] {
            let [_, datagram] = calls(family, 777, port);
            assert_forwarded(&nat, &datagram, (family.blue, to));
        }
        for port in [9000, 9101] {
            let [_, datagram] = calls(family, 777, port);
            nat.ingress(&datagram).assert_untouched();
        }
    }
    nat.assert_flows(10);
}

#[test]
fn row_23_a_forward_without_an_address_listens_on_all_and_one_with_an_address_on_that() {
    let mut nat = both_families(["0.0.0.0:8080/tcp", "[::]:8080/tcp"], ["192.168.15.2:80", "[fd15::2]:80"]);
    nat.forward(&forward("203.0.113.9:9090/tcp", "192.168.15.2:90"));
    nat.ip("addr add 203.0.113.9/24 dev wan0");
    nat.tables
        .set_locals(["203.0.113.1", "203.0.113.9", "2001:db8:113::1"].map(|a| a.parse().unwrap()))
        .unwrap();
    for (client, listen, to) in [
        ("203.0.113.2:777", "203.0.113.1:8080", "192.168.15.2:80"),
        ("203.0.113.2:778", "203.0.113.9:8080", "192.168.15.2:80"),
        ("203.0.113.2:777", "203.0.113.9:9090", "192.168.15.2:90"),
    ] {
        assert_forwarded(&nat, &tcp(client, listen).syn(), to);
    }
    assert_forwarded(&nat, &tcp("[2001:db8:113::2]:777", "[2001:db8:113::1]:8080").syn(), "[fd15::2]:80");
    nat.ingress(&tcp("203.0.113.2:777", "203.0.113.1:9090").syn()).assert_untouched();
    nat.assert_flows(4);
}

#[test]
fn an_exact_address_beats_every_address() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("0.0.0.0:8080/tcp", "192.168.15.2:80"));
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.1:90"));
    assert_forwarded(&nat, &tcp("203.0.113.2:777", "203.0.113.1:8080").syn(), "192.168.15.1:90");
}

/// The gateway forwards packets for others too: those are not for its forwards.
#[test]
fn packets_in_transit_and_for_loopback_are_not_forwarded() {
    let mut nat = both_families(["0.0.0.0:8080/tcp", "[::]:8080/tcp"], ["192.168.15.2:80", "[fd15::2]:80"]);
    for default_route in [false, true] {
        if default_route {
            nat.ip("route add default via 203.0.113.2");
            nat.ip("-6 route add default via 2001:db8:113::2");
            nat.tables.set_locals([]).unwrap();
        }
        for (client, to) in [
            ("203.0.113.2:777", "198.51.100.9:8080"),
            ("203.0.113.2:777", "203.0.113.3:8080"),
            ("203.0.113.2:777", "127.0.0.1:8080"),
            ("[2001:db8:113::2]:777", "[2001:db8:9::9]:8080"),
            ("[2001:db8:113::2]:777", "[::1]:8080"),
        ] {
            nat.ingress(&tcp(client, to).syn()).assert_untouched();
        }
        nat.assert_flows(if default_route { 2 } else { 0 });
        // With a default route the kernel itself tells its own addresses from the others.
        for family in &FAMILIES {
            assert_forwarded(&nat, &calls(family, 777, 8080)[0], (family.blue, 80));
        }
    }
}

#[test]
fn row_30_two_ports_to_one_server_serve_the_same_client_port_at_once() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        for port in [8080, 8081] {
            let listen = (family.gateway, port).endpoint();
            nat.forward(&forward(&format!("{listen}/tcp"), (family.blue, 80)));
        }
        let [first, second] =
            [8080, 8081].map(|port| tcp((family.server, 777), (family.gateway, port)).syn());
        assert_forwarded(&nat, &first, (family.blue, 80));
        let inside = nat.ingress(&second);
        inside.assert_checksums_valid();
        let client = inside.src();
        assert_eq!((client.ip(), inside.dst()), (second.src.ip(), (family.blue, 80).endpoint()));
        assert!((1..1024).contains(&client.port()) && client.port() != 777, "{client}");

        let answer = second.answer().from((family.blue, 80)).to(client);
        let out = nat.egress(&answer);
        out.assert_checksums_valid();
        assert_eq!((out.src(), out.dst()), (second.dst, second.src));
        assert_forwarded(&nat, &first, (family.blue, 80));
    }
    nat.assert_flows(4);
}

#[test]
fn row_26_a_mapping_that_is_there_beats_a_forward_that_comes_later() {
    let mut nat = Nat::masquerading();
    for family in &FAMILIES {
        let packet = udp((family.red, 8080), (family.server, 777));
        let outside = (family.gateway, 8080);
        nat.egress(&packet).assert_only_changed(Src(outside));
        nat.forward(&forward(&format!("{}/udp", outside.endpoint()), (family.blue, 80)));
        nat.ingress(&packet.clone().from(outside).answer()).assert_only_changed(Dst(packet.src));
        assert_forwarded(&nat, &udp((family.stranger, 777), outside), (family.blue, 80));
        assert_forwarded(&nat, &udp((family.server, 778), outside), (family.blue, 80));
    }
    nat.assert_flows(6);
}

#[test]
fn row_25_only_answers_of_the_flow_bear_the_forwards_address() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("203.0.113.1:8080/udp", "192.168.15.2:80"));
    assert_forwarded(&nat, &udp("203.0.113.2:777", "203.0.113.1:8080"), "192.168.15.2:80");
    for (from, to, outside) in [
        ("192.168.15.2:81", "203.0.113.2:777", "203.0.113.1:81"),
        ("192.168.15.2:80", "203.0.113.2:778", "203.0.113.1:80"),
        ("192.168.15.2:80", "203.0.113.3:777", "203.0.113.1:80"),
    ] {
        nat.egress(&udp(from, to)).assert_only_changed(Src(outside)).assert_checksums_valid();
    }
    nat.assert_flows(4);
}

#[test]
fn a_segment_that_opens_nothing_does_not_reach_the_server() {
    let mut nat = Nat::masquerading();
    nat.forward(&forward("203.0.113.1:8080/tcp", "192.168.15.2:80"));
    for flags in [flag::RST, flag::FIN | flag::ACK, flag::SYN | flag::ACK, 0] {
        let segment = tcp("203.0.113.2:777", "203.0.113.1:8080").flags(flags);
        nat.ingress(&segment).assert_dropped(DropReason::NoConnection);
    }
    nat.assert_flows(0);
}

#[test]
fn row_31_a_forwarded_and_a_direct_flow_of_one_client_port_live_side_by_side() {
    let mut nat = Nat::new();
    for network in ["192.168.15.0/24", "fd15::/64"] {
        nat.masquerade(&netctl::model::Masquerade { routed: true, ..masquerade(network) });
    }
    for family in &FAMILIES {
        let listen = (family.gateway, 8080).endpoint();
        nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
        let (client, server) = ((family.stranger, 777), (family.blue, 80));
        let forwarded = udp(client, listen);
        assert_forwarded(&nat, &forwarded, server);
        let seen = nat.ingress(&udp(client, server)).assert_passed().src();
        assert_ne!(seen.port(), 777);
        nat.egress(&udp(server, seen)).assert_only_changed(Dst(client)).assert_checksums_valid();
        assert_forwarded(&nat, &forwarded, server);
    }
    nat.assert_flows(4);
}
