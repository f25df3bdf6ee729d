//! Two CPUs at once.

use std::{
    collections::HashSet,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
};

use netctl_tests::{
    packet::{Packet, check::View, udp},
    prog::{Nat, UPLINK_INDEX},
};

const ROUNDS: u16 = 300;

/// Runs each packet through the uplink on a thread of its own, at the same time; where they then come from.
fn race(nat: &Nat, packets: &[Packet]) -> Vec<std::net::SocketAddr> {
    let start = Barrier::new(packets.len());
    let run = |packet: &Packet| {
        let frame = packet.frame();
        nat.within(|| {
            start.wait();
            let (action, left) = nat.test_run("uplink_egress", UPLINK_INDEX, &frame);
            assert_eq!(action, -1, "passed");
            View::read(&left).unwrap().src
        })
    };
    thread::scope(|scope| {
        let runs: Vec<ScopedJoinHandle<'_, _>> =
            packets.iter().map(|packet| scope.spawn(|| run(packet))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn row_126_two_clients_that_race_for_a_port_get_one_each_and_one_client_gets_one_flow() {
    let nat = Nat::masquerading();
    for round in 0..ROUNDS {
        let port = 20_000 + round;
        let clients = ["192.168.15.1", "192.168.15.2"].map(|client| udp((client, port), ("203.0.113.2", 53)));
        let ports: HashSet<_> = race(&nat, &clients).into_iter().collect();
        assert_eq!(ports.len(), 2, "round {round}: {ports:?}");

        let one = udp(("192.168.15.3", port), ("203.0.113.3", 53));
        let ports: HashSet<_> = race(&nat, &[one.clone(), one]).into_iter().collect();
        assert_eq!(ports.len(), 1, "round {round}: {ports:?}");
    }
    nat.assert_flows(3 * usize::from(ROUNDS));
}
