//! Shortcuts in a network: answered traffic takes them, and whatever changes beside it is heeded when their lease ends.

mod talk;

use std::time::{Duration, Instant};

use netctl_ebpf::watch::Watcher as Watch;
use netctl_tests::lab::{Lab, eventually};

use self::talk::Talk;

/// `red` is at a bridge, `blue` at a cable of its own; port 7000 of the router is red's.
const TOPOLOGY: &str = r#"
name = "office"
[namespaces.red]
[namespaces.green]
[namespaces.blue]
[namespaces.router]
[namespaces.outside]

[bridges.br0]
namespace = "router"
addresses = ["192.168.15.5/24", "fd15::5/64"]
[bridges.br0.ports]
red = { addresses = ["192.168.15.1/24", "fd15::1/64"] }
green = { addresses = ["192.168.15.2/24", "fd15::2/64"] }

[[cables]]
a = { namespace = "router", interface = "lan0", addresses = ["192.168.1.1/24", "fd01::1/64"] }
b = { namespace = "blue", interface = "eth0", addresses = ["192.168.1.2/24", "fd01::2/64"] }

[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24", "2001:db8:113::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["203.0.113.2/24", "2001:db8:113::2/64"] }

[[routes]]
namespace = "blue"
to = "default"
via = "192.168.1.1"
[[routes]]
namespace = "blue"
to = "::/0"
via = "fd01::1"

[nat]
shortcut = true
masquerade = [
    { namespace = "router", source = "192.168.0.0/16", out = "wan0" },
    { namespace = "router", source = "fd15::/64", out = "wan0" },
    { namespace = "router", source = "fd01::/64", out = "wan0" },
]
forward = [
    { namespace = "router", listen = "203.0.113.1:7000/udp", to = "192.168.15.1:7000" },
    { namespace = "router", listen = "[2001:db8:113::1]:7000/udp", to = "[fd15::1]:7000" },
]
"#;

const SERVERS: [&str; 2] = ["203.0.113.2", "2001:db8:113::2"];
const GATEWAYS: [&str; 2] = ["203.0.113.1", "2001:db8:113::1"];

fn lab() -> Lab {
    let lab = Lab::new();
    up(&lab, TOPOLOGY);
    lab
}

#[track_caller]
fn up(lab: &Lab, file: &str) {
    let path = lab.file("office.toml", file);
    lab.netctl(["up", path.to_str().unwrap()]).success();
}

/// Packets so far: by shortcut, and through the kernel.
#[track_caller]
fn passed(lab: &Lab) -> (u64, u64) {
    let stats = lab.netctl(["--json", "nat", "stats"]).success().json();
    let paths = &stats[0]["paths"];
    (paths["shortcut"].as_u64().unwrap(), paths["kernel"].as_u64().unwrap())
}

/// Of all packets that pass meanwhile, nearly all take the shortcut, or none does.
#[track_caller]
fn assert_straight(lab: &Lab, is_straight: bool, talks: &mut [Talk<'_>]) {
    let before = passed(lab);
    talks.iter_mut().for_each(|talk| talk.goes_on(500));
    let after = passed(lab);
    let (straight, round) = (after.0 - before.0, after.1 - before.1);
    assert!(straight + round >= 1000);
    if is_straight {
        let stats = lab.netctl(["nat", "stats"]).success();
        assert!(straight > 9 * round, "{straight} by shortcut, {round} through the kernel\n{stats}");
    } else {
        assert_eq!(straight, 0, "{round} through the kernel");
    }
}

#[test]
fn answered_traffic_goes_straight_from_bridge_ports_and_cables_out_and_in() {
    let lab = lab();
    let _servers = ["outside", "red"].map(|place| talk::echo(lab.ns(place)));
    for (client, servers) in [("red", SERVERS), ("blue", SERVERS), ("outside", GATEWAYS)] {
        for server in servers {
            let mut talk = Talk::start(lab.ns(client), server, 8);
            assert_straight(&lab, true, std::slice::from_mut(&mut talk));
            talk.end_without_loss();
        }
    }
}

#[test]
fn what_the_firewall_drops_from_now_on_ends_within_the_lease() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let mut talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    talk.goes_on(100);
    let router = lab.ns("router");
    for way in ["--dport", "--sport"] {
        let rule = |how| ["-w", how, "FORWARD", "-p", "udp", way, "7000", "-j", "DROP"];
        router.run("iptables", rule("-A")).success();
        let since = Instant::now();
        let last = talk.falls_silent();
        assert!(last < since + Duration::from_secs(2), "{way}: it went on for {:?}", last - since);
        router.run("iptables", rule("-D")).success();
        talk.goes_on(100);
    }
}

#[test]
fn a_server_that_gets_another_mac_is_followed() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let mut talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    talk.goes_on(100);
    lab.ns("outside").run("ip", ["link", "set", "eth0", "address", "02:00:00:00:00:99"]).success();
    lab.ns("router").run("ip", ["neigh", "flush", "dev", "wan0"]).success();
    talk.goes_on(1500);
    assert_straight(&lab, true, &mut [talk]);
}

#[test]
fn an_address_that_moves_to_another_port_is_followed() {
    let lab = lab();
    let _servers = ["red", "green"].map(|place| talk::echo(lab.ns(place)));
    let mut talk = Talk::start(lab.ns("outside"), GATEWAYS[0], 8);
    talk.goes_on(100);
    for (place, change) in [
        ("red", "addr del 192.168.15.1/24 dev eth0"),
        ("green", "addr del 192.168.15.2/24 dev eth0"),
        ("green", "addr add 192.168.15.1/24 dev eth0"),
        ("green", "route add default via 192.168.15.5"),
    ] {
        lab.ns(place).run("ip", change.split(' ')).success();
    }
    lab.ns("router").run("ip", ["neigh", "flush", "dev", "br0"]).success();
    talk.goes_on(1500);
    assert_straight(&lab, true, &mut [talk]);
}

#[test]
fn a_link_that_becomes_smaller_says_so_to_who_sends_too_much() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    for (server, mtu) in SERVERS.into_iter().zip(["1400", "1300"]) {
        let mut talk = Talk::start(lab.ns("red"), server, 1400);
        assert_straight(&lab, true, std::slice::from_mut(&mut talk));
        lab.ns("router").run("ip", ["link", "set", "wan0", "mtu", mtu]).success();
        talk.wait_for("too long");
        lab.ns("router").run("ip", ["link", "set", "wan0", "mtu", "1500"]).success();
    }
}

#[test]
fn a_client_that_goes_leaves_the_others_alone() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let [red, mut green] = ["red", "green"].map(|place| Talk::start(lab.ns(place), SERVERS[0], 8));
    green.goes_on(100);
    lab.ns("router").run("ip", ["link", "del", "veth-red-br"]).success();
    green.goes_on(1500);
    green.end_without_loss();
    drop(red);
}

#[test]
fn shortcuts_come_and_go_with_the_file_and_nothing_is_lost() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let mut talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    for has_shortcuts in [true, false, true] {
        up(&lab, &TOPOLOGY.replace("shortcut = true", &format!("shortcut = {has_shortcuts}")));
        talk.goes_on(1500);
        assert_straight(&lab, has_shortcuts, std::slice::from_mut(&mut talk));
    }
    talk.end_without_loss();
}

#[test]
fn what_the_firewall_marks_takes_the_kernels_way() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let rule = ["-w", "-t", "mangle", "-A", "FORWARD", "-p", "udp", "-j", "MARK", "--set-mark", "7"];
    lab.ns("router").run("iptables", rule).success();
    let talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    assert_straight(&lab, false, &mut [talk]);
}

#[test]
fn conntrack_beside_shortcuts_takes_nothing_for_invalid() {
    const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";
    let lab = Lab::new();
    up(&lab, &TOPOLOGY.replace("shortcut = true", "shortcut = 'leased'"));
    let router = lab.ns("router");
    let value = router.run("sysctl", ["-n", LIBERAL]).success();
    assert_eq!(value.stdout().trim(), "1");
    for rule in [
        "-P FORWARD DROP",
        "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -i br0 -m conntrack --ctstate NEW -j ACCEPT",
    ] {
        router.run("iptables", ["-w"].into_iter().chain(rule.split(' '))).success();
    }
    let _server = lab.ns("outside").serve(5201, "iperf3", ["-s", "-1"]);
    let sent = lab.ns("red").run("iperf3", ["-J", "-c", SERVERS[0], "-t", "4"]).success().json();
    let intervals = sent["intervals"].as_array().unwrap();
    for interval in intervals {
        let bytes = interval["sum"]["bytes"].as_u64().unwrap();
        assert!(bytes > 1_000_000, "it stalls: {interval}");
    }
    let (straight, round) = passed(&lab);
    assert!(straight > 9 * round, "{straight} by shortcut, {round} through the kernel");
    eventually("the leases have ended", || {
        let before = passed(&lab).0;
        passed(&lab).0 == before
    });
}

/// Something that looks at packets on the way that a shortcut skips.
struct Watcher {
    /// As `nat stats` calls it.
    by: &'static str,
    begin: &'static str,
    end: &'static str,
    /// Of 100 packets of both directions, as many still go straight.
    straight: std::ops::RangeInclusive<u64>,
}

const NONE: std::ops::RangeInclusive<u64> = 0..=0;
const ONE_WAY: std::ops::RangeInclusive<u64> = 40..=60;

const WATCHERS: [Watcher; 12] = [
    Watcher {
        by: "netfilter",
        begin: "nft add table inet t && nft 'add chain inet t c { type filter hook forward priority 0; }'",
        end: "nft delete table inet t",
        straight: NONE,
    },
    Watcher {
        by: "netfilter",
        begin: "nft add table ip t && nft 'add chain ip t c { type filter hook prerouting priority 0; }'",
        end: "nft delete table ip t",
        straight: NONE,
    },
    Watcher {
        by: "netfilter",
        begin: "iptables -w -A FORWARD -m limit --limit 1000/s -j ACCEPT",
        end: "nft delete table ip filter",
        straight: NONE,
    },
    Watcher {
        by: "netfilter-bridge",
        begin: "nft add table bridge t && nft 'add chain bridge t c { type filter hook forward priority 0; }'",
        end: "nft delete table bridge t",
        straight: NONE,
    },
    Watcher {
        by: "netfilter-netdev",
        begin: "nft add table netdev t && \
                nft 'add chain netdev t c { type filter hook ingress device br0 priority 0; }'",
        end: "nft delete table netdev t",
        straight: ONE_WAY,
    },
    Watcher {
        by: "netfilter-netdev",
        begin: "nft add table netdev t && \
                nft 'add chain netdev t c { type filter hook ingress device wan0 priority 0; }'",
        end: "nft delete table netdev t",
        straight: ONE_WAY,
    },
    Watcher {
        by: "qdisc",
        begin: "tc qdisc add dev br0 root tbf rate 100mbit burst 32k latency 50ms",
        end: "tc qdisc del dev br0 root",
        straight: ONE_WAY,
    },
    Watcher {
        by: "qdisc",
        begin: "tc qdisc add dev veth-red-br root handle 1: htb default 1 && \
                tc class add dev veth-red-br parent 1: classid 1:1 htb rate 100mbit",
        end: "tc qdisc del dev veth-red-br root",
        straight: ONE_WAY,
    },
    Watcher {
        by: "program",
        begin: "tc qdisc add dev br0 clsact && tc filter add dev br0 ingress protocol ip u32 match ip dport 9 0xffff flowid 1:1",
        end: "tc qdisc del dev br0 clsact",
        straight: ONE_WAY,
    },
    Watcher {
        by: "program",
        begin: "tc qdisc add dev veth-red-br clsact && \
                tc filter add dev veth-red-br egress protocol ip u32 match ip dport 9 0xffff flowid 1:1",
        end: "tc qdisc del dev veth-red-br clsact",
        straight: ONE_WAY,
    },
    Watcher {
        by: "xfrm",
        begin: "ip xfrm policy add dir fwd src 10.99.0.0/24 dst 10.98.0.0/24 action block",
        end: "ip xfrm policy flush",
        straight: NONE,
    },
    Watcher {
        by: "capture",
        begin: "python3 -c '
import os, socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((\"br0\", 0))
if os.fork(): os._exit(0)
for i in range(3): os.close(i)
open(\"/run/capture\", \"w\").close()
while os.path.exists(\"/run/capture\"): time.sleep(0.05)'; sleep 0.1",
        end: "rm /run/capture; sleep 0.2",
        straight: NONE,
    },
];

/// Packets that did not go straight because of somebody, so far.
#[track_caller]
fn watched(lab: &Lab, by: &str) -> u64 {
    let stats = lab.netctl(["--json", "nat", "stats"]).success().json();
    let all = stats[0]["paths"]["watched"].as_array().unwrap().clone();
    all.iter().find(|its| its["by"] == by).map_or(0, |its| its["packets"].as_u64().unwrap())
}

#[test]
fn whoever_looks_at_packets_on_the_kernels_way_sees_them_all() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let mut talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    let router = lab.ns("router");
    for Watcher { by, begin, end, straight } in WATCHERS {
        assert_straight(&lab, true, std::slice::from_mut(&mut talk));
        let before = watched(&lab, by);
        router.run("sh", ["-c", begin]).success();
        talk.goes_on(10);
        let first = passed(&lab);
        talk.goes_on(500);
        let then = passed(&lab);
        let (short, kernel) = (then.0 - first.0, then.1 - first.1);
        let share = short * 100 / (short + kernel);
        assert!(straight.contains(&share), "{begin}: {short} of {} by shortcut", short + kernel);
        assert!(watched(&lab, by) > before, "{begin}: no packet is told to be watched by `{by}`");
        let told = Watch::ALL.iter().find(|its| its.id() == by).unwrap().text();
        let doctor = lab.netctl(["doctor", "office"]);
        assert!(
            doctor.stdout().contains(&format!("no packet of `router` goes straight: {told}")),
            "{begin}: {doctor}"
        );
        router.run("sh", ["-c", end]).success();
        // A lease is given by a packet on the kernel's way.
        eventually("it goes straight again", || {
            let before = passed(&lab).0;
            talk.goes_on(50);
            passed(&lab).0 - before > 50
        });
    }
}

#[test]
fn who_looks_at_one_family_is_in_the_others_way_no_more_than_who_looks_at_nothing() {
    let lab = lab();
    let _server = talk::echo(lab.ns("outside"));
    let router = lab.ns("router");
    // The table is there, as `iptables -L` makes it, and a bridge has no more than what hands packets on to it.
    router.run("nft", ["add table ip6 t"]).success();
    router.run("nft", ["add chain ip6 t c { type filter hook forward priority 0; }"]).success();
    router.run("nft", ["add table ip empty"]).success();
    router.run("nft", ["add chain ip empty in { type filter hook input priority 0; }"]).success();
    let mut four = Talk::start(lab.ns("red"), SERVERS[0], 8);
    assert_straight(&lab, true, std::slice::from_mut(&mut four));
    four.end_without_loss();
    let mut six = Talk::start(lab.ns("red"), SERVERS[1], 8);
    assert_straight(&lab, false, std::slice::from_mut(&mut six));
}

#[test]
fn with_leases_only_the_first_packets_are_seen_by_others() {
    let lab = Lab::new();
    up(&lab, &TOPOLOGY.replace("shortcut = true", "shortcut = 'leased'"));
    let _server = talk::echo(lab.ns("outside"));
    let rule = ["-w", "-A", "FORWARD", "-j", "ACCEPT"];
    lab.ns("router").run("iptables", rule).success();
    let mut talk = Talk::start(lab.ns("red"), SERVERS[0], 8);
    assert_straight(&lab, true, std::slice::from_mut(&mut talk));
    // The same gateway, told otherwise, heeds it at once; and back again.
    for (word, is_straight) in [("'auto'", false), ("'leased'", true), ("true", false)] {
        let planned = TOPOLOGY.replace("shortcut = true", &format!("shortcut = {word}"));
        lab.file("office.toml", planned);
        assert_eq!(lab.netctl(["plan", "office.toml"]).code(), Some(3));
        lab.netctl(["up", "office.toml"]).success();
        lab.netctl(["plan", "office.toml"]).success();
        talk.goes_on(1200);
        assert_straight(&lab, is_straight, std::slice::from_mut(&mut talk));
    }
    talk.end_without_loss();
}
