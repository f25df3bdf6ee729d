//! `netctl nat stats`: what has passed by each rule, and what was dropped.

use netctl_tests::lab::Lab;
use serde_json::{Value, json};

use super::{echo, talk, type_in};

/// The quickstart's router.
#[track_caller]
fn router(lab: &Lab) -> Value {
    let stats = type_in(lab, "--json -n router nat stats").json();
    stats[0].clone()
}

/// The rule of that name.
#[track_caller]
fn rule(stats: &Value, name: &str) -> Value {
    let rules = stats["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("no {name}: {stats}")).clone()
}

const FORWARD: &str = "203.0.113.1:8080/tcp";
const MASQUERADE: &str = "192.168.15.0/24";

#[test]
fn what_has_passed_by_a_rule_is_counted_while_its_flows_live_and_after() {
    let lab = Lab::quickstart();
    let before = router(&lab);
    assert_eq!(before["rules"].as_array().unwrap().len(), 4, "{before}");
    assert_eq!((&before["table"]["flows"], &before["drops"]), (&json!(0), &json!([])));
    assert!(before["table"]["max"].as_u64().unwrap() >= 100_000, "{before}");

    let _servers = [echo(&lab, "internet", "80"), echo(&lab, "blue", "80")];
    let _talkers = [
        talk(&lab, "red", "udp", "4321", ("203.0.113.2", "80")),
        talk(&lab, "red", "tcp", "778", ("203.0.113.1", "8080")),
    ];
    let live = router(&lab);
    let masquerade = rule(&live, MASQUERADE);
    assert_eq!((&masquerade["live"], &masquerade["ended"]), (&json!(1), &json!(0)));
    assert_eq!(masquerade["packets"], json!({ "original": 1, "reply": 1 }));
    assert_eq!(masquerade["bytes"], json!({ "original": 46, "reply": 46 }));
    let hairpin = rule(&live, FORWARD);
    assert_eq!((&hairpin["live"], &hairpin["ended"]), (&json!(1), &json!(0)), "one connection, two flows");
    assert_eq!(live["table"]["flows"], json!(3));
    // SYN, ACK, word and ACK of the answer; SYN-ACK, ACK of the word and the answer.
    let packets = |rule: &Value| rule["packets"]["original"].as_u64().unwrap();
    assert!(packets(&hairpin) >= 3, "{hairpin}");

    type_in(&lab, "nat flush --kind masquerade");
    let ended = rule(&router(&lab), MASQUERADE);
    assert_eq!((&ended["live"], &ended["ended"]), (&json!(0), &json!(1)));
    assert_eq!((&ended["packets"], &ended["bytes"]), (&masquerade["packets"], &masquerade["bytes"]));
    type_in(&lab, "nat flush");
    let ended = rule(&router(&lab), FORWARD);
    assert_eq!((&ended["live"], &ended["ended"]), (&json!(0), &json!(1)));
    assert!(packets(&ended) >= packets(&hairpin), "{ended}");
}

#[test]
fn drops_are_told_by_reason_and_in_words() {
    let lab = Lab::quickstart();
    // Straight to an inside address, which the outside has no business with.
    lab.host()
        .run("ip", ["-n", "internet", "route", "add", "192.168.15.0/24", "via", "203.0.113.1"])
        .success();
    lab.ns("internet").run("ping", ["-c", "2", "-i", "0.2", "-W", "0.3", "192.168.15.1"]).fails(1);
    let stats = router(&lab);
    let drop = json!([{
        "reason": "unsolicited",
        "text": "from outside straight to an inside address",
        "packets": 2,
    }]);
    assert_eq!(stats["drops"], drop);
    let words = type_in(&lab, "nat stats");
    assert!(words.stdout().contains("2 packets: from outside straight to an inside address"), "{words}");
    assert!(words.stdout().starts_with("router  0 of "), "{words}");
    assert!(words.stdout().contains("192.168.15.0/24 out wan0"), "{words}");
}

#[test]
fn where_nothing_is_translated_there_is_nothing_to_tell() {
    let lab = Lab::new();
    assert_eq!(type_in(&lab, "nat stats").stdout(), "no gateway translates addresses\n");
    assert_eq!(type_in(&lab, "--json nat flows").json(), json!([]));
    assert_eq!(type_in(&lab, "nat flush").stdout(), "forgot 0 flows\n");
}
