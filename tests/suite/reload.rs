//! Programs and rules that are replaced while they are in use.

pub(crate) mod foreign;
mod traffic;

use std::{collections::BTreeSet, net::IpAddr};

use netctl_tests::{
    lab::{Lab, eventually, netctl},
    skip,
};
use serde_json::Value;

use self::traffic::{TOPOLOGY, Traffic, flows};

const RENEWED: &str = "~ replace the NAT programs in namespace `router`; flows go on";

const ANOTHER_FORWARD: &str = r#"
[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:9001/tcp"
to = "192.168.15.129:80"
"#;

fn office() -> Lab {
    let lab = Lab::new();
    lab.file("netctl.toml", TOPOLOGY);
    lab.netctl(["up"]).success();
    lab
}

/// Makes another build of the programs that the gateway should have, as another binary would: the ports that its own
/// sockets draw from are one of the constants that they are loaded with.
fn outdate(lab: &Lab, ports: &str) {
    lab.ns("router").run("sysctl", ["-qw", &format!("net.ipv4.ip_local_port_range={ports}")]).success();
}

#[test]
fn row_159_flows_go_on_when_rules_are_added_and_when_another_build_takes_over() {
    let lab = office();
    let mut traffic = Traffic::start(&lab);
    let before = flows(&lab, "office");
    assert!(before.len() >= 4, "two of iperf3, datagrams, the conversation: {before:?}");

    lab.file("netctl.toml", [TOPOLOGY, ANOTHER_FORWARD].concat());
    lab.netctl(["up"]).success();
    traffic.goes_on();
    assert_eq!(flows(&lab, "office"), before);

    for ports in ["20000 29999", "30000 39999"] {
        outdate(&lab, ports);
        let plan = lab.netctl(["plan"]).fails(3);
        assert!(plan.stdout().lines().any(|line| line == RENEWED), "{plan}");
        let programs = programs(&lab);
        lab.netctl(["up"]).success();
        let renewed = self::programs(&lab);
        assert!(renewed.len() == programs.len() && renewed.iter().all(|id| !programs.contains(id)));
        lab.netctl(["plan"]).success();
        traffic.goes_on();
        assert_eq!(flows(&lab, "office"), before);
    }
    traffic.end(3);
}

/// Rules that the traffic does not go through: `blue`'s way out, and a forward.
fn others(answers: &str, masqueraded: &str) -> String {
    format!(
        "{TOPOLOGY}\n[[nat.masquerade]]\nnamespace = 'router'\nsource = '192.168.15.128/25'\nout = 'wan0'\n\
         {masqueraded}\n[[nat.forward]]\nnamespace = 'router'\nlisten = '203.0.113.1:8080-8083/udp'\nto = '{answers}:80'\n"
    )
}

/// Answers at ports 80 to 83, until it ends.
const ANSWER: &str = "
import select, socket
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
for port, s in enumerate(sockets): s.bind(('', 80 + port))
while True:
    for s in select.select(sockets, [], [])[0]:
        words, client = s.recvfrom(100)
        s.sendto(words, client)
";

/// Asks from a new port each time, for as long as the file `ask` is there; tells how often there was no answer.
const ASK: &str = "
import os, socket, sys, time
lost, asked = 0, 0
while os.path.exists('ask'):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((sys.argv[1], int(sys.argv[2]) + asked % 4))
        asked += 1
        s.send(b'?')
        try: s.recv(100)
        except OSError: lost += 1
    print(asked, flush=True)
    time.sleep(0.001)
print('lost', lost)
";

#[test]
fn rows_32_33_161_a_rule_that_follows_another_leaves_no_moment_without_one() {
    const CHANGES: u32 = 20;
    let lab = office();
    let bring_up = |answers: &str, masqueraded: &str| {
        lab.file("netctl.toml", others(answers, masqueraded));
        lab.netctl(["up"]).success();
    };
    bring_up("192.168.15.1", "");
    let _servers =
        ["red", "blue", "internet"].map(|place| lab.ns(place).serve(80, "python3", ["-c", ANSWER]));
    let traffic = Traffic::start(&lab);
    let before = flows(&lab, "office");
    lab.file("ask", "");
    let capture = lab.ns("internet").capture("eth0");
    let mut asking = [
        lab.ns("blue").start("python3", ["-c", ASK, "203.0.113.2", "80"]),
        lab.ns("internet").start("python3", ["-c", ASK, "203.0.113.1", "8080"]),
    ];
    for change in 0..CHANGES {
        let asked = asking.each_ref().map(|asking| asking.log().lines().count());
        let even = change % 2 == 0;
        bring_up(
            if even { "192.168.15.129" } else { "192.168.15.1" },
            if even { "address = '203.0.113.9'" } else { "" },
        );
        for (asking, asked) in asking.iter_mut().zip(asked) {
            eventually("they go on asking", || asking.log().lines().count() > asked + 10);
        }
    }
    std::fs::remove_file(lab.directory().join("ask")).unwrap();
    for asking in asking {
        let asked = asking.finish().success();
        let lost: u32 =
            asked.stdout().lines().last().unwrap().strip_prefix("lost ").unwrap().parse().unwrap();
        // An answer may have been on its way when its flow ended.
        assert!(lost <= CHANGES, "{lost} lost\n{}", lab.netctl(["show"]));
    }
    let heard = capture.stop();
    let sources: BTreeSet<IpAddr> = heard.packets().map(|packet| packet.src.ip()).collect();
    assert!(sources.contains(&"203.0.113.9".parse().unwrap()), "{sources:?}");
    assert!(!sources.iter().any(|source| source.to_string().starts_with("192.168.")), "{sources:?}");
    let still: Vec<String> = flows(&lab, "office");
    assert!(before.iter().all(|flow| still.contains(flow)), "{before:?} {still:?}");
    traffic.end(CHANGES);
}

#[test]
fn row_160_another_abi_version_ends_flows_and_lets_nothing_out() {
    let lab = office();
    lab.file("netctl.toml", others("192.168.15.1", ""));
    lab.netctl(["up"]).success();
    let _server = lab.ns("internet").serve(80, "python3", ["-c", ANSWER]);
    lab.file("ask", "");
    let capture = lab.ns("internet").capture("eth0");
    let mut asking = lab.ns("blue").start("python3", ["-c", ASK, "203.0.113.2", "80"]);
    asking.wait_for("100\n");
    rename_maps(&lab);
    let plan = lab.netctl(["plan"]).fails(3);
    let line =
        "~ replace the NAT programs in namespace `router`; their maps are of ABI version 999, flows end";
    assert!(plan.stdout().lines().any(|said| said == line), "{plan}");
    assert_eq!(flows_or_none(&lab), 0);
    lab.netctl(["up"]).success();
    lab.netctl(["plan"]).success();
    let asked = asking.log().lines().count();
    eventually("blue goes on asking", || asking.log().lines().count() > asked + 100);
    assert!(flows_or_none(&lab) > 0);
    std::fs::remove_file(lab.directory().join("ask")).unwrap();
    let said = asking.finish().success();
    assert!(
        said.stdout().ends_with("lost 0\n") || said.stdout().ends_with("lost 1\n"),
        "an answer on its way"
    );
    let heard = capture.stop();
    assert!(heard.packets().count() > 200);
    assert!(!heard.packets().any(|packet| packet.src.ip().to_string().starts_with("192.168.")));
    let left = lab.host().run("sh", ["-c", "ls -d /sys/fs/bpf/netctl/office/router/v*"]).success();
    assert!(left.stdout().lines().count() == 1 && !left.stdout().contains("v999"), "{left}");
}

/// Speaks to who connects when the file `speak` is there, and tells the answer.
const SPEAK: &str = "
import os, socket, sys, time
s = socket.create_server(('', int(sys.argv[1]))).accept()[0]
s.settimeout(30)
while not os.path.exists('speak'): time.sleep(0.01)
s.sendall(b'hello')
print(s.recv(100).decode())
";

/// Connects, and answers what it is told when the file `answer` is there.
const LISTEN: &str = "
import os, socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
print('connected', flush=True)
while not os.path.exists('answer'): time.sleep(0.01)
s.sendall(b'here I am')
print(s.recv(100).decode())
";

#[test]
fn row_160_connections_outlive_the_table_whoever_speaks_first() {
    let lab = office();
    let (red, internet, router) = (lab.ns("red"), lab.ns("internet"), lab.ns("router"));
    let speakers = [
        internet.serve(4000, "python3", ["-c", SPEAK, "4000"]),
        router.serve(4001, "python3", ["-c", SPEAK, "4001"]),
    ];
    let mut listeners = [
        red.start("python3", ["-c", LISTEN, "203.0.113.2", "4000"]),
        internet.start("python3", ["-c", LISTEN, "203.0.113.1", "4001"]),
    ];
    for listener in &mut listeners {
        listener.wait_for("connected\n");
    }
    rename_maps(&lab);
    lab.netctl(["up"]).success();
    lab.file("speak", "");
    eventually("what the gateway's stack would reset is dropped", || {
        let stats: Value = lab.netctl(["nat", "stats", "-n", "router", "--json"]).success().json();
        let drops = stats[0]["drops"].as_array().unwrap();
        drops.iter().any(|drop| drop["reason"] == "no-connection")
    });
    let refused = internet.run("python3", ["-c", LISTEN, "203.0.113.1", "4444"]).fails(1);
    assert!(refused.stderr().contains("ConnectionRefusedError"), "others are answered as ever: {refused}");
    lab.file("answer", "");
    for listener in listeners {
        assert!(listener.finish().success().stdout().ends_with("hello\n"));
    }
    for speaker in speakers {
        assert_eq!(speaker.finish().success().stdout(), "here I am\n");
    }
}

/// Leaves everything as a binary of another ABI version would have.
fn rename_maps(lab: &Lab) {
    let rename = "cd /sys/fs/bpf/netctl/office/router && mv v* v999 && ls";
    lab.host().run("sh", ["-c", rename]).success();
}

/// How many flows there are in the maps of this ABI version, if these are there.
fn flows_or_none(lab: &Lab) -> usize {
    let maps = format!("/sys/fs/bpf/netctl/office/router/v{}/maps", netctl_ebpf::ABI_VERSION);
    if lab.host().run("test", ["-d", &maps]).code() == Some(0) { flows(lab, "office").len() } else { 0 }
}

#[test]
fn row_162_a_kill_at_any_step_of_a_change_leaves_the_old_or_the_new_in_force() {
    /// More steps than there are.
    const MANY: u32 = 200;
    let lab = office();
    let netctl = netctl();
    let (old, new) = (others("192.168.15.1", ""), others("192.168.15.129", "address = '203.0.113.9'"));
    let bring_up = |text: &str| {
        lab.file("netctl.toml", text);
        lab.netctl(["up"]).success();
        lab.netctl(["plan"]).success();
    };
    bring_up(&old);
    let _servers =
        ["red", "blue", "internet"].map(|place| lab.ns(place).serve(80, "python3", ["-c", ANSWER]));
    let traffic = Traffic::start(&lab);
    let before = flows(&lab, "office");
    let capture = lab.ns("internet").capture("eth0");
    let mut changes = 0;
    let survivor = (1..MANY).find(|step| {
        // Both at once: other rules, and other programs.
        outdate(&lab, if step % 2 == 0 { "20000 29999" } else { "30000 39999" });
        lab.file("netctl.toml", &new);
        let survived =
            lab.host().run("env", [&format!("NETCTL_KILL_AT={step}"), &netctl, "up"]).code().is_some();
        // Whatever is in force, all of it works.
        for (place, host, port) in [("blue", "203.0.113.2", 80), ("internet", "203.0.113.1", 8080)] {
            asks(&lab, place, host, port);
        }
        // Forward now and then, back always.
        if step % 3 == 0 {
            bring_up(&new);
        }
        bring_up(&old);
        changes += 2;
        survived
    });
    let points = survivor.expect("an `up` that is not killed any more") - 1;
    assert!(points > 15, "only {points} steps: was netctl built with `fault-injection`?");
    println!("killed `up` at {points} steps of a change");
    let heard = capture.stop();
    assert!(!heard.packets().any(|packet| packet.src.ip().to_string().starts_with("192.168.")));
    let still = flows(&lab, "office");
    assert!(before.iter().all(|flow| still.contains(flow)), "{before:?} {still:?}");
    traffic.end(changes);
}

/// Somebody answers, whichever of the four ports is asked.
#[track_caller]
fn asks(lab: &Lab, place: &str, host: &str, port: u16) {
    const ONCE: &str = "
import socket, sys
for port in range(4):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((sys.argv[1], int(sys.argv[2]) + port))
    s.send(b'?')
    s.recv(100)
";
    lab.ns(place).run("python3", ["-c", ONCE, host, &port.to_string()]).success();
}

/// The ids of the programs at the gateway's hooks.
fn programs(lab: &Lab) -> Vec<String> {
    let shown = lab.ns("router").run("bpftool", ["-j", "net", "show"]).success().json();
    let programs = shown[0]["tc"].as_array().unwrap();
    // Of a filter it is called otherwise.
    let id = |program: &Value| program.get("prog_id").or(program.get("id")).unwrap().to_string();
    programs.iter().map(id).collect()
}

/// Whether the kernel runs programs by links; else, before 6.6, filters do.
fn has_tcx(lab: &Lab) -> bool {
    let pin = "/sys/fs/bpf/netctl/office/router/links/uplink/wan0/egress";
    lab.host().run("test", ["-f", pin]).code() == Some(0)
}

#[test]
fn row_163_programs_of_others_stay_and_keep_their_order() {
    let lab = office();
    if !has_tcx(&lab) {
        skip!("kernel: no TCX, before which programs have no order but their filters' numbers");
    }
    let router = lab.ns("router");
    foreign::surround(&lab, "router", "wan0");
    // A filter is not one of the programs at TCX: it comes after them all.
    for words in [
        "qdisc add dev wan0 clsact",
        "filter add dev wan0 egress pref 7 bpf bytecode 1,6_0_0_4294967295 direct-action",
    ] {
        let words: Vec<String> = words.split(' ').map(|word| word.replace('_', " ")).collect();
        router.run("tc", words.iter().map(String::as_str)).success();
    }
    let filters = || router.run("tc", ["-j", "filter", "show", "dev", "wan0", "egress"]).success().json();
    let filter = filters();
    let surrounded = ["ingress", "egress"]
        .map(|hook| ["foreign".to_owned(), format!("uplink_{hook}"), "foreign".to_owned()].to_vec());
    assert_eq!(foreign::order(&lab, "router", "wan0"), surrounded);

    outdate(&lab, "20000 29999");
    lab.netctl(["up"]).success();
    assert_eq!(foreign::order(&lab, "router", "wan0"), surrounded);
    lab.file("netctl.toml", [TOPOLOGY, ANOTHER_FORWARD].concat());
    lab.netctl(["up"]).success();
    assert_eq!(foreign::order(&lab, "router", "wan0"), surrounded);
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();

    let (without_rules, _) = TOPOLOGY.split_once("[[nat.masquerade]]").unwrap();
    lab.file("netctl.toml", without_rules);
    lab.netctl(["up"]).success();
    // The kernel detaches what nobody holds any more in its own time (bpf_link_put in kernel/bpf/syscall.c).
    eventually("others' programs alone are left", || {
        foreign::order(&lab, "router", "wan0") == [["foreign"; 2]; 2]
    });
    assert_eq!(filters(), filter);
}

/// What a hand did is seen and repaired, and traffic flows as before.
#[track_caller]
fn is_repaired(lab: &Lab, hand: &str) {
    lab.host().run("sh", ["-c", hand]).success();
    assert_eq!(lab.netctl(["plan"]).code(), Some(3), "after {hand}");
    lab.netctl(["up"]).success();
    let plan = lab.netctl(["plan"]);
    assert_eq!(plan.code(), Some(0), "after {hand}: {plan}");
    works(lab);
}

/// Everyone gets through, and no private source to the outside.
#[track_caller]
fn works(lab: &Lab) {
    const ANSWER: &str = "
import socket
s = socket.create_server(('', 9000))
while True:
    client, address = s.accept()
    client.sendall(address[0].encode())
    client.close()
";
    let _servers = ["blue", "internet"].map(|place| lab.ns(place).serve(9000, "python3", ["-c", ANSWER]));
    for (place, host, seen) in [
        ("red", "203.0.113.2", "203.0.113.1"),
        ("internet", "203.0.113.1", "203.0.113.2"),
        ("router", "203.0.113.1", ""),
    ] {
        let ask =
            format!("import socket; print(socket.create_connection(('{host}', 9000), 5).recv(99).decode())");
        let asked = lab.ns(place).run("python3", ["-c", &ask]).success();
        assert!(asked.stdout().starts_with(seen), "{place}: {asked}");
    }
}

#[test]
fn row_164_what_others_detach_is_seen_and_repaired() {
    let lab = office();
    works(&lab);
    let pins = "/sys/fs/bpf/netctl/office/router";
    let hands = if has_tcx(&lab) {
        [
            format!("bpftool link detach pinned {pins}/links/uplink/wan0/egress"),
            format!("bpftool link detach pinned {pins}/links/inside/br0/ingress"),
            format!("rm {pins}/links/uplink/wan0/ingress"),
        ]
    } else {
        [
            "tc -n router qdisc delete dev wan0 clsact".to_owned(),
            "tc -n router filter delete dev wan0 egress".to_owned(),
            "tc -n router filter delete dev br0 ingress".to_owned(),
        ]
    };
    for hand in hands.into_iter().chain([
        format!("bpftool link detach pinned {pins}/local/connect4"),
        format!("rm -r {pins}/local"),
        format!("rm -r {pins}/links {pins}/local"),
        format!("rm {pins}/v*/programs/*/*"),
    ]) {
        is_repaired(&lab, &hand);
    }
}

#[test]
fn rows_147_148_149_an_uplink_that_goes_and_comes_back_translates_again() {
    let lab = office();
    works(&lab);
    // Down and up again: nobody has to do anything.
    lab.host().run("ip", ["-n", "router", "link", "set", "wan0", "down"]).success();
    let told = lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).fails(1);
    assert!(
        told.stdout().contains("From 192.168.15.5") && told.stdout().contains("Net Unreachable"),
        "{told}"
    );
    lab.host().run("ip", ["-n", "router", "link", "set", "wan0", "up"]).success();
    eventually("the plan holds", || lab.netctl(["plan"]).code() == Some(0));
    works(&lab);
    // Its addresses gone, the first one with the second.
    is_repaired(&lab, "ip -n router address delete 203.0.113.1/24 dev wan0");
    is_repaired(&lab, "ip -n router link delete wan0");
}

#[test]
fn row_149_another_interface_by_the_uplinks_name_is_the_uplink() {
    const HOSTED: &str = r#"
name = "hosted"
[namespaces.red]
[bridges.br-one]
addresses = ["10.1.0.1/24"]
ports.red = {}
[[nat.masquerade]]
namespace = "host"
source = "10.1.0.0/24"
out = "up0"
"#;
    let lab = Lab::new();
    let make = |index: &str| {
        for words in [
            &format!("link add up0 index {index} type veth peer name r0 netns outside"),
            "link set up0 up",
            "address add 198.51.100.1/24 dev up0",
            "-n outside link set r0 up",
            "-n outside address add 198.51.100.2/24 dev r0",
        ] {
            lab.host().run("ip", words.split(' ')).success();
        }
    };
    lab.host().run("ip", ["netns", "add", "outside"]).success();
    lab.file("netctl.toml", HOSTED);
    make("500");
    lab.netctl(["up"]).success();
    for index in ["501", "502"] {
        // The outside has no route inside: only what is translated is answered.
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", "198.51.100.2"]).success();
        lab.host().run("ip", ["link", "delete", "up0"]).success();
        make(index);
        lab.netctl(["plan"]).fails(3);
        lab.netctl(["up"]).success();
        lab.netctl(["plan"]).success();
    }
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "198.51.100.2"]).success();
}
