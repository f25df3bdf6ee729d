//! Manners on the host: what is found is left as it was, and what others need goes on.

use netctl_tests::lab::{Lab, Ns, eventually};
use nix::sys::signal::Signal;

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

/// An interface's link-local address, once it is known to be nobody else's.
fn link_local(place: Ns<'_>, interface: &str) -> Option<String> {
    let shown = place.run("ip", ["-6", "-o", "address", "show", "dev", interface, "-tentative"]).success();
    let address = shown.stdout().split_whitespace().find(|word| word.starts_with("fe80"))?;
    address.split('/').next().map(str::to_owned)
}

/// A router beside the host that says so when asked to.
fn advertise(lab: &Lab) {
    const ADVERTISEMENT: &str = "\
        from scapy.all import *; \
        import sys; \
        sendp(Ether(dst='33:33:00:00:00:01') / IPv6(src=sys.argv[1], dst='ff02::1') \
        / ICMPv6ND_RA(routerlifetime=1800), iface='r0', verbose=0)";
    let routers = lab.ns("routers");
    eventually("the router has an address", || link_local(routers, "r0").is_some());
    // Debian's scapy is for Debian's interpreter.
    routers.run("/usr/bin/python3", ["-c", ADVERTISEMENT, &link_local(routers, "r0").unwrap()]).success();
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
    eventually("the uplink has an address", || link_local(lab.host(), "up0").is_some());
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

/// Two networks of the host with one uplink, and pings from the second while the first goes.
#[test]
fn row_166_a_network_notices_nothing_when_its_neighbour_at_the_uplink_goes() {
    for (first, second) in [("one", "two"), ("two", "one")] {
        let lab = with_uplink();
        lab.host().run("ip", ["address", "add", "203.0.113.1/24", "dev", "up0"]).success();
        lab.ns("routers").run("ip", ["address", "add", "203.0.113.2/24", "dev", "r0"]).success();
        let before = lab.snapshot();
        hosted(&lab, "one", "10.1.0.1/24", "10.1.0.0/24");
        hosted(&lab, "two", "10.2.0.1/24", "10.2.0.0/24");
        for name in ["one", "two"] {
            lab.netctl(["up", &format!("{name}.toml")]).success();
        }
        let heard = lab.ns("routers").capture("r0");
        let pinging = |name: &str| format!("red-{name}");
        lab.ns(&pinging(first)).run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
        let stays = pinging(second);
        let pings = lab.ns(&stays).start("ping", ["-i", "0.05", "203.0.113.2"]);
        let answered = |more: usize| {
            let before = pings.log().lines().count();
            eventually("pings are answered", || pings.log().lines().count() >= before + more);
        };
        answered(5);
        lab.netctl(["down", first]).success();
        answered(5);
        pings.signal(Signal::SIGINT);
        let pings = pings.finish().success();
        let summary = pings.stdout().lines().find(|line| line.contains("packets transmitted")).unwrap();
        let numbers: Vec<u32> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
        // The last one may have been on its way.
        assert!(numbers[0] - numbers[1] <= 1, "{summary}");
        lab.netctl(["plan", &format!("{second}.toml")]).success();
        for packet in heard.stop().packets() {
            assert!(!packet.src.ip().to_string().starts_with("10."), "{packet:?}");
        }
        lab.netctl(["down", second]).success();
        lab.assert_unchanged_since(&before);
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

#[test]
fn row_103_an_uplink_without_ethernet_frames_is_refused_by_name() {
    let lab = Lab::new();
    let tun = lab.host().run("ip", ["tuntap", "add", "tun0", "mode", "tun"]);
    if tun.stderr().contains("No such device") || tun.stderr().contains("No such file") {
        netctl_tests::skip!("kernel: no tun devices");
    }
    tun.success();
    lab.host().run("ip", ["link", "set", "tun0", "up"]).success();
    lab.host().run("ip", ["addr", "add", "203.0.113.1/24", "dev", "tun0"]).success();
    let before = lab.snapshot();
    let file = lab.file(
        "tunnel.toml",
        "[bridges.br0]\naddresses = ['10.0.0.1/24']\n\
         [[nat.masquerade]]\nnamespace = 'host'\nsource = '10.0.0.0/24'\nout = 'tun0'\n",
    );
    let refused = lab.netctl(["up", file.to_str().unwrap()]).fails(1);
    assert!(refused.stderr().contains("`tun0` carries no Ethernet frames"), "{}", refused.stderr());
    let rule = ["nat", "masquerade", "add", "--source", "10.0.0.0/24", "--out", "tun0"];
    let refused = lab.netctl(rule).fails(1);
    assert!(refused.stderr().contains("`tun0` carries no Ethernet frames (`--out`)"), "{}", refused.stderr());
    lab.assert_unchanged_since(&before);
}

#[test]
fn a_port_is_no_uplink_and_its_bridge_is() {
    let lab = Lab::new();
    for words in
        ["link add br0 type bridge", "link add eth0 type veth peer name eth1", "link set eth0 master br0"]
    {
        lab.host().run("ip", words.split(' ')).success();
    }
    let rule = |out| ["nat", "masquerade", "add", "--source", "10.0.0.0/24", "--out", out];
    let refused = lab.netctl(rule("eth0")).fails(1);
    assert!(
        refused.stderr().contains("`eth0` is a port of bridge `br0` (`--out`)\nhint: use `br0`"),
        "{refused}"
    );
    lab.netctl(rule("br0")).success();
}
