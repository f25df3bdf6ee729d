//! `netctl nat flows`: who talks to whom, as what, by which rule, and how long that lasts.

use netctl_tests::lab::Lab;

use super::{echo, flows, talk, tuple, type_in};

#[test]
fn every_kind_of_flow_is_listed_with_its_tuples_its_rule_and_its_counts() {
    let lab = Lab::quickstart();
    let _servers = [echo(&lab, "internet", "80"), echo(&lab, "blue", "80")];
    let _talkers = [
        talk(&lab, "red", "tcp", "4321", ("203.0.113.2", "80")),
        talk(&lab, "red", "udp", "4321", ("2001:db8:113::2", "80")),
        talk(&lab, "internet", "tcp", "777", ("203.0.113.1", "8080")),
        talk(&lab, "red", "tcp", "778", ("203.0.113.1", "8080")),
    ];
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();

    let all = flows(&lab, "");
    let told: Vec<_> = all
        .iter()
        .map(|flow| {
            let [protocol, state, kind] =
                ["protocol", "state", "kind"].map(|key| flow[key].as_str().unwrap());
            let rule = flow["rule"]["name"].as_str().unwrap();
            let (original, translated) = (tuple(&flow["original"]), tuple(&flow["translated"]));
            format!("{protocol} {state} {kind} {rule}: {original} to {translated}")
        })
        .collect();
    assert_eq!(
        told,
        [
            "icmp answered masquerade 192.168.15.0/24: 192.168.15.1 null 203.0.113.2 null to 203.0.113.1 null \
             203.0.113.2 null",
            "tcp established hairpin 203.0.113.1:8080/tcp: 192.168.15.1 778 203.0.113.1 8080 to 203.0.113.1 778 \
             192.168.15.2 80",
            "tcp established masquerade 192.168.15.0/24: 192.168.15.1 4321 203.0.113.2 80 to 203.0.113.1 4321 \
             203.0.113.2 80",
            "tcp established forward 203.0.113.1:8080/tcp: 203.0.113.2 777 203.0.113.1 8080 to 203.0.113.2 777 \
             192.168.15.2 80",
            "udp answered masquerade fd15::/64: fd15::1 4321 2001:db8:113::2 80 to 2001:db8:113::1 4321 \
             2001:db8:113::2 80",
        ]
    );
    let seconds = [60, 7440, 7440, 7440, 300];
    for (flow, lifetime) in all.iter().zip(seconds) {
        assert_eq!((&flow["gateway"], &flow["topology"]), (&"router".into(), &"quickstart".into()));
        let left = flow["seconds_left"].as_u64().unwrap();
        assert!(left <= lifetime && left + 30 > lifetime, "{flow}");
    }
    // A question and an answer of 4 bytes, from the Ethernet header on, over IPv6 and UDP.
    assert_eq!((&all[4]["packets"]["original"], &all[4]["packets"]["reply"]), (&1.into(), &1.into()));
    assert_eq!((&all[4]["bytes"]["original"], &all[4]["bytes"]["reply"]), (&66.into(), &66.into()));
    assert!(all[0]["original"]["id"].is_u64(), "{}", all[0]);
}

#[test]
fn each_switch_leaves_what_fits_and_people_see_a_table() {
    let lab = Lab::quickstart();
    let _servers = [echo(&lab, "internet", "80"), echo(&lab, "blue", "80")];
    let _talkers = [
        talk(&lab, "red", "tcp", "4321", ("203.0.113.2", "80")),
        talk(&lab, "blue", "udp", "4322", ("203.0.113.2", "80")),
        talk(&lab, "internet", "tcp", "777", ("203.0.113.1", "8080")),
    ];
    let sources = |words: &str| -> Vec<u64> {
        flows(&lab, words).iter().map(|flow| flow["original"]["source_port"].as_u64().unwrap()).collect()
    };
    for (words, expected) in [
        ("", &[4321, 777, 4322][..]),
        ("-n router", &[4321, 777, 4322]),
        ("-p tcp", &[4321, 777]),
        ("--proto udp", &[4322]),
        ("-s 192.168.15.0/24", &[4321, 4322]),
        ("--src 192.168.15.2", &[4322]),
        ("--dst 203.0.113.1", &[777]),
        ("--address 192.168.15.2", &[777, 4322]),
        ("--sport 777", &[777]),
        ("--dport 80", &[4321, 4322]),
        ("--port 8080", &[777]),
        ("--state established", &[4321, 777]),
        ("--state answered", &[4322]),
        ("--kind forward", &[777]),
        ("--rule 192.168.15.0/24", &[4321, 4322]),
        ("--rule 203.0.113.1:8080/tcp", &[777]),
        ("--rule 203.0.113.1:8080/tcp --proto udp", &[]),
        ("-s ::/0", &[]),
    ] {
        assert_eq!(sources(words), expected, "{words}");
    }
    let number = flows(&lab, "--kind forward")[0]["rule"]["number"].to_string();
    assert_eq!(sources(&format!("--rule {number}")), [777]);

    let table = type_in(&lab, "-n router nat flows --kind forward");
    let rows: Vec<Vec<_>> = table.stdout().lines().map(|line| line.split_whitespace().collect()).collect();
    let titles = ["PROTO", "STATE", "KIND", "RULE", "ORIGINAL", "TRANSLATED", "LEFT", "PACKETS", "BYTES"];
    assert_eq!(rows[0], titles);
    let row = "tcp established forward 203.0.113.1:8080/tcp 203.0.113.2:777 -> 203.0.113.1:8080 203.0.113.2:777 -> \
               192.168.15.2:80";
    assert_eq!(rows[1][..10], row.split(' ').collect::<Vec<_>>());
    let everywhere = type_in(&lab, "nat flows --kind forward");
    assert!(everywhere.stdout().starts_with("GATEWAY  PROTO") && everywhere.stdout().contains("\nrouter "));
    assert_eq!(type_in(&lab, "nat flows --proto 47").stdout(), "there are no flows\n");
}

#[test]
fn wrong_words_and_places_are_named() {
    let lab = Lab::quickstart();
    for (line, code, words) in [
        ("nat flows --state etsablished", 2, "established"),
        ("nat flows --proto tpc", 2, "unknown word `tpc`"),
        ("nat flows --src 192.168.15.1/24", 2, "an address in a network"),
        ("-n rooter nat flows", 1, "did you mean `router`?"),
        ("-n router nat flows -n router", 2, "twice"),
    ] {
        let output = lab.netctl(line.split(' ')).fails(code);
        assert!(output.stderr().contains(words), "{output}");
    }
    assert!(flows(&lab, "-n red").is_empty(), "a place that is no gateway has none");
}
