//! What `up` makes, as the kernel shows it: links, addresses, routes.

use std::collections::BTreeSet;

use netctl_tests::lab::{Lab, Ns};
use serde_json::Value;

const TOPOLOGY: &str = r#"
name = "office"
[namespaces.red]
[namespaces.blue]
[namespaces.router]

[bridges.zone]
namespace = "router"
addresses = ["10.3.0.1/24"]
mtu = 9000
[bridges.zone.ports]
blue = { mtu = 1400 }
red = {}

[bridges.area]
namespace = "router"
addresses = ["10.2.0.1/24"]
[bridges.area.ports]
red = { port = "area-red", default-route = false }

[[cables]]
a = { namespace = "red", interface = "direct", addresses = ["10.9.0.1/24"], mtu = 2000 }
b = { namespace = "blue", interface = "direct", addresses = ["10.9.0.2/24"], mtu = 3000 }

[[routes]]
namespace = "red"
to = "192.0.2.0/24"
via = "10.9.0.2"

[[routes]]
namespace = "red"
to = "198.51.100.0/24"
via = "10.2.0.1"
"#;

const PLACES: [&str; 3] = ["red", "blue", "router"];

/// One thing of each link but loopback, in the kernel's order.
fn links(place: Ns<'_>, of: impl Fn(&Value) -> String) -> Vec<(String, String)> {
    let links = place.run("ip", ["-d", "-j", "link"]).success().json();
    let links = links.as_array().unwrap().iter().filter(|link| link["link_type"] != "loopback");
    links.map(|link| (link["ifname"].as_str().unwrap().to_owned(), of(link))).collect()
}

fn lab() -> Lab {
    let lab = Lab::new();
    // A machine whose own links are small, which is nothing to the topology.
    lab.host().run("ip", "link add uplink mtu 1280 type veth peer name far".split(' ')).success();
    lab.host().run("ip", "address add 203.0.113.1/24 dev uplink".split(' ')).success();
    lab.host().run("ip", ["link", "set", "uplink", "up"]).success();
    lab.host().run("ip", "route add default via 203.0.113.2".split(' ')).success();
    lab.file("netctl.toml", TOPOLOGY);
    lab.netctl(["up"]).success();
    lab
}

#[test]
fn row_156_links_have_the_files_mtu_and_else_the_kernels() {
    let lab = lab();
    let mtus =
        |place| links(lab.ns(place), |link| link["mtu"].to_string()).into_iter().collect::<BTreeSet<_>>();
    let set = |pairs: &[(&str, &str)]| -> BTreeSet<_> {
        pairs.iter().map(|(name, mtu)| ((*name).to_owned(), (*mtu).to_owned())).collect()
    };
    assert_eq!(mtus("red"), set(&[("eth0", "9000"), ("eth1", "1500"), ("direct", "2000")]));
    assert_eq!(mtus("blue"), set(&[("eth0", "1400"), ("direct", "3000")]));
    let router = [
        ("zone", "9000"),
        ("veth-red-br", "9000"),
        ("veth-blue-br", "1400"),
        ("area", "1500"),
        ("area-red", "1500"),
    ];
    assert_eq!(mtus("router"), set(&router));
    assert_eq!(links(lab.host(), |link| link["mtu"].to_string()).len(), 2, "of the host nothing");

    // Nothing of it is the kernel's own choice, to be changed by the next `up`.
    lab.netctl(["plan"]).success();

    // Another one in the file, in place; a port that is smaller still, and comes later.
    let index = links(lab.ns("red"), |link| link["ifindex"].to_string());
    let later = TOPOLOGY.replace("mtu = 9000", "mtu = 4000").replace("mtu = 2000", "mtu = 2500");
    let later = later.replace("red = {}", "red = {}\ngreen = { mtu = 1300 }");
    lab.file("netctl.toml", later.replace("[namespaces.router]", "[namespaces.green]\n[namespaces.router]"));
    lab.netctl(["up"]).success();
    lab.netctl(["plan"]).success();
    assert_eq!(mtus("red"), set(&[("eth0", "4000"), ("eth1", "1500"), ("direct", "2500")]));
    assert!(mtus("router").contains(&("zone".to_owned(), "4000".to_owned())));
    assert_eq!(links(lab.ns("red"), |link| link["ifindex"].to_string()), index);
}

#[test]
fn row_171_loopbacks_are_up_and_macs_are_distinct_and_the_same_from_run_to_run() {
    let macs = |lab: &Lab| -> Vec<Vec<(String, String)>> {
        PLACES.map(|place| links(lab.ns(place), |link| link["address"].to_string())).into()
    };
    let (one, other) = (lab(), lab());
    for place in PLACES {
        let loopback = one.ns(place).run("ip", ["-j", "address", "show", "lo"]).success().json();
        assert_eq!(loopback[0]["flags"], serde_json::json!(["LOOPBACK", "UP", "LOWER_UP"]), "{place}");
        assert_eq!(loopback[0]["addr_info"].as_array().unwrap().len(), 2, "{place}: 127.0.0.1 and ::1");
    }
    let found = macs(&one);
    let distinct: BTreeSet<_> = found.iter().flatten().map(|(_, mac)| mac).collect();
    assert_eq!(distinct.len(), found.iter().flatten().count(), "{found:?}");
    assert_eq!(found, macs(&other), "on another machine");
    one.netctl(["down"]).success();
    one.netctl(["up"]).success();
    assert_eq!(found, macs(&one), "and again");
}

#[test]
fn row_171_interfaces_and_routes_are_in_the_order_of_the_file() {
    let lab = lab();
    let names =
        |place| links(lab.ns(place), |_| String::new()).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("red"), ["eth0", "eth1", "direct"]);
    assert_eq!(names("blue"), ["eth0", "direct"]);
    assert_eq!(names("router"), ["zone", "area", "veth-blue-br", "veth-red-br", "area-red"]);
    let addresses = |place, link| -> String {
        let shown = lab.ns(place).run("ip", ["-j", "-4", "address", "show", link]).success().json();
        shown[0]["addr_info"][0]["local"].as_str().unwrap().to_owned()
    };
    // The bridges' next free ones.
    assert_eq!((addresses("blue", "eth0"), addresses("red", "eth0")), ("10.3.0.2".into(), "10.3.0.3".into()));
    assert_eq!(addresses("red", "eth1"), "10.2.0.2");
    let routes = lab.ns("red").run("ip", ["route"]).success();
    for route in [
        "default via 10.3.0.1 dev eth0",
        "192.0.2.0/24 via 10.9.0.2 dev direct",
        "198.51.100.0/24 via 10.2.0.1 dev eth1",
    ] {
        assert!(
            routes.stdout().lines().any(|line| line.trim() == format!("{route} proto 110")),
            "{route}: {routes}"
        );
    }
    assert_eq!(routes.stdout().lines().count(), 6, "and those of three subnets: {routes}");
}
