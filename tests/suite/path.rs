//! What lies on a path: small links and routers, before and behind the gateway. Whoever sends too much, or too few
//! hops, or to nobody is told so in terms of the packet that he sent.

use std::net::IpAddr;

use netctl_tests::{
    capture::Heard,
    lab::{Lab, Ns},
};

const TOPOLOGY: &str = r#"
[namespaces.client]
[namespaces.backend]
[namespaces.gateway]
[namespaces.hop]
[namespaces.far]

[[cables]]
a = { namespace = "gateway", interface = "lan0", addresses = ["10.1.0.1/24", "fd01::1/64"] }
b = { namespace = "client", interface = "eth0", addresses = ["10.1.0.2/24", "fd01::2/64"] }

[[cables]]
a = { namespace = "gateway", interface = "dmz0", addresses = ["10.2.0.1/24", "fd02::1/64"], mtu = DMZ }
b = { namespace = "backend", interface = "eth0", addresses = ["10.2.0.2/24", "fd02::2/64"], mtu = DMZ }

[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"], mtu = WAN }
b = { namespace = "hop", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"], mtu = WAN }

[[cables]]
a = { namespace = "hop", interface = "eth1", addresses = ["192.0.2.1/24", "2001:db8:2::1/64"], mtu = FAR }
b = { namespace = "far", interface = "eth0", addresses = ["192.0.2.2/24", "2001:db8:2::2/64"], mtu = FAR }
"#;

/// Who has a default route, and to whom.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("client", "10.1.0.1", "fd01::1"),
    ("backend", "10.2.0.1", "fd02::1"),
    ("gateway", "198.51.100.2", "2001:db8:51::2"),
    ("far", "192.0.2.1", "2001:db8:2::1"),
];

/// Port 8080 leads to the backend, port 8099 to nobody.
const RULES: &str = r#"
[nat]
masquerade = [
    { namespace = "gateway", source = "10.1.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "fd01::/64", out = "wan0" },
]
forward = [
    { namespace = "gateway", listen = "198.51.100.1:8080/udp", to = "10.2.0.2:80" },
    { namespace = "gateway", listen = "[2001:db8:51::1]:8080/udp", to = "[fd02::2]:80" },
    { namespace = "gateway", listen = "198.51.100.1:8099/udp", to = "10.2.0.99:80" },
    { namespace = "gateway", listen = "[2001:db8:51::1]:8099/udp", to = "[fd02::99]:80" },
]
"#;

/// Sends a datagram that no router may take apart and tells who complained, what about, and the MTU that he named.
///
/// The kernel hands an error to the socket whose packet is quoted: one that quotes another tuple reaches nobody.
const PROBE: &str = "
import errno, select, socket, struct, sys
to, port, hops, size = sys.argv[1], *map(int, sys.argv[2:])
v4 = '.' in to
s = socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM)
level, errors, limit, discover = (0, 11, 2, 10) if v4 else (41, 25, 16, 23)
s.setsockopt(level, errors, 1)
s.setsockopt(level, limit, hops)
s.setsockopt(level, discover, 2)
s.connect((to, port))
s.send(bytes(size))
poll = select.poll()
poll.register(s, 0)
assert poll.poll(15000), 'nobody complained'
_, [(_, _, data)], _, _ = s.recvmsg(2000, 512, socket.MSG_ERRQUEUE)
number, _, _, _, _, mtu, _ = struct.unpack('=IBBBBII', data[:16])
offender = data[20:24] if v4 else data[24:40]
print(socket.inet_ntop(s.family, offender), errno.errorcode[number], mtu)
";

const LARGE: &str = "1400";

/// The path, with the MTU of the uplink, of the link beyond it, and of the backend's.
fn lab(wan: &str, far: &str, dmz: &str) -> Lab {
    let lab = Lab::new();
    let mut file = TOPOLOGY.replace("WAN", wan).replace("FAR", far).replace("DMZ", dmz);
    for (namespace, v4, v6) in DEFAULTS {
        for (to, via) in [("default", v4), ("::/0", v6)] {
            file += &format!("[[routes]]\nnamespace = \"{namespace}\"\nto = \"{to}\"\nvia = \"{via}\"\n");
        }
    }
    let path = lab.file("path.toml", file + RULES);
    lab.netctl(["up", path.to_str().unwrap()]).success();
    lab
}

/// Sends a probe and tells the complaint: from whom, what, which MTU.
#[track_caller]
fn probe(from: Ns<'_>, to: &str, port: &str, hops: &str, size: &str) -> String {
    from.run("python3", ["-c", PROBE, to, port, hops, size]).success().stdout().trim().to_owned()
}

#[track_caller]
fn assert_route_mtu(from: Ns<'_>, to: &str, mtu: &str) {
    let route = from.run("ip", ["route", "get", to]).success();
    assert!(route.stdout().contains(&format!("mtu {mtu} ")), "{route}");
}

#[track_caller]
fn assert_no_flows(lab: &Lab) {
    let flows = lab.netctl(["nat", "flows", "-n", "gateway", "--json"]).success();
    assert_eq!(flows.json().as_array().map(Vec::len), Some(0), "{flows}");
}

/// No frame bears one of these addresses, neither in a header nor in a quote.
#[track_caller]
fn assert_unheard_of(heard: &Heard, addresses: &[&str]) {
    assert!(!heard.frames().is_empty());
    for address in addresses {
        let octets = match address.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let bears = |frame: &&Vec<u8>| frame.windows(octets.len()).any(|window| window == octets);
        assert_eq!(heard.frames().iter().find(bears), None, "{address} is heard of");
    }
}

#[test]
fn row_153_a_client_is_told_the_uplinks_mtu() {
    let lab = lab("1300", "1300", "1500");
    let client = lab.ns("client");
    for (to, gateway) in [("192.0.2.2", "10.1.0.1"), ("2001:db8:2::2", "fd01::1")] {
        assert_eq!(probe(client, to, "9", "64", LARGE), format!("{gateway} EMSGSIZE 1300"));
        assert_route_mtu(client, to, "1300");
        let ping = client.run("ping", ["-c", "1", "-M", "do", "-s", LARGE, "-W", "2", to]);
        assert_eq!(ping.code(), Some(1), "{ping}");
    }
}

#[test]
fn row_153_much_data_gets_through_links_that_get_smaller() {
    const SIZE: &str = "1000000";
    const SERVE: &str = "
import socket, sys
listener = socket.create_server(('::', 7000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    s, _ = listener.accept()
    said = s.makefile('rb').read(int(sys.argv[1]))
    s.sendall(said)
    s.close()
";
    const ASK: &str = "
import os, socket, sys
said = os.urandom(int(sys.argv[2]))
s = socket.create_connection((sys.argv[1], 7000), 15)
s.sendall(said)
assert s.makefile('rb').read() == said
";
    // Neither end knows of the small link: both have an MTU of 1500.
    let lab = lab("1300", "1500", "1500");
    let _server = lab.ns("far").serve(7000, "python3", ["-c", SERVE, SIZE]);
    for to in ["192.0.2.2", "2001:db8:2::2"] {
        lab.ns("client").run("timeout", ["20", "python3", "-c", ASK, to, SIZE]).success();
        assert_route_mtu(lab.ns("client"), to, "1300");
    }
}

#[test]
fn row_154_a_client_is_told_the_mtu_of_a_link_beyond_the_gateway() {
    let lab = lab("1500", "1300", "1500");
    let client = lab.ns("client");
    for (to, hop) in [("192.0.2.2", "198.51.100.2"), ("2001:db8:2::2", "2001:db8:51::2")] {
        assert_eq!(probe(client, to, "9", "64", LARGE), format!("{hop} EMSGSIZE 1300"));
        assert_route_mtu(client, to, "1300");
    }
}

#[test]
fn row_155_a_caller_is_told_the_mtu_of_a_link_behind_the_forward() {
    let lab = lab("1500", "1500", "1300");
    let far = lab.ns("far");
    let capture = far.capture("eth0");
    for to in ["198.51.100.1", "2001:db8:51::1"] {
        assert_eq!(probe(far, to, "8080", "64", LARGE), format!("{to} EMSGSIZE 1300"));
        assert_route_mtu(far, to, "1300");
    }
    assert_unheard_of(&capture.stop(), &["10.2.0.1", "10.2.0.2", "fd02::1", "fd02::2"]);
}

#[test]
fn row_34_a_caller_of_a_dead_server_is_told_so_by_the_address_that_he_called() {
    let lab = lab("1500", "1500", "1500");
    let far = lab.ns("far");
    let capture = far.capture("eth0");
    for to in ["198.51.100.1", "2001:db8:51::1"] {
        assert_eq!(probe(far, to, "8099", "64", "10"), format!("{to} EHOSTUNREACH 0"));
    }
    assert_unheard_of(&capture.stop(), &["10.2.0.1", "10.2.0.99", "fd02::1", "fd02::99"]);
}

#[test]
fn row_157_a_trace_shows_the_gateway_then_the_routers_behind_it() {
    let lab = lab("1500", "1500", "1500");
    for (to, routers) in [
        ("192.0.2.2", ["10.1.0.1 EHOSTUNREACH 0", "198.51.100.2 EHOSTUNREACH 0", "192.0.2.2 ECONNREFUSED 0"]),
        (
            "2001:db8:2::2",
            ["fd01::1 EHOSTUNREACH 0", "2001:db8:51::2 EHOSTUNREACH 0", "2001:db8:2::2 ECONNREFUSED 0"],
        ),
    ] {
        let trace = ["1", "2", "3"].map(|hops| probe(lab.ns("client"), to, "33434", hops, "10"));
        assert_eq!(trace, routers);
    }
}

#[test]
fn row_157_every_router_takes_one_hop_and_no_more() {
    let lab = lab("1500", "1500", "1500");
    let captures = ["client", "far"].map(|place| lab.ns(place).capture("eth0"));
    for to in ["192.0.2.2", "2001:db8:2::2"] {
        lab.ns("client").run("ping", ["-c", "1", "-t", "64", "-W", "5", to]).success();
    }
    for (capture, senders) in captures.into_iter().zip([
        ["192.0.2.2", "2001:db8:2::2"],
        // Masqueraded.
        ["198.51.100.1", "2001:db8:51::1"],
    ]) {
        let heard = capture.stop();
        for sender in senders {
            let sender: IpAddr = sender.parse().unwrap();
            let frame = heard.frames().iter().find(|frame| {
                netctl_tests::packet::check::View::read(frame).is_some_and(|view| view.src.ip() == sender)
            });
            // Two routers, the gateway and the hop.
            assert_eq!(
                frame.map(|frame| frame[if sender.is_ipv4() { 22 } else { 21 }]),
                Some(62),
                "{sender}"
            );
        }
    }
}

#[test]
fn row_74_the_gateways_own_error_quotes_what_the_client_sent_and_makes_no_flow() {
    let lab = lab("1300", "1300", "1500");
    let client = lab.ns("client");
    let capture = client.capture("eth0");
    for (to, gateway) in [("192.0.2.2", "10.1.0.1"), ("2001:db8:2::2", "fd01::1")] {
        assert_eq!(probe(client, to, "9", "1", "10"), format!("{gateway} EHOSTUNREACH 0"));
        assert_eq!(probe(client, to, "9", "64", LARGE), format!("{gateway} EMSGSIZE 1300"));
        assert_no_flows(&lab);
    }
    assert_unheard_of(&capture.stop(), &["198.51.100.1", "2001:db8:51::1"]);
}
