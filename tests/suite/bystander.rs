//! On a host that others administer, too: a lease, a daemon's routes, a shaper, a firewall, and the rest of what
//! [`Lab::bystander`] has.

use netctl_tests::lab::{self, Change, Dump, Lab};

const FILE: &str = "
name = 'guest'
[namespaces.red]
[bridges.br-guest]
addresses = ['10.44.0.1/24', 'fd44::1/64']
ports.red = {}
[[cables]]
a = { namespace = 'host', interface = 'guest0', addresses = ['10.45.0.1/24'] }
b = { namespace = 'red', interface = 'up0', addresses = ['10.45.0.2/24'] }
[[routes]]
namespace = 'host'
to = '10.46.0.0/24'
via = '10.45.0.2'
";

const MASQUERADE: &str = "
[[nat.masquerade]]
namespace = 'host'
source = '10.44.0.0/24'
out = 'up0'
";

/// Nothing of others is gone, and nothing of it differs but by what forwarding and translation on the host need.
#[track_caller]
fn assert_only_added(before: &Dump, after: &Dump) {
    const NEEDED: [&str; 5] =
        ["forwarding", "accept_redirects", "accept_ra", "route_localnet", "nf_conntrack_tcp_be_liberal"];
    let mut changes = before.changes(after);
    changes.retain(|(_, name), change| match change {
        Change::Added => false,
        Change::Removed => true,
        Change::Parts(parts) => {
            let key = name.rsplit('.').next().unwrap();
            let is_needed =
                |part: &str| NEEDED.contains(&part) || key == "ip_forward" || NEEDED.contains(&key);
            !(name.starts_with("sysctl ") && parts.iter().all(|(part, ..)| is_needed(part)))
        }
    });
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn up_plan_and_down_touch_nothing_of_others() {
    let backends = ["", "[nat]\nbackend = 'nftables'\n", "[nat]\nbackend = 'iptables'\n"];
    let files = backends.map(|backend| format!("{FILE}{backend}{MASQUERADE}"));
    for file in [FILE.to_owned()].into_iter().chain(files) {
        let lab = Lab::bystander();
        lab.file("guest.toml", &file);
        let before = lab.settle();
        assert_eq!(lab.netctl(["plan", "guest.toml"]).code(), Some(3));
        lab.assert_unchanged_since(&before);
        for _ in 0..2 {
            lab.netctl(["up", "guest.toml"]).success();
            assert_only_added(&before, &lab.settle());
            lab.netctl(["plan", "guest.toml"]).success();
        }
        lab.netctl(["down", "guest"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn a_namespace_of_another_kind_in_run_netns_is_in_nobodys_way() {
    let lab = Lab::bystander();
    lab.bind_another_kind_of_namespace();
    lab.file("guest.toml", FILE);
    let before = lab.settle();
    lab.netctl(["up", "guest.toml"]).success();
    assert_only_added(&before, &lab.settle());
    lab.netctl(["ls"]).success();
    lab.netctl(["down", "guest"]).success();
    lab.assert_unchanged_since(&before);
}

const GATE: &str = "
name = 'gate'
[namespaces.gate]
[[cables]]
a = { namespace = 'host', interface = 'gate0', addresses = ['10.47.0.1/24'] }
b = { namespace = 'gate', interface = 'wan0', addresses = ['10.47.0.2/24'] }
[[nat.masquerade]]
namespace = 'gate'
source = '10.48.0.0/24'
out = 'wan0'
";

#[test]
fn a_failed_up_gives_links_back_with_the_shapers_and_filters_that_others_set_on_them() {
    let lab = Lab::new();
    let file = format!("{FILE}[namespaces.blue]\n");
    lab.file("guest.toml", &file);
    lab.netctl(["up", "guest.toml"]).success();
    // For a program that is there as long as a filter runs it.
    lab.file("gate.toml", GATE);
    lab.netctl(["up", "gate.toml"]).success();
    let set = "
set -e
tc qdisc add dev guest0 root handle 1: htb default 20
tc class add dev guest0 parent 1: classid 1:1 htb rate 10mbit
tc class add dev guest0 parent 1:1 classid 1:20 htb rate 5mbit ceil 10mbit
tc qdisc add dev guest0 parent 1:20 handle 20: tbf rate 1mbit burst 32k latency 50ms
tc filter add dev guest0 parent 1: protocol ip prio 5 u32 match ip dport 80 0xffff flowid 1:20
tc qdisc add dev guest0 clsact
program=$(find /sys/fs/bpf/netctl -path '*/programs/*' -name uplink_egress | head -n 1)
tc filter add dev guest0 egress prio 9 bpf direct-action object-pinned $program
tc -n red qdisc add dev up0 clsact
tc -n red filter add dev up0 ingress prio 9 protocol ip u32 match ip dport 9 0xffff classid 1:1
tc -n red filter add dev up0 egress prio 9 protocol ip u32 match ip sport 9 0xffff classid 1:1
";
    lab.host().run("sh", ["-c", set]).success();
    lab.netctl(["down", "gate"]).success();
    let before = lab.settle();
    assert!(before.items().any(|((_, name), _)| name.starts_with("filter bpf dev guest0")));
    lab.file("guest.toml", file.replace("'red', interface = 'up0'", "'blue', interface = 'up0'"));
    let netctl = lab::netctl();
    let fails = |step: u32| {
        let fatal = format!("NETCTL_FAIL_AT={step}");
        lab.host().run("env", [&*fatal, &netctl, "-q", "up", "guest.toml"]).code() != Some(0)
    };
    for step in (1..100).take_while(|&step| fails(step)) {
        println!("failed at step {step}");
        lab.assert_unchanged_since(&before);
    }
}
