//! `netctl nat flush`: flows are forgotten, both halves, and those that do not fit stay.

use netctl_tests::lab::Lab;

use super::{echo, flows, talk, type_in};

#[test]
fn what_fits_is_forgotten_and_what_does_not_stays() {
    let lab = Lab::quickstart();
    let _servers = [echo(&lab, "internet", "80"), echo(&lab, "blue", "80")];
    let _talkers = [
        talk(&lab, "red", "udp", "4321", ("203.0.113.2", "80")),
        talk(&lab, "blue", "udp", "4321", ("203.0.113.2", "80")),
        talk(&lab, "red", "tcp", "778", ("203.0.113.1", "8080")),
    ];
    assert_eq!(type_in(&lab, "nat flush --src 192.168.15.1 --proto udp").stdout(), "forgot 1 flow\n");
    let left: Vec<_> = flows(&lab, "").iter().map(|flow| flow["kind"].clone()).collect();
    assert_eq!(left, ["hairpin", "masquerade"]);
    // Both flows of a hairpinned connection are one, and go together.
    let flushed = type_in(&lab, "--json -n router nat flush --kind hairpin").json();
    assert_eq!(flushed[0]["flows"], 1, "{flushed}");
    assert!(type_in(&lab, "nat stats").stdout().starts_with("router  1 of "));
    assert_eq!(type_in(&lab, "nat flush").stdout(), "forgot 1 flow\n");
    assert!(flows(&lab, "").is_empty());
}

#[test]
fn a_forgotten_flows_port_is_free_for_another() {
    let lab = Lab::quickstart();
    let _server = echo(&lab, "internet", "80");
    let red = talk(&lab, "red", "udp", "4321", ("203.0.113.2", "80"));
    let port = |source: &str| {
        flows(&lab, &format!("--src {source}"))[0]["translated"]["source_port"].as_u64().unwrap()
    };
    assert_eq!(port("192.168.15.1"), 4321);
    drop(red);
    type_in(&lab, "nat flush");
    let _blue = talk(&lab, "blue", "udp", "4321", ("203.0.113.2", "80"));
    assert_eq!(port("192.168.15.2"), 4321);
}

#[test]
fn an_open_connection_goes_on_after_its_flow_was_forgotten() {
    // As a packet in the middle of a connection: from inside it makes the flow anew.
    let lab = Lab::quickstart();
    let _server = echo(&lab, "internet", "80");
    let client = "
import socket, sys
s = socket.create_connection(('203.0.113.2', 80), timeout=10)
for word in (b'one', b'two'):
    s.sendall(word)
    print(s.recv(2000).decode(), flush=True)
    sys.stdin.readline() if word == b'one' else None
";
    lab.file("client.py", client);
    lab.host().run("mkfifo", ["go"]).success();
    let mut talker = lab.ns("red").start("sh", ["-c", "exec 3<>go; python3 -u client.py <&3"]);
    talker.wait_for("one");
    assert_eq!(type_in(&lab, "nat flush").stdout(), "forgot 1 flow\n");
    lab.host().run("sh", ["-c", "echo > go"]).success();
    talker.wait_for("two");
    assert_eq!(flows(&lab, "").len(), 1);
}
