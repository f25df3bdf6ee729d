//! Rules that change while they are in use: the new ones count from the next packet on, and whoever uses another rule
//! notices nothing.

use netctl_tests::lab::{Lab, Ns, Output, Server, eventually};

/// `red` and `blue` behind a gateway. What changes is left open: who answers at port 8080, and what `red` is masqueraded
/// by. Port 9000, and what `blue` is masqueraded by, never change.
const TOPOLOGY: &str = r#"
name = "office"

[namespaces.red]
[namespaces.blue]
[namespaces.router]
[namespaces.internet]

[bridges.br0]
namespace = "router"
addresses = ["192.168.15.5/24"]
[bridges.br0.ports]
red = { addresses = ["192.168.15.1/24"] }
blue = { addresses = ["192.168.15.129/24"] }

[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24", "203.0.113.9/24"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24"] }

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.128/25"
out = "wan0"

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.0/25"
out = "wan0"
MASQUERADED

[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:9000/tcp"
to = "192.168.15.129:9000"

[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:8080/tcp"
to = "ANSWERS:80"
"#;

const RED: &str = "192.168.15.1";
const BLUE: &str = "192.168.15.129";

fn bring_up(lab: &Lab, answers: &str, masqueraded: &str) {
    lab.file("office.toml", TOPOLOGY.replace("ANSWERS", answers).replace("MASQUERADED", masqueraded));
    lab.netctl(["up", "office.toml"]).success();
}

/// Tells every TCP client who it is and who answers.
const WHO: &str = "
import socket, sys
s = socket.create_server(('', 80))
while True:
    client, address = s.accept()
    client.sendall(f'{address[0]} speaks to {sys.argv[1]}\\n'.encode())
    client.close()
";

fn who<'a>(lab: &'a Lab, place: &'a str) -> Server<'a> {
    lab.ns(place).serve(80, "python3", ["-c", WHO, place])
}

#[track_caller]
fn ask(place: Ns<'_>, host: &str, port: &str) -> String {
    const ASK: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
print(s.makefile().read(), end='')
";
    place.run("python3", ["-c", ASK, host, port]).success().stdout().to_owned()
}

/// What goes on through rules that do not change: pings of `blue`'s, 50 a second, and a conversation over one TCP
/// connection through port 9000.
struct Traffic<'a> {
    lab: &'a Lab,
    pings: Server<'a>,
    conversation: Server<'a>,
    _echo: Server<'a>,
}

const ECHO: &str = "
import socket
s = socket.create_server(('', 9000)).accept()[0]
while words := s.recv(1000): s.sendall(words)
";

/// Says something and waits for the echo, for as long as the file `go-on` is there.
const CONVERSATION: &str = "
import os, socket, time
s = socket.create_connection(('203.0.113.1', 9000), timeout=5)
count = 0
while os.path.exists('go-on'):
    words = b'%d\\n' % count
    s.sendall(words)
    assert s.recv(1000) == words
    count += 1
    print(count, flush=True)
    time.sleep(0.01)
";

impl<'a> Traffic<'a> {
    fn start(lab: &'a Lab) -> Self {
        lab.file("go-on", "");
        let echo = lab.ns("blue").serve(9000, "python3", ["-c", ECHO]);
        let pings = lab.ns("blue").start("ping", ["-i", "0.02", "-w", "60", "203.0.113.2"]);
        let conversation = lab.ns("internet").start("python3", ["-c", CONVERSATION]);
        let mut traffic = Self { lab, pings, conversation, _echo: echo };
        traffic.goes_on();
        traffic
    }

    /// Some more of both gets through.
    #[track_caller]
    fn goes_on(&mut self) {
        for server in [&mut self.pings, &mut self.conversation] {
            let before = server.log().lines().count();
            eventually(&format!("{} goes on", server.command()), || {
                server.assert_alive();
                server.log().lines().count() > before + 10
            });
        }
    }

    /// Nothing was lost.
    #[track_caller]
    fn end(self) {
        use nix::sys::signal::Signal;

        std::fs::remove_file(self.lab.directory().join("go-on")).unwrap();
        let _: Output<'_> = self.conversation.finish().success();
        self.pings.signal(Signal::SIGINT);
        let pings = self.pings.finish().success();
        let summary = pings.stdout().lines().find(|line| line.contains("packets transmitted")).unwrap();
        let numbers: Vec<u32> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
        // The last one may have been on its way.
        assert!(numbers[0] - numbers[1] <= 1, "{summary}");
    }
}

#[test]
fn a_changed_rule_counts_from_the_next_packet_on_and_other_rules_flows_go_on() {
    let lab = Lab::new();
    bring_up(&lab, BLUE, "");
    let _servers = ["red", "blue", "internet"].map(|place| who(&lab, place));
    let (red, internet) = (lab.ns("red"), lab.ns("internet"));
    let mut traffic = Traffic::start(&lab);

    assert_eq!(ask(internet, "203.0.113.1", "8080"), "203.0.113.2 speaks to blue\n");
    bring_up(&lab, RED, "");
    assert_eq!(ask(internet, "203.0.113.1", "8080"), "203.0.113.2 speaks to red\n");
    traffic.goes_on();

    assert_eq!(ask(red, "203.0.113.2", "80"), "203.0.113.1 speaks to internet\n");
    bring_up(&lab, RED, "address = \"203.0.113.9\"");
    assert_eq!(ask(red, "203.0.113.2", "80"), "203.0.113.9 speaks to internet\n");
    bring_up(&lab, BLUE, "");
    assert_eq!(ask(red, "203.0.113.2", "80"), "203.0.113.1 speaks to internet\n");
    assert_eq!(ask(internet, "203.0.113.1", "8080"), "203.0.113.2 speaks to blue\n");
    traffic.goes_on();
    traffic.end();
}

#[test]
fn addresses_change_in_place_and_routes_through_them_stay() {
    let lab = Lab::new();
    for addresses in [
        "'192.168.15.1/24', 'fd15::1/64'",
        "'192.168.15.3/24', 'fd15::3/64'",
        "'192.168.15.3/24', '192.168.15.4/24', 'fd15::3/64', 'fd15::4/64'",
        "'192.168.15.4/24', 'fd15::4/64'",
        "'192.168.15.4/24', '10.0.0.1/24', 'fd15::4/64'",
        "'192.168.15.6/24', '10.0.0.1/24', 'fd15::4/64'",
    ] {
        let text = format!(
            "[namespaces.red]\n[namespaces.router]\n[bridges.br0]\nnamespace = 'router'\n\
             addresses = ['192.168.15.5/24', '10.0.0.5/24', 'fd15::5/64']\n\
             [bridges.br0.ports]\nred = {{ addresses = [{addresses}] }}\n"
        );
        lab.file("netctl.toml", text);
        lab.netctl(["up"]).success();
        assert_eq!(lab.netctl(["plan"]).code(), Some(0), "{addresses}: {}", lab.netctl(["plan"]));
        let own = lab.ns("red").run("ip", ["-br", "address", "show", "eth0"]).success();
        let count = own.stdout().split_whitespace().filter(|word| word.contains('/')).count();
        assert_eq!(count, addresses.split(',').count() + 1, "and a link-local one: {own}");
        for host in ["192.168.15.5", "fd15::5"] {
            lab.ns("red").run("ping", ["-c", "1", "-W", "5", host]).success();
        }
        for family in ["-4", "-6"] {
            let routes = lab.ns("red").run("ip", [family, "route", "show", "default"]).success();
            assert_eq!(routes.stdout().lines().count(), 1, "{addresses}: {routes}");
        }
    }
}

#[test]
fn a_rule_that_is_gone_forwards_no_more() {
    let lab = Lab::new();
    bring_up(&lab, BLUE, "");
    let _server = who(&lab, "blue");
    assert_eq!(ask(lab.ns("internet"), "203.0.113.1", "8080"), "203.0.113.2 speaks to blue\n");
    let (without, _) = TOPOLOGY.rsplit_once("[[nat.forward]]").unwrap();
    lab.file("office.toml", without.replace("MASQUERADED", ""));
    lab.netctl(["up", "office.toml"]).success();
    let refused = lab.ns("internet").run("curl", ["-sS", "-m", "5", "http://203.0.113.1:8080"]).fails(7);
    assert!(refused.stderr().contains("Failed to connect"), "{refused}");
}

#[test]
fn row_28_a_forward_beats_a_listener_of_the_gateway_and_gives_the_port_back() {
    let lab = Lab::new();
    bring_up(&lab, BLUE, "");
    let listener = WHO.replace("80", "8080");
    let _servers = [who(&lab, "blue"), lab.ns("router").serve(8080, "python3", ["-c", &listener, "router"])];
    let ask = || ask(lab.ns("internet"), "203.0.113.1", "8080");
    assert_eq!(ask(), "203.0.113.2 speaks to blue\n");
    let (without, _) = TOPOLOGY.rsplit_once("[[nat.forward]]").unwrap();
    lab.file("office.toml", without.replace("MASQUERADED", ""));
    lab.netctl(["up", "office.toml"]).success();
    assert_eq!(ask(), "203.0.113.2 speaks to router\n");
    bring_up(&lab, BLUE, "");
    assert_eq!(ask(), "203.0.113.2 speaks to blue\n");
}

#[test]
fn row_164_who_flushes_netfilters_rules_flushes_nothing_of_netctls() {
    let lab = Lab::new();
    bring_up(&lab, BLUE, "");
    let mut traffic = Traffic::start(&lab);
    for command in ["nft flush ruleset", "iptables -F", "iptables -t nat -F", "ip6tables -t nat -F"] {
        lab.ns("router").run("sh", ["-c", command]).success();
        traffic.goes_on();
    }
    let _server = lab.ns("internet").serve(5201, "iperf3", ["-s", "-1"]);
    let mut load =
        lab.ns("red").start("iperf3", ["-c", "203.0.113.2", "-t", "2", "--connect-timeout", "5000"]);
    for _ in 0..3 {
        for command in ["nft flush ruleset", "iptables -F", "iptables -t nat -F"] {
            lab.ns("router").run("sh", ["-c", command]).success();
        }
        load.assert_alive();
    }
    let _: Output<'_> = load.finish().success();
    traffic.goes_on();
    traffic.end();
}
