//! Where two want the same of one host: a route or a policy rule that another topology or a person has set, too, and what is beside a link that a failed `up` gives back.

use netctl_tests::lab::{Lab, netctl};

/// A topology behind the host, with what else it wants there.
fn office(name: &str, number: u8, rest: &str) -> String {
    format!(
        "name = '{name}'\n[namespaces.{name}]\n[[cables]]\n\
         a = {{ namespace = 'host', interface = '{name}0', addresses = ['10.4{number}.0.1/24'] }}\n\
         b = {{ namespace = '{name}', interface = 'eth0' }}\n{rest}"
    )
}

const ROUTE: &str = "[[routes]]\nnamespace = 'host'\nto = '10.90.0.0/16'\nvia = '192.168.1.1'\n";
const RULE: &str =
    "[[rules]]\nnamespace = 'host'\npriority = 100\nfrom = '10.90.0.0/16'\ntype = 'unreachable'\n";

/// A host with a neighbour at 192.168.1.1.
fn host() -> Lab {
    let lab = Lab::new();
    let set = "ip link add lan0 type bridge && ip link set lan0 up && ip addr add 192.168.1.9/24 dev lan0";
    lab.host().run("sh", ["-c", set]).success();
    lab
}

fn up(lab: &Lab, name: &str, number: u8, rest: &str) {
    lab.file(&format!("{name}.toml"), office(name, number, rest));
    lab.netctl(["up", &format!("{name}.toml")]).success();
}

fn has(lab: &Lab, list: &str, text: &str) -> bool {
    lab.host().run("ip", [list]).success().stdout().contains(text)
}

#[test]
fn a_route_that_was_there_is_not_the_topologys() {
    for protocol in ["boot", "static", "99"] {
        let lab = host();
        let add = format!("ip route add 10.90.0.0/16 via 192.168.1.1 protocol {protocol}");
        lab.host().run("sh", ["-c", &add]).success();
        let before = lab.settle();
        up(&lab, "one", 1, ROUTE);
        lab.netctl(["plan", "one.toml"]).success();
        lab.netctl(["down", "one"]).success();
        lab.assert_unchanged_since(&before);
        up(&lab, "one", 1, ROUTE);
        up(&lab, "one", 1, "");
        assert!(has(&lab, "route", "10.90.0.0/16"), "{protocol}");
        lab.netctl(["down", "one"]).success();
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn what_two_topologies_want_goes_with_the_second() {
    let lab = host();
    let before = lab.settle();
    let both = format!("{ROUTE}{RULE}");
    let there = |lab: &Lab| [has(lab, "route", "10.90.0.0/16"), has(lab, "rule", "from 10.90.0.0/16")];
    for (first, second) in [("one", "two"), ("two", "one")] {
        up(&lab, "one", 1, &both);
        up(&lab, "two", 2, &both);
        lab.netctl(["down", first]).success();
        assert_eq!(there(&lab), [true, true], "{second} still wants both");
        let told = lab.netctl(["down", second]).success();
        assert!(told.stdout().contains("2 routes and policy rules of the host"), "{told}");
        assert_eq!(there(&lab), [false, false]);
        lab.assert_unchanged_since(&before);
    }
    // The same where one takes it out of its file.
    up(&lab, "one", 1, &both);
    up(&lab, "two", 2, &both);
    up(&lab, "one", 1, "");
    assert_eq!(there(&lab), [true, true]);
    up(&lab, "two", 2, "");
    assert_eq!(there(&lab), [false, false]);
}

#[test]
fn a_policy_rule_that_the_kernel_could_not_tell_from_anothers_is_refused() {
    let lab = host();
    up(&lab, "one", 1, RULE);
    let before = lab.settle();
    let wider = RULE.replace("from = '10.90.0.0/16'", "family = 'ipv4'");
    lab.file("two.toml", office("two", 2, &wider));
    let refused = lab.netctl(["up", "two.toml"]).fails(1);
    let expected = "add policy rule priority 100 unreachable on the host: another topology has priority 100 from \
                    10.90.0.0/16 unreachable";
    assert!(refused.stderr().contains(expected), "{refused}");
    assert!(refused.stderr().contains("another `priority`"), "{refused}");
    lab.assert_unchanged_since(&before);
    up(&lab, "two", 2, &wider.replace("100", "101"));
    lab.netctl(["down", "two"]).success();
    lab.assert_unchanged_since(&before);
    lab.netctl(["down", "one"]).success();
}

/// Runs `up` of `file` with a failure at each step in turn, and compares.
fn fail_at_each_step(lab: &Lab, file: &str) {
    let before = lab.settle();
    let netctl = netctl();
    let mut failed = 0;
    for step in 1..100 {
        let fatal = format!("NETCTL_FAIL_AT={step}");
        let tried = lab.host().run("env", [&*fatal, &netctl, "-q", "up", file]);
        if tried.code() == Some(0) {
            break;
        }
        failed += 1;
        assert!(!tried.stderr().contains("could not be undone"), "step {step}: {tried}");
        lab.assert_unchanged_since(&before);
    }
    assert!(failed > 0);
}

#[test]
fn a_failed_up_that_forwards_sets_nothing_of_links_that_are_not_its_own() {
    let lab = host();
    lab.file(
        "one.toml",
        office("one", 1, "[[nat.masquerade]]\nnamespace = 'host'\nsource = '10.41.0.0/24'\nout = 'lan0'\n"),
    );
    fail_at_each_step(&lab, "one.toml");
    // The kernel still chooses the bridge's MAC address: the lowest of its ports.
    let plug =
        "ip link add p0 address 02:00:00:00:00:07 type veth peer name p1 && ip link set p0 master lan0";
    lab.host().run("sh", ["-c", plug]).success();
    let there = lab.host().run("ip", ["link", "show", "lan0"]).success();
    assert!(there.stdout().contains("02:00:00:00:00:07"), "{there}");
}

#[test]
fn a_failed_up_brings_back_a_first_address_before_its_others_without_a_word() {
    let lab = Lab::new();
    let file = |addresses: &str| {
        format!(
            "name = 'one'\n[namespaces.red]\n[bridges.br0]\nnamespace = 'red'\naddresses = [{addresses}]\n"
        )
    };
    lab.file("one.toml", file("'10.0.0.1/24', '10.0.0.2/24', '10.0.0.3/24'"));
    lab.netctl(["up", "one.toml"]).success();
    lab.file("one.toml", file("'10.0.0.4/24', '10.0.0.3/24'"));
    fail_at_each_step(&lab, "one.toml");
}

#[test]
fn a_failed_up_gives_a_port_back_with_what_is_set_of_it() {
    let lab = Lab::new();
    let file = |bridge: &str| {
        format!(
            "name = 'one'\n[namespaces.red]\n[bridges.br0]\n[bridges.br1]\n[bridges.{bridge}.ports]\nred = {{ addresses = [], port = 'p0' }}\n"
        )
    };
    lab.file("one.toml", file("br0"));
    lab.netctl(["up", "one.toml"]).success();
    let port = "bridge link set dev p0 isolated on cost 7";
    lab.host().run("sh", ["-c", port]).success();
    lab.file("one.toml", file("br1"));
    fail_at_each_step(&lab, "one.toml");
}

#[test]
fn of_two_routes_that_differ_in_their_metric_the_right_one_goes() {
    let lab = Lab::new();
    let metric = "[[routes]]\nnamespace = 'red'\nto = 'fd90::/16'\nvia = 'fd00::2'\nmetric = 100\n";
    let plain = metric.replace("metric = 100\n", "");
    let file = |routes: &str| {
        format!(
            "name = 'one'\n[namespaces.red]\n[bridges.br0]\nnamespace = 'red'\naddresses = ['fd00::1/64']\n{routes}"
        )
    };
    lab.file("one.toml", file(&format!("{metric}{plain}")));
    lab.netctl(["up", "one.toml"]).success();
    lab.file("one.toml", file(metric));
    lab.netctl(["up", "one.toml"]).success();
    lab.netctl(["plan", "one.toml"]).success();
    let routes = lab.ns("red").run("ip", ["-6", "route", "show", "fd90::/16"]).success();
    assert!(routes.stdout().contains("metric 100") && routes.stdout().lines().count() == 1, "{routes}");
}

#[test]
fn an_address_goes_alone_whoevers_are_behind_it() {
    let lab = Lab::new();
    lab.netctl(["ns", "add", "red"]).success();
    let n = |words: &str| {
        lab.host().run(&netctl(), ["-n", "red"].into_iter().chain(words.split(' '))).success();
    };
    n("link add d0 type bridge");
    for address in ["10.0.0.9/24", "10.0.0.3/24", "10.0.0.4/24"] {
        n(&format!("addr add {address} dev d0"));
    }
    n("addr del 10.0.0.9/24 dev d0");
    let left = lab.ns("red").run("ip", ["addr", "show", "d0"]).success();
    assert!(left.stdout().contains("10.0.0.3/24") && left.stdout().contains("10.0.0.4/24"), "{left}");
}

#[test]
fn a_link_whose_mark_somebody_replaced_is_still_the_topologys() {
    let lab = host();
    up(&lab, "one", 1, "");
    lab.host().run("ip", ["link", "set", "one0", "alias", "mine"]).success();
    let refused = lab.netctl(["link", "del", "one0"]).fails(1);
    assert!(refused.stderr().contains("belongs to the topology `one`"), "{refused}");
}

#[test]
fn a_record_of_a_newer_netctl_is_in_the_way_of_no_listing() {
    let lab = host();
    up(&lab, "one", 1, "");
    lab.host().run("sh", ["-c", "sed -i 's/\"version\":2/\"version\":99/' /run/netctl/one.json"]).success();
    for words in ["export", "nat masquerade ls", "nat stats", "ls"] {
        lab.netctl(words.split(' ')).success();
    }
}
