//! The FORWARD chain of somebody else's packet filter, which what is translated has to pass as well.

use netctl_tests::lab::Lab;
use serde_json::{Value, json};

use super::type_in;

/// What `netctl show` knows of filters at the router.
#[track_caller]
fn filters(lab: &Lab) -> Value {
    let shown = type_in(lab, "--json show").json();
    let places = shown["places"].as_array().unwrap();
    places.iter().find(|place| place["name"] == "router").unwrap()["nat"][0]["filters"].clone()
}

/// What is told of a chain, with or without rules.
fn with(mut told: Value, has_rules: bool) -> Value {
    told["has_rules"] = has_rules.into();
    told
}

#[test]
fn show_tells_why_nothing_passes_and_what_lets_it() {
    for (blocks, told, exception, remedy) in [
        (
            "iptables -P FORWARD DROP",
            json!({ "kind": "nftables", "family": "ip", "table": "filter", "chain": "FORWARD" }),
            "iptables -A FORWARD -j ACCEPT",
            "netctl exec router -- iptables -P FORWARD ACCEPT",
        ),
        (
            "iptables-legacy -P FORWARD DROP",
            json!({ "kind": "iptables", "family": "ip", "table": "filter", "chain": "FORWARD" }),
            "iptables-legacy -A FORWARD -j ACCEPT",
            "netctl exec router -- iptables-legacy -P FORWARD ACCEPT",
        ),
        (
            "nft add table inet fw ; nft add chain inet fw out '{ type filter hook forward priority 0; policy drop; }'",
            json!({ "kind": "nftables", "family": "inet", "table": "fw", "chain": "out" }),
            "nft add rule inet fw out accept",
            "netctl exec router -- nft 'chain inet fw out { policy accept; }'",
        ),
    ] {
        let lab = Lab::quickstart();
        let ping = || lab.ns("red").run("ping", ["-c", "1", "-W", "1", "203.0.113.2"]).code();
        assert_eq!((filters(&lab), type_in(&lab, "show").stderr()), (json!([]), ""), "{blocks}");
        lab.ns("router").run("sh", ["-c", blocks]).success();
        assert_eq!(ping(), Some(1), "{blocks}");
        assert_eq!(filters(&lab), json!([with(told.clone(), false)]), "{blocks}");
        let shown = type_in(&lab, "show");
        assert!(shown.stderr().starts_with("warning: `router` forwards nothing"), "{shown}");
        assert!(shown.stderr().contains(&format!("`{remedy}` lets it through")), "{shown}");

        lab.ns("router").run("sh", ["-c", exception]).success();
        assert_eq!(filters(&lab), json!([with(told, true)]), "{blocks}, with an exception");
        assert_eq!(ping(), Some(0), "{blocks}, with an exception");
        let script = format!("netctl() {{ {} \"$@\"; }}; {remedy}", netctl_tests::lab::netctl());
        lab.host().run("bash", ["-c", &script]).success();
        assert_eq!((ping(), filters(&lab)), (Some(0), json!([])), "{blocks}");
    }
}

#[test]
fn what_filters_drop_of_the_other_family_or_on_other_ways_is_not_told() {
    let lab = Lab::new();
    lab.file(
        "netctl.toml",
        "[namespaces.six]\n[bridges.lan0]\nnamespace = 'six'\naddresses = ['fd01::1/64']\n[bridges.wan0]\n\
         namespace = 'six'\n[[nat.masquerade]]\nnamespace = 'six'\nsource = 'fd01::/64'\nout = 'wan0'\n",
    );
    type_in(&lab, "up");
    for command in ["iptables -P FORWARD DROP", "ip6tables -P INPUT DROP", "iptables-legacy -P FORWARD DROP"]
    {
        lab.ns("six").run("sh", ["-c", command]).success();
        assert_eq!(type_in(&lab, "show").stderr(), "", "{command}");
    }
    for command in ["ip6tables", "ip6tables-legacy"] {
        lab.ns("six").run(command, ["-P", "FORWARD", "DROP"]).success();
    }
    let shown = type_in(&lab, "show");
    assert_eq!(shown.stderr().lines().count(), 2, "{shown}");
    assert!(shown.stderr().contains("ip6tables-legacy -P FORWARD ACCEPT"), "{shown}");
}
