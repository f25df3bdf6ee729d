//! The usual container-networking tutorials, carried out with netctl: step by step, one command at a time, with the
//! tutorial's names and addresses and the checks that it makes; and the whole network at once, from the file in
//! `docs/examples`.
//!
//! A lab's host plays the tutorial's host. What the tutorial finds in the world outside, a LAN or 8.8.8.8, is a further
//! namespace, `outside`, at the other end of the host's `eth0`. It knows no way back to the namespaces' own networks.

mod bridge_lab;
mod bridge_steps;
mod container_networking;
mod summary;
mod walkthrough;

use netctl_tests::lab::{Lab, Output, Server};

/// Someone at a keyboard, following a tutorial.
struct Reader {
    lab: Lab,
}

impl Reader {
    fn new() -> Self {
        Self { lab: Lab::new() }
    }

    /// Types `netctl LINE`, which succeeds.
    #[track_caller]
    fn netctl(&self, line: &str) -> Output<'_> {
        self.lab.netctl(line.split(' ')).success()
    }

    /// Types `netctl LINE`, which fails and says why.
    #[track_caller]
    fn netctl_refuses(&self, line: &str, why: &str) {
        let output = self.lab.netctl(line.split(' ')).fails(1);
        assert!(output.stderr().contains(why), "{output}");
    }

    /// The first column of the table that `netctl LINE` prints.
    #[track_caller]
    fn names(&self, line: &str) -> Vec<String> {
        let output = self.netctl(line);
        let rows = output.stdout().lines().skip(1);
        rows.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// What the table that `netctl LINE` prints says behind `name`.
    #[track_caller]
    fn row(&self, line: &str, name: &str) -> Vec<String> {
        let output = self.netctl(line);
        let mut rows = output.stdout().lines().map(|row| row.split_whitespace().map(str::to_owned));
        let row = rows.find_map(|mut row| (row.next().as_deref() == Some(name)).then(|| row.collect()));
        row.unwrap_or_else(|| panic!("no `{name}`:\n{output}"))
    }

    /// A link's MAC address, as `netctl link` prints it.
    #[track_caller]
    fn mac(&self, place: &str, interface: &str) -> String {
        self.row(&format!("-n {place} link ls {interface}"), interface)[5].clone()
    }

    /// The namespace, or `host`, reaches the address. The first packets may go: a bridge takes a moment to see that a
    /// port has its carrier.
    #[track_caller]
    fn pings(&self, place: &str, address: &str) {
        self.ping(place, address, &["-c", "1", "-i", "0.2", "-w", "10"]).success();
    }

    /// It has no route to the address.
    #[track_caller]
    fn has_no_route(&self, place: &str, address: &str) {
        let output = self.ping(place, address, &["-c", "1"]).fails(2);
        assert!(output.stderr().contains("Network is unreachable"), "{output}");
    }

    /// It sends to the address, and nothing comes back.
    #[track_caller]
    fn gets_no_answer(&self, place: &str, address: &str) {
        let output = self.ping(place, address, &["-c", "2", "-i", "0.2", "-W", "0.3"]).fails(1);
        assert!(output.stdout().contains("100% packet loss"), "{output}");
    }

    /// As the tutorials type it: `ip netns exec NS ping ..`.
    #[track_caller]
    fn ping(&self, place: &str, address: &str, how: &[&str]) -> Output<'_> {
        let words = how.iter().copied().chain([address]);
        match place {
            "host" => self.lab.host().run("ping", words),
            namespace => self.lab.netctl(["exec", namespace, "--", "ping"].into_iter().chain(words)),
        }
    }

    /// `python3 -m http.server --bind ADDRESS PORT`, but for the name of the address, which it would look for in vain.
    #[track_caller]
    fn serves<'a>(&'a self, namespace: &'a str, address: &str, port: u16) -> Server<'a> {
        let bound = format!("TCPServer(('{address}', {port}), SimpleHTTPRequestHandler)");
        let program =
            format!("from socketserver import *; from http.server import *; {bound}.serve_forever()");
        self.lab.ns(namespace).serve(port, "python3", ["-u", "-c", &program])
    }

    /// Whether the host, or a namespace, gets the page.
    #[track_caller]
    fn fetches(&self, place: &str, url: &str) -> bool {
        let place = if place == "host" { self.lab.host() } else { self.lab.ns(place) };
        place.run("curl", ["-sS", "-m", "5", "-o", "/dev/null", url]).code() == Some(0)
    }

    /// Makes the world outside: the host's `eth0` with its address, and at the other end those of the outside, the first
    /// of which is the host's way to all others.
    #[track_caller]
    fn make_the_world_outside(&self, host: &str, outside: &[&str]) {
        self.netctl("ns add outside");
        self.netctl("link add veth eth0 host eth0 outside");
        self.netctl(&format!("addr add {host} dev eth0"));
        for address in outside {
            self.netctl(&format!("-n outside addr add {address} dev eth0"));
        }
        self.netctl("link set eth0 up");
        self.netctl("-n outside link set eth0 up");
        if let Some((router, _)) = outside[0].split_once('/') {
            self.netctl(&format!("route add default via {router}"));
        }
    }

    /// Brings an example's network up, the lab's own host in the place of its `machine`, which `holds`, and down again; then
    /// the host is as it was before.
    #[track_caller]
    fn builds(example: &str, machine: &str, holds: impl FnOnce(&Self)) {
        let reader = Self::new();
        let before = reader.machine();
        let declared = format!("[namespaces.{machine}]\n");
        assert!(example.contains(&declared), "{example}");
        let topology = example.replace(&declared, "").replace(&format!("\"{machine}\""), "\"host\"");
        reader.lab.file("topology.toml", topology);
        reader.netctl("up topology.toml");
        holds(&reader);
        reader.netctl("down topology");
        assert_eq!(reader.machine(), before);
    }

    /// The machine as it is: what a `down` has to give back.
    fn machine(&self) -> String {
        let host = self.lab.host();
        let commands = [
            "ip netns list",
            "ip -d link",
            "ip -br addr",
            "ip route show table all",
            "ip -6 route show table all",
            "tc qdisc",
            "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
            "find /sys/fs/bpf -mindepth 1",
        ];
        let said = commands.map(|command| {
            let (program, words) = command.split_once(' ').unwrap();
            host.run(program, words.split(' ')).success().to_string()
        });
        said.join("\n")
    }
}
