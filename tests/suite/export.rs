//! `netctl export`: `up` of what it writes, in an empty machine, makes what was there.

use std::{collections::BTreeMap, fs};

use netctl::spec::Spec;
use netctl_tests::{
    lab::{Change, Dump, HOST, Item, Lab},
    markdown::repository,
    ownership::File,
    random::Random,
    skip,
};

/// What `netctl export` says; it passes `check`, says the same again, and is the same document as JSON.
#[track_caller]
fn export(lab: &Lab, words: &[&str]) -> String {
    let words = || ["export"].into_iter().chain(words.iter().copied());
    let text = lab.netctl(words()).success().stdout().to_owned();
    assert_eq!(lab.netctl(words()).success().stdout(), text, "it is stable");
    lab.host().run_with(&netctl_tests::lab::netctl(), ["check", "-"], text.as_bytes()).success();
    let json = lab.netctl(words().chain(["--json"])).success();
    let read = |text: &str, file: &str| Spec::parse(text, file).unwrap();
    assert_eq!(read(json.stdout(), "f.json"), read(&text, "f.toml"));
    let told = text.lines().filter_map(|line| line.strip_prefix("# "));
    let warned = json.stderr().lines().filter_map(|line| line.strip_prefix("warning: "));
    assert_eq!(told.collect::<Vec<_>>(), warned.collect::<Vec<_>>());
    text
}

/// What an export says of what it leaves out.
fn left(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# not exported: ")).collect()
}

/// A new machine with what a file has.
#[track_caller]
fn machine_of(text: &str) -> Lab {
    let lab = Lab::new();
    lab.file("exported.toml", text);
    lab.netctl(["up", "exported.toml"]).success();
    lab
}

/// How two machines differ, but for netctl's records and what `is_expected` is told of: the item, and the part that differs.
fn difference(before: &Dump, after: &Dump, is_expected: impl Fn(&str, &str) -> bool) -> String {
    let mut changes: BTreeMap<Item, Change> = before.changes(after);
    changes.retain(|(place, name), change| {
        // The programs' directory is called by what of the machine they are built for.
        let is_own = |name: &str| name.starts_with("file /run/netctl") || name.contains("/programs/");
        let is_record = place == "machine" && is_own(name) || is_expected(name, "");
        if let Change::Parts(parts) = change {
            parts.retain(|(part, ..)| !is_expected(name, part));
        }
        !is_record && !matches!(change, Change::Parts(parts) if parts.is_empty())
    });
    changes.iter().map(|((place, name), change)| format!("{place}: {name}: {change:?}\n")).collect()
}

/// A topology, its export, and the topology of that are the same to the kernel.
#[track_caller]
fn assert_made_again(name: &str, topology: &str) {
    let lab = Lab::new();
    lab.file("first.toml", topology);
    lab.netctl(["up", "first.toml"]).success();
    let text = export(&lab, &[]);
    assert_eq!(left(&text), [""; 0], "{name}:\n{text}");
    let again = machine_of(&text);
    let difference = difference(&lab.settle(), &again.settle(), |_, _| false);
    assert!(difference.is_empty(), "{name}:\n{difference}\n{text}");
    assert_eq!(export(&again, &[]), text, "{name}");
    // The file describes what is up already. A topology belongs to its file, whose place the export takes.
    lab.file("first.toml", &text);
    lab.netctl(["plan", "first.toml"]).success();
}

#[test]
fn the_quickstart_and_the_examples_are_made_again_as_they_were() {
    assert_made_again("quickstart", include_str!("../../netctl/quickstart.toml"));
    for file in fs::read_dir(repository().join("docs/examples")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            let name = file.file_stem().unwrap().to_str().unwrap();
            // A dump of a hundred namespaces has more files open than a process may.
            let text = fs::read_to_string(&file).unwrap().replace("count = 100", "count = 5");
            assert_made_again(name, &format!("name = {name:?}\n{text}"));
        }
    }
}

/// Everything that the examples have none of.
const EVERYTHING: &str = r#"
name = "everything"
[namespaces.red]
sysctls = { "net.ipv4.ip_default_ttl" = "42", "net.ipv4.conf.all.rp_filter" = "2", "net.ipv4.conf.lan.proxy_arp" = "1" }
[namespaces.relay]
forwarding = true
[namespaces.quiet]
forwarding = false
[namespaces.half]
sysctls = { "net.ipv4.ip_forward" = "1", "net.ipv6.conf.default.disable_ipv6" = "1" }
[namespaces.warehouse-of-the-north]

[bridges.the-office-network]
addresses = ["10.2.0.1/24", "fd02::1/64"]
mtu = 1400
[bridges.the-office-network.ports]
red = { addresses = ["10.2.0.2/24", "fd02::2/64"], interface = "lan", port = "to-red" }
relay = { addresses = ["10.2.0.3/24"], mtu = 1300, default-route = false }
warehouse-of-the-north = {}

[bridges.br1]
namespace = "relay"
addresses = ["10.5.0.1/24", "fd05::1/64", "fd05:1::1/64"]
[bridges.br1.ports]
quiet = {}
half = { addresses = [] }
red = { default-route = false }
host = { interface = "to-br1" }

[[cables]]
a = { namespace = "relay", interface = "wan0", addresses = ["10.3.0.1/24"], mtu = 9000 }
b = { namespace = "half", interface = "up0", addresses = ["10.3.0.2/24", "10.3.0.3/24"], mtu = 8000 }
[[cables]]
a = { namespace = "red", interface = "both-a" }
b = { namespace = "red", interface = "both-b" }

[[routes]]
namespace = "relay"
to = "default"
via = "10.3.0.2"
table = 100
[[routes]]
namespace = "relay"
to = "10.9.0.0/16"
type = "unreachable"
[[routes]]
namespace = "relay"
to = "2001:db8::/32"
via = "fe80::1"
dev = "wan0"
metric = 7
[[routes]]
namespace = "relay"
to = "10.8.0.0/16"
via = "192.0.2.77"
dev = "wan0"
onlink = true
[[routes]]
namespace = "half"
to = "10.6.0.0/16"
dev = "up0"
[[routes]]
namespace = "half"
to = "10.4.0.0/16"
via = "10.6.0.1"
[[routes]]
namespace = "host"
to = "10.77.0.0/16"
via = "10.2.0.3"
[[rules]]
namespace = "relay"
priority = 1000
from = "10.5.0.0/24"
table = 100
[[rules]]
namespace = "relay"
priority = 1001
fwmark = "0x1/0xff"
family = "ipv6"
type = "prohibit"

[nat]
max-flows = 1000
[nat.timeouts]
udp = "7m"
[[nat.masquerade]]
namespace = "relay"
source = "10.5.0.0/24"
ports = "20000-29999"
mapping = "endpoint-independent"
filtering = "address-dependent"
[[nat.masquerade]]
namespace = "host"
source = "10.2.0.0/24"
out = "to-br1"
[[nat.forward]]
namespace = "relay"
listen = "10.3.0.1:8000-8009/tcp+udp"
to = "10.5.0.2:80"
allow = ["10.3.0.0/24"]
[[nat.forward]]
namespace = "relay"
listen = "90/udp"
to = "[fd05::2]:90"
"#;

#[test]
fn every_kind_of_thing_that_a_file_has_is_made_again_as_it_was() {
    assert_made_again("everything", EVERYTHING);
    assert_made_again("without shortcuts", &EVERYTHING.replace("[nat]\n", "[nat]\nshortcut = false\n"));
}

/// What not every kernel has.
const DUMMIES_AND_VLANS: &str = r#"
[[links]]
namespace = "relay"
interface = "the-vlan-of-the-office"
kind = "vlan"
parent = "wan0"
id = 7
addresses = ["10.7.0.1/24"]
[[links]]
interface = "keep0"
kind = "dummy"
addresses = ["192.0.2.1/32"]
mtu = 1280

"#;

#[test]
fn dummies_and_vlans_are_made_again_as_they_were() {
    let lab = Lab::new();
    let make = |words: &str| lab.host().run("ip", words.split(' ')).code() == Some(0);
    if !make("link add d0 type dummy") || !make("link add link d0 name d0.7 type vlan id 7") {
        skip!("kernel: no dummies, or no VLAN devices");
    }
    assert_made_again("dummies and VLANs", &format!("{EVERYTHING}{DUMMIES_AND_VLANS}"));
}

#[test]
fn rules_of_netfilter_are_exported_from_the_record() {
    let quickstart = include_str!("../../netctl/quickstart.toml");
    for backend in ["iptables", "nftables"] {
        let settings = format!("{quickstart}\n[nat]\nbackend = {backend:?}\n[nat.timeouts]\nudp = '7m'\n");
        assert_made_again(backend, &settings);
    }
}

/// Networks as people build them with iproute2.
const BY_HAND: [(&str, &str); 4] = [
    (
        "a cable",
        "ip netns add red; ip netns add blue
         ip link add veth-red type veth peer name veth-blue
         ip link set veth-red netns red; ip link set veth-blue netns blue
         ip -n red addr add 192.168.15.1/24 dev veth-red; ip -n blue addr add 192.168.15.2/24 dev veth-blue
         ip -n red link set veth-red up; ip -n blue link set veth-blue up
         ip -n red link set lo up; ip -n blue link set lo up",
    ),
    (
        "a bridge on the host",
        "ip netns add red; ip netns add blue
         ip link add v-net-0 type bridge; ip link set v-net-0 up
         ip addr add 192.168.15.5/24 dev v-net-0
         for n in red blue; do
           ip link add veth-$n type veth peer name veth-$n-br
           ip link set veth-$n netns $n; ip link set veth-$n-br master v-net-0; ip link set veth-$n-br up
           ip -n $n link set lo up; ip -n $n link set veth-$n up
         done
         ip -n red addr add 192.168.15.1/24 dev veth-red; ip -n blue addr add 192.168.15.2/24 dev veth-blue
         ip -n blue route add default via 192.168.15.5
         ip -n blue route add 192.168.1.0/24 via 192.168.15.5",
    ),
    (
        "a container",
        "ip netns add netns0
         ip link add veth0 type veth peer name ceth0 netns netns0
         ip link set veth0 up; ip addr add 172.18.0.11/16 dev veth0
         ip -n netns0 link set lo up; ip -n netns0 link set ceth0 name eth0 mtu 1400 up
         ip -n netns0 addr add 172.18.0.10/16 dev eth0
         ip -n netns0 route add default via 172.18.0.11",
    ),
    (
        "a router",
        "for n in a r b; do ip netns add $n; ip -n $n link set lo up; done
         ip link add a0 netns a type veth peer name r0 netns r; ip link add b0 netns b type veth peer name r1 netns r
         ip -n a link set a0 up; ip -n b link set b0 up; ip -n r link set r0 up; ip -n r link set r1 up
         ip -n a addr add 10.0.0.2/24 dev a0; ip -n r addr add 10.0.0.1/24 dev r0
         ip -n b addr add 10.1.0.2/24 dev b0; ip -n r addr add 10.1.0.1/24 dev r1
         ip -n a addr add fd00::2/64 dev a0 nodad; ip -n r addr add fd00::1/64 dev r0 nodad
         ip -n a route add default via 10.0.0.1; ip -n b route add 10.0.0.0/24 via 10.1.0.1 metric 5
         ip -n a -6 route add default via fd00::1; ip -n b route add blackhole 10.9.0.0/16
         ip -n r route add default via 10.1.0.2 table 7; ip -n r rule add from 10.0.0.0/24 table 7 priority 100
         ip netns exec r sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.r0.proxy_arp=1 net.ipv4.conf.all.rp_filter=2",
    ),
];

#[test]
fn what_was_made_by_hand_is_made_again() {
    for (name, script) in BY_HAND {
        let lab = Lab::new();
        lab.host().run("sh", ["-ec", script]).success();
        let text = export(&lab, &[]);
        assert_eq!(left(&text), [""; 0], "{name}:\n{text}");
        let again = machine_of(&text);
        // Whose a thing is: marks, MAC addresses, protocols; and numbers of what is not netctl's.
        let is_whose = |item: &str, part: &str| {
            let of_links = ["alias", "address", "index", "peer", "permanent-address"];
            // Of a bridge, its ports' MAC addresses.
            item.starts_with("fdb ")
                || item.starts_with("link ") && of_links.contains(&part)
                || item.starts_with("address ") && ["protocol", "flags"].contains(&part)
                || part == "protocol"
                || item == "namespace"
        };
        let difference = difference(&lab.settle(), &again.settle(), is_whose);
        assert!(difference.is_empty(), "{name}:\n{difference}\n{text}");
    }
}

#[test]
fn what_no_file_has_is_told() {
    let lab = Lab::new();
    let script = "ip netns add red; ip -n red link set lo up
         ip link add up0 type veth peer name eth0 netns red
         ip -n red link set eth0 up; ip link set up0 up
         ip -n red addr add 10.0.0.1/24 dev eth0 valid_lft 1000 preferred_lft 1000
         ip -n red addr add 10.1.0.1/24 dev eth0
         ip -n red addr add 192.0.2.1/32 dev lo
         ip -n red link add idle type bridge
         ip netns exec red sysctl -qw net.ipv4.conf.default.rp_filter=2 net.ipv4.conf.eth0.rp_filter=0
         ip -n red link add tun9 type vxlan id 9 dstport 4789 dev eth0; ip -n red link set tun9 up
         ip -n red route add 10.2.0.0/16 via 10.1.0.9 proto 186
         ip -n red route add 10.3.0.0/16 via 10.1.0.9 src 10.1.0.1
         ip -n red neigh add 10.1.0.3 lladdr 02:00:00:00:00:01 dev eth0
         ip -n red rule add ipproto tcp table 7 priority 50
         ip netns exec red nft 'add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }'
         tc -n red qdisc add dev eth0 root tbf rate 20mbit burst 32k latency 50ms";
    lab.host().run("sh", ["-ec", script]).success();
    let text = export(&lab, &[]);
    let told = left(&text);
    for expected in [
        "red: address 10.0.0.1/24 of `eth0`: it has a lifetime",
        "red: address 192.0.2.1/32 of the loopback: a dummy could have it",
        "red: link `tun9`: no file has links of the kind `vxlan`",
        "red: bridge `idle`: that it is down: the file brings it up",
        "red: route to 10.2.0.0/16 of table main: a program set it (protocol 186)",
        "red: route to 10.3.0.0/16 of table main: it has a source address",
        "red: neighbour 10.1.0.3 at `eth0`: no file has such things",
        "red: policy rule of priority 50: it is narrower than a file can say",
        "red: firewall rules of table `fw`: no file has such things",
        "red: queueing discipline `tbf` at `eth0`: no file has such things",
    ] {
        assert!(told.contains(&expected), "{expected}:\n{text}");
    }
    let again = machine_of(&text);
    again.netctl(["plan", "exported.toml"]).success();
}

/// One lab for all: what is made again is made where it was.
#[test]
fn random_files_are_made_again_as_they_were() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
    };
    let (first, rounds) = (number("NETCTL_SEED", 1), number("NETCTL_ROUNDS", 25));
    let lab = Lab::new();
    let start = lab.settle();
    for seed in first..first + rounds {
        let drawn = File::draw(&mut Random::new(seed), 'x').toml();
        lab.file("drawn.toml", &drawn);
        if lab.netctl(["check", "drawn.toml"]).code() != Some(0) {
            continue;
        }
        lab.netctl(["up", "drawn.toml"]).success();
        let before = lab.settle();
        let text = export(&lab, &[]);
        assert_eq!(left(&text), [""; 0], "NETCTL_SEED={seed}:\n{text}");
        lab.file("drawn.toml", &text);
        lab.netctl(["plan", "drawn.toml"]).success();
        lab.netctl(["down", "x"]).success();
        lab.netctl(["up", "drawn.toml"]).success();
        let difference = difference(&before, &lab.settle(), |_, _| false);
        assert!(difference.is_empty(), "NETCTL_SEED={seed}:\n{difference}\n{drawn}\n{text}");
        lab.netctl(["down", "x"]).success();
        lab.assert_unchanged_since(&start);
    }
}

#[test]
fn places_are_chosen_and_a_cable_out_of_them_is_told() {
    let lab = Lab::quickstart();
    let text = export(&lab, &["-n", "red", "-n", "router"]);
    assert!(text.contains("[namespaces.red]\n[namespaces.router]\n"), "{text}");
    assert!(!text.contains("namespace = \"internet\""), "{text}");
    let told = left(&text);
    assert!(told.contains(&"router: cable `wan0`: it leads to `internet`, which is not chosen"), "{text}");
    assert!(
        told.contains(&"router: cable `veth-blue-br`: it leads to `blue`, which is not chosen"),
        "{text}"
    );
    assert_eq!(lab.netctl(["-n", "red", "export"]).success().stdout(), export(&lab, &["-n", "red"]));
    let missing = lab.netctl(["export", "-n", "nowhere"]).fails(1);
    assert_eq!(
        missing.stderr(),
        "error: there is no namespace `nowhere`\nhint: `netctl ns ls` lists the namespaces\n"
    );
}

#[test]
fn of_the_host_only_that_is_exported_which_hangs_together_with_the_namespaces() {
    let lab = Lab::quickstart();
    let host = |script: &str| drop(lab.host().run("sh", ["-ec", script]).success());
    host(
        "ip link add alone0 type bridge; ip link set alone0 up; ip addr add 192.0.2.1/32 dev alone0
         ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
         ip addr add 198.51.100.2/24 dev up0; ip route add default via 198.51.100.1
         ip rule add from 192.0.2.1 table 7 priority 7",
    );
    let before = export(&lab, &[]);
    assert!(!before.contains("host"), "{before}");
    host(
        "ip link add br-own type bridge; ip link set br-own up; ip addr add 10.0.0.1/24 dev br-own
         ip link add to-red type veth peer name own netns red; ip link set to-red master br-own up
         ip -n red link set own up
         ip route add 10.9.0.0/16 via 10.0.0.2; ip rule add iif br-own table 9 priority 9",
    );
    let text = export(&lab, &[]);
    for part in [
        "[bridges.br-own]\naddresses = [\"10.0.0.1/24\"]\n",
        "red = { addresses = [], interface = \"own\", port = \"to-red\" }\n",
        "namespace = \"host\"\nto = \"10.9.0.0/16\"\nvia = \"10.0.0.2\"\n",
        "namespace = \"host\"\npriority = 9\niif = \"br-own\"\n",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(
        !["alone0", "up0", "198.51.100", "priority = 7"].iter().any(|part| text.contains(part)),
        "{text}"
    );
    let whole = export(&lab, &["-n", HOST]);
    assert!(
        ["alone0", "up0", "198.51.100.1", "priority = 7"].iter().all(|part| whole.contains(part)),
        "{whole}"
    );
}
