//! The gateway's own traffic beside that of its clients, and senders who pretend to be one or the other.

use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Endpoint as _, icmp, ping, tcp, udp},
    prog::{Change::Dst, Nat, forward},
};

use super::{FAMILIES, openings};

#[test]
fn rows_45_50_the_gateways_own_packet_with_a_clients_tuple_gets_another_port_and_each_its_answers() {
    for family in &FAMILIES {
        let clients = openings(family.red, 40_000, family.server);
        let owns = openings(family.gateway, 40_000, family.server);
        for (client, own) in clients.into_iter().zip(owns) {
            let nat = Nat::masquerading();
            let of_client = nat.egress(&client).src();
            assert_eq!(of_client, (family.gateway, 40_000).endpoint(), "kept, since nobody had it");
            let of_gateway = nat.egress(&own).src();
            assert_eq!(of_gateway.ip(), of_client.ip());
            assert_ne!(of_gateway.port(), of_client.port());

            let answer = client.clone().from(of_client).answer();
            nat.ingress(&answer).assert_only_changed(Dst(client.src)).assert_checksums_valid();
            let answer = own.clone().from(of_gateway).answer();
            nat.ingress(&answer).assert_only_changed(Dst(own.src)).assert_checksums_valid();
            nat.assert_flows(2);
        }
    }
}

#[test]
fn rows_44_49_the_gateways_own_packets_are_left_alone_where_no_client_has_their_tuple() {
    let nat = Nat::masquerading();
    for family in &FAMILIES {
        for client in openings(family.red, 40_000, family.server) {
            nat.egress(&client).assert_passed();
        }
        for own in openings(family.gateway, 40_001, family.server) {
            nat.egress(&own).assert_untouched();
        }
        // And what it tells whom it does not know: a reset whoever has the tuple, an answer, an error.
        nat.egress(&tcp((family.gateway, 40_000), (family.server, 80)).rst()).assert_untouched();
        nat.egress(&ping((family.server, 7), (family.gateway, 0)).answer()).assert_untouched();
        let call = udp((family.server, 777), (family.gateway, 9)).frame();
        let unreachable = if family.gateway.contains(':') { (1, 4) } else { (3, 3) };
        let ends = ((family.gateway, 0), (family.server, 0));
        let error = icmp(ends.0, ends.1, unreachable.0, unreachable.1, &call[14..]);
        nat.egress(&error).assert_untouched();
    }
    nat.assert_flows(6);
}

/// RFC 1812 section 5.3.7: nobody outside has an inside address, one of the gateway's, or none.
#[test]
fn row_132_a_forward_takes_no_calls_from_addresses_that_cannot_be_outside() {
    let mut nat = Nat::masquerading();
    for (family, nobody) in FAMILIES.iter().zip([
        &["127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255"][..],
        &["::", "::1", "ff02::1"],
    ]) {
        let listen = (family.gateway, 8080).endpoint();
        nat.forward(&forward(&format!("{listen}/udp"), (family.blue, 80)));
        for &source in nobody.iter().chain(&[family.red, family.blue, family.gateway]) {
            let call = udp((source, 777), (family.gateway, 8080));
            nat.ingress(&call).assert_dropped(DropReason::Spoofed);
        }
        nat.ingress(&udp((family.server, 777), (family.gateway, 8080))).assert_passed();
    }
    nat.assert_flows(2);
}
