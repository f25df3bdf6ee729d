//! What `--json` prints has the keys that docs/json.md tells of, and no others.

use std::collections::{BTreeMap, BTreeSet};

use netctl_tests::lab::Lab;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/json.md");

/// The keys of a section: path and what it is.
type Section<'a> = Vec<(&'a str, &'a str)>;

/// The page's sections by their headings' anchors, those without keys left out.
fn sections() -> BTreeMap<String, Section<'static>> {
    let parts = PAGE.split("\n## ").skip(1).flat_map(|part| part.split("\n### "));
    let key = |line: &'static str| line.strip_prefix("| `")?.split_once("` | ");
    let section = |part: &'static str| {
        let heading = part.lines().next().unwrap();
        (heading.to_lowercase().replace(' ', "-"), part.lines().filter_map(key).collect::<Section<'_>>())
    };
    parts.map(section).filter(|(_, keys)| !keys.is_empty()).collect()
}

/// A section's paths, with those of the parts that it refers to.
fn documented(sections: &BTreeMap<String, Section<'_>>, name: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (path, text) in &sections[name] {
        let parts: Vec<&str> =
            text.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        match path.strip_suffix('*').filter(|_| !parts.is_empty()) {
            None => drop(paths.insert((*path).to_owned())),
            Some(above) => {
                let below = parts.iter().flat_map(|part| documented(sections, part));
                paths.extend(below.map(|path| format!("{above}{path}")));
            }
        }
    }
    paths
}

/// Every path of a document.
fn walk(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(value, &path, paths);
                paths.insert(path);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| walk(value, &format!("{path}[]"), paths)),
        _ if path == "[]" => drop(paths.insert(path.to_owned())),
        _ => {}
    }
}

/// A path that ends with `*` stands for whatever is below.
fn is_told(path: &str, documented: &BTreeSet<String>) -> bool {
    let stands_for = |told: &String| told.strip_suffix('*').is_some_and(|above| path.starts_with(above));
    documented.contains(path) || documented.iter().any(stands_for)
}

/// What has been printed, by the section that tells of it.
#[derive(Default)]
struct Printed(BTreeMap<&'static str, BTreeSet<String>>);

impl Printed {
    /// Runs a command, whatever it comes to.
    #[track_caller]
    fn add(&mut self, lab: &Lab, section: &'static str, words: &str) {
        let document = lab.netctl(words.split(' ').chain(["--json"])).json();
        walk(&document, "", self.0.entry(section).or_default());
    }
}

impl Printed {
    /// Has a monitor tell of a link that changes.
    #[track_caller]
    fn add_monitor(&mut self, lab: &Lab) {
        let mut monitor = lab.start_netctl(["monitor", "--json"]);
        monitor.wait_for("started");
        lab.ns("red").run("ip", ["link", "set", "eth0", "mtu", "1400"]).success();
        monitor.wait_for("\"before\"");
        monitor.signal(Signal::SIGTERM);
        for line in monitor.finish().success().stdout().lines() {
            walk(&serde_json::from_str(line).unwrap(), "", self.0.entry("monitor").or_default());
        }
    }
}

const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 7000))
while True: s.sendto(*s.recvfrom(100))
";

const ASK: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(('203.0.113.2', 7000))
for _ in range(20): s.send(b'?'); s.recv(100)
";

/// A network in which there is something to say about everything.
fn eventful() -> Lab {
    let lab = Lab::quickstart();
    lab.ns("red").run("ping", ["-c", "1", "-W", "5", "203.0.113.2"]).success();
    // From outside straight to an inside address, which is dropped.
    let internet = lab.ns("internet");
    internet.run("ip", ["route", "add", "192.168.15.0/24", "via", "203.0.113.1"]).success();
    internet.run("ping", ["-c", "1", "-W", "1", "192.168.15.1"]).fails(1);
    // What would go straight, but for a chain that sees it.
    lab.ns("router").run("iptables", ["-P", "FORWARD", "ACCEPT"]).success();
    let server = internet.serve(7000, "python3", ["-c", ECHO]);
    lab.ns("red").run("python3", ["-c", ASK]).success();
    drop(server);
    lab.ns("router").run("iptables", ["-P", "FORWARD", "DROP"]).success();
    lab
}

#[test]
fn every_key_that_is_printed_is_documented_and_every_documented_one_is_printed() {
    let lab = eventful();
    let mut printed = Printed::default();
    printed.add_monitor(&lab);
    for (section, words) in [
        ("errors", "show nosuch"),
        ("errors", "no-such-verb"),
        ("ls", "ls"),
        ("graph", "graph"),
        ("ping", "ping --timeout 0.1"),
        ("trace", "trace red 192.168.15.2"),
        ("trace", "trace red 203.0.113.2:80/tcp"),
        ("trace", "trace red 203.0.113.2"),
        ("trace", "trace red 192.168.15.5"),
        ("nat-masquerade-ls", "nat masquerade ls"),
        ("nat-forward-ls", "nat forward ls"),
        ("nat-stats", "nat stats"),
        ("ns-ls", "ns ls"),
        ("link-ls", "link ls -n router"),
        ("addr-ls", "addr ls -n router"),
        ("route-ls", "route ls -n red"),
        ("neigh-ls", "neigh ls -n red"),
        ("rule-ls", "rule ls -n red"),
        ("sysctl-get", "sysctl get net.ipv4.ip_forward"),
        ("nat-flows", "nat flows"),
        ("single-changes", "-n router link set wan0 down --force"),
        ("show", "show"),
        ("doctor", "doctor"),
        ("plan", "plan"),
        ("check", "check"),
        ("plan", "up --dry-run"),
        ("up---explain", "up --explain"),
        ("nat-flush", "nat flush"),
        ("up", "up"),
        ("single-changes", "ns add own"),
        ("single-changes", "-n own link add bridge br0"),
        ("single-changes", "-n own link set br0 up mtu 1400"),
        ("single-changes", "-n own addr add 10.9.9.1/24 dev br0"),
        ("single-changes", "-n own route add 10.8.0.0/16 via 10.9.9.2"),
        ("single-changes", "-n own route replace 10.8.0.0/16 via 10.9.9.3"),
        ("single-changes", "-n own rule add from 10.8.0.0/16 table 7"),
        ("single-changes", "-n own neigh add 10.9.9.2 lladdr 02:00:00:00:00:02 dev br0"),
        ("single-changes", "-n own neigh replace 10.9.9.2 lladdr 02:00:00:00:00:03 dev br0"),
        ("single-changes", "route flush cache"),
        ("single-changes", "-n own sysctl set net.ipv4.ip_forward=1"),
        ("single-changes", "-n own nat masquerade add --source 10.7.0.0/16 --out br0"),
        ("show", "show own"),
        ("show", "show own:br0"),
        ("ns-del", "ns del own"),
        ("down", "down"),
    ] {
        printed.add(&lab, section, words);
    }
    let sections = sections();
    let (_, parts) = PAGE.split_once("\n## Parts\n").unwrap();
    let is_part = |name: &str| {
        parts.lines().any(|line| {
            line.strip_prefix("### ").is_some_and(|heading| heading.to_lowercase().replace(' ', "-") == name)
        })
    };
    let commands: BTreeSet<&str> =
        sections.keys().map(String::as_str).filter(|name| !is_part(name)).collect();
    let tried: BTreeSet<&str> = printed.0.keys().copied().collect();
    assert_eq!(commands, tried, "each section of the page is about a command that is tried");
    for (section, paths) in &printed.0 {
        let documented = documented(&sections, section);
        let untold: Vec<_> = paths.iter().filter(|path| !is_told(path, &documented)).collect();
        assert!(untold.is_empty(), "docs/json.md does not tell of {untold:?} of {section}");
        let is_printed = |told: &&String| match told.strip_suffix('*') {
            Some(above) => paths.iter().any(|path| path.starts_with(above)),
            None => paths.contains(*told),
        };
        let absent: Vec<_> = documented.iter().filter(|told| !is_printed(told)).collect();
        assert!(absent.is_empty(), "{section} does not print {absent:?}");
    }
}

#[test]
fn classic_backends_have_the_keys_of_rules_and_no_counters() {
    let lab = Lab::new();
    let quickstart = include_str!("../../netctl/quickstart.toml");
    lab.file("netctl.toml", format!("{quickstart}\n[nat]\nbackend = 'nftables'\n"));
    lab.netctl(["up"]).success();
    let document = lab.netctl(["show", "--json"]).success().json();
    let router =
        document["places"].as_array().unwrap().iter().find(|place| place["name"] == "router").unwrap();
    let nat = &router["nat"][0];
    assert_eq!((&nat["backend"], &nat["in_force"]), (&"nftables".into(), &true.into()));
    assert_eq!((&nat["table"], &nat["paths"]), (&Value::Null, &Value::Null));
    let (mut printed, sections) = (BTreeSet::new(), sections());
    walk(&nat["masquerades"][0], "", &mut printed);
    let mut told = documented(&sections, "masquerade-rule");
    told.insert("number".to_owned());
    assert_eq!(printed, told);
}

#[test]
fn an_error_is_the_one_document_where_there_is_no_other() {
    let lab = Lab::new();
    let error = |words: &str, exit| {
        let said = lab.netctl(words.split(' ').chain(["--json"])).fails(exit);
        assert!(said.stderr().starts_with("error: "), "{said}");
        said.json()["error"].clone()
    };
    lab.netctl(["ns", "add", "red"]).success();
    assert_eq!(
        error("ns add red", 1),
        json!({
            "what": "create namespace `red`",
            "why": "it exists already",
            "hint": "`netctl ns ls` lists the namespaces",
            "exit": 1,
        })
    );
    assert_eq!(
        error("up nosuch.toml", 2),
        json!({ "what": "read `nosuch.toml`", "why": "No such file or directory", "hint": null, "exit": 2 })
    );
    assert_eq!(
        error("upp", 2),
        json!({
            "what": "unrecognized subcommand 'upp'",
            "why": null,
            "hint": "a similar subcommand exists: 'up'",
            "exit": 2,
        })
    );
    // Words of another program are its own.
    let said = lab.netctl(["exec", "red", "--", "true", "--json"]).success();
    assert_eq!(said.stdout(), "");
    // Where there is a document, it is the only one.
    lab.file("netctl.toml", "[namespaces.red]\n[namespaces.blue]\n");
    assert_eq!(error("up", 1)["exit"], 1);
}
