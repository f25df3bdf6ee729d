//! A masquerade rule without a source, as `iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE` has none: everyone who is
//! sent on, and nothing of what neighbours say to each other.

use netctl_tests::{
    lab::{Lab, Ns},
    packet::{self, proto},
};

const TOPOLOGY: &str = r#"
[namespaces.red]
[namespaces.gateway]
[namespaces.outside]
[bridges.lan]
namespace = "gateway"
addresses = ["10.1.0.1/24", "fd01::1/64"]
ports.red = { addresses = ["10.1.0.2/24", "fd01::2/64"] }
[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }
"#;

const RULES: &str = r#"
[[nat.masquerade]]
namespace = "gateway"
out = "wan0"
[[nat.forward]]
namespace = "gateway"
listen = "8080"
to = "10.1.0.2:80"
"#;

/// Tells who asked.
const WHO: &str = "
import socket
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    call, (host, *_) = s.accept()
    call.send(host.removeprefix('::ffff:').encode())
    call.close()
";

const ASK: &str = "
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).makefile().read())
";

/// Puts frames on the wire, a line each.
const INJECT: &str = "
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for line in sys.stdin: s.send(bytes.fromhex(line.strip()))
";

#[track_caller]
fn ask(from: Ns<'_>, to: &str, port: u16) -> String {
    from.run("python3", ["-c", ASK, to, &port.to_string()]).success().stdout().trim().to_owned()
}

fn send(from: Ns<'_>, link: &str, frame: &[u8]) {
    let line: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    from.run_with("python3", ["-c", INJECT, link], line.as_bytes()).success();
}

/// By each backend from a file, and by single commands.
fn labs() -> Vec<Lab> {
    let mut labs: Vec<Lab> = ["ebpf", "nftables", "iptables"]
        .into_iter()
        .map(|backend| {
            let lab = Lab::new();
            lab.file(
                "netctl.toml",
                format!("name = 'office'\n{TOPOLOGY}[nat]\nbackend = '{backend}'\n{RULES}"),
            );
            lab.netctl(["up"]).success();
            lab.netctl(["plan"]).success();
            lab
        })
        .collect();
    let lab = Lab::new();
    lab.file("netctl.toml", format!("name = 'office'\n{TOPOLOGY}"));
    lab.netctl(["up"]).success();
    lab.netctl("-n gateway nat masquerade add --out wan0".split(' ')).success();
    lab.netctl("-n gateway nat forward add --listen 8080 --to 10.1.0.2:80".split(' ')).success();
    labs.push(lab);
    labs
}

#[test]
fn without_a_source_all_that_is_sent_on_is_masqueraded_and_forwards_work() {
    for lab in labs() {
        let (red, gateway, outside) = (lab.ns("red"), lab.ns("gateway"), lab.ns("outside"));
        let _servers = [red, outside].map(|place| place.serve(80, "python3", ["-c", WHO]));
        assert_eq!(ask(red, "198.51.100.2", 80), "198.51.100.1");
        assert_eq!(ask(red, "2001:db8:51::2", 80), "2001:db8:51::1");
        assert_eq!(ask(gateway, "198.51.100.2", 80), "198.51.100.1");
        assert_eq!(ask(gateway, "2001:db8:51::2", 80), "2001:db8:51::1");
        assert_eq!(ask(outside, "198.51.100.1", 8080), "198.51.100.2");
        // Who is not let in stays outside.
        outside.run("ip", ["route", "add", "10.1.0.0/24", "via", "198.51.100.1"]).success();
        let refused = outside.run("python3", ["-c", ASK, "10.1.0.2", "80"]);
        assert_ne!(refused.code(), Some(0), "{refused}");
    }
}

#[test]
fn what_neighbours_say_to_each_other_is_nobodys_to_masquerade() {
    let lab = labs().swap_remove(0);
    let (gateway, outside) = (lab.ns("gateway"), lab.ns("outside"));
    // Neighbours forget each other and find each other again, by unicast, too.
    for _ in 0..2 {
        for place in [gateway, outside] {
            place.run("ip", ["-6", "neigh", "flush", "all"]).success();
        }
        gateway.run("ping", ["-c", "1", "-W", "5", "2001:db8:51::2"]).success();
        outside.run("ping", ["-c", "1", "-W", "5", "2001:db8:51::1"]).success();
    }
    // A client that has no address yet asks for one, and the server answers to the one that it offers.
    let capture = outside.capture("eth0");
    let discover = packet::udp("0.0.0.0:68", "255.255.255.255:67");
    let mut frame = discover.frame();
    frame[..6].copy_from_slice(&[0xff; 6]);
    send(gateway, "wan0", &frame);
    let link = gateway.run("ip", ["-j", "link", "show", "wan0"]).success().json();
    let mac: Vec<u8> = link[0]["address"]
        .as_str()
        .unwrap()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let mut frame = packet::udp("198.51.100.2:67", "198.51.100.77:68").frame();
    frame[..6].copy_from_slice(&mac);
    send(outside, "eth0", &frame);
    gateway.run("ping", ["-c", "1", "-W", "5", "198.51.100.2"]).success();
    let sources: Vec<String> = capture
        .stop()
        .packets()
        .filter(|its| its.proto == proto::UDP && its.dst.port() == 67)
        .map(|its| its.src.to_string())
        .collect();
    assert_eq!(sources, ["0.0.0.0:68"]);
    let flows = lab.netctl("-n gateway nat flows --json".split(' ')).success().json();
    assert_eq!(flows.as_array().map(Vec::len), Some(0), "{flows}");
    let stats = lab.netctl("-n gateway nat stats --json".split(' ')).success().json();
    assert_eq!(stats[0]["drops"], serde_json::json!([]), "{stats}");
}

#[test]
fn rules_without_a_source_end_by_their_uplink() {
    let lab = labs().pop().unwrap();
    lab.netctl("-n gateway nat masquerade del --out wan0".split(' ')).success();
    let left = lab.netctl("-n gateway nat masquerade ls --json".split(' ')).success().json();
    assert_eq!(left.as_array().map(Vec::len), Some(0), "{left}");
}
