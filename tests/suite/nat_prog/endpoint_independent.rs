//! Mappings that are one for every peer (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1), and who may send to them.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use netctl::model::{Filtering, Mapping, Seconds, Timeout};
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    lab::eventually,
    packet::{Endpoint, Packet, flag, ping, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, masquerade,
    },
};

use super::{FAMILIES, Family, openings};

fn nat(filtering: Filtering) -> Nat {
    Nat::masquerading_as(|rule| {
        rule.mapping = Mapping::EndpointIndependent;
        rule.filtering = filtering;
    })
}

/// First packets of `client` to several places, one list a protocol.
fn to_everyone(family: &Family, client: &str) -> [Vec<Packet>; 3] {
    let client = (client, 4321);
    let ends = [(family.stranger, 53), (family.server, 53), (family.server, 54)];
    let hosts = [(family.stranger, 0), (family.server, 0)];
    [
        ends.map(|to| tcp(client, to).syn()).to_vec(),
        ends.map(|to| udp(client, to)).to_vec(),
        hosts.map(|to| ping(client, to)).to_vec(),
    ]
}

/// Sends a packet out and an answer back; the outside endpoint that it was given.
fn round_trip(nat: &Nat, packet: &Packet) -> SocketAddr {
    let outside = nat.egress(packet).src();
    let answer = packet.clone().from(outside).answer();
    nat.ingress(&answer).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
    outside
}

#[test]
fn rows_54_119_120_123_every_peer_sees_one_port_of_a_client_and_no_other_client_has_it() {
    let nat = nat(Filtering::default());
    let mut flows = 0;
    for family in &FAMILIES {
        for (red, blue) in to_everyone(family, family.red).iter().zip(&to_everyone(family, family.blue)) {
            // Another client is first, and has the port with one peer only.
            let of_blue = round_trip(&nat, &blue[0]);
            assert_eq!(of_blue, (family.gateway, 4321).endpoint(), "nobody had it, in this protocol");
            let of_red = round_trip(&nat, &red[1]);
            assert_ne!(of_red.port(), 4321, "it is another client's, though with another peer");
            for (red, blue) in red.iter().zip(blue) {
                nat.egress(red).assert_only_changed(Src(of_red)).assert_checksums_valid();
                nat.egress(blue).assert_only_changed(Src(of_blue)).assert_checksums_valid();
                assert_eq!((round_trip(&nat, red), round_trip(&nat, blue)), (of_red, of_blue));
            }
            flows += red.len() + blue.len();
            nat.assert_flows(flows);
        }
    }
    assert_eq!(nat.drops(), []);
}

/// By another rule at the same address, a client's ports depend on the peer.
#[test]
fn row_120_a_port_of_a_mapping_for_everyone_is_nobody_elses() {
    let mut nat = nat(Filtering::default());
    nat.masquerade(&masquerade("192.168.15.2/32"));
    nat.masquerade(&masquerade("fd15::2/128"));
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            assert_eq!(round_trip(&nat, &packet), (family.gateway, 4321).endpoint());
        }
        for packet in openings(family.blue, 4321, family.stranger) {
            assert_ne!(round_trip(&nat, &packet).port(), 4321);
        }
    }
}

/// Packets that come to `outside` where a client has called `family.server` at port 53 from there: from another host,
/// from another port of the called one, and from the called port.
fn callers(family: &Family, outside: SocketAddr) -> [[Packet; 3]; 2] {
    let ends = [(family.stranger, 53), (family.server, 54), (family.server, 53)];
    [ends.map(|from| udp(from, outside)), ends.map(|from| tcp(from, outside).syn())]
}

#[test]
fn row_128_who_may_send_to_a_mapping_is_what_the_filtering_says() {
    for (filtering, allowed) in [
        (Filtering::EndpointIndependent, [true, true, true]),
        (Filtering::AddressDependent, [false, true, true]),
        (Filtering::AddressAndPortDependent, [false, false, true]),
    ] {
        let nat = nat(filtering);
        let mut flows = 0;
        for family in &FAMILIES {
            let calls = [
                udp((family.red, 4321), (family.server, 53)),
                tcp((family.red, 4321), (family.server, 53)).syn(),
            ];
            for (call, callers) in calls.iter().zip(callers(family, (family.gateway, 4321).endpoint())) {
                for stranger in &callers {
                    nat.ingress(stranger).assert_untouched();
                }
                nat.egress(call).assert_only_changed(Src((family.gateway, 4321)));
                flows += 1;
                for (number, (caller, allowed)) in callers.iter().zip(allowed).enumerate() {
                    if allowed {
                        nat.ingress(caller).assert_only_changed(Dst(call.src)).assert_checksums_valid();
                        let answer = caller.clone().to(call.src).answer();
                        nat.egress(&answer).assert_only_changed(Src(caller.dst)).assert_checksums_valid();
                        flows += usize::from(number < 2);
                    } else {
                        nat.ingress(caller).assert_dropped(DropReason::Unsolicited);
                    }
                    nat.assert_flows(flows);
                }
            }
        }
    }
}

/// Nobody has called, and so nobody may be called back: nothing of the mapping's is shown, and the gateway keeps its own.
#[test]
fn row_128_only_a_first_segment_and_no_echo_opens_a_flow_from_outside() {
    let nat = nat(Filtering::EndpointIndependent);
    for family in &FAMILIES {
        for packet in openings(family.red, 4321, family.server) {
            nat.egress(&packet).assert_passed();
        }
        for flags in [flag::ACK, flag::RST, flag::FIN | flag::ACK, flag::SYN | flag::ACK, 0] {
            let segment = tcp((family.stranger, 80), (family.gateway, 4321)).flags(flags);
            nat.ingress(&segment).assert_dropped(DropReason::NoConnection);
        }
        nat.ingress(&ping((family.stranger, 4321), (family.gateway, 0))).assert_untouched();
        nat.ingress(&ping((family.stranger, 4321), (family.gateway, 0)).answer()).assert_untouched();
    }
    nat.assert_flows(6);
}

/// RFC 5382 REQ-4: what is refused may be half of a simultaneous open, and a reset would end it.
#[test]
fn row_113_a_refused_syn_is_not_answered_and_does_not_spoil_the_clients_own() {
    let nat = nat(Filtering::AddressAndPortDependent);
    for family in &FAMILIES {
        let (client, outside) = ((family.red, 4321), (family.gateway, 4321));
        nat.egress(&tcp(client, (family.server, 80)).syn()).assert_passed();
        let early = tcp((family.stranger, 80), outside).syn();
        for _again in 0..3 {
            nat.ingress(&early).assert_dropped(DropReason::Unsolicited);
        }
        let own = tcp(client, (family.stranger, 80)).syn();
        nat.egress(&own).assert_only_changed(Src(outside));
        // Both SYNs crossed, and both are acknowledged.
        nat.ingress(&early).assert_only_changed(Dst(client)).assert_checksums_valid();
        nat.egress(&early.clone().to(client).answer()).assert_only_changed(Src(outside));
        nat.ingress(&own.clone().from(outside).answer()).assert_only_changed(Dst(client));
    }
    nat.assert_flows(4);
}

#[test]
fn rows_39_41_a_client_reaches_another_ones_mapping_and_is_seen_by_its_own() {
    let nat = nat(Filtering::EndpointIndependent);
    let openings: [fn(SocketAddr, SocketAddr) -> Packet; 2] = [udp, |from, to| tcp(from, to).syn()];
    for family in &FAMILIES {
        let [red, blue, server] =
            [(family.red, 4321), (family.blue, 4321), (family.server, 53)].map(Endpoint::endpoint);
        for opening in openings {
            let [of_red, of_blue] = [red, blue].map(|client| round_trip(&nat, &opening(client, server)));
            assert_ne!(of_red, of_blue);
            let call = opening(blue, of_red);
            nat.inside_ingress(&call).assert_only_changed(Dst(red)).assert_checksums_valid();
            let arriving = call.clone().to(red);
            nat.inside_egress(&arriving).assert_only_changed(Src(of_blue)).assert_checksums_valid();
            let answer = arriving.from(of_blue).answer();
            nat.inside_ingress(&answer).assert_only_changed(Dst(blue)).assert_checksums_valid();
            nat.inside_egress(&answer.to(blue)).assert_only_changed(Src(of_red)).assert_checksums_valid();
        }
    }
    nat.assert_flows(16);
}

#[test]
fn row_41_a_client_that_has_called_nobody_is_given_a_mapping_by_such_a_call() {
    let nat = nat(Filtering::EndpointIndependent);
    for family in &FAMILIES {
        let red = udp((family.red, 4321), (family.server, 53));
        nat.egress(&red).assert_passed();
        let call = udp((family.blue, 4321), (family.gateway, 4321));
        nat.inside_ingress(&call).assert_only_changed(Dst(red.src));
        let shown = nat.inside_egress(&call.clone().to(red.src)).src();
        assert_ne!(shown.port(), 4321, "red's");
        let own = udp((family.blue, 4321), (family.server, 53));
        nat.egress(&own).assert_only_changed(Src(shown));
    }
}

#[test]
fn row_41_a_mapping_that_filters_refuses_calls_from_inside_as_well() {
    for filtering in [Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        let nat = nat(filtering);
        for family in &FAMILIES {
            nat.egress(&udp((family.red, 4321), (family.server, 53))).assert_passed();
            let call = udp((family.blue, 5555), (family.gateway, 4321));
            nat.inside_ingress(&call).assert_dropped(DropReason::Unsolicited);
        }
        nat.assert_flows(2);
    }
}

#[test]
fn row_47_a_socket_of_the_gateway_is_shadowed_by_no_mapping_for_everyone() {
    let nat = nat(Filtering::EndpointIndependent);
    for (family, any) in FAMILIES.iter().zip(["0.0.0.0:1405", "[::]:1405"]) {
        let before = nat.within(|| UdpSocket::bind(any)).unwrap();
        let early = udp((family.red, 1405), (family.server, 53));
        assert_ne!(round_trip(&nat, &early).port(), 1405, "the listener's");
        nat.ingress(&udp((family.stranger, 53), (family.gateway, 1405))).assert_untouched();
        drop(before);

        // One that comes later.
        let late = udp((family.red, 1406), (family.server, 53));
        assert_eq!(round_trip(&nat, &late).port(), 1406);
        let stranger = udp((family.stranger, 53), (family.gateway, 1406));
        nat.ingress(&stranger).assert_only_changed(Dst(late.src));
        let listener = nat.within(|| UdpSocket::bind(any.replace("1405", "1406"))).unwrap();
        let another = udp((family.stranger, 54), (family.gateway, 1406));
        nat.ingress(&another).assert_untouched();
        assert_eq!(round_trip(&nat, &late).port(), 1406, "the client's own flow goes on");
        drop(listener);
        nat.ingress(&another).assert_only_changed(Dst(late.src));
    }
}

#[test]
fn row_161_a_rule_takes_its_mappings_along() {
    let mut nat = nat(Filtering::EndpointIndependent);
    let packets = FAMILIES.each_ref().map(|family| udp((family.red, 4321), (family.server, 53)));
    for packet in &packets {
        nat.egress(packet).assert_passed();
    }
    for rule in nat.tables.masquerades(&Default::default()).unwrap() {
        nat.tables.remove_masquerade(rule.id).unwrap();
    }
    let strangers = FAMILIES.each_ref().map(|family| udp((family.stranger, 53), (family.gateway, 4321)));
    for stranger in &strangers {
        nat.ingress(stranger).assert_untouched();
    }
    for network in ["192.168.15.0/24", "fd15::/64"] {
        nat.masquerade(&netctl::model::Masquerade {
            ports: Some((20000, 20003)),
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::EndpointIndependent,
            ..masquerade(network)
        });
    }
    for (stranger, packet) in strangers.iter().zip(&packets) {
        nat.ingress(stranger).assert_untouched();
        let outside = round_trip(&nat, packet);
        assert!((20000..=20003).contains(&outside.port()), "{outside}");
        nat.ingress(&stranger.clone().to(outside)).assert_only_changed(Dst(packet.src));
    }
}

#[test]
fn row_121_a_client_more_than_the_rule_has_ports_is_refused_and_the_others_go_on() {
    let nat = Nat::masquerading_as(|rule| {
        rule.mapping = Mapping::EndpointIndependent;
        rule.ports = Some((20000, 20003));
    });
    for family in &FAMILIES {
        let clients = [1, 2, 3, 4].map(|port| udp((family.red, port), (family.server, 53)));
        let outside = clients.each_ref().map(|packet| round_trip(&nat, packet));
        // Not even with another peer: there is no overloading.
        nat.egress(&udp((family.red, 5), (family.stranger, 53))).assert_dropped(DropReason::NoPort);
        for (packet, outside) in clients.iter().zip(outside) {
            let elsewhere = packet.clone().to((family.stranger, 53));
            nat.egress(&elsewhere).assert_only_changed(Src(outside));
        }
    }
    nat.assert_flows(16);
}

/// Whoever calls from a port that was not called.
fn stranger(family: &Family, outside: SocketAddr) -> Packet {
    udp((family.server, 54), outside)
}

#[test]
fn row_121_a_mapping_ends_with_its_last_flow_and_its_port_is_another_clients() {
    let mut nat = Nat::masquerading_as(|rule| {
        rule.mapping = Mapping::EndpointIndependent;
        rule.ports = Some((20000, 20001));
    });
    for timeout in Timeout::ALL {
        nat.tables.set_timeout(timeout, Seconds(1)).unwrap();
    }
    let [family, _] = &FAMILIES;
    let [kept, left, next] = [1, 2, 3].map(|port| udp((family.red, port), (family.server, 53)));
    let [of_kept, of_left] = [&kept, &left].map(|packet| round_trip(&nat, packet));
    nat.egress(&next).assert_dropped(DropReason::NoPort);
    for outside in [of_kept, of_left] {
        nat.ingress(&stranger(family, outside)).assert_dropped(DropReason::Unsolicited);
    }
    // Longer than any mapping lives that has no flow, for as often as not the first has none for a moment.
    let start = Instant::now();
    eventually("eight lifetimes are over", || {
        assert_eq!(round_trip(&nat, &kept), of_kept);
        start.elapsed() > Duration::from_secs(8)
    });
    let elsewhere = kept.clone().to((family.stranger, 53));
    assert_eq!(round_trip(&nat, &elsewhere), of_kept, "it is the same for everyone still");
    nat.ingress(&stranger(family, of_left)).assert_untouched();
    assert_eq!(round_trip(&nat, &next), of_left, "the one that is free");
    eventually("the others end", || {
        let (action, frame) = nat.within(|| {
            nat.test_run(
                "uplink_ingress",
                netctl_tests::prog::UPLINK_INDEX,
                &stranger(family, of_kept).frame(),
            )
        });
        action == -1 && frame == stranger(family, of_kept).frame()
    });
}

#[test]
fn a_flush_ends_the_mappings_that_nobody_uses_any_more() {
    for filtering in [Filtering::AddressDependent, Filtering::EndpointIndependent] {
        let mut nat = nat(filtering);
        for family in &FAMILIES {
            let client = (family.red, 4321);
            let [first, second] = [family.server, family.stranger].map(|server| udp(client, (server, 53)));
            let outside = round_trip(&nat, &first);
            round_trip(&nat, &second);
            let [first_calls, second_calls] =
                [family.server, family.stranger].map(|server| udp((server, 99), outside));
            let forget = |nat: &mut Nat, everything: bool| {
                let flows = nat.tables.flows().unwrap();
                let is_firsts = |key: &netctl_ebpf::flow::FlowKey| key.dst_port == 53_u16.to_be_bytes();
                let mut meant = flows;
                if !everything {
                    meant
                        .retain(|flow| is_firsts(&flow.original) && flow.original.dst == wire(family.server));
                }
                nat.tables.forget(&meant).unwrap();
                nat.tables.forget_mappings(Some(meant.as_slice()).filter(|_| !everything)).unwrap();
            };
            forget(&mut nat, false);
            // The second flow has the mapping, and its peer alone may call where it depends on the address.
            nat.ingress(&second_calls).assert_only_changed(Dst(first.src));
            let outcome = nat.ingress(&first_calls);
            if filtering == Filtering::AddressDependent {
                outcome.assert_dropped(DropReason::Unsolicited);
            } else {
                outcome.assert_only_changed(Dst(first.src));
            }
            forget(&mut nat, true);
            for call in [&first_calls, &second_calls] {
                nat.ingress(call).assert_untouched();
            }
            let other = udp((family.blue, 4321), (family.server, 53));
            assert_eq!(round_trip(&nat, &other), outside, "another client's now");
            forget(&mut nat, true);
        }
        nat.assert_flows(0);
    }
}

fn wire(address: &str) -> netctl_ebpf::addr::Addr {
    match address.parse().unwrap() {
        std::net::IpAddr::V4(v4) => netctl_ebpf::addr::from_v4(v4.octets()),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}

#[test]
fn row_146_a_mapping_at_an_address_that_was_lost_admits_nobody_and_answers_nobody() {
    let nat = nat(Filtering::EndpointIndependent);
    nat.ip("route add default via 203.0.113.254 dev wan0");
    let [family, _] = &FAMILIES;
    let outside = round_trip(&nat, &udp((family.red, 4321), (family.server, 53)));
    let call = stranger(family, outside);
    nat.ingress(&call).assert_only_changed(Dst((family.red, 4321)));
    let answer = call.clone().to((family.red, 4321)).answer();
    nat.egress(&answer).assert_only_changed(Src(outside));

    nat.ip("address del 203.0.113.1/24 dev wan0");
    nat.ip("address add 203.0.113.9/24 dev wan0");
    nat.ip("route replace default via 203.0.113.254 dev wan0");
    nat.ingress(&udp((family.stranger, 99), outside)).assert_untouched();
    eventually("the caller's flow has another address", || {
        nat.egress(&answer).src() == ("203.0.113.9", 4321).endpoint()
    });
}
