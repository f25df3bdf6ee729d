//! Errors whose numbers mislead, or whose next step is not plain: what is said, and what to do.

use netctl_tests::lab::{Lab, netctl};

/// One after the other on one machine, `$N` being netctl: what is typed, the exit status, the error, the hint.
type Case = (&'static str, i32, &'static str, &'static str);

const READ_ONLY: &str = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys";

const CASES: &[Case] = &[
    (
        "$N up quickstart",
        2,
        "read `quickstart`: No such file or directory",
        "a topology's file is meant; without one it is ./netctl.toml, else the quickstart",
    ),
    (
        "ip netns add red; $N ns add red",
        1,
        "create namespace `red`: it exists already",
        "`netctl ns ls` lists the namespaces",
    ),
    (
        "$N exec red no-such-command",
        127,
        "run `no-such-command`: No such file or directory",
        "the namespace has the machine's programs: is it installed, and in PATH?",
    ),
    (
        "$N link add bridge br0; $N link set br0 netns red",
        1,
        "move link `br0` on the host to namespace `red`: Invalid argument (kernel: The interface netns is immutable)",
        "it cannot leave its namespace: make another there, as in `netctl -n red link add bridge br0`",
    ),
    (
        "$N link add bridge br1; $N link set br0 master br1",
        1,
        "plug link `br0` on the host into bridge `br1`: It would be a loop (kernel: Can not enslave a bridge to a bridge)",
        "",
    ),
    (
        "$N link set lo master br0",
        1,
        "plug link `lo` on the host into bridge `br0`: Invalid argument",
        "only what carries Ethernet frames can be a port, and `lo` does not",
    ),
    (
        "$N link del lo",
        1,
        "delete link `lo` on the host: Operation not supported",
        "every namespace has a loopback of its own, which stays there",
    ),
    (
        "ip netns exec red sysctl -qw net.ipv6.conf.all.disable_ipv6=1; $N -n red addr add fd00::1/64 dev lo",
        1,
        "add address fd00::1/64 to `lo` in namespace `red`: Permission denied (kernel: ipv6: IPv6 is disabled on this \
         device)",
        "turn it on: `netctl -n red sysctl set net.ipv6.conf.all.disable_ipv6=0`",
    ),
    (
        "$N addr add 10.0.0.1/24 dev br0; $N link set br0 up; $N route add 10.9.0.0/16 dev br0; \
         $N route add 10.9.0.0/16 dev br0",
        1,
        "add route 10.9.0.0/16 dev br0 on the host: File exists",
        "there is a route to it already, see `netctl route ls`; one of another `metric` goes beside it",
    ),
    (
        "$N route add fd01::/64 via 10.0.0.2",
        2,
        "fd01::/64 is not of the family of 10.0.0.2",
        "a route and its next hop are both of IPv4, or both of IPv6",
    ),
    (
        "$N route add 10.8.0.0/16 via 192.0.2.1",
        1,
        "add route 10.8.0.0/16 via 192.0.2.1 on the host: Network is unreachable (kernel: Nexthop has invalid gateway)",
        "the next hop has to be in the subnet of a link that is up: compare `netctl addr ls`",
    ),
    (
        "$N sysctl set net.ipv4.ip_forward=many",
        1,
        "set sysctl `net.ipv4.ip_forward` to `many` on the host: Invalid argument",
        "the kernel does not take that value",
    ),
    (
        "$N -n red sysctl set net.core.rmem_max=5000",
        1,
        "set sysctl `net.core.rmem_max` to `5000` in namespace `red`: Permission denied",
        "the kernel has it for the whole machine: set it on the host",
    ),
    (
        "$N -n red sysctl get net.ipv4.nosuch",
        1,
        "read sysctl `net.ipv4.nosuch` in namespace `red`: the kernel has no such key",
        "`netctl exec red -- sysctl -a` lists the keys that are there",
    ),
    (
        "setpriv --bounding-set -all --inh-caps -all $N -n red link ls",
        1,
        "enter a network namespace: Operation not permitted",
        "other namespaces take root with all its rights: use sudo; `netctl doctor` tells what is missing",
    ),
    (
        "prlimit --nofile=4:4 $N -n red link ls",
        1,
        "open `/proc/thread-self/ns/net`: Too many open files",
        "each namespace takes two files: `ulimit -n` is the limit",
    ),
    (
        "ip netns del red; unshare -m sh -c \"$RO && $N up\"",
        1,
        "set sysctl `net.ipv4.ip_forward` to `1` in namespace `router`: Read-only file system",
        "/proc/sys is read-only, as in a container without `--privileged`: `mount -o remount,rw /proc/sys` if you may",
    ),
    (
        "unshare -m sh -c \"mount -o remount,ro,bind /run && $N up\"",
        1,
        "make `/run/netctl`: Read-only file system",
        "netctl keeps there what `down` needs: it has to be writable, and not full",
    ),
    (
        "setpriv --bounding-set -net_admin --inh-caps -all $N link add bridge br9",
        1,
        "create bridge `br9` on the host: Operation not permitted",
        "`netctl doctor` tells which right is missing",
    ),
    (
        "unshare -Urnm sh -c \"mount -t tmpfs none /run; echo 1 > /proc/sys/user/max_net_namespaces; $N ns add a b\"",
        1,
        "make a network namespace: No space left on device",
        "there may not be more namespaces: sysctl `user.max_net_namespaces` is the limit",
    ),
    (
        "mkdir -p /run/netctl; echo '{' > /run/netctl/quickstart.json; $N plan",
        1,
        "read the record `/run/netctl/quickstart.json`: EOF while parsing an object at line 1 column 1",
        "`netctl down quickstart` removes what the kernel has of it, and the record",
    ),
    ("rm /run/netctl/quickstart.json; $N ls > /dev/full", 1, "write the output: No space left on device", ""),
    (
        "mkdir /run/a /run/b; for d in a b; do echo \"[namespaces.in-$d]\" > /run/$d/office.toml; done; \
         $N -q up /run/a/office.toml; $N up /run/b/office.toml",
        1,
        "topology `office` is up from `/run/a/office.toml`, and `/run/b/office.toml` has the same name: nothing was changed",
        "begin this file with another `name = \"NAME\"`, `netctl down office` first, or replace it with `netctl up --force`",
    ),
    (
        "$N -q down office; ip netns add lab; ip netns add other; $N exec lab -- $N -q up /run/a/office.toml; \
         $N exec other -- $N down office",
        1,
        "topology `office` belongs to namespace `lab`, and this command runs in namespace `other`: nothing was changed",
        "`netctl exec lab -- netctl down office` takes it down there",
    ),
];

#[test]
fn an_error_says_what_where_why_and_the_next_step() {
    let lab = Lab::new();
    for (typed, code, error, hint) in CASES {
        let hint = if hint.is_empty() { String::new() } else { format!("hint: {hint}\n") };
        let script = format!("export N={} RO='{READ_ONLY}'; {typed}", netctl());
        let said = lab.host().run("sh", ["-c", &script]).fails(*code);
        assert_eq!(said.stderr(), format!("error: {error}\n{hint}"), "{typed}");
    }
}

#[test]
fn ebpf_that_may_not_be_loaded_says_why() {
    let lab = Lab::new();
    let script = format!("mount -t tmpfs none /run && {} up", netctl());
    let said = lab.host().run("unshare", ["-Urnm", "sh", "-c", &script]).fails(1);
    let (first, hint) = said.stderr().split_once('\n').unwrap();
    assert!(
        first.starts_with("error: load the NAT programs in namespace `router`: load the eBPF object: "),
        "{said}"
    );
    assert!(first.ends_with(": Operation not permitted"), "{said}");
    assert!(
        hint.starts_with("hint: loading eBPF needs CAP_BPF and CAP_NET_ADMIN in the first user namespace"),
        "{said}"
    );
}

/// In a lab, the host is a namespace like any other, in which shortcuts need conntrack to be liberal.
#[test]
fn where_conntrack_cannot_be_made_liberal_the_shortcut_is_named() {
    let lab = Lab::new();
    lab.file(
        "netctl.toml",
        "[namespaces.a]\n[[cables]]\na = { namespace = 'host', interface = 'lan0', addresses = ['10.7.0.1/24'] }\n\
         b = { namespace = 'a', interface = 'eth0', addresses = ['10.7.0.2/24'] }\n\
         [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.7.0.0/24'\nout = 'wan0'\n",
    );
    for words in ["-w net.ipv4.ip_forward=1", "-w net.netfilter.nf_conntrack_tcp_be_liberal=0"] {
        lab.host().run("sysctl", words.split(' ')).success();
    }
    lab.host().run("ip", ["link", "add", "wan0", "type", "bridge"]).success();
    let up = |lab: &Lab| {
        let script = format!("{READ_ONLY} && {} up", netctl());
        lab.host().run("unshare", ["-m", "sh", "-c", &script]).fails(1).stderr().to_owned()
    };
    assert_eq!(
        up(&lab),
        "error: set sysctl `net.netfilter.nf_conntrack_tcp_be_liberal` to `1` on the host: Read-only file system\n\
         hint: shortcuts need it: set `shortcut = false` in `[nat]`, or make /proc/sys writable, which containers have \
         read-only\n"
    );
}

#[test]
fn the_page_of_errors_quotes_them_as_they_are() {
    let page = include_str!("../../docs/errors.md");
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `` ")?.split_once(" `` |"))
        .map(|(error, _)| error)
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        assert!(CASES.iter().any(|(.., error, _)| error == &row), "no case for {row:?}");
    }
}
