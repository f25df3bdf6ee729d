//! Golden texts, and that what was written is known again in what the tools list.

use super::*;
use crate::spec::QUICKSTART;

/// A gateway with everything that rules can say.
const ALL: &str = r#"
name = "a-network-with-a-long-name"
[namespaces.red]
[namespaces.router]
[namespaces.internet]
[bridges.br0]
namespace = "router"
addresses = ["10.0.0.5/24", "10.1.0.5/24", "fd15::5/64"]
[bridges.br0.ports]
red = { addresses = ["10.0.0.1/24", "fd15::1/64"] }
[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24", "2001:db8::1/64"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24", "2001:db8::2/64"] }
[[nat.masquerade]]
namespace = "router"
source = "10.0.0.0/8"
out = "wan0"
[[nat.masquerade]]
namespace = "router"
source = "10.0.0.0/24"
out = "wan0"
address = "203.0.113.1"
ports = "20000-29999"
routed = true
[[nat.masquerade]]
namespace = "router"
source = "fd15::/64"
out = "wan0"
address = "2001:db8::1"
ports = "20000-29999"
routed = true
[[nat.forward]]
namespace = "router"
listen = "8000-8002/tcp"
to = "10.0.0.1:80"
[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:9000-9009/udp"
to = "10.0.0.1"
allow = ["198.51.100.0/24", "192.0.2.1"]
[[nat.forward]]
namespace = "router"
listen = "8000-8002/udp"
to = "[fd15::1]:80"
"#;

fn topology(text: &str, backend: &str) -> Topology {
    let text = format!("{text}\n[nat]\nbackend = \"{backend}\"\n");
    Topology::parse(&text, "f", "f".parse().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// The rules of the only gateway.
fn rules(text: &str, backend: &str) -> BTreeMap<Tool, Rules> {
    let mut wanted = wanted(&topology(text, backend));
    assert_eq!(wanted.len(), 1);
    wanted.pop_first().unwrap().1
}

/// What the tool is told to begin with, the marks left out.
fn golden(text: &str, backend: &str, tool: Tool) -> String {
    let mut said = tool.transaction(&Rules::default(), &rules(text, backend)[&tool]);
    while let Some(at) = said.find(MARK) {
        let quoted = said[..at].rfind(" -m comment").or(said[..at].rfind(" comment")).unwrap();
        said.replace_range(quoted..=at + MARK.len() + MARK_DIGITS, "");
    }
    said
}

#[test]
fn the_quickstart_by_iptables() {
    let expected = "\
*nat
:netctl-quickstart-out - [0:0]
:netctl-quickstart-post - [0:0]
:netctl-quickstart-pre - [0:0]
-A OUTPUT -j netctl-quickstart-out
-A POSTROUTING -j netctl-quickstart-post
-A PREROUTING -j netctl-quickstart-pre
-A netctl-quickstart-out -d 127.0.0.0/8 -p tcp --dport 8080 -j DNAT --to-destination 192.168.15.2:80
-A netctl-quickstart-out -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 192.168.15.2:80
-A netctl-quickstart-post -s 192.168.15.0/24 -d 192.168.15.2 -m conntrack --ctstate DNAT -j MASQUERADE
-A netctl-quickstart-post -m addrtype --src-type LOCAL -d 192.168.15.2 -m conntrack --ctstate DNAT -j MASQUERADE
-A netctl-quickstart-post -s 192.168.15.0/24 -o wan0 -j MASQUERADE
-A netctl-quickstart-pre -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 192.168.15.2:80
COMMIT
*filter
:netctl-quickstart-fwd - [0:0]
:netctl-quickstart-in - [0:0]
-I FORWARD -j netctl-quickstart-fwd
-I INPUT -j netctl-quickstart-in
-A netctl-quickstart-fwd -s 192.168.15.0/24 -o wan0 -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A netctl-quickstart-fwd -d 192.168.15.0/24 -i wan0 -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A netctl-quickstart-fwd -d 192.168.15.0/24 -i wan0 -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP
-A netctl-quickstart-in ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A netctl-quickstart-in ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP
COMMIT
";
    assert_eq!(golden(QUICKSTART, "iptables", Tool::Iptables), expected);
    let expected = "\
*nat
:netctl-quickstart-out - [0:0]
:netctl-quickstart-post - [0:0]
:netctl-quickstart-pre - [0:0]
-A OUTPUT -j netctl-quickstart-out
-A POSTROUTING -j netctl-quickstart-post
-A PREROUTING -j netctl-quickstart-pre
-A netctl-quickstart-out -d 2001:db8:113::1 -p tcp --dport 8080 -j DNAT --to-destination [fd15::2]:80
-A netctl-quickstart-post -s fd15::/64 -d fd15::2 -m conntrack --ctstate DNAT -j MASQUERADE
-A netctl-quickstart-post -m addrtype --src-type LOCAL -d fd15::2 -m conntrack --ctstate DNAT -j MASQUERADE
-A netctl-quickstart-post -s fd15::/64 -o wan0 -j MASQUERADE
-A netctl-quickstart-pre -d 2001:db8:113::1 -p tcp --dport 8080 -j DNAT --to-destination [fd15::2]:80
COMMIT
*filter
:netctl-quickstart-fwd - [0:0]
-I FORWARD -j netctl-quickstart-fwd
-A netctl-quickstart-fwd -s fd15::/64 -o wan0 -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A netctl-quickstart-fwd -d fd15::/64 -i wan0 -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A netctl-quickstart-fwd -d fd15::/64 -i wan0 -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP
COMMIT
";
    assert_eq!(golden(QUICKSTART, "iptables", Tool::Ip6tables), expected);
}

#[test]
fn all_that_rules_can_say_by_nft() {
    let expected = "\
add table inet T
delete table inet T
add table inet T
add chain inet T forward { type filter hook forward priority 0; policy accept; }
add rule inet T forward ip6 saddr fd15::/64 oifname \"wan0\" ct state invalid,untracked drop
add rule inet T forward ip saddr 10.0.0.0/24 oifname \"wan0\" ct state invalid,untracked drop
add rule inet T forward ip daddr 10.0.0.0/24 iifname \"wan0\" return
add rule inet T forward ip saddr 10.0.0.0/8 oifname \"wan0\" ct state invalid,untracked drop
add rule inet T forward ip daddr 10.0.0.0/8 iifname \"wan0\" ct state invalid,untracked drop
add rule inet T forward ip daddr 10.0.0.0/8 iifname \"wan0\" ct state new ct status & dnat == 0 drop
add chain inet T input { type filter hook input priority 0; policy accept; }
add rule inet T input ip daddr 203.0.113.1 udp dport 9000-9009 ct state new drop
add rule inet T input ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct state invalid,untracked drop
add rule inet T input ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ct state new ct status & dnat == 0 drop
add chain inet T output { type nat hook output priority -100; policy accept; }
add rule inet T output meta nfproto ipv4 fib daddr type local tcp dport 8000-8002 \
    dnat ip to 10.0.0.1 : tcp dport map { 8000 : 80, 8001 : 81, 8002 : 82 }
add rule inet T output ip daddr 127.0.0.0/8 udp dport 9000-9009 dnat ip to 10.0.0.1
add rule inet T output ip daddr 203.0.113.1 udp dport 9000-9009 dnat ip to 10.0.0.1
add rule inet T output ip6 daddr != ::1 fib daddr type local udp dport 8000-8002 \
    dnat ip6 to [fd15::1] : udp dport map { 8000 : 80, 8001 : 81, 8002 : 82 }
add chain inet T postrouting { type nat hook postrouting priority 100; policy accept; }
add rule inet T postrouting ip saddr 10.0.0.0/24 ip daddr 10.0.0.1 ct status dnat masquerade
add rule inet T postrouting ip saddr 10.1.0.0/24 ip daddr 10.0.0.1 ct status dnat masquerade
add rule inet T postrouting fib saddr type local ip daddr 10.0.0.1 ct status dnat masquerade
add rule inet T postrouting ip6 saddr fd15::/64 ip6 daddr fd15::1 ct status dnat masquerade
add rule inet T postrouting fib saddr type local ip6 daddr fd15::1 ct status dnat masquerade
add rule inet T postrouting ip6 saddr fd15::/64 oifname \"wan0\" meta l4proto tcp snat ip6 to [2001:db8::1]:20000-29999
add rule inet T postrouting ip6 saddr fd15::/64 oifname \"wan0\" meta l4proto udp snat ip6 to [2001:db8::1]:20000-29999
add rule inet T postrouting ip6 saddr fd15::/64 oifname \"wan0\" snat ip6 to 2001:db8::1
add rule inet T postrouting ip saddr 10.0.0.0/24 oifname \"wan0\" meta l4proto tcp snat ip to 203.0.113.1:20000-29999
add rule inet T postrouting ip saddr 10.0.0.0/24 oifname \"wan0\" meta l4proto udp snat ip to 203.0.113.1:20000-29999
add rule inet T postrouting ip saddr 10.0.0.0/24 oifname \"wan0\" snat ip to 203.0.113.1
add rule inet T postrouting ip saddr 10.0.0.0/8 oifname \"wan0\" masquerade
add chain inet T prerouting { type nat hook prerouting priority -100; policy accept; }
add rule inet T prerouting meta nfproto ipv4 fib daddr type local tcp dport 8000-8002 \
    dnat ip to 10.0.0.1 : tcp dport map { 8000 : 80, 8001 : 81, 8002 : 82 }
add rule inet T prerouting ip daddr 203.0.113.1 ip saddr 192.0.2.1 udp dport 9000-9009 dnat ip to 10.0.0.1
add rule inet T prerouting ip daddr 203.0.113.1 ip saddr 198.51.100.0/24 udp dport 9000-9009 dnat ip to 10.0.0.1
add rule inet T prerouting meta nfproto ipv6 fib daddr type local udp dport 8000-8002 \
    dnat ip6 to [fd15::1] : udp dport map { 8000 : 80, 8001 : 81, 8002 : 82 }
";
    let table = rules(ALL, "nftables")[&Tool::Nftables].0[0].table.clone();
    assert!(table.starts_with("netctl-a-netwo-"), "{table}");
    assert_eq!(golden(ALL, "nftables", Tool::Nftables).replace(&table, "T"), expected);
}

#[test]
fn a_range_that_is_shifted_is_one_rule_of_iptables_too() {
    let said = golden(ALL, "iptables", Tool::Iptables);
    let rules = said.lines().filter(|line| line.starts_with("-A netctl"));
    let words: Vec<&str> = rules.filter_map(|line| Some(line.split_once("-pre ")?.1)).collect();
    assert_eq!(
        words,
        [
            "-m addrtype --dst-type LOCAL -p tcp --dport 8000:8002 -j DNAT --to-destination 10.0.0.1:80-82/8000",
            "-d 203.0.113.1 -s 192.0.2.1 -p udp --dport 9000:9009 -j DNAT --to-destination 10.0.0.1",
            "-d 203.0.113.1 -s 198.51.100.0/24 -p udp --dport 9000:9009 -j DNAT --to-destination 10.0.0.1",
        ]
    );
}

#[test]
fn the_subnets_of_vlans_and_dummies_are_inside_too() {
    let text = "[namespaces.router]\n[namespaces.internet]\n\
                [[cables]]\na = { namespace = 'router', interface = 'wan0', addresses = ['203.0.113.1/24'] }\n\
                b = { namespace = 'internet', interface = 'eth0', addresses = ['203.0.113.2/24'] }\n\
                [[cables]]\na = { namespace = 'router', interface = 'trunk' }\nb = { namespace = 'internet', interface = 'x' }\n\
                [[links]]\nnamespace = 'router'\ninterface = 'seven'\nkind = 'vlan'\nparent = 'trunk'\nid = 7\n\
                addresses = ['10.0.7.1/24']\n\
                [[links]]\nnamespace = 'router'\ninterface = 'd'\nkind = 'dummy'\naddresses = ['10.0.8.1/24']\n\
                [[nat.masquerade]]\nnamespace = 'router'\nsource = '10.0.0.0/16'\nout = 'wan0'";
    let topology = topology(text, "nftables");
    let insides = insides(&topology, &topology.gateways[0]);
    assert_eq!(insides, ["10.0.7.0/24", "10.0.8.0/24"].map(|net| net.parse().unwrap()));
}

#[test]
fn names_fit_a_chain_and_tell_topologies_apart() {
    for plain in ["office", "sixteen-bytes-xx"] {
        assert_eq!(name(&plain.parse().unwrap()), format!("netctl-{plain}"));
    }
    let [one, two] =
        ["the-office-upstairs", "the-office-downstairs"].map(|text| name(&text.parse().unwrap()));
    assert_ne!(one, two);
    for short in [one, two, name(&"büro".parse().unwrap())] {
        assert!(short.is_ascii() && format!("{short}-post").len() <= 28, "{short}");
    }
}

/// As iptables-nft 1.8.9 lists one forward, among somebody else's rules.
const SAVED: &str = r#"# Generated by iptables-nft-save v1.8.9 (nf_tables)
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:netctl-office-pre - [0:0]
:netctl-office2-pre - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -j netctl-office-pre
-A PREROUTING -j netctl-office2-pre
-A DOCKER ! -i br-1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
-A netctl-office-pre -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 80 -m comment --comment "netctl:0123456789abcdef" -j DNAT --to-destination 10.0.0.1:80
-A netctl-office2-pre -p udp -j DROP
COMMIT
"#;

#[test]
fn only_the_topologys_own_chains_are_seen_and_known_by_their_marks() {
    let office = "office".parse().unwrap();
    let found = iptables::parse(&office, SAVED);
    assert_eq!(found.0.len(), 2, "{found:?}");
    assert_eq!(found.count(), 1);
    let other_words =
        SAVED.replace("-p tcp -m addrtype --dst-type LOCAL", "-m addrtype --dst-type LOCAL -p tcp");
    assert!(found.is_same(&iptables::parse(&office, &other_words)));
    for (part, instead) in [
        ("netctl:01", "netctl:11"),
        ("-A PREROUTING -j netctl-office-pre\n", ""),
        ("-A netctl-office2-pre", "-A netctl-office-pre -j RETURN\n-A netctl-office2-pre"),
    ] {
        let changed = iptables::parse(&office, &SAVED.replacen(part, instead, 1));
        assert!(!found.is_same(&changed), "{instead}");
    }
}

#[test]
fn rules_of_iptables_end_with_their_chains_and_jumps() {
    let found = iptables::parse(&"office".parse().unwrap(), SAVED);
    assert_eq!(
        Tool::Iptables.transaction(&found, &Rules::default()),
        "*nat\n:netctl-office-pre - [0:0]\n-D PREROUTING -j netctl-office-pre\n-X netctl-office-pre\nCOMMIT\n"
    );
    let again = Tool::Iptables.transaction(&found, &found);
    assert!(!again.contains("PREROUTING"), "the jump stays: {again}");
}

#[test]
fn what_nft_lists_is_known_again() {
    let wanted = rules(ALL, "nftables").remove(&Tool::Nftables).unwrap();
    let office = topology(ALL, "nftables").name;
    let mut listed = format!("table inet {} {{\n", name(&office));
    for chain in wanted.0.iter().rev() {
        listed += &format!("\tchain {} {{\n", chain.name);
        for rule in &chain.rules {
            // Names of priorities, and long maps on several lines.
            let rule =
                rule.replace("priority 100", "priority srcnat").replace(", 8001", ",\n\t\t\t     8001");
            listed += &format!("\t\t{rule}\n");
        }
        listed += "\t}\n\n";
    }
    listed += "}\n";
    let found = nftables::parse(&office, &listed);
    assert!(found.is_same(&wanted), "{found:#?}");
    assert_eq!(found.count_beyond(&wanted), 0);
    let without = listed.replacen(" drop comment \"netctl", " accept comment \"", 1);
    assert!(!nftables::parse(&office, &without).is_same(&wanted));
    let with_a_set = listed.replacen("{\n", "{\n\tset mine {\n\t\ttype ipv4_addr\n\t}\n", 1);
    assert!(nftables::parse(&office, &with_a_set).is_same(&wanted));
    assert_eq!(
        Tool::Nftables.transaction(&found, &Rules::default()).lines().count(),
        2,
        "the table is deleted, and added before so that it is there"
    );
}
