//! Much data through the gateway, with and without offloads: nothing is damaged and no checksum is wrong.
//!
//! With offloads a checksum is half done when the gateway sees it (`CHECKSUM_PARTIAL`), and whoever needs it whole
//! completes it later; without, it is whole before. What is half done and what is whole have to be changed differently,
//! so that the third case, offloads in front of the gateway and none behind it, is the one that tells.

use std::{env, fs};

use netctl_tests::lab::Lab;
use serde_json::Value;

/// How long each measurement takes, unless `NETCTL_TEST_SECONDS` says otherwise.
const SECONDS: &str = "2";

const OFFLOADS: [&str; 5] = ["tx", "tso", "gso", "gro", "rx"];
const ENDS: [(&str, &str); 2] = [("red", "eth0"), ("internet", "eth0")];
const GATEWAY: [(&str, &str); 3] =
    [("router", "veth-red-br"), ("router", "veth-blue-br"), ("router", "wan0")];

/// The quickstart, all offloads of some interfaces turned off.
fn quickstart_without_offloads(interfaces: &[(&str, &str)]) -> Lab {
    let lab = Lab::quickstart();
    for (place, interface) in interfaces {
        for offload in OFFLOADS {
            lab.ns(place).run("ethtool", ["-K", interface, offload, "off"]).success();
        }
        let features = lab.ns(place).run("ethtool", ["-k", interface]).success();
        assert!(features.stdout().contains("tx-checksumming: off"), "{features}");
    }
    lab
}

#[test]
fn rows_2_99_iperf3_runs_clean_with_offloads() {
    iperf3_runs_clean(&quickstart_without_offloads(&[]));
}

#[test]
fn rows_2_99_iperf3_runs_clean_without_offloads() {
    iperf3_runs_clean(&quickstart_without_offloads(&[&ENDS[..], &GATEWAY[..]].concat()));
}

#[test]
fn row_99_iperf3_runs_clean_where_the_gateway_alone_has_no_offloads() {
    iperf3_runs_clean(&quickstart_without_offloads(&GATEWAY));
}

fn iperf3_runs_clean(lab: &Lab) {
    const TO: [&str; 2] = ["203.0.113.2", "2001:db8:113::2"];
    for (server, words) in [
        (TO[0], &[][..]),
        (TO[0], &["-P", "4"]),
        (TO[0], &["-R"]),
        (TO[0], &["-u", "-b", "200M"]),
        (TO[0], &["-u", "-b", "200M", "-R"]),
        (TO[1], &[]),
        (TO[1], &["-u", "-b", "200M"]),
    ] {
        measure(lab, server, words);
    }
    assert_no_wrong_checksums(lab);
}

#[track_caller]
fn assert_no_wrong_checksums(lab: &Lab) {
    for (place, _) in ENDS {
        let counters = lab.ns(place).run("nstat", ["-asz"]).success();
        let wrong = |line: &&str| line.contains("InCsumErrors");
        let counts: Vec<_> = counters.stdout().lines().filter(wrong).collect();
        assert!(counts.iter().any(|line| line.starts_with("Tcp")), "{counters}");
        for line in counts {
            assert_eq!(line.split_whitespace().nth(1), Some("0"), "{place}: {line}");
        }
    }
}

fn measure(lab: &Lab, server: &str, words: &[&str]) {
    let seconds = env::var("NETCTL_TEST_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let limit = (seconds.parse::<u32>().unwrap() + 20).to_string();
    // One server a measurement: between two it would not listen for a moment.
    let _server = lab.ns("internet").serve(5201, "iperf3", ["-s", "-1"]);
    let client = [&limit, "iperf3", "-c", server, "--connect-timeout", "5000", "-t", &seconds, "--json"];
    let measured = lab.ns("red").run("timeout", client.iter().chain(words).copied()).success();
    let report = measured.json();
    assert_eq!(report.get("error"), None, "{measured}");
    let number = |path| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{measured}"));
    if words.contains(&"-u") {
        assert!(number("/end/sum/bytes") > 0.0 && number("/end/sum/lost_percent") < 100.0, "{measured}");
    } else {
        assert!(number("/end/sum_received/bytes") > 0.0, "{measured}");
    }
}

/// Sends everything back: of TCP what comes, of UDP each datagram.
const ECHO: &str = "
import socket, threading
def tcp():
    listener = socket.create_server(('::', 7000), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        s, _ = listener.accept()
        s.sendall(s.makefile('rb').read())
        s.close()
threading.Thread(target=tcp, daemon=True).start()
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 7000))
while True: s.sendto(*s.recvfrom(65535))
";

/// A megabyte there and back; datagrams of all lengths, the last ones cut from one large one.
const TALK: &str = "
import os, socket, sys
for to in sys.argv[1:]:
    said = os.urandom(1 << 20)
    s = socket.create_connection((to, 7000), 15)
    s.sendall(said)
    s.shutdown(socket.SHUT_WR)
    assert s.makefile('rb').read() == said, f'{to}: damaged'
    s = socket.socket(socket.AF_INET if '.' in to else socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(15)
    s.connect((to, 7000))
    for length in 0, 1, 999, 1400, 9000:
        said = os.urandom(length)
        s.send(said)
        assert s.recv(65535) == said, f'{to}: damaged'
    said = os.urandom(5 * 1001)
    s.setsockopt(socket.IPPROTO_UDP, 103, 1001)
    s.send(said)
    assert b''.join(s.recv(65535) for _ in range(5)) == said, f'{to}: damaged'
";

#[test]
fn row_99_every_offload_by_itself_is_off_at_every_place_by_itself() {
    let lab = Lab::quickstart();
    let _server = lab.ns("internet").serve(7000, "python3", ["-c", ECHO]);
    let turn = |interfaces: &[(&str, &str)], offload: &str, state: &str| {
        for (place, interface) in interfaces {
            lab.ns(place).run("ethtool", ["-K", interface, offload, state]).success();
        }
    };
    for interfaces in [&ENDS[..1], &ENDS[1..], &GATEWAY] {
        for offload in OFFLOADS {
            turn(interfaces, offload, "off");
            let talk = ["-c", TALK, "203.0.113.2", "2001:db8:113::2"];
            let talk = lab.ns("red").run("python3", talk);
            assert_eq!(talk.code(), Some(0), "{offload} is off at {interfaces:?}: {talk}");
            assert_no_wrong_checksums(&lab);
            turn(interfaces, offload, "on");
        }
    }
}

#[test]
fn rows_2_99_files_arrive_whole_in_both_directions() {
    for interfaces in [&[][..], &[&ENDS[..], &GATEWAY[..]].concat(), &GATEWAY] {
        let lab = quickstart_without_offloads(interfaces);
        lab.host().run("sh", ["-c", "head -c 2M /dev/urandom > random"]).success();
        let random = fs::read(lab.directory().join("random")).unwrap();
        let _servers = ["internet", "blue"]
            .map(|place| lab.ns(place).serve(80, "python3", ["-m", "http.server", "80", "--bind", "::"]));
        for (place, url) in [
            ("red", "http://203.0.113.2/random"),
            ("red", "http://[2001:db8:113::2]/random"),
            ("internet", "http://203.0.113.1:8080/random"),
            ("internet", "http://[2001:db8:113::1]:8080/random"),
        ] {
            lab.ns(place).run("curl", ["-sS", "-g", "-m", "10", "-o", "arrived", url]).success();
            let arrived = fs::read(lab.directory().join("arrived")).unwrap();
            assert!(arrived == random, "{place} got something else from {url}");
        }
    }
}
