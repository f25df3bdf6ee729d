//! `netctl show`: what is there, what it is about, and what is no longer as it was made.

use netctl_tests::{
    lab::{Lab, Output, eventually, netctl},
    skip,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[track_caller]
fn has_lines(said: &Output<'_>, lines: &[&str]) {
    for line in lines {
        assert!(said.stdout().lines().any(|its| its == *line), "no line {line:?} in {said}");
    }
}

/// The place of that name in a document of `show`.
fn place<'a>(document: &'a Value, name: &str) -> &'a Value {
    let places = document["places"].as_array().unwrap();
    places.iter().find(|place| place["name"] == name).unwrap_or_else(|| panic!("no {name} in {document}"))
}

fn mac(lab: &Lab, place: &str, link: &str) -> String {
    let shown = lab.ns(place).run("ip", ["-j", "link", "show", link]).success().json();
    shown[0]["address"].as_str().unwrap().to_owned()
}

#[test]
fn a_topology_is_told_in_full_within_80_columns() {
    let lab = Lab::quickstart();
    lab.ns("red").run("ping", ["-c", "3", "-i", "0.1", "-W", "5", "203.0.113.2"]).success();
    let said = lab.netctl(["show"]).success();
    let red = mac(&lab, "red", "eth0");
    has_lines(
        &said,
        &[
            "quickstart is up, as it was made",
            "red",
            &format!("  eth0       up  {red}  to router:veth-red-br"),
            "             192.168.15.1/24  fd15::1/64",
            "  route      default via 192.168.15.5",
            &format!(
                "  veth-red-br   up  {}  to red:eth0, port of v-net-0",
                mac(&lab, "router", "veth-red-br")
            ),
            &format!("                learned {red}"),
            "  sysctl        net.ipv4.ip_forward = 1",
            "  masquerade    192.168.15.0/24 out wan0",
            "  masquerade    fd15::/64 out wan0                          no flows",
            "  forward       203.0.113.1:8080/tcp to 192.168.15.2:80     no flows",
        ],
    );
    assert!(said.stdout().contains("1 live and 0 ended flows, 3/3 packets, "), "{said}");
    assert!(said.stdout().contains("1 of 131072 flows; packets: "), "{said}");
    for line in said.stdout().lines() {
        assert!(line.chars().count() <= 80, "{line:?} is too long");
    }
}

#[test]
fn the_document_has_it_all() {
    let lab = Lab::quickstart();
    lab.ns("red").run("ping", ["-c", "3", "-i", "0.1", "-W", "5", "203.0.113.2"]).success();
    let document = lab.netctl(["show", "--json"]).success().json();
    assert_eq!((&document["version"], &document["name"]), (&json!(1), &json!("quickstart")));
    assert_eq!(
        (&document["complete"], &document["drift"], &document["conflict"]),
        (&json!(true), &json!([]), &Value::Null)
    );
    let names: Vec<_> = document["places"].as_array().unwrap().iter().map(|place| &place["name"]).collect();
    assert_eq!(names, ["red", "blue", "router", "internet"]);
    let router = place(&document, "router");
    let port = &router["links"][1];
    assert_eq!(
        (&port["name"], &port["state"], &port["master"]),
        (&json!("veth-red-br"), &json!("up"), &json!("v-net-0"))
    );
    assert_eq!((&port["peer"]["place"], &port["peer"]["interface"]), (&json!("red"), &json!("eth0")));
    assert_eq!(port["learned"], json!([mac(&lab, "red", "eth0")]));
    let nat = &router["nat"][0];
    let masquerade = &nat["masquerades"][0];
    let counters = ["live", "ended", "packets"].map(|key| masquerade[key].clone());
    assert_eq!(counters, [json!(1), json!(0), json!({ "original": 3, "reply": 3 })], "{masquerade}");
    assert_eq!(
        (&nat["backend"], &nat["topology"], &nat["drops"]),
        (&json!("ebpf"), &json!("quickstart"), &json!([]))
    );
    let paths = ["kernel", "shortcut"].map(|path| nat["paths"][path].as_u64().unwrap());
    assert_eq!(paths.iter().sum::<u64>(), 6, "{nat}");
    let route = &place(&document, "red")["routes"][0];
    assert_eq!((&route["to"], &route["via"]), (&json!("default"), &json!("192.168.15.5")));
    let neighbours = place(&document, "red")["neighbours"].as_array().unwrap();
    assert!(neighbours.iter().any(|its| its["address"] == "192.168.15.5"), "{neighbours:?}");
}

#[test]
fn a_namespace_or_a_link_can_be_shown_alone() {
    let lab = Lab::quickstart();
    for words in ["router", "-n router"] {
        let said = lab.netctl(["show"].into_iter().chain(words.split(' '))).success();
        has_lines(
            &said,
            &["router of quickstart, as it was made", "  route         203.0.113.0/24 dev wan0 by kernel"],
        );
        assert!(said.stdout().contains("masquerade") && !said.stdout().contains("internet is"), "{said}");
    }
    for words in ["show router:wan0", "-n router show wan0", "show -n router wan0"] {
        let said = lab.netctl(words.split(' ')).success();
        let first = format!("  wan0   up  {}  to internet:eth0, mtu 1500", mac(&lab, "router", "wan0"));
        has_lines(&said, &["router:wan0 of quickstart, as it was made", &first]);
        assert!(!said.stdout().contains("v-net-0") && !said.stdout().contains("masquerade"), "{said}");
    }
    lab.netctl(["ns", "add", "own"]).success();
    lab.netctl("-n own link add bridge br0".split(' ')).success();
    let document = lab.netctl(["show", "own", "--json"]).success().json();
    assert_eq!((&document["name"], &document["drift"]), (&Value::Null, &json!([])));
    assert_eq!(place(&document, "own")["links"][0]["name"], "br0");
    assert_eq!(lab.netctl(["show", "own"]).success().stdout().lines().next(), Some("own"));
    lab.netctl(["show", "host"]).success();
    lab.file(
        "office.toml",
        "[namespaces.a]\n[[cables]]\na = { namespace = 'host', interface = 'lan0' }\n\
         b = { namespace = 'a', interface = 'eth0' }\n",
    );
    lab.netctl(["up", "office.toml"]).success();
    has_lines(&lab.netctl(["show", "host:lan0"]).success(), &["host:lan0 of office, as it was made"]);
    lab.host().run("ip", ["link", "set", "lan0", "down"]).success();
    let said = lab.netctl(["show", "host:lan0"]).success();
    assert!(said.stdout().contains("  set link `lan0` on the host up\n"), "{said}");
}

#[test]
fn what_cannot_be_shown_is_told_with_the_next_step() {
    let lab = Lab::quickstart();
    for (words, error, hint) in [
        (
            "show office",
            "there is neither a topology nor a namespace `office`",
            "`netctl ls` lists the topologies that are up, `netctl ns ls` the namespaces",
        ),
        ("show roter", "there is neither a topology nor a namespace `roter`", "did you mean `router`?"),
        ("show wan0", "there is neither a topology nor a namespace `wan0`", "did you mean `router:wan0`?"),
        (
            "show router:wan",
            "show link `wan` in namespace `router`: there is no such interface",
            "did you mean `wan0`?",
        ),
        ("show -n routr", "open namespace `routr`: there is no such namespace", "did you mean `router`?"),
    ] {
        let said = lab.netctl(words.split(' ')).fails(1);
        assert_eq!(said.stderr(), format!("error: {error}\nhint: {hint}\n"));
    }
    let said = lab.netctl(["show", "--watch", "office"]).fails(2);
    assert!(said.stderr().contains("`netctl show office --watch`"), "{said}");
    lab.netctl(["down"]).success();
    let said = lab.netctl(["show"]).fails(1);
    assert!(said.stderr().contains("`netctl up FILE` brings one up"), "{said}");
}

#[test]
fn drift_is_named_in_its_place_and_gone_after_up() {
    for (hand, place, line, change) in [
        (
            "ip -n router link set wan0 down",
            "router",
            "  ~  set link `wan0` in namespace `router` up",
            "modify",
        ),
        (
            "ip -n blue route del default",
            "blue",
            "  +  add route default via 192.168.15.5 in namespace `blue`",
            "add",
        ),
        (
            "ip -n red address del 192.168.15.1/24 dev eth0",
            "red",
            "  +  add address 192.168.15.1/24 to `eth0` in namespace `red`",
            "add",
        ),
        (
            "ip netns exec router sysctl -qw net.ipv4.ip_forward=0",
            "router",
            "  ~  set sysctl `net.ipv4.ip_forward` to `1` in namespace `router`",
            "modify",
        ),
    ] {
        let lab = Lab::quickstart();
        lab.host().run("sh", ["-c", hand]).success();
        let said = lab.netctl(["show"]).success();
        has_lines(&said, &["quickstart is up, not as it was made; `netctl up` would", line]);
        let alone = lab.netctl(["show", place]).success();
        has_lines(&alone, &[&format!("{place} of quickstart, not as it was made; `netctl up` would")]);
        assert!(alone.stdout().contains(&line[5..]), "{alone}");
        has_lines(&lab.netctl(["show", "internet"]).success(), &["internet of quickstart, as it was made"]);
        let document = lab.netctl(["show", "--json"]).success().json();
        assert_eq!(document["drift"][0]["change"], change, "{hand}");
        assert_eq!(document["drift"][0]["text"], line[5..], "{hand}");
        lab.netctl(["up"]).success();
        has_lines(&lab.netctl(["show"]).success(), &["quickstart is up, as it was made"]);
    }
}

#[test]
fn what_others_administer_is_told_from_what_is_the_topologys() {
    let lab = Lab::new();
    let file = lab.file(
        "policy.toml",
        "[namespaces.a]\n[namespaces.b]\n[[cables]]\n\
         a = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24'] }\n\
         b = { namespace = 'b', interface = 'x', addresses = ['10.0.0.2/24'] }\n\
         [[routes]]\nnamespace = 'a'\nto = 'default'\nvia = '10.0.0.2'\ntable = 7\nmetric = 20\n\
         [[routes]]\nnamespace = 'a'\nto = '10.9.0.0/16'\ntype = 'blackhole'\n\
         [[routes]]\nnamespace = 'a'\nto = 'fd09::/16'\ntype = 'prohibit'\n\
         [[rules]]\nnamespace = 'a'\npriority = 9\nfrom = '10.0.0.0/24'\nfwmark = '0x1/0xff'\ntable = 7\n\
         [[rules]]\nnamespace = 'a'\npriority = 9\nto = 'fd00::/8'\ntype = 'unreachable'",
    );
    lab.netctl(["up", file.to_str().unwrap()]).success();
    for command in [
        "addr add 10.1.0.1/24 dev x valid_lft 3600 preferred_lft 3600",
        "addr add 10.2.0.1/24 dev x",
        "route add 198.51.100.0/24 via 10.0.0.2 proto dhcp metric 100",
        "rule add priority 50 iif x table main",
    ] {
        lab.ns("a").run("ip", command.split(' ')).success();
    }
    let said = lab.netctl(["show"]).success();
    for line in [
        "10.0.0.1/24 10.1.0.1/24 (foreign, for a time)",
        "10.2.0.1/24 (foreign)",
        "route blackhole 10.9.0.0/16",
        "route 198.51.100.0/24 via 10.0.0.2 metric 100 by dhcp (foreign)",
        "route prohibit fd09::/16",
        "route default via 10.0.0.2 metric 20 table 7",
        "rule priority 9 from 10.0.0.0/24 fwmark 0x1/0xff table 7",
        "rule priority 50 iif x table main (foreign)",
        "rule -6 priority 9 to fd00::/8 unreachable",
    ] {
        let is_it = |said: &str| said.split_whitespace().eq(line.split(' '));
        assert!(said.stdout().lines().any(is_it), "no line {line:?} in {said}");
    }
    assert!(!said.stdout().contains("32766"), "the kernel's own go without saying: {said}");
    let alone = lab.netctl(["show", "a"]).success();
    assert!(alone.stdout().contains("blackhole 10.9.0.0/16 by netctl\n"), "{alone}");
    assert!(alone.stdout().contains("priority 32766 table main by kernel\n"), "{alone}");
    let document = lab.netctl(["show", "--json"]).success().json();
    let a = place(&document, "a");
    let words = |list: &str, key: &str| -> Vec<Value> {
        a[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|its| json!([its[key], its["protocol"], its["foreign"]]))
            .collect()
    };
    assert!(words("rules", "priority").contains(&json!([9, "netctl", false])), "{a}");
    assert!(words("rules", "priority").contains(&json!([50, "none", true])), "{a}");
    assert!(words("routes", "to").contains(&json!(["198.51.100.0/24", "dhcp", true])), "{a}");
    assert!(words("routes", "to").contains(&json!(["default", "netctl", false])), "{a}");
    let addresses = a["links"][0]["addresses"].as_array().unwrap();
    let own: Vec<_> = addresses.iter().filter(|its| its["scope"] == "global").collect();
    assert_eq!([&own[0]["foreign"], &own[0]["valid"]], [&json!(false), &Value::Null]);
    assert_eq!(own[1]["foreign"], true);
    assert!(own[1]["valid"].as_u64().unwrap() <= 3600, "{own:?}");
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let after = lab.netctl(["show"]).success();
    assert!(after.stdout().contains("(foreign, for a time)"), "`up` leaves it alone: {after}");
}

#[test]
fn a_vlan_is_shown_with_its_number_and_its_parent() {
    let lab = Lab::new();
    let add = "link add link x name x.7 type vlan id 7";
    lab.host().run("ip", "link add x type veth peer name y".split(' ')).success();
    if lab.host().run("ip", add.split(' ')).code() != Some(0) {
        skip!("this kernel has no VLANs");
    }
    let document = lab.netctl(["show", "host", "--json"]).success().json();
    let links = place(&document, "host")["links"].as_array().unwrap();
    let vlan = links.iter().find(|link| link["name"] == "x.7").unwrap();
    assert_eq!(
        (&vlan["kind"], &vlan["vlan"], &vlan["peer"]["interface"]),
        (&json!("vlan"), &json!(7), &json!("x"))
    );
    let said = lab.netctl(["show", "host:x.7"]).success();
    assert!(said.stdout().contains("vlan 7 of x"), "{said}");
}

#[test]
fn what_differs_is_shown_where_it_is() {
    let lab = Lab::quickstart();
    let router = lab.ns("router");
    router.run("ip", ["link", "set", "wan0", "down"]).success();
    router.run("sysctl", ["-q", "net.ipv4.ip_forward=0", "net.ipv4.conf.v-net-0.rp_filter=1"]).success();
    router.run("ip", ["link", "set", "v-net-0", "mtu", "1400"]).success();
    router.run("ip", ["route", "add", "blackhole", "198.51.100.0/24"]).success();
    lab.host().run("ip", ["netns", "del", "blue"]).success();
    // The kernel takes the cable away in its own time.
    eventually("the cable is gone", || router.run("ip", ["link", "show", "veth-blue-br"]).code() != Some(0));
    let said = lab.netctl(["show"]).success();
    let lines: Vec<Vec<_>> = said.stdout().lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        "blue missing",
        "sysctl net.ipv4.ip_forward = 0, not 1",
        "sysctl net.ipv4.conf.v-net-0.rp_filter = 1: strict",
        "route blackhole 198.51.100.0/24 (foreign)",
    ] {
        assert!(lines.contains(&line.split(' ').collect()), "no line {line:?} in {said}");
    }
    assert!(said.stdout().contains("bridge, mtu 1400\n"), "{said}");
    assert!(said.stdout().lines().any(|line| line.starts_with("  wan0         down  ")), "{said}");
    assert!(said.stdout().lines().any(|line| line.starts_with("  eth0  no-carrier  ")), "{said}");
}

#[test]
fn watching_marks_what_changes_and_ends_when_it_is_gone() {
    let lab = Lab::quickstart();
    let mut watch = lab.start_netctl(["show", "router", "--watch", "0.1"]);
    watch.wait_for("router of quickstart, as it was made");
    lab.ns("router").run("ip", ["link", "set", "wan0", "down"]).success();
    watch.wait_for("* ~             set link `wan0` in namespace `router` up");
    watch.wait_for("* wan0          down");
    lab.netctl(["down"]).success();
    let said = watch.finish().success();
    assert!(said.stdout().ends_with("router has gone\n"), "{said}");
}

#[test]
fn watching_ends_in_good_order_when_asked_to() {
    let lab = Lab::quickstart();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let watch = lab.start_netctl(["show", "--watch", "0.1", "--json"]);
        eventually("two documents", || watch.log().lines().count() > 2);
        watch.signal(signal);
        for line in watch.finish().success().stdout().lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            assert_eq!(document["name"], "quickstart");
        }
    }
}

#[test]
fn a_terminal_gets_its_first_screen_back() {
    let lab = Lab::quickstart();
    let command = format!(
        "stty rows 10 cols 80; timeout --foreground -s INT 1 {} show --watch 0.2; echo; echo after",
        netctl()
    );
    let said = lab.host().run("script", ["-qec", &command, "/dev/null"]).success();
    let (on, off) = (said.stdout().find("\x1b[?1049h").unwrap(), said.stdout().find("\x1b[?1049l").unwrap());
    assert!(on < off && said.stdout()[off..].contains("after"), "{said}");
    let page = said.stdout()[on..off].split("\x1b[J").next().unwrap();
    assert_eq!(page.lines().count(), 10, "{said}");
    assert!(page.contains(" more lines"), "{said}");
}

#[test]
fn the_uplink_of_a_gateway_on_the_host_is_named_also_where_it_is_nobodys_link() {
    let lab = Lab::new();
    for words in
        ["link add eth9 type veth peer name eth8", "addr add 198.51.100.1/24 dev eth9", "link set eth9 up"]
    {
        lab.host().run("ip", words.split(' ')).success();
    }
    let text = "name = 'hosted'\n[namespaces.red]\n[bridges.br9]\naddresses = ['10.2.0.1/24']\n\
                [bridges.br9.ports]\nred = { addresses = ['10.2.0.2/24'] }\n\
                [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.2.0.0/24'\nout = 'eth9'\n";
    lab.file("hosted.toml", text);
    lab.netctl(["up", "hosted.toml"]).success();
    let shown = lab.netctl(["show", "hosted"]).success();
    assert!(shown.stdout().contains("10.2.0.0/24 out eth9"), "{shown}");
}
