//! Manners on the host: what is found is left as it was, and what others need goes on.

use netctl_tests::lab::{Lab, eventually};

/// A network of its own behind the host, which masquerades it out of an interface that netctl did not make.
const HOSTED: &str = r#"
[namespaces.red]
[bridges.br-NAME]
addresses = ["SUBNET"]
ports.red = { interface = "eth-NAME" }
[[nat.masquerade]]
namespace = "host"
source = "SOURCE"
out = "up0"
"#;

fn hosted(lab: &Lab, name: &str, address: &str, source: &str) {
    let text = HOSTED.replace("NAME", name).replace("SUBNET", address).replace("SOURCE", source);
    lab.file(&format!("{name}.toml"), text.replace("red", &format!("red-{name}")));
}

/// A router beside the host that says so when asked to.
fn advertise(lab: &Lab) {
    const ADVERTISEMENT: &str = "\
        from scapy.all import *; \
        import sys; \
        sendp(Ether(dst='33:33:00:00:00:01') / IPv6(src=sys.argv[1], dst='ff02::1') \
        / ICMPv6ND_RA(routerlifetime=1800), iface='r0', verbose=0)";
    let routers = lab.ns("routers");
    let own = || {
        let shown = routers.run("ip", ["-6", "-o", "address", "show", "dev", "r0", "-tentative"]).success();
        let line = shown.stdout().split_whitespace().find(|word| word.starts_with("fe80")).map(str::to_owned);
        line.and_then(|address| address.split('/').next().map(str::to_owned))
    };
    eventually("the router has an address", || own().is_some());
    // Debian's scapy is for Debian's interpreter.
    routers.run("/usr/bin/python3", ["-c", ADVERTISEMENT, &own().unwrap()]).success();
}

fn value(lab: &Lab, key: &str) -> String {
    lab.host().run("sysctl", ["-n", key]).success().stdout().trim().to_owned()
}

fn has_default_route(lab: &Lab) -> bool {
    lab.host().run("ip", ["-6", "route", "show", "default"]).success().stdout().contains("proto ra")
}

fn with_uplink() -> Lab {
    let lab = Lab::new();
    for words in [
        "netns add routers",
        "link add up0 type veth peer name r0 netns routers",
        "-n routers link set r0 up",
        "link set up0 up",
    ] {
        lab.host().run("ip", words.split(' ')).success();
    }
    lab
}

#[test]
fn the_default_route_that_a_router_advertises_outlives_forwarding() {
    let lab = with_uplink();
    hosted(&lab, "one", "fd15::5/64", "fd15::/64");
    eventually("the host has a default route", || {
        advertise(&lab);
        has_default_route(&lab)
    });
    let keys =
        ["net.ipv6.conf.up0.accept_ra", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.up0.forwarding"];
    let before = keys.map(|key| value(&lab, key));
    assert_eq!(before, ["1", "0", "0"]);

    lab.netctl(["up", "one.toml"]).success();
    assert_eq!(value(&lab, "net.ipv6.conf.all.forwarding"), "1");
    assert!(has_default_route(&lab), "forgotten when forwarding was turned on");
    // And the next advertisement is heeded too.
    lab.host().run("ip", ["-6", "route", "flush", "proto", "ra"]).success();
    eventually("the host hears routers", || {
        advertise(&lab);
        has_default_route(&lab)
    });
    lab.netctl(["plan", "one.toml"]).success();

    lab.netctl(["down", "one"]).success();
    assert_eq!(keys.map(|key| value(&lab, key)), before);
    assert!(has_default_route(&lab), "forgotten when forwarding was turned off");
}

#[test]
fn row_169_a_sysctl_that_two_topologies_want_goes_back_with_the_second() {
    for (first, second) in [("one", "two"), ("two", "one")] {
        let lab = with_uplink();
        hosted(&lab, "one", "10.1.0.1/24", "10.1.0.0/24");
        hosted(&lab, "two", "10.2.0.1/24", "10.2.0.0/24");
        let key = "net.ipv4.ip_forward";
        assert_eq!(value(&lab, key), "0");
        lab.netctl(["up", "one.toml"]).success();
        lab.netctl(["up", "two.toml"]).success();
        assert_eq!(value(&lab, key), "1");
        lab.netctl(["down", first]).success();
        assert_eq!(value(&lab, key), "1", "{second} still needs it");
        lab.netctl(["down", second]).success();
        assert_eq!(value(&lab, key), "0");
    }
}

#[test]
fn links_of_others_stay_whatever_they_are_called() {
    let lab = with_uplink();
    hosted(&lab, "one", "10.1.0.1/24", "10.1.0.0/24");
    for words in [
        "link add br-one2 type bridge",
        "link add veth-mine type veth peer name veth-red-one-b2",
        "link set up0 alias netctl",
    ] {
        lab.host().run("ip", words.split(' ')).success();
    }
    let before = lab.snapshot();
    lab.netctl(["up", "one.toml"]).success();
    lab.netctl(["down", "--all"]).success();
    lab.assert_unchanged_since(&before);
}
