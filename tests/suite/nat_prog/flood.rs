//! A full table: what a flood pushes out is its own, and what cannot be told from it.

use std::net::{IpAddr, Ipv4Addr};

use netctl::model::Mapping;
use netctl_ebpf::reason::DropReason;
use netctl_tests::{
    packet::{Packet, flag, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, forward, masquerade,
    },
};

const TC_ACT_UNSPEC: i32 = -1;

/// A gateway with room for so many flows.
fn nat(flows: u32, mapping: Mapping) -> Nat {
    let mut nat = Nat::with_room_for(flows);
    nat.ip("route add default via 203.0.113.254 dev wan0");
    nat.masquerade(&netctl::model::Masquerade { mapping, ..masquerade("192.168.15.0/24") });
    nat
}

/// The first packet of the `number`th flow of a client of its own.
fn flow(number: usize) -> Packet {
    udp(("192.168.15.1", 1024 + number as u16), "203.0.113.2:53")
}

/// So many packets of a flow each, of 200 clients; which of them were refused.
fn flood(nat: &Nat, packets: usize, packet: impl Fn((&str, u16), &str) -> Packet + Sync) -> usize {
    let run = |number: usize| {
        let client = format!("192.168.15.{}", 50 + number % 200);
        let server = format!("198.51.{}.{}", number / 50_000, 1 + number % 250);
        let frame = packet((&client, 1024 + (number / 2 % 60_000) as u16), &format!("{server}:80")).frame();
        nat.test_run("uplink_egress", netctl_tests::prog::UPLINK_INDEX, &frame).0
    };
    nat.within(|| (0..packets).filter(|&number| run(number) != TC_ACT_UNSPEC).count())
}

#[test]
fn rows_141_142_a_flood_pushes_out_its_own_flows_and_none_that_was_answered() {
    let nat = nat(4096, Mapping::default());
    // Two clients with the same ports, so that one has ports that it can only have from the table.
    let clients = ["192.168.15.1", "192.168.15.2"];
    let connections: Vec<(Packet, _)> = (0..100)
        .map(|number| {
            let packet = tcp((clients[number % 2], 5000 + number as u16 / 2), "203.0.113.2:80");
            let outside = nat.egress(&packet.clone().syn()).src();
            nat.ingress(&packet.clone().syn().from(outside).answer()).assert_only_changed(Dst(packet.src));
            nat.egress(&packet).assert_only_changed(Src(outside));
            (packet, outside)
        })
        .collect();
    let assert_goes_on = |nat: &Nat| {
        for (packet, outside) in &connections {
            nat.egress(packet).assert_only_changed(Src(*outside)).assert_checksums_valid();
            let answer = packet.clone().from(*outside).answer();
            nat.ingress(&answer).assert_only_changed(Dst(packet.src)).assert_checksums_valid();
        }
    };

    for kind in
        [|from: (&str, u16), to: &str| tcp(from, to).syn(), |from: (&str, u16), to: &str| udp(from, to)]
    {
        assert_eq!(flood(&nat, 100_000, kind), 0, "each has room, in the place of an older one");
        let entries = nat.entries().len();
        assert!(entries <= 2 * (101 + 1024), "{entries}: a quarter of the table is for the unanswered");
        assert_goes_on(&nat);
        let fresh = tcp(("192.168.15.3", 6000), "203.0.113.2:80").syn();
        nat.egress(&fresh).assert_only_changed(Src("203.0.113.1:6000"));
        nat.ingress(&fresh.clone().from("203.0.113.1:6000").answer()).assert_only_changed(Dst(fresh.src));
        nat.egress(&fresh.rst()).assert_passed();
    }
    assert_eq!(nat.drops(), []);
}

#[test]
fn rows_141_142_a_table_full_of_answered_flows_refuses_new_ones_and_keeps_the_old() {
    let mut nat = nat(256, Mapping::default());
    let flows: Vec<Packet> = (0..256).map(flow).collect();
    let assert_goes_on = |nat: &Nat, flows: &[Packet]| {
        for packet in flows {
            let outside = ("203.0.113.1", packet.src.port());
            nat.egress(packet).assert_only_changed(Src(outside));
            nat.ingress(&packet.clone().from(outside).answer()).assert_only_changed(Dst(packet.src));
        }
    };
    assert_goes_on(&nat, &flows);
    nat.assert_flows(256);
    for number in 256..300 {
        nat.egress(&flow(number)).assert_dropped(DropReason::TableFull);
        nat.egress(&tcp(flow(number).src, flow(number).dst).syn()).assert_dropped(DropReason::TableFull);
    }
    assert_eq!(flood(&nat, 1000, |from, to| udp(from, to)), 1000);
    assert_eq!(nat.drops(), [(DropReason::TableFull, 1088)]);
    assert_goes_on(&nat, &flows);
    nat.assert_flows(256);

    // Room again, and nothing has to be restarted.
    let all = nat.tables.flows().unwrap();
    let over: Vec<_> =
        all.into_iter().filter(|flow| flow.original.src_port >= 1152_u16.to_be_bytes()).collect();
    assert_eq!(over.len(), 128);
    nat.tables.forget(&over).unwrap();
    let fresh: Vec<Packet> = (256..384).map(flow).collect();
    assert_goes_on(&nat, &fresh);
    assert_goes_on(&nat, &flows[..128]);
    nat.assert_flows(256);
    nat.egress(&flows[128]).assert_dropped(DropReason::TableFull);
}

/// What answers a SYN does not know whether its source was forged: a listener that is called through a forward, and a
/// port where nobody listens.
#[test]
fn rows_141_142_a_flood_of_syns_pushes_out_its_own_flows_however_they_are_answered() {
    const CALLS: u32 = 5000;
    let mut nat = nat(1024, Mapping::default());
    nat.forward(&forward("0.0.0.0:8080/tcp", "192.168.15.2:80"));
    let call = |number: u32| {
        let caller = (IpAddr::from(Ipv4Addr::from_bits(0xc633_6400 + number)), 777);
        tcp(caller, "203.0.113.1:8080").syn()
    };
    let served = |call: &Packet| call.clone().to("192.168.15.2:80");
    let connections: Vec<Packet> = (0..100).map(|number| call(CALLS + number)).collect();
    for syn in &connections {
        nat.ingress(syn).assert_only_changed(Dst("192.168.15.2:80"));
        nat.egress(&served(syn).answer()).assert_only_changed(Src("203.0.113.1:8080"));
        nat.ingress(&syn.clone().flags(flag::ACK)).assert_only_changed(Dst("192.168.15.2:80"));
    }
    for number in 0..CALLS {
        let syn = call(number);
        nat.ingress(&syn).assert_only_changed(Dst("192.168.15.2:80"));
        let answer = served(&syn).answer();
        let answer = if number % 2 == 0 { answer } else { answer.flags(flag::RST | flag::ACK) };
        nat.egress(&answer).assert_only_changed(Src("203.0.113.1:8080"));
    }
    let entries = nat.entries().len();
    assert!(entries <= 2 * (100 + 256), "{entries}: a quarter of the table is for them");
    for syn in &connections {
        nat.ingress(&syn.clone().flags(flag::ACK)).assert_only_changed(Dst("192.168.15.2:80"));
        let answer = served(syn).answer().flags(flag::ACK);
        nat.egress(&answer).assert_only_changed(Src("203.0.113.1:8080"));
    }
    assert_eq!(nat.drops(), []);
}

/// However many peers a client tries, its one mapping stays, and so does what an answered flow has.
#[test]
fn row_141_a_flood_leaves_mappings_for_everyone_alone() {
    let nat = nat(4096, Mapping::EndpointIndependent);
    let (red, blue) = (flow(0), flow(0).from("192.168.15.2:1024"));
    let [of_red, of_blue] = [&red, &blue].map(|packet| nat.egress(packet).src());
    assert_ne!(of_red, of_blue);
    for (packet, outside) in [(&red, of_red), (&blue, of_blue)] {
        nat.ingress(&packet.clone().from(outside).answer()).assert_only_changed(Dst(packet.src));
    }
    assert_eq!(flood(&nat, 50_000, |_, to| udp("192.168.15.1:1024", to)), 0);
    for (packet, outside) in [(&red, of_red), (&blue, of_blue)] {
        nat.egress(packet).assert_only_changed(Src(outside));
        nat.ingress(&packet.clone().from(outside).answer()).assert_only_changed(Dst(packet.src));
    }
}
