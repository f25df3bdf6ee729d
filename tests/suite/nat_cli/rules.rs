//! `netctl nat masquerade` and `netctl nat forward`: rules, one at a time, at gateways of nobody and of a topology.

use netctl_tests::lab::{Lab, eventually};
use serde_json::json;

use super::{echo, flows, talk, type_in};

/// A gateway between an inside and an outside, made by hand and without any NAT. Nobody outside knows the way inside.
pub(super) fn by_hand() -> Lab {
    let lab = Lab::new();
    for line in [
        "ns add inside gateway outside",
        "link add veth eth0 inside lan0 gateway",
        "link add veth eth0 outside wan0 gateway",
        "-n inside addr add 10.0.0.2/24 dev eth0",
        "-n gateway addr add 10.0.0.1/24 dev lan0",
        "-n gateway addr add 203.0.113.1/24 dev wan0",
        "-n outside addr add 203.0.113.2/24 dev eth0",
        "-n inside addr add fd00::2/64 dev eth0",
        "-n gateway addr add fd00::1/64 dev lan0",
        "-n gateway addr add 2001:db8::1/64 dev wan0",
        "-n outside addr add 2001:db8::2/64 dev eth0",
        "-n inside link set eth0 up",
        "-n gateway link set lan0 up",
        "-n gateway link set wan0 up",
        "-n outside link set eth0 up",
        "-n inside route add default via 10.0.0.1",
        "-n inside route add default via fd00::1",
    ] {
        type_in(&lab, line);
    }
    lab
}

fn reaches(lab: &Lab, place: &str, address: &str) -> bool {
    lab.ns(place).run("ping", ["-c", "1", "-W", "0.5", address]).code() == Some(0)
}

/// What a command that makes a gateway has to give back.
fn state(lab: &Lab) -> String {
    state_of(lab, "ip netns exec gateway")
}

/// The same where commands run that begin with `inside`.
fn state_of(lab: &Lab, inside: &str) -> String {
    let told = [
        "find /sys/fs/bpf /run/netctl -mindepth 1 2> /dev/null | grep -v debug".to_owned(),
        format!("{inside} sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding"),
        format!("{inside} tc qdisc"),
    ];
    told.map(|command| lab.host().run("sh", ["-c", &command]).stdout().to_owned()).join("\n")
}

#[test]
fn row_170_a_rule_makes_its_namespace_a_gateway_and_the_last_one_takes_that_back() {
    let lab = by_hand();
    let before = state(&lab);
    assert!(!reaches(&lab, "inside", "203.0.113.2"));
    for (source, peer) in [("10.0.0.0/24", "203.0.113.2"), ("fd00::/64", "2001:db8::2")] {
        type_in(&lab, &format!("-n gateway nat masquerade add --source {source}"));
        eventually("the outside answers", || reaches(&lab, "inside", peer));
    }
    // No process stays behind for that.
    let processes = lab.host().run("ps", ["-e", "-o", "comm="]).success();
    assert_eq!(processes.stdout().lines().collect::<Vec<_>>(), ["cat", "ps"]);
    let list = type_in(&lab, "nat masquerade");
    assert!(list.stdout().contains("10.0.0.0/24 out wan0"), "{list}");

    type_in(&lab, "-n gateway nat masquerade del --source 10.0.0.0/24");
    assert!(reaches(&lab, "inside", "2001:db8::2"), "the other rule holds");
    type_in(&lab, "-n gateway nat masquerade del fd00::/64");
    assert_eq!(state(&lab), before);
    assert_eq!(type_in(&lab, "nat masquerade ls").stdout(), "there are no masquerade rules\n");
}

#[test]
fn row_24_forwards_of_two_protocols_and_of_two_addresses_come_and_go_by_themselves() {
    let lab = by_hand();
    let before = state(&lab);
    type_in(&lab, "-n gateway addr add 203.0.113.9/24 dev wan0");
    let _server = echo(&lab, "inside", "80");
    type_in(&lab, "-n gateway nat forward add --listen 203.0.113.1:8080/tcp+udp --to 10.0.0.2:80");
    type_in(&lab, "-n gateway nat forward add --listen 203.0.113.9:8080/tcp --to 10.0.0.2:80");
    type_in(&lab, "-n gateway nat forward add --listen [2001:db8::1]:8080 --to [fd00::2]:80");
    for (kind, from, address) in [
        ("tcp", "777", "203.0.113.1"),
        ("udp", "777", "203.0.113.1"),
        ("tcp", "778", "203.0.113.9"),
        ("tcp", "779", "2001:db8::1"),
    ] {
        drop(talk(&lab, "outside", kind, from, (address, "8080")));
    }
    type_in(&lab, "-n gateway nat forward del --listen 203.0.113.1:8080/tcp");
    drop(talk(&lab, "outside", "udp", "780", ("203.0.113.1", "8080")));
    drop(talk(&lab, "outside", "tcp", "781", ("203.0.113.9", "8080")));
    assert!(!connects(&lab, "203.0.113.1"));
    type_in(&lab, "-n gateway nat forward del --listen 203.0.113.9:8080/tcp");
    assert!(!connects(&lab, "203.0.113.9"));
    drop(talk(&lab, "outside", "udp", "782", ("203.0.113.1", "8080")));

    let left = type_in(&lab, "--json -n gateway nat forward ls").json();
    let left: Vec<_> = left.as_array().unwrap().iter().map(|rule| rule["number"].to_string()).collect();
    assert_eq!(left.len(), 2);
    for number in left {
        type_in(&lab, &format!("-n gateway nat forward del {number}"));
    }
    assert_eq!(state(&lab), before);
}

/// Whether somebody outside is answered on port 8080.
fn connects(lab: &Lab, address: &str) -> bool {
    let connect = "import socket, sys; socket.create_connection((sys.argv[1], 8080), timeout=1)";
    lab.ns("outside").run("python3", ["-c", connect, address]).code() == Some(0)
}

#[test]
fn rows_29_37_what_could_never_work_is_refused_and_nothing_is_left() {
    let lab = by_hand();
    let before = state(&lab);
    for (line, words, hint) in [
        ("masquerade add --source 10.0.0.0/33", "`10.0.0.0/33` is not a network", "--source"),
        ("masquerade add --source 10.0.0.0/24 --out lan0", "`lan0`", "--out"),
        ("masquerade add --source 10.0.0.0/24 --out wan1", "wan1", "did you mean `wan0`?"),
        ("masquerade add --source 10.0.0.0/24 --address 203.0.113.7", "203.0.113.7", "it has 203.0.113.1"),
        ("masquerade add --source 10.0.0.0/24 --ports 0-9", "`0-9`", "write `FIRST-LAST`"),
        ("masquerade add --source 10.0.0.0/24 --mapping any", "`any`", "endpoint-independent"),
        ("forward add --listen 65536 --to 10.0.0.2", "`65536`", "--listen"),
        ("forward add --listen 203.0.113.7:80 --to 10.0.0.2", "203.0.113.7", "it has 10.0.0.1, 203.0.113.1"),
        ("forward add --listen 80 --to 192.0.2.1", "192.0.2.1", "--to"),
        ("forward add --listen 80 --to 10.0.0.2 --allow fd00::/64", "fd00::/64", "--allow"),
        ("masquerade del --source 10.0.0.0/24", "there is no such rule", "nat masquerade ls"),
        ("forward del --listen 80", "there is no such rule", "nat forward ls"),
    ] {
        let output = lab.netctl(["-n", "gateway", "nat"].into_iter().chain(line.split(' '))).fails(1);
        assert!(output.stderr().contains(words) && output.stderr().contains(hint), "{output}");
        assert_eq!(state(&lab), before, "{line}");
    }

    type_in(&lab, "-n gateway nat forward add --listen 8000-8009/tcp --to 10.0.0.2:80");
    let overlap =
        ["-n", "gateway", "nat", "forward", "add", "--listen", "203.0.113.1:8005", "--to", "10.0.0.2"];
    let refused = lab.netctl(overlap).fails(1);
    let words = "tcp port 8005 is forwarded already: 8000-8009/tcp to 10.0.0.2:80-89";
    assert!(refused.stderr().contains(words), "{refused}");
    assert_eq!(type_in(&lab, "--json nat forward ls").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_gateway_that_loses_its_namespace_leaves_nothing_behind() {
    for (how, words) in [
        ("ip", &["netns", "del", "gateway"][..]),
        ("netctl", &["ns", "del", "gateway"]),
        // The name stands for another namespace now.
        ("sh", &["-c", "ip netns del gateway && ip netns add gateway"]),
    ] {
        let lab = by_hand();
        type_in(&lab, "-n gateway nat masquerade add --source 10.0.0.0/24");
        match how {
            "netctl" => lab.netctl(words.iter().copied()).success(),
            program => lab.host().run(program, words.iter().copied()).success(),
        };
        assert_eq!(type_in(&lab, "--json nat stats").json(), json!([]), "{words:?}");
        let left = "find /sys/fs/bpf /run/netctl -mindepth 1 2> /dev/null | grep -v debug";
        assert_eq!(lab.host().run("sh", ["-c", left]).stdout(), "", "{words:?}");
    }
}

#[test]
fn a_rule_at_a_topologys_gateway_lasts_until_the_next_up() {
    let lab = Lab::quickstart();
    let _server = echo(&lab, "blue", "80");
    let add = "-n router nat forward add --listen 203.0.113.1:9090 --to 192.168.15.2:80";
    let added = type_in(&lab, add);
    assert!(added.stderr().contains("the next `netctl up` ends it"), "{added}");
    drop(talk(&lab, "internet", "tcp", "777", ("203.0.113.1", "9090")));
    let listed = flows(&lab, "--rule 203.0.113.1:9090/tcp");
    assert_eq!((listed.len(), &listed[0]["topology"]), (1, &json!("quickstart")));
    let plan = lab.netctl(["plan"]).fails(3);
    assert!(plan.stdout().contains("203.0.113.1:9090/tcp"), "{plan}");
    type_in(&lab, "up");
    assert_eq!(type_in(&lab, "--json nat forward ls").json().as_array().unwrap().len(), 2);

    // What its file has is not taken from it.
    let del = "-n router nat forward del --listen 203.0.113.1:8080/tcp";
    let refused = lab.netctl(del.split(' ')).fails(1);
    assert!(refused.stderr().contains("belongs to the topology `quickstart`"), "{refused}");
    assert!(refused.stderr().contains("--force"), "{refused}");
    type_in(&lab, &format!("{del} --force"));
    assert_eq!(type_in(&lab, "--json nat forward ls").json().as_array().unwrap().len(), 1);
    type_in(&lab, "up");
    drop(talk(&lab, "internet", "tcp", "778", ("203.0.113.1", "8080")));
}

#[test]
fn the_first_forward_of_a_gateway_is_reached_from_inside_too_and_the_last_leaves_it_as_it_was() {
    let lab = Lab::quickstart();
    let masquerade = netctl::spec::QUICKSTART.split("[[nat.forward]]").next().unwrap();
    lab.file("netctl.toml", masquerade);
    type_in(&lab, "up");
    let _server = echo(&lab, "blue", "80");
    for port in ["777", "778"] {
        type_in(&lab, "-n router nat forward add --listen 203.0.113.1:9090 --to 192.168.15.2:80");
        drop(talk(&lab, "red", "tcp", port, ("203.0.113.1", "9090")));
        assert_eq!(flows(&lab, "--kind hairpin").len(), 1);
        type_in(&lab, "-n router nat forward del --listen 203.0.113.1:9090/tcp");
        assert_eq!(flows(&lab, "--kind hairpin").len(), 0);
        lab.netctl(["plan"]).success();
    }
}

#[test]
fn row_28_a_port_that_a_socket_holds_is_forwarded_by_force_only_and_given_back() {
    let lab = by_hand();
    let before = state(&lab);
    let listener = lab.ns("gateway").serve(8080, "python3", ["-m", "http.server", "8080"]);
    let _server = echo(&lab, "inside", "80");
    let add = "-n gateway nat forward add --listen 203.0.113.1:8080 --to 10.0.0.2:80";
    let refused = lab.netctl(add.split(' ')).fails(1);
    let words = "tcp port 8080 is held by `python3` (PID ";
    assert!(refused.stderr().contains(words) && refused.stderr().contains("`--force`"), "{refused}");
    assert_eq!(state(&lab), before);
    // UDP, and other ports, are not its.
    type_in(&lab, &add.replace("8080", "8080/udp"));
    type_in(&lab, &add.replace("8080", "8081"));

    let pages = || listener.log().matches("GET / ").count();
    let fetch =
        || lab.ns("outside").run("curl", ["-sS", "-m", "2", "-o", "/dev/null", "http://203.0.113.1:8080"]);
    fetch().success();
    assert_eq!(pages(), 1);
    type_in(&lab, &format!("{add} --force"));
    drop(talk(&lab, "outside", "tcp", "777", ("203.0.113.1", "8080")));
    assert_eq!(pages(), 1, "the forward wins");
    type_in(&lab, "-n gateway nat forward del --listen 203.0.113.1:8080");
    fetch().success();
    assert_eq!(pages(), 2);
}

#[test]
fn row_28_up_says_whose_port_it_forwards() {
    let lab = Lab::quickstart();
    type_in(&lab, "-n router nat forward del --listen 203.0.113.1:8080 --force");
    let _listener = lab.ns("router").serve(8080, "python3", ["-m", "http.server", "8080"]);
    let up = type_in(&lab, "up");
    assert!(up.stderr().contains("warning: tcp port 8080 is held by `python3` (PID "), "{up}");
    assert_eq!(type_in(&lab, "up").stderr(), "", "what is there already is nothing new");
}

/// A topology whose gateway is the host, too.
const ON_THE_HOST: &str = "[[cables]]
a = { namespace = 'host', interface = 'dmz0', addresses = ['10.9.0.1/24'] }
b = { namespace = 'dmz', interface = 'eth0', addresses = ['10.9.0.2/24'] }
[namespaces.dmz]
[[nat.masquerade]]
namespace = 'host'
source = '10.9.0.0/24'
out = 'wan0'
";

#[test]
fn row_166_the_host_forwards_until_its_last_gateway_has_gone_by_hand_or_not() {
    let down = ["netctl down dmz", "nat masquerade del 10.0.0.0/24"];
    for order in [down, [down[1], down[0]]] {
        let lab = Lab::new();
        for line in [
            "ns add inside outside",
            "link add veth eth0 inside lan0 host",
            "link add veth eth0 outside wan0 host",
            "-n inside addr add 10.0.0.2/24 dev eth0",
            "addr add 10.0.0.1/24 dev lan0",
            "addr add 203.0.113.1/24 dev wan0",
            "-n outside addr add 203.0.113.2/24 dev eth0",
            "-n inside link set eth0 up",
            "link set lan0 up",
            "link set wan0 up",
            "-n outside link set eth0 up",
            "-n inside route add default via 10.0.0.1",
        ] {
            type_in(&lab, line);
        }
        let before = state_of(&lab, "");
        lab.file("dmz.toml", ON_THE_HOST);
        type_in(&lab, "nat masquerade add --source 10.0.0.0/24 --out wan0");
        type_in(&lab, "up dmz.toml");
        lab.host().run("ip", ["-n", "dmz", "route", "add", "default", "via", "10.9.0.1"]).success();
        for place in ["inside", "dmz"] {
            eventually("the outside answers", || reaches(&lab, place, "203.0.113.2"));
        }
        type_in(&lab, order[0].trim_start_matches("netctl "));
        let left = if order[0] == down[0] { "inside" } else { "dmz" };
        assert!(reaches(&lab, left, "203.0.113.2"), "{left} after {}", order[0]);
        type_in(&lab, order[1].trim_start_matches("netctl "));
        assert_eq!(state_of(&lab, ""), before, "{order:?}");
    }
}
