//! Links, addresses, routes, neighbours, and the namespaces that they are in.

use netctl_tests::lab::{Lab, eventually};
use serde_json::json;

use super::Monitor;

/// `ip -n PLACE ARGUMENTS`, which succeeds.
#[track_caller]
fn ip(lab: &Lab, place: &str, arguments: &str) {
    lab.ns(place).run("ip", arguments.split(' ')).success();
}

#[test]
fn every_change_of_links_addresses_routes_and_neighbours_is_told_with_what_it_was() {
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "");

    ip(&lab, "red", "link set eth0 down");
    let down = monitor.hear_of("red link changed", &[("/name", json!("eth0")), ("/state", json!("down"))]);
    assert_eq!(down["before"]["state"], json!("up"));
    monitor
        .hear_of("router link changed", &[("/name", json!("veth-red-br")), ("/state", json!("no-carrier"))]);
    // The kernel does not say that these go.
    monitor.hear_of("red route removed", &[("/to", json!("default")), ("/via", json!("192.168.15.5"))]);
    ip(&lab, "red", "link set eth0 up");
    monitor.hear_of("red link changed", &[("/name", json!("eth0")), ("/state", json!("up"))]);

    ip(&lab, "blue", "address add 10.7.7.7/24 dev eth0");
    monitor
        .hear_of("blue address added", &[("/address", json!("10.7.7.7/24")), ("/interface", json!("eth0"))]);
    ip(&lab, "blue", "route add 10.9.0.0/16 via 10.7.7.1");
    monitor.hear_of("blue route added", &[("/to", json!("10.9.0.0/16")), ("/via", json!("10.7.7.1"))]);
    ip(&lab, "blue", "route replace 10.9.0.0/16 via 10.7.7.2");
    let replaced = monitor.hear_of("blue route changed", &[("/to", json!("10.9.0.0/16"))]);
    assert_eq!(
        (&replaced["object"]["via"], &replaced["before"]["via"]),
        (&json!("10.7.7.2"), &json!("10.7.7.1"))
    );
    ip(&lab, "blue", "route delete 10.9.0.0/16");
    monitor.hear_of("blue route removed", &[("/to", json!("10.9.0.0/16")), ("/via", json!("10.7.7.2"))]);
    ip(&lab, "blue", "address delete 10.7.7.7/24 dev eth0");
    monitor.hear_of("blue address removed", &[("/address", json!("10.7.7.7/24"))]);

    lab.ns("blue").run("ping", ["-c", "1", "-W", "5", "192.168.15.5"]).success();
    let learnt = monitor.hear_of("blue neighbour added", &[("/address", json!("192.168.15.5"))]);
    assert!(learnt["object"]["mac"].is_string() && learnt["object"]["interface"] == "eth0", "{learnt}");
    lab.ns("blue").run("ping", ["-c", "1", "-W", "1", "192.168.15.77"]).fails(1);
    let silent = monitor.hear_of("blue neighbour added", &[("/address", json!("192.168.15.77"))]);
    assert_eq!(silent["object"]["mac"], json!(null), "it does not answer");

    let times: Vec<_> =
        monitor.events().iter().map(|event| event["time"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.len() == 27), "{times:?}");
}

#[test]
fn what_was_not_asked_for_is_not_told() {
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "-n red --only address,route");
    for place in ["blue", "red"] {
        ip(&lab, place, "link set eth0 mtu 1400");
        ip(&lab, place, "address add 10.7.7.7/24 dev eth0");
        ip(&lab, place, "route add 10.9.0.0/16 via 10.7.7.1");
    }
    monitor.hear_of("red route added", &[("/to", json!("10.9.0.0/16"))]);
    let others = monitor.those(|event| {
        event["kind"] != "monitor"
            && (event["place"] != "red" || event["kind"] == "link" || event["kind"] == "flow")
    });
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn of_the_host_the_topologys_links_are_told_of_alone() {
    let lab = Lab::new();
    lab.file("netctl.toml", "[namespaces.red]\n[bridges.br0]\naddresses = ['10.1.0.1/24']\nports.red = {}\n");
    lab.netctl(["up"]).success();
    let mut monitor = Monitor::start(&lab, "");
    let ip = |arguments: &str| lab.host().run("ip", arguments.split(' ')).success();
    ip("link add foreign type bridge");
    ip("link set foreign up");
    ip("address add 10.2.0.1/24 dev foreign");
    ip("route add blackhole 10.3.0.0/16");
    ip("address add 10.1.0.9/24 dev br0");
    monitor.hear_of("host address added", &[("/address", json!("10.1.0.9/24"))]);
    let foreign = monitor.those(|event| {
        let text = event.to_string();
        ["foreign", "10.2.0", "10.3.0"].iter().any(|word| text.contains(word))
    });
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn namespaces_that_go_are_let_go_and_those_that_come_are_listened_to() {
    let lab = Lab::quickstart();
    let mut monitor = Monitor::start(&lab, "");
    lab.host().run("ip", ["netns", "delete", "blue"]).success();
    monitor.hear_of("blue namespace removed", &[]);
    // Its cable has gone with it: nobody keeps it.
    monitor.hear_of("router link removed", &[("/name", json!("veth-blue-br"))]);
    lab.netctl(["up"]).success();
    monitor.hear_of("blue namespace added", &[]);
    monitor.hear_of("blue address added", &[("/address", json!("192.168.15.2/24"))]);

    lab.netctl(["down"]).success();
    for place in ["red", "blue", "router", "internet"] {
        monitor.hear(&format!("{place} is gone"), |event| {
            event["kind"] == "namespace" && event["what"] == "removed" && event["place"] == place
        });
    }
    monitor.hear_of("router gateway removed", &[]);
    lab.netctl(["up"]).success();
    monitor.hear_of("router gateway added", &[]);
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
    monitor.hear_of("router flow new", &[("/protocol", json!("icmp"))]);
}

#[test]
fn a_gateway_made_by_hand_is_listened_to_by_its_namespaces_name() {
    let lab = Lab::new();
    for line in [
        "ns add gateway outside",
        "link add veth wan0 gateway eth0 outside",
        "-n gateway addr add 203.0.113.1/24 dev wan0",
        "-n outside addr add 203.0.113.2/24 dev eth0",
        "-n gateway link add bridge lan0",
        "-n gateway addr add 10.0.0.1/24 dev lan0",
        "-n gateway link set wan0 up",
        "-n outside link set eth0 up",
        "-n gateway link set lan0 up",
        "-n outside route add 10.0.0.0/24 via 203.0.113.1",
    ] {
        lab.netctl(line.split(' ')).success();
    }
    let mut monitor = Monitor::start(&lab, "-n gateway");
    assert_eq!(monitor.events()[0]["object"]["topology"], json!(null));
    lab.netctl("-n gateway nat masquerade add --source 10.0.0.0/24 --out wan0".split(' ')).success();
    monitor.hear_of("gateway gateway added", &[]);
    eventually("a packet from outside is dropped, and that is told", || {
        lab.ns("outside").run("ping", ["-c", "1", "-W", "0.2", "10.0.0.7"]).fails(1);
        !monitor.those(|event| event["object"]["reason"] == "unsolicited").is_empty()
    });
    lab.netctl("-n gateway nat masquerade del --source 10.0.0.0/24".split(' ')).success();
    monitor.hear_of("gateway gateway removed", &[]);
}
