//! `netctl doctor`: what is in the way, and what to do about it, on machines that are well and on others.

use netctl_tests::{
    lab::{Lab, Output, netctl},
    skip,
};
use serde_json::Value;

use crate::reload::foreign;

/// The findings about something: verdict, text and fix of each.
fn findings(said: &Output<'_>, about: &str) -> Vec<[String; 3]> {
    let document = said.json();
    let sections = document["sections"].as_array().unwrap();
    let section = sections.iter().find(|section| section["about"] == about);
    let all =
        section.unwrap_or_else(|| panic!("nothing about {about}: {said}"))["findings"].as_array().unwrap();
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    all.iter().map(|finding| ["verdict", "text", "fix"].map(|key| word(finding, key))).collect()
}

/// Asserts that one finding has this verdict, and these words in its text and its fix.
#[track_caller]
fn assert_found(said: &Output<'_>, about: &str, [verdict, text, fix]: [&str; 3]) {
    let all = findings(said, about);
    let is_it = |its: &&[String; 3]| its[0] == verdict && its[1].contains(text) && its[2].contains(fix);
    assert!(all.iter().any(|its| is_it(&its)), "no {verdict} `{text}`, `{fix}` in {all:#?}");
}

#[test]
fn a_machine_that_is_well_has_nothing_to_complain_of() {
    let lab = Lab::new();
    let said = lab.netctl(["doctor"]).success();
    for words in ["user\n", "kernel\n", "  ok       Linux ", "JIT", "\nnothing to complain of\n"] {
        assert!(said.stdout().contains(words), "no {words:?} in {said}");
    }
    let said = lab.netctl(["doctor", "--json"]).success();
    assert_eq!(said.json()["verdict"], "ok");
    for (about, text) in [
        ("user", "all capabilities"),
        ("user", "a bpffs is mounted at `/sys/fs/bpf`"),
        ("user", "cgroup v2"),
        ("kernel", "programs load, and are compiled to machine code (JIT)"),
        ("kernel", "bridges and cables can be made"),
    ] {
        assert_found(&said, about, ["ok", text, ""]);
    }
    lab.netctl(["up"]).success();
    let said = lab.netctl(["doctor", "--json"]).success();
    let all = findings(&said, "quickstart");
    assert_eq!(
        all.iter().map(|its| its[1].as_str()).collect::<Vec<_>>(),
        ["as it was made", "nothing of others is in the way of `router`"]
    );
    lab.netctl(["doctor", "office"]).fails(1);
}

#[test]
fn what_is_no_longer_as_it_was_made_is_a_problem() {
    let lab = Lab::quickstart();
    lab.ns("router").run("ip", ["link", "set", "wan0", "down"]).success();
    lab.ns("blue").run("ip", ["route", "del", "default"]).success();
    lab.ns("router").run("sysctl", ["-q", "net.ipv4.ip_forward=0"]).success();
    let said = lab.netctl(["doctor", "quickstart", "--json"]).fails(3);
    assert_eq!(said.json()["verdict"], "problem");
    for text in [
        "set link `wan0` in namespace `router` up",
        "add route default via 192.168.15.5 in namespace `blue`",
        "set sysctl `net.ipv4.ip_forward` to `1` in namespace `router`",
    ] {
        assert_found(&said, "quickstart", ["problem", text, "`netctl up` again"]);
    }
    let said = lab.netctl(["doctor"]).fails(3);
    assert_eq!(said.stdout().matches("`netctl up` again").count(), 1, "{said}");
    lab.netctl(["up"]).success();
    lab.netctl(["doctor"]).success();
    lab.netctl(["down"]).success();
    let half = lab.host().run("env", ["NETCTL_KILL_AT=5", &netctl(), "up"]);
    assert_eq!(half.code(), None, "{half}");
    let said = lab.netctl(["doctor", "--json"]).fails(3);
    assert_found(&said, "quickstart", ["problem", "a command was killed", "or `netctl down quickstart`"]);
}

#[test]
fn a_filter_that_drops_all_is_a_problem_and_one_with_exceptions_a_warning() {
    let lab = Lab::quickstart();
    let iptables = |words: &str| drop(lab.ns("router").run("iptables", words.split(' ')).success());
    iptables("-P FORWARD DROP");
    let said = lab.netctl(["doctor", "--json"]).fails(3);
    let fix = "netctl exec router -- iptables -P FORWARD ACCEPT";
    assert_found(&said, "quickstart", ["problem", "`router` forwards nothing: chain `FORWARD`", fix]);
    iptables("-A FORWARD -s 192.168.15.0/24 -j ACCEPT");
    let said = lab.netctl(["doctor", "--json"]).success();
    assert_found(&said, "quickstart", ["warning", "forwards nothing that no rule accepts", fix]);
    let words = fix.strip_prefix("netctl ").unwrap().split(' ');
    lab.netctl(words).success();
    lab.netctl(["doctor"]).success();
}

#[test]
fn filters_of_every_kind_are_named_with_their_remedy() {
    let lab = Lab::quickstart();
    for (command, chain, fix) in [
        (
            "iptables-legacy -P FORWARD DROP",
            "chain `FORWARD` of table `ip filter`",
            "netctl exec router -- iptables-legacy -P FORWARD ACCEPT",
        ),
        (
            "ip6tables -P FORWARD DROP",
            "chain `FORWARD` of table `ip6 filter`",
            "netctl exec router -- ip6tables -P FORWARD ACCEPT",
        ),
        (
            "nft 'table inet fw { chain onward { type filter hook forward priority 0; policy drop; }; }'",
            "chain `onward` of table `inet fw`",
            "netctl exec router -- nft 'chain inet fw onward { policy accept; }'",
        ),
    ] {
        lab.ns("router").run("sh", ["-c", command]).success();
        let said = lab.netctl(["doctor", "--json"]).fails(3);
        assert_found(&said, "quickstart", ["problem", &format!("forwards nothing: {chain}"), fix]);
        let fix = fix.replacen("netctl", &netctl(), 1);
        lab.host().run("sh", ["-c", &fix]).success();
        lab.netctl(["doctor"]).success();
    }
}

#[test]
fn strict_reverse_paths_held_ports_and_programs_of_others_are_warned_of() {
    let lab = Lab::quickstart();
    let router = lab.ns("router");
    router.run("sysctl", ["-q", "net.ipv4.conf.wan0.rp_filter=1"]).success();
    let _server = router.serve(8080, "python3", ["-m", "http.server", "8080"]);
    foreign::surround(&lab, "router", "wan0");
    let said = lab.netctl(["doctor", "--json"]).success();
    assert_eq!(said.json()["verdict"], "warning");
    let fix = "netctl -n router sysctl set net.ipv4.conf.all.rp_filter=2";
    for finding in [
        ["warning", "`wan0` of `router`: strict reverse path filter", fix],
        ["warning", "tcp port 8080 is held by `python3`", "another port"],
        ["warning", "program `foreign` of somebody else at the ingress of `wan0` of `router`", "bpftool"],
        ["warning", "program `foreign` of somebody else at the egress of `wan0` of `router`", "bpftool"],
    ] {
        assert_found(&said, "quickstart", finding);
    }
    lab.netctl(fix.strip_prefix("netctl ").unwrap().split(' ')).success();
    let said = lab.netctl(["doctor"]).success();
    assert!(!said.stdout().contains("reverse path"), "{said}");
}

#[test]
fn a_gateway_made_by_hand_is_looked_at_too() {
    let lab = Lab::new();
    for line in [
        "ns add gateway",
        "-n gateway link add bridge lan0",
        "-n gateway link add bridge wan0",
        "-n gateway addr add 10.0.0.1/24 dev lan0",
        "-n gateway addr add 203.0.113.1/24 dev wan0",
        "-n gateway nat masquerade add --source 10.0.0.0/24 --out wan0",
    ] {
        lab.netctl(line.split(' ')).success();
    }
    let about = "gateways made by hand";
    let said = lab.netctl(["doctor", "--json"]).success();
    assert_found(&said, about, ["ok", "nothing of others is in the way of `gateway`", ""]);
    lab.ns("gateway").run("sysctl", ["-q", "net.ipv4.ip_forward=0"]).success();
    let said = lab.netctl(["doctor", "--json"]).fails(3);
    let fix = "netctl -n gateway sysctl set net.ipv4.ip_forward=1";
    assert_found(&said, about, ["problem", "net.ipv4.ip_forward of `gateway` is 0", fix]);
}

#[test]
fn a_subnet_that_the_host_has_is_told_before_it_is_brought_up() {
    let lab = Lab::new();
    let file =
        lab.file("office.toml", "[namespaces.a]\n[bridges.lan]\naddresses = ['10.0.0.1/24']\nports.a = {}");
    let file = file.to_str().unwrap();
    let said = lab.netctl(["doctor", file, "--json"]).success();
    assert_found(&said, "office", ["ok", "nothing is in its way", ""]);
    for words in ["link add vpn up type bridge", "address add 10.0.0.9/16 dev vpn"] {
        lab.host().run("ip", words.split(' ')).success();
    }
    let said = lab.netctl(["doctor", file, "--json"]).fails(3);
    assert_found(&said, "office", ["problem", "put 10.0.0.0/24 on the host (`lan`): it overlaps", "/24"]);
}

#[test]
fn without_rights_the_rights_are_the_problem() {
    let lab = Lab::quickstart();
    let netctl = netctl();
    let words = ["--bounding-set", "-all", "--inh-caps", "-all", &netctl, "doctor", "--json"];
    let said = lab.host().run("setpriv", words).fails(3);
    assert_found(
        &said,
        "user",
        ["problem", "no CAP_NET_ADMIN, no CAP_NET_RAW, no CAP_SYS_ADMIN, no CAP_BPF", "sudo"],
    );
    assert_found(&said, "kernel", ["warning", "was not tried", "sudo"]);
}

#[test]
fn more_neighbours_than_the_kernel_has_room_for_are_told_by_up_and_doctor_with_the_sysctl() {
    let lab = Lab::new();
    let limit = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 4096 {
        skip!("the machine has room for {limit} neighbours");
    }
    let addresses: Vec<String> =
        (0..=limit).map(|n| format!("'10.0.{}.{}/16'", n / 200 + 1, n % 200 + 1)).collect();
    let text = format!(
        "name = 'crowd'\n[namespaces.gate]\n[namespaces.many]\n[namespaces.out]\n\
         [bridges.br0]\nnamespace = 'gate'\naddresses = ['10.0.0.1/16']\n[bridges.br0.ports]\n\
         many = {{ addresses = [{}] }}\n\
         [[cables]]\na = {{ namespace = 'gate', interface = 'wan', addresses = ['192.0.2.1/24'] }}\n\
         b = {{ namespace = 'out', interface = 'eth0', addresses = ['192.0.2.2/24'] }}\n\
         [[nat.masquerade]]\nnamespace = 'gate'\nsource = '10.0.0.0/16'\nout = 'wan'\n",
        addresses.join(", ")
    );
    lab.file("crowd.toml", text);
    let up = lab.netctl(["up", "crowd.toml"]).success();
    let neighbours = format!("warning: `gate` has {} IPv4 neighbours", limit + 2);
    assert!(up.stderr().starts_with(&neighbours), "{up}");
    assert!(up.stderr().contains("`sysctl -w net.ipv4.neigh.default.gc_thresh3="), "{up}");
    let said = lab.netctl(["doctor", "crowd", "--json"]).success();
    assert_found(&said, "crowd", ["warning", "the kernel's neighbour table holds", "gc_thresh3="]);
}
