//! Beside a firewall and others' routes: a FORWARD policy, another's masquerade, routing by source and by mark.

use netctl_tests::lab::Lab;

/// Tells who asked.
const WHO: &str = "
import socket
s = socket.create_server(('0.0.0.0', 80))
while True:
    call, (host, _) = s.accept()
    call.send(host.encode())
    call.close()
";

const ASK: &str = "
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).makefile().read())
";

#[test]
fn row_139_a_dropping_policy_with_its_exceptions_and_anothers_masquerade_do_no_harm() {
    let lab = Lab::quickstart();
    let _servers = ["internet", "blue"].map(|place| lab.ns(place).serve(80, "python3", ["-c", WHO]));
    let ask = |place: &str, to: &str, port: &str| {
        let output = lab.ns(place).run("python3", ["-c", ASK, to, port]);
        (output.code() == Some(0)).then(|| output.stdout().trim().to_owned())
    };
    let calls =
        [("red", "203.0.113.2", "80", "203.0.113.1"), ("internet", "203.0.113.1", "8080", "203.0.113.2")];
    let iptables = |words: &str| drop(lab.ns("router").run("iptables", words.split(' ')).success());

    iptables("-P FORWARD DROP");
    for (place, to, port, _) in calls {
        assert_eq!(ask(place, to, port), None, "{place}, against the policy");
    }
    for rule in ["-s 192.168.15.0/24", "-d 192.168.15.0/24"] {
        iptables(&format!("-A FORWARD {rule} -j ACCEPT"));
    }
    for (place, to, port, seen) in calls {
        assert_eq!(ask(place, to, port).as_deref(), Some(seen), "{place}, by the exceptions");
    }
    iptables("-t nat -A POSTROUTING -s 192.168.15.0/24 -o wan0 -j MASQUERADE");
    for (place, to, port, seen) in calls {
        assert_eq!(ask(place, to, port).as_deref(), Some(seen), "{place}, beside another's masquerade");
    }
}

const TWO_UPLINKS: &str = r#"
[namespaces.red]
[namespaces.blue]
[namespaces.gateway]
[namespaces.east]
[namespaces.west]
[bridges.lan]
namespace = "gateway"
addresses = ["10.1.0.1/24"]
[bridges.lan.ports]
red = { addresses = ["10.1.0.2/24"] }
blue = { addresses = ["10.1.0.3/24"] }
[[cables]]
a = { namespace = "gateway", interface = "wan0", addresses = ["198.51.100.1/24"] }
b = { namespace = "east", interface = "eth0", addresses = ["198.51.100.2/24"] }
[[cables]]
a = { namespace = "gateway", interface = "wan1", addresses = ["203.0.113.1/24"] }
b = { namespace = "west", interface = "eth0", addresses = ["203.0.113.2/24"] }
[[routes]]
namespace = "gateway"
to = "default"
via = "198.51.100.2"
[nat]
masquerade = [
    { namespace = "gateway", source = "10.1.0.0/24", out = "wan0" },
    { namespace = "gateway", source = "10.1.0.0/24", out = "wan1" },
]
"#;

#[test]
fn row_152_a_route_chosen_by_source_or_mark_chooses_the_address_too() {
    let lab = Lab::new();
    let file = lab.file("two.toml", TWO_UPLINKS);
    lab.netctl(["up", file.to_str().unwrap()]).success();
    let (gateway, mut servers) = (lab.ns("gateway"), Vec::new());
    for place in ["east", "west"] {
        let outside = lab.ns(place);
        outside.run("ip", ["address", "add", "192.0.2.9/32", "dev", "lo"]).success();
        servers.push(outside.serve(80, "python3", ["-c", WHO]));
    }
    let iptables = "-t mangle -A PREROUTING -s 10.1.0.2 -d 192.0.2.9 -j MARK --set-mark 7";
    let asked =
        |place| lab.ns(place).run("python3", ["-c", ASK, "192.0.2.9", "80"]).success().stdout().to_owned();
    assert_eq!(["red", "blue"].map(asked), ["198.51.100.1\n"; 2]);
    gateway.run("ip", "route add default via 203.0.113.2 table 100".split(' ')).success();
    gateway.run("ip", "rule add from 10.1.0.3 lookup 100".split(' ')).success();
    assert_eq!(["red", "blue"].map(asked), ["198.51.100.1\n", "203.0.113.1\n"], "by source");
    gateway.run("ip", "rule add fwmark 7 lookup 100".split(' ')).success();
    gateway.run("iptables", iptables.split(' ')).success();
    assert_eq!(["red", "blue"].map(asked), ["203.0.113.1\n"; 2], "by mark too");
}
