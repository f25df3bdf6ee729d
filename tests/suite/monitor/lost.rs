//! What is lost is told.

use std::{collections::BTreeSet, fmt::Write as _};

use netctl::nat::ebpf::maps::events::monotonic_ns;
use netctl_tests::lab::{Lab, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Monitor, gateway::heard_until, is};

#[test]
fn changes_beyond_what_the_kernel_keeps_are_told_as_lost_and_what_they_left_is_told() {
    const ADDRESSES: usize = 6000;
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "--only address");
    monitor.0.signal(Signal::SIGSTOP);
    let mut batch = String::new();
    for number in 0..ADDRESSES {
        writeln!(batch, "address add 10.9.{}.{}/32 dev lo", number / 250, number % 250).unwrap();
    }
    lab.ns("red").run_with("ip", ["-batch", "-"], batch.as_bytes()).success();
    monitor.0.signal(Signal::SIGCONT);
    let lost = monitor.hear_of("red lost lost", &[("/events", Value::Null)]);
    assert_eq!(lost["object"]["kinds"], json!(["link", "address", "route", "neighbour"]));
    eventually("all that is there has been told", || {
        let added = monitor.those(|event| is(event, "red address added", &[("/interface", json!("lo"))]));
        let addresses: BTreeSet<_> =
            added.iter().map(|event| event["object"]["address"].as_str().unwrap()).collect();
        assert_eq!(addresses.len(), added.len(), "each is told once");
        addresses.len() == ADDRESSES
    });
}

#[test]
fn flows_beyond_what_the_ring_buffer_keeps_are_told_as_lost_by_their_number() {
    const FLOWS: usize = 6000;
    const SEND: &str = "
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(('', 777))
for port in range(10000, 10000 + int(sys.argv[1])): s.sendto(b'word', ('203.0.113.2', port))
";
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "--only flow");
    monitor.0.signal(Signal::SIGSTOP);
    lab.ns("red").run("python3", ["-c", SEND, &FLOWS.to_string()]).success();
    monitor.0.signal(Signal::SIGCONT);
    let lost = monitor.hear_of("router lost lost", &[]);
    assert_eq!(lost["object"]["kinds"], json!(["flow", "drop"]));
    let stopped =
        |event: &Value| event["object"]["why"].as_str().is_some_and(|why| why.contains("was stopped"));
    eventually("all of them are told, one by one or by their number", || {
        let told = monitor.those(|event| is(event, "router flow new", &[])).len();
        let lost = monitor.those(|event| is(event, "router lost lost", &[]));
        let number: u64 = lost.iter().filter_map(|event| event["object"]["events"].as_u64()).sum();
        // A machine so slow that the programs have given the listener up.
        told + number as usize == FLOWS || lost.iter().any(stopped)
    });
}

#[test]
fn a_monitor_that_was_stopped_for_too_long_says_that_nothing_was_told_meanwhile() {
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "--only flow");
    monitor.0.signal(Signal::SIGSTOP);
    eventually("the programs have given it up", || heard_until(&lab) < monotonic_ns());
    monitor.0.signal(Signal::SIGCONT);
    let lost = monitor.hear_of("router lost lost", &[]);
    assert!(lost["object"]["why"].as_str().unwrap().contains("was stopped"), "{lost}");
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
    monitor.hear_of("router flow new", &[]);
}
