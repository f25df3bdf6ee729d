//! `netctl trace`: what it says is what then happens, and asking changes nothing.

mod broken;

use netctl_tests::lab::{Lab, Output, Server};
use serde_json::Value;

/// Tells every client which address it has, by TCP and UDP, IPv4 and IPv6.
const SERVER: &str = "
import socket, threading
def told(address):
    return address[0].removeprefix('::ffff:').encode()
def tcp():
    listener = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        client, address = listener.accept()
        client.sendall(told(address))
        client.close()
def udp():
    heard = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    heard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    heard.bind(('::', 80))
    while True:
        _, address = heard.recvfrom(100)
        heard.sendto(told(address), address)
threading.Thread(target=udp).start()
tcp()
";

const CLIENT: &str = "
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[3] == 'tcp' else socket.SOCK_DGRAM
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
with socket.socket(family, kind) as connection:
    connection.settimeout(float(sys.argv[4]))
    connection.connect((sys.argv[1], int(sys.argv[2])))
    connection.send(b'?')
    print(connection.recv(100).decode())
";

fn serve<'a>(lab: &'a Lab, place: &'a str) -> Server<'a> {
    lab.ns(place).serve(80, "python3", ["-c", SERVER])
}

/// Really sends what the words of a trace say; who was reached says which address was seen.
fn send<'a>(lab: &'a Lab, place: &'a str, to: &str, seconds: &str) -> Output<'a> {
    let place = if place == "host" { lab.host() } else { lab.ns(place) };
    let Some((end, protocol)) = to.split_once('/') else {
        return place.run("ping", ["-c", "1", "-W", seconds, to]);
    };
    let (address, port) = end.rsplit_once(':').unwrap();
    let address = address.trim_matches(['[', ']']);
    place.run("python3", ["-c", CLIENT, address, port, protocol, seconds])
}

/// Flows and counters of all gateways, without what the clock changes.
fn state(lab: &Lab) -> (Value, Vec<String>) {
    let stats = lab.netctl(["nat", "stats", "--json"]).success().json();
    let flows = lab.netctl(["nat", "flows", "--json"]).success().json();
    let flows = flows.as_array().unwrap();
    let kept = ["original", "translated", "packets", "bytes", "state", "rule"];
    (stats, flows.iter().map(|flow| kept.map(|key| flow[key].to_string()).concat()).collect())
}

/// Where and as what a packet arrives.
fn end(traced: &Output<'_>) -> [String; 4] {
    let end = &traced.json()["there"]["end"];
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let packet = &end["packet"];
    [&end["place"], &packet["source"], &packet["destination"], &packet["destination_port"]].map(word)
}

const ARRIVALS: [(&str, &str, [&str; 4]); 14] = [
    ("red", "203.0.113.2:80/tcp", ["internet", "203.0.113.1", "203.0.113.2", "80"]),
    ("red", "203.0.113.2:80/udp", ["internet", "203.0.113.1", "203.0.113.2", "80"]),
    ("red", "203.0.113.2", ["internet", "203.0.113.1", "203.0.113.2", "null"]),
    ("red", "[2001:db8:113::2]:80/tcp", ["internet", "2001:db8:113::1", "2001:db8:113::2", "80"]),
    ("red", "2001:db8:113::2", ["internet", "2001:db8:113::1", "2001:db8:113::2", "null"]),
    ("internet", "203.0.113.1:8080/tcp", ["blue", "203.0.113.2", "192.168.15.2", "80"]),
    ("internet", "[2001:db8:113::1]:8080/tcp", ["blue", "2001:db8:113::2", "fd15::2", "80"]),
    ("red", "192.168.15.2:80/tcp", ["blue", "192.168.15.1", "192.168.15.2", "80"]),
    ("red", "[fd15::2]:80/udp", ["blue", "fd15::1", "fd15::2", "80"]),
    // The gateway's own forward, from inside and from the gateway itself.
    ("red", "203.0.113.1:8080/tcp", ["blue", "203.0.113.1", "192.168.15.2", "80"]),
    ("blue", "203.0.113.1:8080/tcp", ["blue", "203.0.113.1", "192.168.15.2", "80"]),
    ("router", "203.0.113.1:8080/tcp", ["blue", "192.168.15.5", "192.168.15.2", "80"]),
    ("router", "127.0.0.1:8080/tcp", ["blue", "192.168.15.5", "192.168.15.2", "80"]),
    ("red", "203.0.113.1", ["router", "192.168.15.1", "203.0.113.1", "null"]),
];

#[test]
fn a_packet_arrives_where_and_as_what_trace_says() {
    let lab = Lab::quickstart();
    let _servers = [serve(&lab, "blue"), serve(&lab, "internet")];
    for (place, to, expected) in ARRIVALS {
        let traced = lab.netctl(["trace", "--json", place, "-", to]).success();
        assert_eq!(end(&traced), expected, "{traced}");
        assert_eq!(
            (&traced.json()["holds"], &traced.json()["hint"]),
            (&true.into(), &Value::Null),
            "{traced}"
        );
        let sent = send(&lab, place, to, "10").success();
        if to.contains('/') {
            assert_eq!(sent.stdout().trim(), expected[1], "{place} to {to}");
        }
        // Once more, by the flow that is there now.
        lab.netctl(["trace", place, "-", to]).success();
    }
}

#[test]
fn tracing_sends_nothing_and_changes_no_flow_and_no_counter() {
    let lab = Lab::quickstart();
    let _servers = [serve(&lab, "blue"), serve(&lab, "internet")];
    for (place, to) in
        [("red", "203.0.113.2:80/tcp"), ("internet", "203.0.113.1:8080/tcp"), ("red", "203.0.113.2")]
    {
        send(&lab, place, to, "10").success();
    }
    let before = state(&lab);
    let machine = lab.snapshot();
    let captures = [("router", "wan0"), ("router", "v-net-0"), ("blue", "eth0")]
        .map(|(place, interface)| lab.ns(place).capture(interface));
    for (place, to, _) in ARRIVALS {
        lab.netctl(["trace", place, "-", to]).success();
    }
    // What a rule drops, too.
    lab.netctl(["trace", "internet", "-", "203.0.113.1:8081/tcp"]).fails(3);
    for capture in captures {
        let heard = capture.stop();
        let port = 40_000_u16.to_be_bytes();
        let is_traced = |frame: &&Vec<u8>| frame.windows(2).skip(14).any(|bytes| bytes == port);
        assert!(heard.frames().iter().find(is_traced).is_none(), "a packet of a trace was sent");
    }
    assert_eq!(state(&lab), before);
    lab.assert_unchanged_since(&machine);
}

#[test]
fn a_flow_that_is_there_is_followed() {
    let lab = Lab::quickstart();
    let _server = serve(&lab, "internet");
    send(&lab, "red", "203.0.113.2:80/udp", "10").success();
    let flows = lab.netctl(["nat", "flows", "--json"]).success().json();
    let flows = flows.as_array().unwrap();
    let source = format!("192.168.15.1:{}", flows[0]["original"]["source_port"]);
    let said = lab.netctl(["trace", "red", &source, "203.0.113.2:80/udp"]).success();
    assert!(said.stdout().contains("a flow that is there"), "{said}");
    let said = lab.netctl(["trace", "red", "192.168.15.1:7", "203.0.113.2:80/udp"]).success();
    assert!(said.stdout().contains("a new flow"), "{said}");
}

#[test]
fn netfilters_rules_are_followed_on_paper() {
    for backend in ["iptables", "nftables"] {
        let lab = Lab::new();
        let quickstart = include_str!("../../netctl/quickstart.toml");
        lab.file("netctl.toml", format!("{quickstart}\n[nat]\nbackend = '{backend}'\n"));
        lab.netctl(["up"]).success();
        let _servers = [serve(&lab, "blue"), serve(&lab, "internet")];
        for (place, to, [far, .., destination, port]) in ARRIVALS {
            let traced = lab.netctl(["trace", "--json", place, "-", to]).success();
            let found = end(&traced);
            assert_eq!([&found[0], &found[2], &found[3]], [far, destination, port], "{backend}: {traced}");
            let sent = send(&lab, place, to, "10").success();
            if to.contains('/') {
                assert_eq!(sent.stdout().trim(), found[1], "{backend}: {place} to {to}");
            }
        }
    }
}

#[test]
fn what_goes_where_netctl_cannot_look_is_followed_no_further() {
    let lab = Lab::new();
    for command in [
        "netns add away",
        "link add near type veth peer name far netns away",
        "address add 10.0.0.1/24 dev near",
        "link set near up",
        "-n away address add 10.0.0.2/24 dev far",
        "-n away link set far up",
    ] {
        lab.host().run("ip", command.split(' ')).success();
    }
    lab.netctl(["trace", "host", "10.0.0.2"]).success();
    let _holder = lab.ns("away").start("sleep", ["600"]);
    lab.host().run("ip", ["netns", "del", "away"]).success();
    let said = lab.netctl(["trace", "host", "10.0.0.2", "--json"]).fails(3).json();
    assert_eq!((&said["there"]["end"]["result"], &said["back"]), (&"leaves".into(), &Value::Null));
    assert_eq!(
        said["verdict"],
        "leaves `host` by `near`, a cable into a namespace that has no name as 10.0.0.1 -> 10.0.0.2: netctl sees no further"
    );
    send(&lab, "host", "10.0.0.2", "10").success();
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let lab = Lab::quickstart();
    for (words, code, said) in [
        (&["green", "-", "203.0.113.2"][..], 1, "error: there is no namespace `green`\nhint: `netctl ns ls`"),
        (
            &["red", "fd15::1", "203.0.113.2"],
            2,
            "error: fd15::1 and 203.0.113.2 are of two address families\n",
        ),
        (&["red", "-", "203.0.113.2:80"], 2, "`203.0.113.2:80` is no destination: ADDRESS:PORT/tcp"),
        (&["red", "somewhere", "203.0.113.2"], 2, "`somewhere` is no source: ADDRESS, ADDRESS:PORT or `-`"),
    ] {
        let output = lab.netctl([&["trace"], words].concat()).fails(code);
        assert!(output.stderr().contains(said), "{output}");
    }
    let traced = lab.netctl(["trace", "blue", "192.168.15.1", "203.0.113.2"]).fails(3);
    assert!(traced.stdout().contains("dies in `blue`: 192.168.15.1 is no address of `blue`"), "{traced}");
}
