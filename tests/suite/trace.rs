//! `netctl trace`: what it says is what then happens, and asking changes nothing.

mod broken;

use netctl_tests::{
    lab::{Lab, Output, Server},
    skip,
};
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

#[test]
fn the_table_that_a_policy_rule_asks_is_named_and_so_is_a_rule_in_the_way_of_what_is_forwarded() {
    let lab = Lab::new();
    let file = lab.file(
        "row.toml",
        "[namespaces.a]\n[namespaces.b]\nforwarding = true\n[namespaces.c]\n\
         [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24', 'fd00::1/64'] }\n\
         b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24', 'fd00::2/64'] }\n\
         [[cables]]\na = { namespace = 'b', interface = 'y', addresses = ['10.0.1.2/24', 'fd01::2/64'] }\n\
         b = { namespace = 'c', interface = 'y', addresses = ['10.0.1.3/24', 'fd01::3/64'] }\n\
         [[routes]]\nnamespace = 'c'\nto = 'default'\nvia = '10.0.1.2'\n\
         [[routes]]\nnamespace = 'c'\nto = '::/0'\nvia = 'fd01::2'\n\
         [[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.2'\ntable = 7\n\
         [[rules]]\nnamespace = 'a'\npriority = 10\nto = '10.0.0.0/16'\ntable = 7\n\
         [[routes]]\nnamespace = 'a'\nto = '::/0'\nvia = 'fd00::2'\ntable = 8\n\
         [[rules]]\nnamespace = 'a'\npriority = 10\nfrom = 'fd00::/64'\ntable = 8",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    for (to, table) in [("10.0.1.3", 7), ("fd01::3", 8)] {
        let said = lab.netctl(["trace", "a", "-", to]).success();
        let step = format!(
            "{to} via {} out of `x`, by table {table}",
            if table == 7 { "10.0.0.2" } else { "fd00::2" }
        );
        assert!(said.stdout().contains(&step), "no {step:?} in {said}");
        send(&lab, "a", to, "5").success();
    }
    lab.ns("b").run("ip", "rule add priority 9 iif x to 10.0.1.3 blackhole".split(' ')).success();
    lab.ns("b").run("ip", "-6 rule add priority 9 iif x to fd01::3 unreachable".split(' ')).success();
    for (to, rule) in
        [("10.0.1.3", "to 10.0.1.3/32 iif x blackhole"), ("fd01::3", "to fd01::3/128 iif x unreachable")]
    {
        let said = lab.netctl(["trace", "a", "-", to]).fails(3);
        let why = format!("dies in `b`: a policy rule priority 9 {rule} is in the way of {to}\n");
        assert!(said.stdout().contains(&why), "no {why:?} in {said}");
        assert_ne!(send(&lab, "a", to, "0.5").code(), Some(0));
    }
}

#[test]
fn a_vlan_and_a_dummy_are_followed_and_pinged_like_other_links() {
    let lab = Lab::new();
    for kind in ["vlan id 7", "dummy"] {
        let words = format!("link add {} type {kind}", if kind == "dummy" { "d" } else { "link lo name v" });
        if lab.host().run("ip", words.split(' ')).stderr().contains("Unknown device type") {
            skip!("kernel: no VLAN devices, or no dummies");
        }
    }
    let file = lab.file(
        "tagged.toml",
        "[namespaces.a]\n[namespaces.b]\n[[cables]]\na = { namespace = 'a', interface = 'x' }\n\
         b = { namespace = 'b', interface = 'y' }\n\
         [[links]]\nnamespace = 'a'\ninterface = 'x.7'\nkind = 'vlan'\nparent = 'x'\nid = 7\naddresses = ['10.7.0.1/24']\n\
         [[links]]\nnamespace = 'b'\ninterface = 'y.7'\nkind = 'vlan'\nparent = 'y'\nid = 7\naddresses = ['10.7.0.2/24']\n\
         [[links]]\nnamespace = 'b'\ninterface = 'd'\nkind = 'dummy'\naddresses = ['10.9.0.1/32']\n\
         [[routes]]\nnamespace = 'a'\nto = '10.9.0.0/16'\nvia = '10.7.0.2'",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    lab.netctl(["ping", "tagged", "-t", "5"]).success();
    for to in ["10.7.0.2", "10.9.0.1"] {
        let said = lab.netctl(["trace", "a", "-", to]).success();
        assert!(said.stdout().contains("`x.7`: out by `x`, tagged 7"), "{said}");
        assert!(said.stdout().contains("`y.7`: in by `y`, without its tag"), "{said}");
    }
}
