//! How long flows live: each kind as its timeout says, counted from the last packet of either direction.

use std::time::{Duration, Instant};

use netctl::model::{Seconds, Timeout};
use netctl_tests::{
    lab::{eventually, patience},
    packet::{Packet, other, ping, proto, tcp, udp},
    prog::{
        Change::{Dst, Src},
        Nat, UPLINK_INDEX, masquerade,
    },
};

const SHORT: Seconds = Seconds(2);
const LONG: Seconds = Seconds(3600);
const SERVER: &str = "203.0.113.2";

fn set(nat: &mut Nat, lifetime: impl Fn(Timeout) -> Seconds) {
    for timeout in Timeout::ALL {
        nat.tables.set_timeout(timeout, lifetime(timeout)).unwrap();
    }
}

fn out(nat: &Nat, packet: &Packet) {
    nat.egress(packet).assert_only_changed(Src(("203.0.113.1", packet.src.port())));
}

/// The answer to `packet`.
fn back(nat: &Nat, packet: &Packet) {
    nat.ingress(&packet.clone().from(("203.0.113.1", packet.src.port())).answer())
        .assert_only_changed(Dst(packet.src));
}

/// A client's connection up to its handshake.
fn established(nat: &Nat, port: u16) -> Packet {
    let segment = tcp(("192.168.15.1", port), (SERVER, 80));
    out(nat, &segment.clone().syn());
    back(nat, &segment.clone().syn());
    out(nat, &segment);
    segment
}

/// One flow in each state, by the client's port and the timeout that it has.
const STATES: [(u16, Timeout); 10] = [
    (1, Timeout::TcpOpening),
    (2, Timeout::TcpOpening),
    (3, Timeout::TcpEstablished),
    (4, Timeout::TcpEstablished),
    (5, Timeout::TcpClosing),
    (6, Timeout::TcpClosing),
    (7, Timeout::UdpUnanswered),
    (8, Timeout::Udp),
    (9, Timeout::Icmp),
    (0, Timeout::Other),
];

fn one_in_each_state(nat: &Nat) {
    let syn = |port: u16| tcp(("192.168.15.1", port), (SERVER, 80)).syn();
    out(nat, &syn(1));
    // Answered, but not acknowledged.
    out(nat, &syn(2));
    back(nat, &syn(2));
    established(nat, 3);
    // Closed by one side.
    let half = established(nat, 4);
    out(nat, &half.clone().fin());
    back(nat, &half);
    // Closed by both, and reset.
    let closed = established(nat, 5);
    out(nat, &closed.clone().fin());
    back(nat, &closed.clone().fin());
    out(nat, &closed);
    let reset = established(nat, 6);
    back(nat, &reset.clone().rst());
    let [asked, answered] = [7, 8].map(|port| udp(("192.168.15.1", port), (SERVER, 53)));
    out(nat, &asked);
    out(nat, &answered);
    back(nat, &answered);
    let query = ping(("192.168.15.1", 9), (SERVER, 0));
    out(nat, &query);
    back(nat, &query);
    nat.egress(&other(proto::GRE, "192.168.15.1", SERVER)).assert_passed();
}

/// The clients' ports of the flows that are there, sorted.
fn ports(nat: &Nat) -> Vec<u16> {
    let flows = nat.tables.flows().unwrap();
    let mut ports: Vec<u16> = flows.iter().map(|flow| u16::from_be_bytes(flow.original.src_port)).collect();
    ports.sort_unstable();
    ports
}

/// A flow begins in a state that has a short timeout, too, since the kernel is told to look at it after that first.
#[test]
fn rows_55_104_112_115_each_state_has_its_own_timeout_and_no_other() {
    use Timeout::{Icmp, Other, TcpClosing, TcpEstablished, TcpOpening, Udp, UdpUnanswered};
    let cases: [&[Timeout]; 7] = [
        &[TcpOpening],
        &[TcpOpening, TcpEstablished],
        &[TcpOpening, TcpClosing],
        &[UdpUnanswered],
        &[UdpUnanswered, Udp],
        &[Icmp],
        &[Other],
    ];
    let start = Instant::now();
    let running = cases.map(|short| {
        let mut nat = Nat::masquerading();
        set(&mut nat, |timeout| if short.contains(&timeout) { SHORT } else { LONG });
        one_in_each_state(&nat);
        (short, nat)
    });
    for (short, nat) in &running {
        let mut stay: Vec<u16> =
            STATES.iter().filter(|(_, timeout)| !short.contains(timeout)).map(|(port, _)| *port).collect();
        stay.sort_unstable();
        eventually(&format!("of {short:?} no flow is left"), || ports(nat) == stay);
    }
    eventually("two lifetimes are over", || start.elapsed() > Duration::from_secs(4));
    for (short, nat) in &running {
        let stay = STATES.iter().filter(|(_, timeout)| !short.contains(timeout)).count();
        assert_eq!(ports(nat).len(), stay, "those of other timeouts than {short:?}");
        nat.assert_flows(stay);
    }
}

#[test]
fn rows_115_112_packets_of_either_direction_renew_a_flow_and_nobody_elses_do() {
    let mut nat = Nat::masquerading();
    set(&mut nat, |timeout| if timeout == Timeout::TcpClosing { LONG } else { SHORT });
    let [sends, hears, refused, idle] = [1, 2, 3, 4].map(|port| udp(("192.168.15.1", port), (SERVER, 53)));
    for packet in [&sends, &hears, &refused, &idle] {
        out(&nat, packet);
        back(&nat, packet);
        assert!(ports(&nat).contains(&packet.src.port()));
    }
    // A half-closed connection whose other half goes on sending.
    let half = established(&nat, 5);
    out(&nat, &half.clone().fin());
    let stranger = udp(("203.0.113.3", 53), ("203.0.113.1", 3));
    let start = Instant::now();
    eventually("three lifetimes are over", || {
        out(&nat, &sends);
        back(&nat, &hears);
        back(&nat, &half);
        nat.ingress(&stranger).assert_untouched();
        start.elapsed() > Duration::from_secs(6)
    });
    assert_eq!(ports(&nat), [1, 2, 5]);
    eventually("without packets they end, too", || ports(&nat).is_empty());
    nat.assert_flows(0);
}

#[test]
fn row_114_a_hundred_thousand_half_open_connections_expire_and_established_ones_stay() {
    const SYNS: u64 = 100_000;
    // One CPU alone has room for so many without an answer.
    let mut nat = Nat::with_room_for(1 << 20);
    nat.masquerade(&masquerade("192.168.15.0/24"));
    let opening = Seconds((patience().as_secs() / 4) as u32);
    set(&mut nat, |timeout| if timeout == Timeout::TcpOpening { opening } else { LONG });
    let connections: Vec<Packet> = (1..=100).map(|port| established(&nat, port)).collect();
    nat.within(|| {
        for number in 0..SYNS as u32 {
            let server = format!("203.0.113.{}", 10 + number / 50_000);
            let client = ("192.168.15.1", 1024 + (number % 50_000) as u16);
            let syn = tcp(client, (&*server, 80)).syn();
            assert_eq!(nat.test_run("uplink_egress", UPLINK_INDEX, &syn.frame()).0, -1, "{number} passed");
        }
    });
    let ended = |nat: &Nat| nat.tables.ended(1).unwrap().flows;
    eventually("all have ended", || ended(&nat) == SYNS);
    nat.assert_flows(connections.len());
    for segment in &connections {
        out(&nat, segment);
        back(&nat, segment);
    }
    assert_eq!(nat.drops(), []);
}
