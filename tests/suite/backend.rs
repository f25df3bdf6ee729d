//! The classic backends: the same topology translated by netfilter with one word changed, and back.

use netctl_tests::lab::{Lab, Output, Server, eventually, netctl};

/// The quickstart, and a range that is shifted, which listens on every address.
fn write(lab: &Lab, backend: &str) {
    let quickstart = include_str!("../../netctl/quickstart.toml");
    let range = "[[nat.forward]]\nnamespace = 'router'\nlisten = '9000-9009/tcp'\nto = '192.168.15.2:9100'\n";
    lab.file("netctl.toml", format!("{quickstart}\n{range}\n[nat]\nbackend = '{backend}'\n"));
}

/// Who runs the tools: the machine's own, or the older ones that do without nf_tables.
struct Kind {
    backend: &'static str,
    legacy: bool,
}

const KINDS: [Kind; 3] = [
    Kind { backend: "iptables", legacy: false },
    Kind { backend: "iptables", legacy: true },
    Kind { backend: "nftables", legacy: false },
];

impl Kind {
    /// A lab with its own idea of what `iptables` is.
    fn lab(&self) -> Lab {
        let lab = Lab::new();
        write(&lab, self.backend);
        if self.legacy {
            for program in ["iptables", "ip6tables"] {
                for action in ["restore", "save"] {
                    let target = format!("/usr/sbin/{program}-legacy-{action}");
                    assert!(std::fs::exists(&target).unwrap(), "the tests need `{target}`");
                    let link = lab.directory().join(format!("{program}-{action}"));
                    std::os::unix::fs::symlink(target, link).unwrap();
                }
            }
        }
        lab
    }

    #[track_caller]
    fn netctl<'a>(&self, lab: &'a Lab, words: &[&str]) -> Output<'a> {
        let directory = lab.directory().display();
        let tools = format!("NETCTL_TOOLS={directory}:/usr/sbin:/usr/bin:/sbin:/bin");
        let netctl = netctl();
        let words = [&[tools.as_str(), netctl.as_str()], words].concat();
        lab.host().run("env", words)
    }
}

/// Tells every client which address it has, and which port it has reached.
const SERVER: &str = "
import socket, threading
def serve(port):
    listener = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        client, address = listener.accept()
        client.sendall(f'{address[0].removeprefix(\"::ffff:\")} at {port}'.encode())
        client.close()
for port in [9100, 9109, 80]:
    threading.Thread(target=serve, args=(port,)).start()
";

const CLIENT: &str = "
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as connection:
    print(connection.makefile().read(), end='')
";

fn serve<'a>(lab: &'a Lab, place: &'a str) -> Server<'a> {
    lab.ns(place).serve(80, "python3", ["-c", SERVER])
}

#[track_caller]
fn ask(lab: &Lab, place: &str, host: &str, port: &str) -> String {
    lab.ns(place).run("python3", ["-c", CLIENT, host, port]).success().stdout().to_owned()
}

/// Whom the server takes for the client: place, called host and port, and the answer.
const CALLS: [(&str, &str, &str, &str); 15] = [
    ("red", "203.0.113.2", "80", "203.0.113.1 at 80"),
    ("red", "2001:db8:113::2", "80", "2001:db8:113::1 at 80"),
    ("internet", "203.0.113.1", "8080", "203.0.113.2 at 80"),
    ("internet", "2001:db8:113::1", "8080", "2001:db8:113::2 at 80"),
    ("internet", "203.0.113.1", "9000", "203.0.113.2 at 9100"),
    ("internet", "203.0.113.1", "9009", "203.0.113.2 at 9109"),
    ("red", "203.0.113.1", "8080", "192.168.15.5 at 80"),
    ("red", "2001:db8:113::1", "8080", "fd15::5 at 80"),
    ("blue", "203.0.113.1", "8080", "192.168.15.5 at 80"),
    ("blue", "2001:db8:113::1", "8080", "fd15::5 at 80"),
    ("red", "192.168.15.5", "9000", "192.168.15.5 at 9100"),
    ("router", "203.0.113.1", "8080", "192.168.15.5 at 80"),
    ("router", "2001:db8:113::1", "8080", "fd15::5 at 80"),
    ("router", "127.0.0.1", "8080", "192.168.15.5 at 80"),
    ("router", "127.0.0.1", "9009", "192.168.15.5 at 9109"),
];

#[test]
fn the_quickstart_works_by_netfilter_with_one_word_changed() {
    for kind in &KINDS {
        let lab = kind.lab();
        let before = lab.snapshot();
        kind.netctl(&lab, &["up"]).success();
        assert_eq!(lab.host().run("find", ["/sys/fs/bpf/netctl"]).stdout(), "");

        let servers = ["blue", "internet"].map(|place| serve(&lab, place));
        let heard = lab.ns("internet").capture("eth0");
        for (place, host, port, answer) in CALLS {
            assert_eq!(ask(&lab, place, host, port), answer, "{place} calls {host} {port}");
        }
        for host in ["203.0.113.2", "2001:db8:113::2"] {
            lab.ns("red").run("ping", ["-c", "1", "-W", "5", host]).success();
        }
        let sources: Vec<_> = heard.stop().packets().map(|packet| packet.src.ip().to_string()).collect();
        assert!(sources.len() > 20, "{sources:?}");
        assert!(
            !sources.iter().any(|ip| ip.starts_with("192.168.") || ip.starts_with("fd15:")),
            "{sources:?}"
        );

        let words = ["nat", "forward", "add", "-n", "router", "--listen", "7000", "--to", "192.168.15.2"];
        let refused = lab.netctl(words).fails(1);
        let told = format!(
            "error: the topology `quickstart` has {} translate in namespace `router`\n",
            kind.backend
        );
        assert!(refused.stderr().starts_with(&told), "{refused}");

        let again = kind.netctl(&lab, &["up"]).success();
        assert_eq!(again.stdout(), "quickstart is up and as the file says: nothing to change\n");
        kind.netctl(&lab, &["plan"]).success();
        drop(servers);
        kind.netctl(&lab, &["down"]).success();
        if kind.legacy {
            // The older tools' own, which they leave behind.
            lab.host().run("rm", ["/run/xtables.lock"]).success();
        }
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn row_130_nobody_outside_gets_inside_but_by_a_forward() {
    for kind in &KINDS {
        let lab = kind.lab();
        kind.netctl(&lab, &["up"]).success();
        let _server = serve(&lab, "blue");
        for (to, via) in [("192.168.15.0/24", "203.0.113.1"), ("fd15::/64", "2001:db8:113::1")] {
            lab.ns("internet").run("ip", ["route", "add", to, "via", via]).success();
        }
        for (host, url) in [("192.168.15.2", "192.168.15.2"), ("fd15::2", "[fd15::2]")] {
            lab.ns("internet").run("ping", ["-c", "1", "-W", "1", host]).fails(1);
            lab.ns("internet").run("curl", ["-s", "-g", "-m", "1", &format!("http://{url}:80")]).fails(28);
        }
        // What is sent to the router itself is none of the rules' business, but for its loopback.
        lab.ns("internet").run("ping", ["-c", "1", "-W", "5", "203.0.113.1"]).success();
        let _own = lab.ns("router").serve(7000, "python3", ["-m", "http.server", "7000"]);
        lab.ns("internet").run("curl", ["-s", "-m", "5", "http://203.0.113.1:7000"]).success();
        lab.ns("internet").run("ip", ["route", "add", "127.0.0.0/24", "via", "203.0.113.1"]).success();
        lab.ns("internet").run("sysctl", ["-q", "net.ipv4.conf.all.route_localnet=1"]).success();
        lab.ns("internet").run("ip", ["route", "del", "local", "127.0.0.0/8", "table", "local"]).success();
        lab.ns("internet").run("ip", ["route", "del", "local", "127.0.0.1", "table", "local"]).success();
        let loopback = ["-s", "-m", "1", "--interface", "203.0.113.2", "http://127.0.0.1:7000"];
        lab.ns("internet").run("curl", loopback).fails(28);
    }
}

#[test]
fn only_those_whom_a_forward_allows_use_it_and_the_gateway_itself() {
    for kind in &KINDS {
        let lab = kind.lab();
        let text = std::fs::read_to_string(lab.directory().join("netctl.toml")).unwrap();
        let allow = "to = '192.168.15.2:9100'\nallow = ['203.0.113.2', '198.51.100.0/24']\n";
        lab.file("netctl.toml", text.replace("to = '192.168.15.2:9100'\n", allow));
        kind.netctl(&lab, &["up"]).success();
        kind.netctl(&lab, &["plan"]).success();
        lab.ns("internet").run("ip", ["address", "add", "203.0.113.3/24", "dev", "eth0"]).success();
        let _servers =
            [serve(&lab, "blue"), lab.ns("router").serve(9000, "python3", ["-m", "http.server", "9000"])];
        for (place, host) in [("internet", "203.0.113.1"), ("router", "203.0.113.1"), ("router", "127.0.0.1")]
        {
            assert!(ask(&lab, place, host, "9000").ends_with(" at 9100"), "{place} calls {host}");
        }
        let as_another = ["-s", "-m", "1", "--interface", "203.0.113.3", "http://203.0.113.1:9000"];
        lab.ns("internet").run("curl", as_another).fails(28);
    }
}

#[test]
fn a_backend_is_changed_in_place_whichever_it_was() {
    let lab = Lab::new();
    let before = lab.snapshot();
    let order = ["ebpf", "iptables", "ebpf", "nftables", "iptables", "nftables", "ebpf"];
    for backend in order {
        write(&lab, backend);
        lab.netctl(["up"]).success();
        lab.netctl(["plan"]).success();
        let servers = ["blue", "internet"].map(|place| serve(&lab, place));
        assert_eq!(ask(&lab, "red", "203.0.113.2", "80"), "203.0.113.1 at 80", "{backend}");
        assert_eq!(ask(&lab, "internet", "203.0.113.1", "9009"), "203.0.113.2 at 9109", "{backend}");
        assert_eq!(ask(&lab, "internet", "2001:db8:113::1", "8080"), "2001:db8:113::2 at 80", "{backend}");
        drop(servers);

        let pins = lab.host().run("find", ["/sys/fs/bpf/netctl"]);
        assert_eq!(!pins.stdout().is_empty(), backend == "ebpf", "{backend}: {pins}");
        let localnet = lab.ns("router").run("sysctl", ["-n", "net.ipv4.conf.all.route_localnet"]).success();
        assert_eq!(localnet.stdout().trim() == "1", backend != "ebpf", "{backend}");
        for (program, own) in
            [("iptables-save", "iptables"), ("ip6tables-save", "iptables"), ("nft list tables", "nftables")]
        {
            let said = lab.ns("router").run("sh", ["-c", program]).success();
            assert_eq!(said.stdout().contains("netctl-"), backend == own, "{backend}: {said}");
        }
    }
    lab.netctl(["down"]).success();
    lab.assert_unchanged_since(&before);
}

#[test]
fn what_somebody_flushes_is_missing_in_the_plan_and_repaired() {
    for (backend, hand, missing) in [
        ("iptables", "nft flush ruleset", "+ add 13 iptables rules in namespace `router`"),
        (
            "iptables",
            "iptables -t nat -F",
            "~ change iptables rules in namespace `router`: 8 added, 0 removed",
        ),
        ("iptables", "iptables -F FORWARD", "~ reinstate iptables rules in namespace `router`"),
        (
            "iptables",
            "ip6tables -t nat -F",
            "~ change ip6tables rules in namespace `router`: 5 added, 0 removed",
        ),
        (
            "iptables",
            "iptables -t nat -A netctl-quickstart-pre -j RETURN",
            "~ change iptables rules in namespace `router`: 0 added, 1 removed",
        ),
        ("nftables", "nft flush ruleset", "+ add 21 nftables rules in namespace `router`"),
        (
            "nftables",
            "nft flush chain inet netctl-quickstart output",
            "~ change nftables rules in namespace `router`: 4 added, 0 removed",
        ),
    ] {
        let lab = Lab::new();
        write(&lab, backend);
        lab.netctl(["up"]).success();
        lab.ns("router").run("sh", ["-c", hand]).success();
        let plan = lab.netctl(["plan"]).fails(3);
        assert!(plan.stdout().lines().any(|line| line == missing), "after {hand}: {plan}");
        let shown = |state: &str| lab.netctl(["show"]).success().stdout().contains(&format!("{state}\n"));
        assert!(shown(&format!("not as {backend} was told")), "after {hand}");
        lab.netctl(["up"]).success();
        lab.netctl(["plan"]).success();
        assert!(shown(&format!("by {backend}")), "after {hand}");
        let _servers = ["blue", "internet"].map(|place| serve(&lab, place));
        for (place, host, port, answer) in CALLS.into_iter().step_by(3) {
            assert_eq!(ask(&lab, place, host, port), answer, "after {hand}: {place} calls {host} {port}");
        }
    }
}

#[test]
fn a_changed_rule_changes_nothing_else_and_rules_of_others_stay() {
    const OTHERS: &str = "iptables -t nat -N MINE && iptables -t nat -A PREROUTING -j MINE \
        && iptables -t nat -A MINE -p tcp --dport 7777 -j DNAT --to-destination 192.168.15.2:80 \
        && iptables -P INPUT ACCEPT && iptables -A FORWARD -d 192.0.2.1 -j DROP \
        && nft add table inet mine && nft add chain inet mine one && nft add rule inet mine one counter";
    const LOOK: &str = "(iptables-save; ip6tables-save; nft -s list ruleset inet) | grep -v '^#' | grep -v -e netctl \
        -e '^:.* ACCEPT'; nft -s list table inet mine";
    for backend in ["iptables", "nftables"] {
        let lab = Lab::new();
        write(&lab, backend);
        lab.netctl(["up"]).success();
        lab.ns("router").run("sh", ["-ec", OTHERS]).success();
        lab.netctl(["plan"]).success();
        let others = || {
            let seen = lab.ns("router").run("sh", ["-c", LOOK]).success().stdout().to_owned();
            seen.lines().filter(|line| line.contains("MINE") || line.contains("192.0.2.1")).count()
        };
        let before = others();
        assert!(before >= 4, "{before}");

        let text = std::fs::read_to_string(lab.directory().join("netctl.toml")).unwrap();
        lab.file("netctl.toml", text.replace("listen = \"203.0.113.1:8080", "listen = \"203.0.113.1:8081"));
        let plan = lab.netctl(["plan"]).fails(3);
        let line = format!("~ change {backend} rules in namespace `router`: 3 added, 3 removed\n");
        assert_eq!(plan.stdout(), line, "in PREROUTING, and in OUTPUT by both addresses");

        // A connection goes on while the rules around it change.
        let _servers = ["blue", "internet"].map(|place| serve(&lab, place));
        let pings = lab.ns("red").start("ping", ["-i", "0.02", "-w", "60", "203.0.113.2"]);
        eventually("pings are answered", || pings.log().lines().count() > 5);
        lab.netctl(["up"]).success();
        let count = pings.log().lines().count();
        eventually("pings go on", || pings.log().lines().count() > count + 5);
        pings.signal(nix::sys::signal::Signal::SIGINT);
        let pings = pings.finish().success();
        assert!(pings.stdout().contains(" 0% packet loss"), "{pings}");

        assert_eq!(ask(&lab, "internet", "203.0.113.1", "8081"), "203.0.113.2 at 80");
        lab.ns("internet").run("curl", ["-s", "-m", "5", "http://203.0.113.1:8080"]).fails(7);
        assert_eq!(ask(&lab, "internet", "203.0.113.1", "7777"), "203.0.113.2 at 80");
        assert_eq!(others(), before);

        lab.file("netctl.toml", text.split("[[nat.masquerade]]").next().unwrap());
        lab.netctl(["up"]).success();
        assert_eq!(others(), before);
        let left = lab.ns("router").run("nft", ["list", "ruleset"]).success();
        assert!(!left.stdout().contains("netctl"), "{left}");
    }
}

/// Bridge and uplink on the host itself.
const ON_THE_HOST: &str = r#"
name = "hosted"
[namespaces.red]
[namespaces.outside]
[bridges.br-test]
addresses = ["10.2.0.1/24", "fd02::1/64"]
[bridges.br-test.ports]
red = { addresses = ["10.2.0.2/24", "fd02::2/64"] }
[[cables]]
a = { namespace = "host", interface = "wan-test", addresses = ["198.51.100.1/24", "2001:db8:51::1/64"] }
b = { namespace = "outside", interface = "eth0", addresses = ["198.51.100.2/24", "2001:db8:51::2/64"] }
[[nat.masquerade]]
namespace = "host"
source = "10.2.0.0/24"
out = "wan-test"
[[nat.masquerade]]
namespace = "host"
source = "fd02::/64"
out = "wan-test"
[[nat.forward]]
namespace = "host"
listen = "198.51.100.1:80"
to = "10.2.0.2:80"
"#;

#[test]
fn rules_on_the_host_go_with_the_topology_also_without_its_record() {
    for backend in ["iptables", "nftables"] {
        for hand in ["true", "rm /run/netctl/*.json", "rm -r /run/netctl"] {
            let lab = Lab::new();
            lab.file("netctl.toml", format!("{ON_THE_HOST}\n[nat]\nbackend = '{backend}'\n"));
            lab.host().run("sh", ["-c", "iptables -A FORWARD -d 192.0.2.1 -j DROP"]).success();
            let before = lab.snapshot();
            lab.netctl(["up"]).success();
            lab.ns("red").run("ping", ["-c", "1", "-W", "5", "198.51.100.2"]).success();
            lab.host().run("sh", ["-c", hand]).success();
            let down = lab.netctl(["down"]).success();
            assert!(down.stdout().contains("its NAT"), "{backend}, {hand}: {down}");
            let left = lab.host().run("nft", ["list", "ruleset"]).success();
            assert!(!left.stdout().contains("netctl") && left.stdout().contains("192.0.2.1"), "{left}");
            if hand == "true" {
                lab.assert_unchanged_since(&before);
            }
        }
    }
}

#[test]
fn a_missing_tool_is_named_and_nothing_is_left_half_made() {
    for (backend, program, hint) in
        [("iptables", "iptables-restore", "iptables"), ("nftables", "nft", "nftables")]
    {
        let lab = Lab::new();
        write(&lab, backend);
        let before = lab.snapshot();
        let netctl = netctl();
        let failed = lab.host().run("env", ["NETCTL_TOOLS=/nonexistent", &netctl, "up"]).fails(1);
        assert!(failed.stderr().contains(&format!("there is no `{program}` on this machine")), "{failed}");
        assert!(
            failed
                .stderr()
                .contains(&format!("hint: install the package `{hint}`, or set `backend = \"ebpf\"`")),
            "{failed}"
        );
        lab.assert_unchanged_since(&before);
    }
}

#[test]
fn what_a_tool_refuses_is_undone() {
    for (backend, writer) in [("iptables", "ip6tables-restore"), ("nftables", "nft")] {
        let lab = Lab::new();
        write(&lab, "ebpf");
        lab.netctl(["up"]).success();
        let script = lab.file(writer, "#!/bin/sh\necho 'no such table' >&2\nexit 1\n");
        std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        write(&lab, backend);
        let tools = format!("NETCTL_TOOLS={}:/usr/sbin:/usr/bin", lab.directory().display());
        let failed = lab.host().run("env", [tools.as_str(), netctl().as_str(), "up"]).fails(1);
        assert!(failed.stderr().contains(&format!("{writer}: no such table")), "{failed}");
        let left = lab.ns("router").run("nft", ["list", "ruleset"]).success();
        assert!(!left.stdout().contains("netctl"), "{left}");
        write(&lab, "ebpf");
        lab.netctl(["plan"]).success();
    }
}

#[test]
fn rules_of_netfilter_are_listed_and_what_shows_their_counters_is_said() {
    for (backend, counters) in
        [("nftables", "nft list table inet netctl-quickstart"), ("iptables", "iptables -t nat -nvL")]
    {
        let lab = Lab::new();
        write(&lab, backend);
        lab.netctl(["up"]).success();
        let rules = lab.netctl(["nat", "masquerade", "ls"]).success();
        assert!(rules.stdout().contains("192.168.15.0/24 out wan0"), "{rules}");
        let rules = lab.netctl(["-n", "router", "nat", "forward", "ls", "--json"]).success().json();
        let first = &rules[0];
        assert_eq!((&first["gateway"], &first["topology"]), (&"router".into(), &"quickstart".into()));
        assert!(first["number"].is_null() && first["live"].is_null(), "{first}");
        let stats = lab.netctl(["nat", "stats"]).success();
        assert_eq!(stats.stdout(), "");
        let note = format!(
            "note: the counters of `router` are netfilter's (backend `{backend}`): see `netctl exec router -- "
        );
        assert!(stats.stderr().starts_with(&note), "{stats}");
        assert!(stats.stderr().contains(counters), "{stats}");
        let command = stats.stderr().split('`').nth(5).unwrap().strip_prefix("netctl ").unwrap();
        let listed = lab.netctl(command.split(' ')).success();
        assert!(listed.stdout().contains("192.168.15.0/24"), "{listed}");
        let flows = lab.netctl(["nat", "flows"]).success();
        assert!(flows.stderr().contains("`netctl exec router -- conntrack -L` shows them"), "{flows}");
        assert!(lab.netctl(["-n", "red", "nat", "stats"]).success().stderr().is_empty());
    }
}

#[test]
fn ping_expects_no_answer_that_the_rules_keep_out() {
    for backend in ["nftables", "iptables"] {
        let lab = Lab::new();
        let quickstart = include_str!("../../netctl/quickstart.toml");
        let route = "[[routes]]\nnamespace = 'internet'\nto = '192.168.15.0/24'\nvia = '203.0.113.1'\n";
        lab.file("netctl.toml", format!("{quickstart}\n{route}\n[nat]\nbackend = '{backend}'\n"));
        lab.netctl(["up"]).success();
        let said = lab.netctl(["ping", "--timeout", "1"]).success();
        assert!(said.stdout().contains("`router` drops what comes from outside"), "{said}");
        assert!(!said.stdout().contains('!'), "{said}");
    }
}
