//! What is translated and what is not: nothing inside is named outside, whatever the clients send, and what stays
//! inside is left alone.

use std::{collections::BTreeMap, net::IpAddr};

use netctl_tests::{
    capture::{Capture, Heard},
    lab::{Lab, Ns, eventually},
    packet::{self, Packet, check::View, proto},
};

const TOPOLOGY: &str = r#"
[namespaces.red]
[namespaces.blue]
[namespaces.green]
[namespaces.gateway]
[namespaces.outside]

[bridges.lan]
namespace = "gateway"
addresses = ["10.1.0.1/24", "fd01::1/64"]
[bridges.lan.ports]
red = { addresses = ["10.1.0.2/24", "fd01::2/64"] }
blue = { addresses = ["10.1.0.3/24", "fd01::3/64"] }

[bridges.dmz]
namespace = "gateway"
addresses = ["10.2.0.1/24", "fd02::1/64"]
[bridges.dmz.ports]
green = { addresses = ["10.2.0.2/24", "fd02::2/64"] }

[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }

[nat]
masquerade = [
    { namespace = "gateway", source = "10.1.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "10.2.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "fd01::/64", out = "wan0" },
    { namespace = "gateway", source = "fd02::/64", out = "wan0" },
]
"#;

/// Tells everyone who he is.
const WHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 7000))
while True:
    said, who = s.recvfrom(100)
    s.sendto(who[0].removeprefix('::ffff:').encode(), who)
";

/// Asks, from an address of its own, who it is.
const ASK: &str = "
import socket, sys
source, to = sys.argv[1:]
family = socket.AF_INET if '.' in to else socket.AF_INET6
s = socket.socket(family, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.settimeout(10)
s.bind((source, 0))
s.sendto(b'who am I', socket.getaddrinfo(to, 7000, family, socket.SOCK_DGRAM)[0][4])
print(s.recv(100).decode())
";

/// Puts frames on the wire, a line each.
const INJECT: &str = "
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for line in sys.stdin: s.send(bytes.fromhex(line.strip()))
";

const NONE: [String; 0] = [];

const RED: [&str; 2] = ["10.1.0.2", "fd01::2"];
const OUTSIDE: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];
const GATEWAY: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];

/// The office, who is asked in every place; the servers go with the lab.
fn lab() -> Lab {
    let lab = Lab::new();
    let file = lab.file("office.toml", TOPOLOGY);
    lab.netctl(["up", file.to_str().unwrap()]).success();
    lab
}

#[track_caller]
fn ask(from: Ns<'_>, source: &str, to: &str) -> String {
    from.run("python3", ["-c", ASK, source, to]).success().stdout().trim().to_owned()
}

/// The gateway's flows, a line each.
#[track_caller]
fn flows(lab: &Lab) -> Vec<String> {
    let flows = lab.netctl(["nat", "flows", "-n", "gateway", "--json"]).success().json();
    flows.as_array().unwrap().iter().map(ToString::to_string).collect()
}

/// Sends frames from red to the gateway's bridge.
fn inject(lab: &Lab, frames: impl IntoIterator<Item = Vec<u8>>) {
    inject_at(lab, "red", "lan", frames);
}

/// Sends frames from a place to that link of the gateway.
fn inject_at(lab: &Lab, from: &str, link: &str, frames: impl IntoIterator<Item = Vec<u8>>) {
    let link = lab.ns("gateway").run("ip", ["-j", "link", "show", link]).success().json();
    let mac = link[0]["address"].as_str().unwrap();
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let mut lines = String::new();
    for mut frame in frames {
        frame[..6].copy_from_slice(&mac);
        lines.extend(frame.iter().map(|byte| format!("{byte:02x}")));
        lines.push('\n');
    }
    lab.ns(from).run_with("python3", ["-c", INJECT], lines.as_bytes()).success();
}

/// The frame with a tag that has a priority and no VLAN (IEEE 802.1Q).
fn with_priority(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0x60, 0x00]);
    frame
}

fn is_inside(address: IpAddr) -> bool {
    ["10.", "fd01:", "fd02:"].iter().any(|prefix| address.to_string().starts_with(prefix))
}

#[test]
fn row_7_what_stays_inside_is_seen_as_it_was_sent() {
    let lab = lab();
    let _servers =
        ["gateway", "blue", "green"].map(|place| lab.ns(place).serve(7000, "python3", ["-c", WHO]));
    for (source, others) in [
        (RED[0], ["10.1.0.1", "10.2.0.1", GATEWAY[0], "10.1.0.3", "10.2.0.2", "10.1.0.255"]),
        (RED[1], ["fd01::1", "fd02::1", GATEWAY[1], "fd01::3", "fd02::2", "ff02::1%eth0"]),
    ] {
        for to in others {
            assert_eq!(ask(lab.ns("red"), source, to), source, "asked {to}");
        }
    }
    // Nobody answers to a group of IPv4 that nobody has joined, but all hear of it.
    let capture = lab.ns("blue").capture("eth0");
    lab.ns("red").run("ping", ["-c", "1", "-W", "1", "239.1.2.3"]);
    assert_eq!(ask(lab.ns("red"), RED[0], "10.1.0.3"), RED[0]);
    let group: IpAddr = "239.1.2.3".parse().unwrap();
    let heard: Vec<_> =
        capture.stop().packets().filter(|p| p.dst.ip() == group).map(|p| p.src.ip()).collect();
    assert_eq!(heard, [RED[0].parse::<IpAddr>().unwrap()]);
    assert_eq!(flows(&lab), NONE);
}

#[test]
fn row_16_a_link_local_source_goes_no_further_than_its_link() {
    let lab = lab();
    let capture = lab.ns("outside").capture("eth0");
    let to = "[2001:db8:51::2]:9";
    for source in ["[fe80::2]:4000", "[fd01::2]:4000"] {
        inject(&lab, [packet::udp(source, to).frame()]);
    }
    eventually("the second one is translated", || !flows(&lab).is_empty());
    assert_eq!(flows(&lab).len(), 1);
    // It waits for its neighbour, whom it alone asks for.
    lab.ns("gateway").run("ping", ["-c", "1", "-W", "5", OUTSIDE[1]]).success();
    let heard = capture.stop();
    let left: Vec<_> = heard.packets().filter(|p| p.proto == proto::UDP).map(|p| p.src.to_string()).collect();
    assert_eq!(left, [format!("[{}]:4000", GATEWAY[1])]);
}

/// The kernel takes such a tag off after the programs have seen it.
#[test]
fn a_priority_without_a_vlan_is_no_way_past_the_gateway() {
    let lab = lab();
    for to in OUTSIDE {
        lab.ns("gateway").run("ping", ["-c", "1", "-W", "5", to]).success();
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", to]).success();
    }
    let capture = lab.ns("red").capture("eth0");
    let called =
        |from: &str, port: u16| packet::udp(&*format!("{from}:9"), &*format!("10.1.0.2:{port}")).frame();
    let forged = [with_priority(called(OUTSIDE[0], 5000)), called(OUTSIDE[0], 5001)];
    inject_at(&lab, "outside", "wan0", forged);
    // What red asks leaves translated, with a tag or without, and so come the answers.
    let asked =
        [packet::udp("10.1.0.2:4000", "198.51.100.2:9"), packet::udp("10.1.0.2:4001", "198.51.100.2:9")];
    let [tagged, untagged] = asked.map(|packet| packet.frame());
    let outside = lab.ns("outside").capture("eth0");
    inject(&lab, [with_priority(tagged), untagged]);
    eventually("two flows are there", || flows(&lab).len() >= 2);
    let answers =
        [4000, 4001].map(|port| packet::udp("198.51.100.2:9", &*format!("198.51.100.1:{port}")).frame());
    let [tagged, untagged] = answers;
    inject_at(&lab, "outside", "wan0", [with_priority(tagged), untagged]);
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", OUTSIDE[0]]).success();
    let mut ports: Vec<u16> = capture
        .stop()
        .packets()
        .filter(|p| p.proto == proto::UDP && p.dst.ip().to_string() == RED[0])
        .map(|p| p.dst.port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [4000, 4001]);
    let sources: Vec<String> = outside
        .stop()
        .packets()
        .filter(|p| p.proto == proto::UDP && p.dst.port() == 9)
        .map(|p| p.src.ip().to_string())
        .collect();
    assert_eq!(sources, [GATEWAY[0]; 2]);
}

/// Over IPv6 Linux forwards what bears an address of its own as source; the rest it drops. Of those that it forwards, the
/// outside one is no rule's, and leaves as it came.
#[test]
fn row_133_forged_sources_make_no_flow_and_do_not_leave() {
    let lab = lab();
    let families = [
        (
            "198.51.100.2:9",
            &["10.1.0.1", GATEWAY[0], "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"][..],
            RED[0],
        ),
        ("[2001:db8:51::2]:9", &["fd01::1", "fd02::1", "::1", "::", "ff02::1"][..], RED[1]),
    ];
    // The gateway knows who is outside, so that what it forwards need not wait.
    for to in OUTSIDE {
        lab.ns("gateway").run("ping", ["-c", "1", "-W", "5", to]).success();
    }
    let capture = lab.ns("outside").capture("eth0");
    let datagram = |source: &str, to: &str| {
        let source = if source.contains(':') { format!("[{source}]:4000") } else { format!("{source}:4000") };
        packet::udp(source.as_str(), to).frame()
    };
    inject(&lab, families.iter().flat_map(|(to, forged, _)| forged.iter().map(|from| datagram(from, to))));
    assert_eq!(flows(&lab), NONE);
    // The same with a true source: it leaves, after all that was before it.
    inject(&lab, families.iter().map(|(to, _, source)| datagram(source, to)));
    eventually("two flows are there", || flows(&lab).len() == 2);
    let heard = capture.stop();
    let mut left: Vec<_> = heard.packets().filter(|p| p.proto == proto::UDP).map(|p| p.src.ip()).collect();
    left.sort();
    assert_eq!(left, GATEWAY.map(|address| address.parse::<IpAddr>().unwrap()));
    inject(&lab, [datagram(GATEWAY[1], "[2001:db8:51::2]:10"), datagram(RED[1], "[2001:db8:51::2]:11")]);
    eventually("a third flow is there", || flows(&lab).len() >= 3);
    assert_eq!(flows(&lab).len(), 3, "and no fourth");
    // What the gateway itself says by its inside address is translated.
    let _who = lab.ns("outside").serve(7000, "python3", ["-c", WHO]);
    assert_eq!(ask(lab.ns("gateway"), "fd01::1", "2001:db8:51::2"), GATEWAY[1]);
}

/// The packets of a capture between two addresses, counted by protocol and the length of their frame, but for what
/// neighbours tell each other (hop limit 255, RFC 4861 section 7.1).
fn traffic(heard: &Heard, from: &str, to: &str) -> BTreeMap<(u8, usize), usize> {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut counts = BTreeMap::new();
    for (frame, view) in heard.frames().iter().filter_map(|frame| Some((frame, View::read(frame)?))) {
        let is_discovery = view.proto == proto::ICMPV6 && frame[21] == 255;
        if view.src.ip() == from && view.dst.ip() == to && !is_discovery {
            *counts.entry((view.proto, frame.len())).or_default() += 1;
        }
    }
    counts
}

#[test]
fn row_3_every_packet_arrives_once_and_the_server_sees_only_the_gateway() {
    const PAGE: usize = 300_000;
    let lab = lab();
    lab.file("page", vec![b'x'; PAGE]);
    let outside = lab.ns("outside");
    let _server = outside.serve(80, "python3", ["-m", "http.server", "80", "--bind", "::"]);
    let _who = outside.serve(7000, "python3", ["-c", WHO]);
    let captures = [lab.ns("red").capture("eth0"), outside.capture("eth0")];
    for ((red, server), gateway) in RED.into_iter().zip(OUTSIDE).zip(GATEWAY) {
        let host = if server.contains(':') { format!("[{server}]") } else { server.to_owned() };
        let url = format!("http://{host}/page");
        lab.ns("red").run("curl", ["-sS", "-g", "-m", "10", "-o", "arrived", &url]).success();
        assert_eq!(ask(lab.ns("red"), red, server), gateway);
        lab.ns("red").run("ping", ["-c", "5", "-i", "0.1", "-W", "5", server]).success();
    }
    let [client, server] = captures.map(Capture::stop);
    for ((red, outside), gateway) in RED.into_iter().zip(OUTSIDE).zip(GATEWAY) {
        let (sent, seen) = (traffic(&client, red, outside), traffic(&server, gateway, outside));
        assert!(sent.values().sum::<usize>() > 10);
        assert_eq!(sent, seen, "what {red} sent is what {outside} saw");
        let (answered, heard) = (traffic(&server, outside, gateway), traffic(&client, outside, red));
        let bytes: usize = answered.iter().map(|((_, length), count)| length * count).sum();
        assert!(bytes > PAGE, "{bytes}");
        assert_eq!(answered, heard, "what {outside} answered is what {red} heard");
    }
    assert!(server.packets().all(|packet| !is_inside(packet.src.ip()) && !is_inside(packet.dst.ip())));
}

/// Everything that a client could send from its own address: protocols, TCP flags, ICMP types, and what is broken.
fn odd_packets(source: &str, to: &str) -> Vec<Vec<u8>> {
    let at = |address: &str, port: u16| {
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    };
    let (from, to) = (at(source, 4000), at(to, 9));
    let (from, to) = (from.as_str(), to.as_str());
    let tcp = (0..64).map(|flags| packet::tcp(at(source, 4100 + u16::from(flags)).as_str(), to).flags(flags));
    let icmp = (0..=255).map(|kind| packet::icmp(from, to, kind, 0, &[0; 40]));
    let others =
        [2, 4, 33, 41, proto::GRE, 50, 51, 89, 132, 136, 255].map(|number| packet::other(number, from, to));
    let parts =
        [(0, true), (8, true), (1480, false)].map(|(at, more)| packet::udp(from, to).fragment(at, more));
    let whole: Vec<Packet> = tcp.chain(icmp).chain(others).chain(parts).collect();
    let mut frames: Vec<_> = whole.iter().map(Packet::frame).collect();
    // Cut after every byte, and with every byte of the headers wrong.
    for packet in [packet::udp(from, to).payload(&[0; 8]), packet::tcp(from, to).payload(&[0; 8])] {
        let frame = packet.frame();
        frames.extend((14..frame.len()).map(|length| frame[..length].to_vec()));
        // The source itself stays: another one is another's.
        let address = if frame[12..14] == [8, 0] { 26..30 } else { 22..38 };
        frames.extend((14..frame.len()).filter(|at| !address.contains(at)).map(|at| {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x55;
            wrong
        }));
    }
    frames
}

#[test]
fn row_135_whatever_a_client_sends_its_address_stays_inside() {
    let lab = lab();
    for to in OUTSIDE {
        lab.ns("gateway").run("ping", ["-c", "1", "-W", "5", to]).success();
    }
    let capture = lab.ns("outside").capture("eth0");
    for (red, to) in RED.into_iter().zip(OUTSIDE) {
        inject(&lab, odd_packets(red, to));
        // And the same of connections that there are.
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", to]).success();
        inject(&lab, odd_packets(red, to));
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", to]).success();
    }
    let heard = capture.stop();
    let from = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        heard.packets().filter(|packet| packet.src.ip() == address).count()
    };
    for gateway in GATEWAY {
        assert!(from(gateway) > 100, "{gateway}: {}", from(gateway));
    }
    let leaked: Vec<_> = heard.packets().filter(|packet| is_inside(packet.src.ip())).collect();
    assert!(leaked.is_empty(), "{} leaked, such as {:?}", leaked.len(), leaked[0]);
    // Nor where no transport header can be read.
    for frame in heard.frames() {
        let names_red = match frame.get(12..14) {
            Some([0x08, 0x00]) => frame.get(26..30) == Some(&[10, 1, 0, 2]),
            Some([0x86, 0xdd]) => frame.get(22..24) == Some(&[0xfd, 0x01]),
            _ => false,
        };
        assert!(!names_red, "{frame:02x?}");
    }
}

#[test]
fn row_138_networks_that_the_firewall_keeps_apart_stay_apart_and_are_both_masqueraded() {
    const SERVERS: [&str; 3] = ["red", "green", "outside"];
    let lab = lab();
    let _servers = SERVERS.map(|place| lab.ns(place).serve(7000, "python3", ["-c", WHO]));
    let _pages =
        SERVERS.map(|place| lab.ns(place).serve(80, "python3", ["-m", "http.server", "80", "--bind", "::"]));
    let pairs = [
        ("red", "10.1.0.2", "10.2.0.2"),
        ("red", "fd01::2", "fd02::2"),
        ("green", "10.2.0.2", "10.1.0.2"),
        ("green", "fd02::2", "fd01::2"),
    ];
    let reaches = |place: &str, to: &str| {
        let host = if to.contains(':') { format!("http://[{to}]/") } else { format!("http://{to}/") };
        let curl = lab.ns(place).run("curl", ["-sS", "-g", "-m", "1", "-o", "page", &host]).code() == Some(0);
        let ping = lab.ns(place).run("ping", ["-c", "1", "-W", "1", to]).code() == Some(0);
        (ping, curl)
    };
    for (place, _, to) in pairs {
        // The first packet over IPv6 may have to wait for a neighbour that is still making sure of its address.
        eventually(&format!("{place} reaches {to}, without a firewall"), || {
            reaches(place, to) == (true, true)
        });
    }
    for program in ["iptables", "ip6tables"] {
        for (from, to) in [("lan", "dmz"), ("dmz", "lan")] {
            let rule = ["-A", "FORWARD", "-i", from, "-o", to, "-j", "DROP"];
            lab.ns("gateway").run(program, rule).success();
        }
    }
    for (place, source, to) in pairs {
        assert_eq!(reaches(place, to), (false, false), "{place} to {to}");
        let family = usize::from(source.contains(':'));
        assert_eq!(reaches(place, OUTSIDE[family]), (true, true), "{place} to the outside");
        assert_eq!(ask(lab.ns(place), source, OUTSIDE[family]), GATEWAY[family]);
    }
}
