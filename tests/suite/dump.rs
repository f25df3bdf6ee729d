//! The tests' own eyes: a dump sees every kind of object, says nothing else, and says it quickly.

use std::time::{Duration, Instant};

use netctl_tests::lab::Lab;

/// What somebody does, what undoes it, and what a dump says of it.
const DOINGS: [(&str, &str, &str); 26] = [
    ("ip link set shop0 mtu 1300", "ip link set shop0 mtu 1400", "~ host: link shop0  mtu 1400 -> 1300"),
    ("ip link set shop0 alias x", "ip link set shop0 alias 'the shop'", "link shop0  alias"),
    ("ip link set shop0 up", "ip link set shop0 down", "link shop0  flags"),
    ("ip link set shop0 master thbr0", "ip link set shop0 nomaster", "link shop0  "),
    (
        "ip link set thport type bridge_slave hairpin on",
        "ip link set thport type bridge_slave hairpin off",
        "link thport",
    ),
    ("ip link add new0 type bridge", "ip link del new0", "+ host: link new0"),
    (
        "ip address add 10.9.9.9/24 dev thbr0",
        "ip address del 10.9.9.9/24 dev thbr0",
        "+ host: address 10.9.9.9/24 dev thbr0",
    ),
    (
        "ip address change 198.51.100.7/24 brd + dev up0 valid_lft forever preferred_lft forever",
        "ip address change 198.51.100.7/24 brd + dev up0 valid_lft 86400 preferred_lft 43200",
        "~ host: address 198.51.100.7/24 dev up0",
    ),
    (
        "ip route add 10.9.0.0/16 via 198.51.100.3",
        "ip route del 10.9.0.0/16",
        "+ host: route ipv4 unicast 10.9.0.0/16",
    ),
    (
        "ip route add unreachable 10.9.0.0/16",
        "ip route del unreachable 10.9.0.0/16",
        "route ipv4 unreachable",
    ),
    (
        "ip -6 route add 2001:db8:5::/48 via 2001:db8:99::5",
        "ip -6 route del 2001:db8:5::/48",
        "route ipv6 unicast 2001:db8:5::/48",
    ),
    (
        "ip route change 172.22.0.0/24 dev up0 scope link metric 50 mtu 1300",
        "ip route change 172.22.0.0/24 dev up0 scope link metric 50 mtu 1400",
        "metrics.mtu 1400 -> 1300",
    ),
    ("ip rule add to 10.9.0.0/16 table 9", "ip rule del to 10.9.0.0/16 table 9", "+ host: rule ipv4"),
    (
        "ip neighbour add 198.51.100.11 lladdr 02:00:00:00:00:01 dev up0",
        "ip neighbour del 198.51.100.11 dev up0",
        "+ host: neighbour 198.51.100.11",
    ),
    (
        "ip neighbour add proxy 198.51.100.12 dev up0",
        "ip neighbour del proxy 198.51.100.12 dev up0",
        "+ host: proxy 198.51.100.12",
    ),
    (
        "bridge fdb add 02:00:00:00:00:0b dev thport master static",
        "bridge fdb del 02:00:00:00:00:0b dev thport master",
        "+ host: fdb 02000000000b",
    ),
    (
        "tc qdisc add dev thbr0 root tbf rate 1mbit burst 32k latency 50ms",
        "tc qdisc del dev thbr0 root",
        "+ host: qdisc tbf dev thbr0",
    ),
    (
        "tc class add dev shop0 parent 1: classid 1:2 htb rate 1mbit",
        "tc class del dev shop0 classid 1:2",
        "+ host: class htb dev shop0",
    ),
    (
        "tc filter add dev up0 egress prio 3 u32 match ip dport 9 0xffff classid 1:1",
        "tc filter del dev up0 egress prio 3",
        "+ host: filter u32 dev up0",
    ),
    (
        "nft add rule inet theirs input tcp dport 9 drop",
        "nft flush chain inet theirs input; nft add rule inet theirs input tcp dport 2222 counter accept",
        "tcp dport 9 drop",
    ),
    (
        "iptables-legacy -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE",
        "iptables-legacy -t nat -F POSTROUTING",
        "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE",
    ),
    ("iptables-nft -A FORWARD -j DROP", "iptables-nft -F FORWARD", "FORWARD"),
    (
        "sysctl -qw net.ipv4.conf.up0.arp_ignore=1",
        "sysctl -qw net.ipv4.conf.up0.arp_ignore=0",
        "sysctl net.ipv4.conf.up0  arp_ignore 0 -> 1",
    ),
    (
        "sysctl -qw net.ipv4.tcp_syncookies=0",
        "sysctl -qw net.ipv4.tcp_syncookies=1",
        "sysctl net.ipv4.tcp_syncookies",
    ),
    (
        "ip -n theirs route add 10.9.0.0/16 via 172.31.0.9",
        "ip -n theirs route del 10.9.0.0/16",
        "+ theirs: route ipv4 unicast 10.9.0.0/16",
    ),
    (
        "mkdir -p /run/netctl && touch /run/netctl/x.new",
        "rm -r /run/netctl",
        "+ machine: file /run/netctl/x.new",
    ),
];

#[test]
fn a_dump_tells_every_kind_of_change_and_that_it_was_undone() {
    let lab = Lab::bystander();
    // Their tables stay for good once there was a rule.
    lab.host()
        .run(
            "sh",
            [
                "-e",
                "-c",
                "iptables-legacy -t nat -S; iptables-nft -A FORWARD -j DROP; iptables-nft -F FORWARD",
            ],
        )
        .success();
    let before = lab.settle();
    for (doing, undoing, told) in DOINGS {
        lab.host().run("sh", ["-e", "-c", doing]).success();
        let difference = before.difference(&lab.snapshot());
        assert!(difference.contains(told), "after `{doing}` there is no `{told}` in\n{difference}");
        lab.host().run("sh", ["-e", "-c", undoing]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn a_namespace_of_another_kind_is_told() {
    let lab = Lab::bystander();
    let before = lab.settle();
    lab.bind_another_kind_of_namespace();
    let difference = before.difference(&lab.snapshot());
    assert!(difference.contains("+ uts: no network namespace"), "{difference}");
}

#[test]
fn a_dump_takes_milliseconds() {
    const ROUNDS: u32 = 50;
    for (what, lab) in [("a bystander", Lab::bystander()), ("an empty machine", Lab::new())] {
        let before = lab.settle();
        let mut watcher = lab.watcher();
        let _first = watcher.look();
        let started = Instant::now();
        for _ in 0..ROUNDS {
            assert_eq!(before.difference(&watcher.look()), "");
        }
        let each = started.elapsed() / ROUNDS;
        println!("a look at {what}, {} items, takes {each:?}", before.items().count());
        assert!(each < Duration::from_millis(500), "{each:?}");
    }
}
