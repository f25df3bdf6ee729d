//! Flows and drops, as the programs tell of them.

use aya::maps::{Array, Map, MapData, RingBuf};
use netctl::nat::ebpf::maps::events::monotonic_ns;
use netctl_ebpf::{ABI_VERSION, config::SECOND_NS, event::Listener};
use netctl_tests::lab::{Lab, Server, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Monitor, is};

/// Takes a connection, hears its end, and ends it.
const SERVE: &str = "
import socket
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    connection, _ = s.accept()
    while connection.recv(2000): pass
    connection.close()
";

/// Connects from a port of its own, and stays until there is a file `enough`.
const CONNECT: &str = "
import os, socket, sys, time
s = socket.socket()
s.bind(('', 4321))
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b'word')
print('connected', flush=True)
while not os.path.exists('enough'): time.sleep(0.01)
s.shutdown(socket.SHUT_WR)
s.recv(1)
";

fn connect<'a>(lab: &'a Lab, place: &'a str, host: &str, port: &str) -> Server<'a> {
    let mut client = lab.ns(place).start("python3", ["-c", CONNECT, host, port]);
    client.wait_for("connected");
    client
}

/// What was told of the router's flow from that port, in its order.
fn story(monitor: &Monitor<'_>, port: u16) -> Vec<String> {
    let its =
        monitor.those(|event| event["kind"] == "flow" && event["object"]["original"]["source_port"] == port);
    its.iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_connection_is_told_of_when_it_is_made_when_it_is_established_and_when_it_is_closed() {
    let lab = Lab::quickstart();
    let _servers = [
        lab.ns("internet").serve(80, "python3", ["-c", SERVE]),
        lab.ns("blue").serve(80, "python3", ["-c", SERVE]),
    ];
    for (client, host, port, kind, rule) in [
        ("red", "203.0.113.2", "80", "masquerade", "192.168.15.0/24"),
        ("internet", "203.0.113.1", "8080", "forward", "203.0.113.1:8080/tcp"),
    ] {
        let mut monitor = Monitor::start(&lab, "--only flow");
        let client = connect(&lab, client, host, port);
        let its = [("/kind", json!(kind)), ("/rule/name", json!(rule)), ("/protocol", json!("tcp"))];
        let new = monitor.hear_of("router flow new", &its);
        assert_eq!(new["object"]["original"]["destination"], json!(host), "{new}");
        monitor.hear_of("router flow established", &its);
        assert_eq!(story(&monitor, 4321), ["new", "established"], "it is not closed yet");
        lab.file("enough", "");
        let _ = client.finish().success();
        let closed = monitor.hear_of("router flow closed", &its);
        assert!(closed["object"]["packets"]["original"].as_u64().unwrap() >= 4, "{closed}");
        assert!(closed["object"]["packets"]["reply"].as_u64().unwrap() >= 2, "{closed}");
        assert_eq!(story(&monitor, 4321), ["new", "established", "closed"]);
        std::fs::remove_file(lab.directory().join("enough")).unwrap();
    }
}

#[test]
fn a_flow_that_is_not_used_expires_and_one_whose_rule_has_ended_says_so() {
    let lab = Lab::new();
    let quickstart = include_str!("../../../netctl/quickstart.toml");
    lab.file(
        "netctl.toml",
        format!("{quickstart}\n[nat.timeouts]\nudp-unanswered = \"1s\"\nicmp = \"1h\"\n"),
    );
    lab.netctl(["up"]).success();
    let mut monitor = Monitor::start(&lab, "--only flow");
    let send = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 777)); [s.sendto(b'word', ('203.0.113.2', 99)) for _ in range(2)]";
    lab.ns("red").run("python3", ["-c", send]).success();
    let expired = monitor.hear_of("router flow expired", &[("/protocol", json!("udp"))]);
    assert_eq!(story(&monitor, 777), ["new", "expired"]);
    assert_eq!(
        (&expired["object"]["packets"]["original"], &expired["object"]["packets"]["reply"]),
        (&json!(2), &json!(0))
    );

    let ping = || lab.ns("red").run("ping", ["-c", "1", "-W", "5", "-e", "7", "203.0.113.2"]);
    ping().success();
    monitor.hear_of("router flow answered", &[("/protocol", json!("icmp")), ("/original/id", json!(7))]);
    lab.netctl("-n router nat masquerade del --source 192.168.15.0/24 --force".split(' ')).success();
    let _ = ping();
    monitor
        .hear_of("router flow ended", &[("/original/id", json!(7)), ("/why", json!("its rule has ended"))]);
}

/// How many packets the router has dropped for this reason.
fn dropped(lab: &Lab, reason: &str) -> u64 {
    let stats = lab.netctl(["--json", "-n", "router", "nat", "stats"]).success().json();
    let drops = stats[0]["drops"].as_array().unwrap().iter();
    drops.filter(|drop| drop["reason"] == reason).map(|drop| drop["packets"].as_u64().unwrap()).sum()
}

#[test]
fn a_dropped_packet_is_told_with_its_reason_and_of_a_flood_the_first_and_how_many_more() {
    let lab = Lab::quickstart();
    lab.ns("internet").run("ip", ["route", "add", "192.168.15.0/24", "via", "203.0.113.1"]).success();
    let mut monitor = Monitor::start(&lab, "--only drop");
    lab.ns("internet").run("ping", ["-c", "1", "-W", "0.1", "192.168.15.1"]).fails(1);
    let drop = monitor.hear_of("router drop dropped", &[]);
    let object = &drop["object"];
    assert_eq!((&object["reason"], &object["protocol"]), (&json!("unsolicited"), &json!("icmp")));
    assert_eq!((&object["interface"], &object["direction"]), (&json!("wan0"), &json!("in")));
    let packet = (&object["packet"]["source"], &object["packet"]["destination"]);
    assert_eq!(packet, (&json!("203.0.113.2"), &json!("192.168.15.1")));

    let flood = "
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
for _ in range(3000): s.sendto(b'word', ('192.168.15.1', 99))
";
    lab.ns("internet").run("python3", ["-c", flood]).success();
    let all = dropped(&lab, "unsolicited");
    assert_eq!(all, 3001);
    eventually("all of them are told, one by one or in numbers", || {
        let one_by_one = monitor.those(|event| is(event, "router drop dropped", &[])).len() as u64;
        let more =
            monitor.those(|event| is(event, "router drop left-out", &[("/reason", json!("unsolicited"))]));
        let more: u64 = more.iter().map(|event| event["object"]["packets"].as_u64().unwrap()).sum();
        assert!(one_by_one < 1000, "{one_by_one} lines of {all} packets");
        one_by_one + more == all
    });
}

/// The gateway's pinned map of that name.
fn map(name: &str) -> MapData {
    let pin = format!("/sys/fs/bpf/netctl/quickstart/router/v{ABI_VERSION}/maps/{name}");
    MapData::from_pin(pin).unwrap()
}

/// Until when somebody listens.
pub(super) fn heard_until(lab: &Lab) -> u64 {
    lab.host().enter(|| {
        let listener: Array<_, Listener> = Map::Array(map("LISTENER")).try_into().unwrap();
        listener.get(&0, 0).unwrap().until_ns
    })
}

/// How many records a flow and a drop leave that are made now.
fn records(lab: &Lab) -> usize {
    let ring = || RingBuf::try_from(Map::RingBuf(map("EVENTS"))).unwrap();
    let mut ring = lab.host().enter(ring);
    while ring.next().is_some() {}
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
    lab.ns("internet").run("ping", ["-c", "1", "-W", "0.1", "192.168.15.1"]).fails(1);
    std::iter::from_fn(|| ring.next().map(drop)).count()
}

#[test]
fn where_nobody_listens_the_programs_are_silent_also_when_the_listener_was_killed() {
    let lab = Lab::quickstart();
    lab.ns("internet").run("ip", ["route", "add", "192.168.15.0/24", "via", "203.0.113.1"]).success();
    assert_eq!((heard_until(&lab), records(&lab)), (0, 0));
    let monitor = Monitor::start(&lab, "");
    assert!(heard_until(&lab) > monotonic_ns());
    monitor.0.signal(Signal::SIGTERM);
    let _ = monitor.0.finish().success();
    assert_eq!((heard_until(&lab), records(&lab)), (0, 0), "one that ends says so");

    let monitor = Monitor::start(&lab, "");
    monitor.0.signal(Signal::SIGKILL);
    drop(monitor);
    assert_ne!(heard_until(&lab), 0);
    assert!(records(&lab) >= 3, "a flow, its answer, a drop: its time is not over yet");
    // The programs' clock goes by ticks.
    eventually("its time is over", || heard_until(&lab) + SECOND_NS / 10 < monotonic_ns());
    assert_eq!(records(&lab), 0);
    // What was told meanwhile is for nobody.
    let monitor = Monitor::start(&lab, "--only flow,drop");
    assert_eq!(monitor.those(|event: &Value| event["kind"] != "monitor"), [Value::Null; 0]);
}
