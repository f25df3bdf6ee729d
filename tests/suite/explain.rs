//! `--explain` tells the truth: its commands, run as a script, make the same network.

use netctl_tests::lab::{Lab, eventually};
use serde_json::Value;

/// What the quickstart has none of: links on the host, routes, MTUs, sysctls.
const OFFICE: &str = r#"
name = "office"

[namespaces.red]
sysctls = { "net.ipv4.ip_default_ttl" = "42", "net.ipv4.ip_local_port_range" = "20000 30000" }
[namespaces.relay]
forwarding = true
[namespaces.far]

[bridges.br-test]
addresses = ["10.2.0.1/24", "fd02::1/64"]
mtu = 1400
[bridges.br-test.ports]
red = { addresses = ["10.2.0.2/24", "fd02::2/64"], interface = "lan", port = "to-red" }
relay = { addresses = ["10.2.0.3/24"], mtu = 1300, default-route = false }

[[cables]]
a = { namespace = "relay", interface = "eth1", addresses = ["10.3.0.1/24"], mtu = 9000 }
b = { namespace = "far", interface = "eth0", addresses = ["10.3.0.2/24"], mtu = 9000 }

[[cables]]
a = { namespace = "far", interface = "up0", addresses = ["10.4.0.1/24"] }
b = { namespace = "host", interface = "to-far", addresses = ["10.4.0.2/24"] }

[[cables]]
a = { namespace = "red", interface = "both-a" }
b = { namespace = "red", interface = "both-b" }

[[routes]]
namespace = "red"
to = "10.3.0.0/24"
via = "10.2.0.3"

[[routes]]
namespace = "far"
to = "default"
via = "10.3.0.1"
"#;

/// The built-in topology, or a file's; its namespaces; sysctls to compare.
struct Case {
    file: Option<&'static str>,
    places: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case { file: None, places: &["red", "blue", "router", "internet"] },
    Case { file: Some(OFFICE), places: &["red", "relay", "far", "host"] },
];

impl Case {
    fn lab(&self) -> Lab {
        let lab = Lab::new();
        if let Some(text) = self.file {
            lab.file("netctl.toml", text);
        }
        lab
    }

    /// A lab in which `--explain`'s commands were run.
    fn by_script(&self) -> Lab {
        let lab = self.lab();
        let script = lab.netctl(["up", "--explain"]).success().stdout().to_owned();
        lab.file("script", script);
        lab.host().run("bash", ["-e", "script"]).success();
        lab
    }
}

#[test]
fn the_commands_of_explain_build_the_same_network() {
    for case in &CASES {
        let (ours, theirs) = (case.lab(), case.by_script());
        ours.netctl(["up"]).success();
        for place in case.places {
            let [ours, theirs] = [&ours, &theirs].map(|lab| look(lab, place));
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_eq!(*ours, theirs, "in {place}: netctl's, then the script's");
            }
        }
    }
}

/// Links, addresses, routes and sysctls of a place, when they no longer change.
fn look(lab: &Lab, place: &str) -> [String; 5] {
    let ns = if place == "host" { lab.host() } else { lab.ns(place) };
    let dump = |words: &str| {
        let said = ns.run("ip", words.split(' ')).success();
        serde_json::to_string_pretty(&normalised(said.json())).unwrap()
    };
    eventually("all addresses are settled", || {
        ns.run("ip", ["address", "show", "tentative"]).success().stdout().is_empty()
    });
    let sysctls = ns.run("sh", ["-c", "sysctl -a --pattern '^net\\.' 2> /dev/null | grep -v netfilter"]);
    [
        dump("-j -d link"),
        dump("-j -d address"),
        dump("-j -d route"),
        dump("-j -d -6 route"),
        sysctls.success().stdout().to_owned(),
    ]
}

/// A dump without what two equal networks differ in: numbers of interfaces and namespaces, netctl's marks, what runs
/// down, and the order.
fn normalised(dump: Value) -> Value {
    match dump {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normalised).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            let differs = |key: &str| {
                matches!(key, "ifindex" | "link_index" | "link" | "link_netnsid" | "ifalias")
                    || key.ends_with("_timer")
                    || matches!(key, "id" | "no" | "designated_port")
            };
            // netctl's own number says who made it, and no command of the script does.
            let is_origin =
                |key: &str, value: &Value| key == "protocol" && (value == "110" || value == "boot");
            let kept = fields.into_iter().filter(|(key, value)| !differs(key) && !is_origin(key, value));
            Value::Object(kept.map(|(key, value)| (key, normalised(value))).collect())
        }
        other => other,
    }
}

#[test]
fn plan_prints_the_same_commands_and_its_exit_status_says_whether_there_are_any() {
    let lab = Lab::new();
    let commands = lab.netctl(["up", "--explain"]).success().stdout().to_owned();
    let before = lab.snapshot();
    let planned = lab.netctl(["plan", "--explain"]).fails(3);
    assert_eq!(planned.stdout(), commands, "{planned}");
    let planned = lab.netctl(["plan", "--explain", "--json"]).fails(3).json();
    let lines: Vec<_> = planned.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines, commands.lines().collect::<Vec<_>>());
    lab.assert_unchanged_since(&before);
    lab.netctl(["up"]).success();
    lab.ns("red").run("ip", ["route", "del", "default"]).success();
    let planned = lab.netctl(["plan", "--explain"]).fails(3);
    assert_eq!(planned.stdout(), "ip -n red route add default via 192.168.15.5\n", "{planned}");
    lab.ns("red").run("sh", ["-c", planned.stdout()]).success();
    let planned = lab.netctl(["plan", "--explain"]).success();
    assert_eq!(planned.stdout(), "", "{planned}");
}

#[test]
fn the_web_server_answers_through_the_iptables_of_explain_too() {
    let lab = CASES[0].by_script();
    lab.file("index.html", "a page\n");
    let _server = lab.ns("blue").serve(80, "python3", ["-m", "http.server", "80", "--bind", "::"]);
    let rules = lab.ns("router").run("iptables-save", []).success();
    assert!(rules.stdout().contains("MASQUERADE") && rules.stdout().contains("DNAT"), "{rules}");
    for place in ["internet", "router"] {
        for url in ["http://203.0.113.1:8080", "http://[2001:db8:113::1]:8080"] {
            let page = lab.ns(place).run("curl", ["-sS", "-g", "-m", "5", url]).success();
            assert_eq!(page.stdout(), "a page\n", "{place} from {url}");
        }
    }
    for target in ["203.0.113.2", "2001:db8:113::2"] {
        lab.ns("red").run("ping", ["-c", "1", "-W", "5", target]).success();
    }
}

/// A here-document is several lines.
#[test]
fn what_the_tools_are_told_can_be_pasted() {
    let lab = Lab::new();
    lab.file(
        "netctl.toml",
        "name = 'lab'\n[namespaces.red]\n[namespaces.gw]\n[[cables]]\na = { namespace = 'gw', interface = 'in0', \
         addresses = ['10.1.0.1/24'] }\nb = { namespace = 'red', interface = 'eth0', addresses = ['10.1.0.2/24'] }\n\
         [[cables]]\na = { namespace = 'gw', interface = 'wan0', addresses = ['198.51.100.1/24'] }\n\
         b = { namespace = 'host', interface = 'up0', addresses = ['198.51.100.2/24'] }\n\
         [nat]\nbackend = 'nftables'\n[[nat.masquerade]]\nnamespace = 'gw'\nout = 'wan0'\n",
    );
    let told = lab.netctl(["plan", "--explain"]).fails(3);
    assert!(told.stdout().lines().any(|line| line.starts_with("add table inet ")), "{told}");
    assert!(!told.stdout().contains("x0a"), "{told}");
}
