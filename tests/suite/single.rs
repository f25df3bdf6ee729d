//! One route, policy rule, neighbour or link at a time: what `ip` does with the same words, the kernel has from netctl.

use netctl_tests::{lab::Lab, skip};

/// A host with a cable, whose ends are `v0` and `v1`, and a few addresses.
fn wired() -> Lab {
    let lab = Lab::new();
    for words in [
        "link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02",
        "link set v0 up",
        "link set v1 up",
        "address add 10.0.0.1/24 dev v0",
        "address add fd00::1/64 dev v0 nodad",
    ] {
        ip(&lab, words);
    }
    lab
}

#[track_caller]
fn ip(lab: &Lab, words: &str) -> String {
    lab.host().run("ip", words.split(' ')).success().stdout().to_owned()
}

#[track_caller]
fn netctl(lab: &Lab, words: &str) -> String {
    lab.netctl(words.split(' ')).success().stdout().to_owned()
}

/// What `netctl WORDS` fails with.
#[track_caller]
fn refused(lab: &Lab, words: &str, code: i32) -> String {
    lab.netctl(words.split(' ')).fails(code).stderr().to_owned()
}

/// Routes that the kernel has not made by itself, policy rules and set neighbours, as `ip` lists them.
fn look(lab: &Lab) -> String {
    let lists = ["route show table all", "rule", "-6 rule", "neigh show nud permanent"];
    let list = |words: &&str| {
        let mut lines: Vec<String> =
            ip(lab, words).lines().map(|line| format!("{}\n", line.trim_end())).collect();
        lines.retain(|line| !line.contains("proto kernel"));
        // The kernel has neighbours in no order.
        if words.starts_with("neigh") {
            lines.sort();
        }
        lines.concat()
    };
    lists.iter().map(list).collect()
}

/// Carries out lines by `ip` on one machine and by netctl on another, and finds no difference after each.
#[track_caller]
fn same(lines: &[&str]) {
    let (theirs, ours) = (wired(), wired());
    assert_eq!(look(&theirs), look(&ours));
    for line in lines {
        ip(&theirs, line);
        netctl(&ours, line);
        assert_eq!(look(&theirs), look(&ours), "ip's, then netctl's, after `{line}`");
    }
}

#[test]
fn routes_are_those_of_ip() {
    same(&[
        "route add 10.1.0.0/16 via 10.0.0.2",
        "route add 10.2.0.0/16 dev v0 metric 5",
        "route add 10.3.0.0/16 via 203.0.113.9 dev v0 onlink",
        "route add blackhole 10.4.0.0/16",
        "route add unreachable 10.5.0.0/16 metric 9",
        "route add prohibit 10.6.0.0/16 table 100",
        "route add 10.7.0.0/16 via inet6 fe80::9 dev v0",
        "route add default via 10.0.0.2 table 70000",
        "route add fd01::/64 via fe80::9 dev v0",
        "route add fd02::/64 via fd00::9 metric 7 table 100",
        "route add blackhole fd03::/64",
        "-6 route add default dev v0",
        "route replace 10.1.0.0/16 via 10.0.0.3",
        "route replace 10.8.0.0/16 via 10.0.0.3",
        "route replace unreachable 10.1.0.0/16",
        "route replace fd01::/64 via fe80::8 dev v0",
        "route del 10.2.0.0/16",
        "route del 10.3.0.0/16 via 203.0.113.9",
        "route del blackhole 10.4.0.0/16",
        "route del 10.6.0.0/16 table 100",
        "route del fd02::/64 table 100",
        "route delete default table 70000",
        "-6 route del default",
        "route del blackhole fd03::/64",
    ]);
}

#[test]
fn policy_rules_are_those_of_ip() {
    same(&[
        "rule add from 10.0.0.0/24 table 100",
        "rule add to 10.9.0.0/16 lookup 70000",
        "rule add fwmark 0x1/0xff iif v0 priority 50 blackhole",
        "rule add oif v1 prohibit",
        "-6 rule add iif v0 unreachable",
        "-6 rule add from fd00::/64 to fd01::/64 pref 7 table main",
        "rule add from 10.0.0.7",
        "rule del from 10.0.0.0/24",
        "rule del priority 50",
        "rule delete prohibit",
        "-6 rule del iif v0",
        "-6 rule del from fd00::/64 to fd01::/64 pref 7 table main",
    ]);
}

#[test]
fn neighbours_are_those_of_ip() {
    same(&[
        "neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev v0",
        "neigh add fd00::7 lladdr 02:00:00:00:00:08 dev v0 nud permanent",
        "neigh replace 10.0.0.7 lladdr 02:00:00:00:00:09 dev v0",
        "neigh replace 10.0.0.8 lladdr 02:00:00:00:00:09 dev v0",
        "neigh del 10.0.0.7 dev v0",
        "neighbor delete fd00::7 dev v0",
    ]);
}

#[test]
fn a_route_is_taken_away_exactly() {
    let lab = wired();
    for words in [
        "route add 10.9.0.0/16 via 10.0.0.9 proto static metric 5",
        "route append 10.9.0.0/16 via 10.0.0.9 proto 98 metric 5",
        "route add 10.9.0.0/16 via 10.0.0.8 proto 98 metric 7",
        "route add 10.9.0.0/16 via 10.0.0.8 table 100",
        "-6 route add fd09::/64 via fd00::9 metric 7",
        "-6 route add fd09::/64 via fd00::9",
    ] {
        ip(&lab, words);
    }
    let gone = |words: &str, line: &str| {
        let before = look(&lab);
        netctl(&lab, words);
        let after: String =
            before.lines().filter(|seen| *seen != line).map(|line| format!("{line}\n")).collect();
        assert_ne!(after, before, "no `{line}` in {before}");
        assert_eq!(look(&lab), after, "after `{words}`");
    };
    gone("route del fd09::/64 metric 1024", "fd09::/64 via fd00::9 dev v0 metric 1024 pref medium");
    gone("route del 10.9.0.0/16", "10.9.0.0/16 via 10.0.0.9 dev v0 proto static metric 5");
    gone("route del 10.9.0.0/16 metric 7", "10.9.0.0/16 via 10.0.0.8 dev v0 proto 98 metric 7");
    gone("route del 10.9.0.0/16 table 100", "10.9.0.0/16 via 10.0.0.8 dev v0 table 100");
    let error = refused(&lab, "route del blackhole 10.9.0.0/16", 1);
    assert_eq!(
        error,
        "error: delete route blackhole 10.9.0.0/16 on the host: there is no such route\nhint: `netctl route ls` lists them\n"
    );
    let document = lab.netctl(["route", "del", "fd09::/64", "--json"]).success().json();
    assert_eq!(
        document["changes"][0]["text"],
        "delete route fd09::/64 via fd00::9 dev v0 metric 7 on the host"
    );
}

#[test]
fn routes_are_listed_by_table() {
    let lab = wired();
    ip(&lab, "route add prohibit 10.6.0.0/16 table 100");
    let listed = |words: &str| netctl(&lab, words);
    assert!(!listed("route ls").contains("10.6.0.0/16"));
    assert!(listed("route ls table 100").contains("prohibit 10.6.0.0/16"));
    let all = lab.netctl(["route", "ls", "table", "all", "--json"]).success().json();
    let tables: Vec<_> =
        all.as_array().unwrap().iter().map(|route| route["table"].as_u64().unwrap()).collect();
    assert!(tables.is_sorted() && [100, 254, 255].iter().all(|table| tables.contains(table)), "{tables:?}");
    assert!(listed("route ls table local").contains("local 10.0.0.1/32"));
}

#[test]
fn a_rule_that_is_there_is_not_put_in_force_twice() {
    let lab = wired();
    netctl(&lab, "rule add from 10.0.0.0/24 table 100");
    let before = look(&lab);
    assert_eq!(
        refused(&lab, "rule add from 10.0.0.0/24 table 100", 1),
        "error: add policy rule priority 32764 from 10.0.0.0/24 table 100 on the host: there is one already, of priority \
         32765\nhint: with `priority N` it goes beside it\n"
    );
    let twice = refused(&lab, "rule add from 10.0.0.0/24 table 100 priority 32765", 1);
    assert!(twice.ends_with("hint: `netctl rule ls` has it\n"), "{twice}");
    assert_eq!(look(&lab), before);
    let listed = lab.netctl(["rule", "ls", "--json"]).success().json();
    let own = listed.as_array().unwrap().iter().find(|rule| rule["priority"] == 32765).unwrap();
    assert_eq!((&own["from"], &own["table"]), (&"10.0.0.0/24".into(), &100.into()));
    let said = netctl(&lab, "rule ls");
    let row: Vec<&str> = said.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row, ["32765", "ipv4", "10.0.0.0/24", "-", "-", "-", "-", "table", "100", "none"]);
}

#[test]
fn a_rule_that_cannot_be_told_from_others_stays() {
    let lab = wired();
    ip(&lab, "rule add from 10.0.0.0/24 tos 0x10 priority 60 table 100");
    let error = refused(&lab, "rule del priority 60", 1);
    assert!(error.contains("it has conditions that netctl does not know"), "{error}");
    // The kernel takes the first that fits, and no other.
    ip(&lab, "rule add to 10.9.0.0/16 priority 70 table 100");
    ip(&lab, "rule add to 10.7.0.0/16 priority 70 table 100");
    netctl(&lab, "rule del priority 70");
    let left = look(&lab);
    assert!(!left.contains("10.9.0.0/16") && left.contains("10.7.0.0/16"), "{left}");
    assert!(refused(&lab, "rule del from 10.8.0.0/16", 1).contains("there is no such rule"));
}

#[test]
fn what_a_topology_wants_is_taken_by_force_only() {
    let lab = Lab::new();
    let office = "
        [namespaces.red]
        [bridges.br0]
        addresses = ['10.1.0.1/24']
        ports.red = { addresses = ['10.1.0.2/24'] }
        [[routes]]
        namespace = 'red'
        to = '10.9.0.0/16'
        via = '10.1.0.1'
        [[rules]]
        namespace = 'red'
        priority = 100
        from = '10.1.0.0/24'
        table = 7
    ";
    lab.file("office.toml", office);
    netctl(&lab, "up office.toml");
    for words in [
        "-n red route del 10.9.0.0/16",
        "-n red route replace blackhole 10.9.0.0/16",
        "-n red rule del priority 100",
    ] {
        let before = lab.snapshot();
        let error = refused(&lab, words, 1);
        assert!(error.contains("it belongs to the topology `office`"), "{words}: {error}");
        lab.assert_unchanged_since(&before);
        netctl(&lab, &format!("{words} --force"));
        lab.netctl(["plan", "office.toml"]).fails(3);
        netctl(&lab, "down office");
        netctl(&lab, "up office.toml");
    }
    // The same again is nothing.
    netctl(&lab, "-n red route replace 10.9.0.0/16 via 10.1.0.1");
    lab.netctl(["plan", "office.toml"]).success();
    assert!(netctl(&lab, "-n red route ls").contains("netctl"), "whose it is");
}

#[test]
fn a_neighbour_that_the_kernel_knows_is_replaced_and_not_added() {
    let lab = wired();
    netctl(&lab, "neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev v0");
    let error = refused(&lab, "neigh add 10.0.0.7 lladdr 02:00:00:00:00:08 dev v0", 1);
    assert!(
        error.ends_with("hint: the kernel knows it already: `netctl neigh replace` sets it all the same\n"),
        "{error}"
    );
    let replaced =
        lab.netctl("neigh replace 10.0.0.7 lladdr 02:00:00:00:00:08 dev v0 --json".split(' ')).success();
    assert_eq!(replaced.json()["changes"][0]["op"], "replace-neighbour");
    let again =
        lab.netctl("neigh replace 10.0.0.7 lladdr 02:00:00:00:00:08 dev v0 --json".split(' ')).success();
    assert_eq!(again.json()["changes"], serde_json::json!([]));
    assert_eq!(
        refused(&lab, "neigh del 10.0.0.9 dev v0", 1),
        "error: delete neighbour 10.0.0.9 of `v0` on the host: the kernel does not know it\nhint: `netctl neigh ls` lists them\n"
    );
}

#[test]
fn ips_own_words_make_what_ip_makes() {
    let lab = Lab::new();
    for words in [
        "netns add red",
        "link add veth0 type veth peer name eth0 netns red",
        "link add br0 type bridge",
        "link set dev veth0 master br0",
        "link set dev br0 up",
        "-n red link set dev eth0 up",
        "address add 10.0.0.1/24 dev br0",
        "sysctl -w net.ipv4.ip_forward=1",
    ] {
        netctl(&lab, words);
    }
    let there = lab.ns("red").run("ip", ["link", "show", "eth0"]).success();
    assert!(there.stdout().contains("eth0@"), "{there}");
    assert!(ip(&lab, "link show master br0").contains("veth0"));
    assert!(netctl(&lab, "-br link show").contains("veth0"));
    assert_eq!(lab.ns("red").run("ip", ["netns", "identify"]).success().stdout(), "red\n");
    assert_eq!(netctl(&lab, "netns exec red cat /proc/sys/net/ipv4/ip_forward"), "0\n");
    assert_eq!(netctl(&lab, "sysctl net.ipv4.ip_forward"), "net.ipv4.ip_forward = 1\n");
    assert!(netctl(&lab, "route flush cache").contains("kernels since 3.6"));
    assert_eq!(netctl(&lab, "route flush cache -q"), "");
    assert_eq!(
        refused(&lab, "-n red route add default gw 10.0.0.1", 2),
        "error: netctl does not know `route add default gw 10.0.0.1`\nhint: type `netctl -n red route add default via 10.0.0.1`\n"
    );
    netctl(&lab, "link rm dev veth0");
    netctl(&lab, "netns delete red");
}

#[test]
fn a_dummy_and_a_vlan_are_made_and_deleted() {
    let lab = wired();
    let tried = lab.host().run("ip", ["link", "add", "d9", "type", "dummy"]);
    if tried.stderr().contains("Unknown device type") {
        let error = refused(&lab, "link add dummy d0", 1);
        assert!(error.ends_with("hint: this kernel has no dummies: `modprobe dummy`\n"), "{error}");
        skip!("kernel: no dummies");
    }
    netctl(&lab, "link add dummy d0");
    assert!(ip(&lab, "-d link show d0").contains("dummy"));
    netctl(&lab, "link del d0");
    netctl(&lab, "link add vlan v0.7 link v0 id 7");
    assert!(ip(&lab, "-d link show v0.7").contains("id 7"));
    netctl(&lab, "link del v0.7");
}

#[test]
fn a_vlan_needs_a_parent_that_is_there() {
    let lab = wired();
    assert_eq!(
        refused(&lab, "link add vlan v9.7 link v9 id 7", 1),
        "error: make a VLAN of `v9` on the host: there is no such interface\nhint: did you mean `v1`?\n"
    );
}
