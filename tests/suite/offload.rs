//! Packets in the shapes that offloads give them: large ones that pass as one, segmented datagrams, checksums that are
//! half done, whole, or computed by whoever received the packet.

use netctl_tests::{
    lab::{Lab, Ns},
    packet,
};

const SERVERS: [&str; 2] = ["203.0.113.2", "2001:db8:113::2"];

/// Collects as many datagrams as it is told and tells their lengths, a valid pattern in each.
const COLLECT: &str = "
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(15)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(('::', 9000))
lengths = []
for _ in range(int(sys.argv[1])):
    said = s.recv(65535)
    assert said == b'x' * len(said)
    lengths.append(len(said))
print(*lengths)
";

/// No checksum was wrong, for whoever looked.
#[track_caller]
fn assert_no_wrong_checksums(place: Ns<'_>) {
    let counters = place.run("nstat", ["-asz"]).success();
    let wrong: Vec<_> = counters.stdout().lines().filter(|line| line.contains("InCsumErrors")).collect();
    assert!(wrong.len() >= 4, "{counters}");
    for line in wrong {
        assert_eq!(line.split_whitespace().nth(1), Some("0"), "{line}");
    }
}

#[test]
fn row_98_packets_of_64_kib_pass_as_one() {
    const SERVE: &str = "
import hashlib, socket
listener = socket.create_server(('::', 7000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    s, _ = listener.accept()
    s.sendall(hashlib.sha256(s.makefile('rb').read()).digest())
    s.close()
";
    const SEND: &str = "
import hashlib, os, socket, sys
said = os.urandom(16 << 20)
s = socket.create_connection((sys.argv[1], 7000), 15)
s.sendall(said)
s.shutdown(socket.SHUT_WR)
assert s.makefile('rb').read() == hashlib.sha256(said).digest()
";
    let lab = Lab::quickstart();
    let _server = lab.ns("internet").serve(7000, "python3", ["-c", SERVE]);
    for server in SERVERS {
        let capture = lab.ns("router").capture("wan0");
        lab.ns("red").run("timeout", ["20", "python3", "-c", SEND, server]).success();
        let largest = capture.stop().frames().iter().map(Vec::len).max();
        assert!(largest > Some(60_000), "to {server}: {largest:?}");
    }
    assert_no_wrong_checksums(lab.ns("internet"));
}

/// Netfilter sums up a packet whose checksum nobody has looked at yet (`nf_checksum`), and leaves the sum with it
/// (`CHECKSUM_COMPLETE`), which has to be right still when the server's kernel uses it.
#[test]
fn row_100_a_sum_that_netfilter_computed_before_translation_is_not_spoilt() {
    const INJECT: &str = "
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for line in sys.stdin: s.send(bytes.fromhex(line.strip()))
";
    const COMPLAINT: &str = "hw csum failure";
    let lab = Lab::quickstart();
    let complaints = || lab.host().run("dmesg", []).success().stdout().matches(COMPLAINT).count();
    let before = complaints();
    for program in ["iptables", "ip6tables"] {
        let rule = ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"];
        lab.ns("router").run(program, rule).success();
    }
    let link = lab.ns("router").run("ip", ["-j", "link", "show", "v-net-0"]).success().json();
    let mac: Vec<u8> =
        link[0]["address"].as_str().unwrap().split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    let mut lines = String::new();
    for (from, to) in
        [("192.168.15.1:4000", "203.0.113.2:9000"), ("[fd15::1]:4000", "[2001:db8:113::2]:9000")]
    {
        for length in [0, 1, 2, 77, 1000, 1001] {
            let mut frame = packet::udp(from, to).payload(&vec![b'x'; length]).frame();
            frame[..6].copy_from_slice(&mac);
            lines.extend(frame.iter().map(|byte| format!("{byte:02x}")));
            lines.push('\n');
        }
    }
    let server = lab.ns("internet").serve(9000, "python3", ["-c", COLLECT, "12"]);
    lab.ns("red").run_with("python3", ["-c", INJECT], lines.as_bytes()).success();
    let heard = server.finish().success();
    assert_eq!(heard.stdout().trim(), "0 1 2 77 1000 1001 0 1 2 77 1000 1001");
    for rules in ["iptables", "ip6tables"] {
        let counted = lab.ns("router").run(rules, ["-nvxL", "FORWARD"]).success();
        let line = counted.stdout().lines().find(|line| line.contains("ctstate NEW")).unwrap();
        assert_ne!(line.split_whitespace().next(), Some("0"), "the rule was asked: {counted}");
    }
    for place in ["router", "internet"] {
        assert_no_wrong_checksums(lab.ns(place));
    }
    assert_eq!(complaints(), before);
}

#[test]
fn row_102_segmented_datagrams_and_those_of_none_and_one_byte_arrive() {
    const SEND: &str = "
import socket, sys
family = socket.AF_INET if '.' in sys.argv[1] else socket.AF_INET6
s = socket.socket(family, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9000))
for length in 0, 1, 3: s.send(b'x' * length)
s.setsockopt(socket.IPPROTO_UDP, 103, 1001)
s.send(b'x' * (10 * 1001 + 501))
";
    let lab = Lab::quickstart();
    for to in SERVERS {
        let server = lab.ns("internet").serve(9000, "python3", ["-c", COLLECT, "14"]);
        lab.ns("red").run("python3", ["-c", SEND, to]).success();
        let expected = format!("0 1 3 {}501", "1001 ".repeat(10));
        assert_eq!(server.finish().success().stdout().trim(), expected, "to {to}");
    }
    assert_no_wrong_checksums(lab.ns("internet"));
}
