//! What goes on beside a change: a TCP stream and a thousand datagrams a second out of `red`, and a conversation with
//! `blue` through a forwarded port. All of it notices a lost packet, a reset, and another port.

use std::fs;

use netctl::{
    model::{NetnsName, Place, TopologyName},
    nat::ebpf::{Pins, maps::Tables},
};
use netctl_tests::lab::{Lab, Output, Server, eventually};

/// Two clients, a gateway, and the outside; `RULES` are added to the rules that the traffic goes through.
pub(super) const TOPOLOGY: &str = r#"
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
source = "192.168.15.0/25"
out = "wan0"

[[nat.forward]]
namespace = "router"
listen = "203.0.113.1:9000/tcp"
to = "192.168.15.129:9000"
"#;

/// Tells every client's datagram back, with the client's port as it is seen here.
const UDP_ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 7000))
while True:
    words, client = s.recvfrom(100)
    s.sendto(words + b' %d' % client[1], client)
";

/// A thousand datagrams a second for as long as the file `go-on` is there; then tells how many were not answered, and
/// from how many ports they came.
const UDP_CLIENT: &str = "
import os, select, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('203.0.113.2', 7000))
s.setblocking(False)
sent, ports, answered, due = 0, set(), set(), time.monotonic()
def hear(patience):
    while select.select([s], [], [], patience)[0]:
        # Ready may yet be a datagram whose checksum turns out wrong, or one that is just being put there.
        try: number, port = s.recv(100).split()
        except BlockingIOError: continue
        answered.add(int(number)); ports.add(int(port))
        print(len(answered), flush=True)
while os.path.exists('go-on'):
    s.send(b'%d' % sent); sent += 1; due += 0.001
    hear(max(0, due - time.monotonic()))
hear(1)
print('lost', sent - len(answered), 'ports', len(ports))
";

const TCP_ECHO: &str = "
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

pub(super) struct Traffic<'a> {
    lab: &'a Lab,
    stream: Server<'a>,
    datagrams: Server<'a>,
    conversation: Server<'a>,
    _servers: [Server<'a>; 3],
}

impl<'a> Traffic<'a> {
    pub(super) fn start(lab: &'a Lab) -> Self {
        lab.file("go-on", "");
        let (red, internet) = (lab.ns("red"), lab.ns("internet"));
        let servers = [
            internet.serve(5201, "iperf3", ["-s", "-1"]),
            internet.serve(7000, "python3", ["-c", UDP_ECHO]),
            lab.ns("blue").serve(9000, "python3", ["-c", TCP_ECHO]),
        ];
        // Enough that packets are always on their way, and leaves the machine to others.
        let words = ["-c", "203.0.113.2", "-t", "600", "-b", "20M", "-i", "0.1", "--forceflush"];
        let mut traffic = Self {
            lab,
            stream: red.start("iperf3", words),
            datagrams: red.start("python3", ["-c", UDP_CLIENT]),
            conversation: internet.start("python3", ["-c", CONVERSATION]),
            _servers: servers,
        };
        traffic.goes_on();
        traffic
    }

    /// Some more of everything gets through.
    #[track_caller]
    pub(super) fn goes_on(&mut self) {
        for (server, lines) in
            [(&mut self.stream, 2), (&mut self.datagrams, 100), (&mut self.conversation, 10)]
        {
            let before = server.log().lines().count();
            eventually(&format!("{} goes on", server.command()), || {
                server.assert_alive();
                server.log().lines().count() > before + lines
            });
        }
    }

    /// Nothing was lost but at most one datagram for each of `changes`, nothing was reset, and no port has changed.
    #[track_caller]
    pub(super) fn end(mut self, changes: u32) {
        self.goes_on();
        fs::remove_file(self.lab.directory().join("go-on")).unwrap();
        let _: Output<'_> = self.conversation.finish().success();
        let datagrams = self.datagrams.finish().success();
        let numbers: Vec<u32> = datagrams
            .stdout()
            .lines()
            .last()
            .map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect())
            .unwrap_or_default();
        assert!(numbers[0] <= changes && numbers[1] == 1, "lost, ports: {numbers:?}");
        self.stream.assert_alive();
        for place in ["red", "blue", "router", "internet"] {
            let counters =
                self.lab.ns(place).run("nstat", ["-asz", "TcpOutRsts", "TcpEstabResets"]).success();
            let sum: f64 = counters
                .stdout()
                .lines()
                .filter(|line| line.starts_with("Tcp"))
                .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
                .sum();
            assert!(sum < 0.5, "{place}: {counters}");
        }
    }
}

/// The live flows of the gateway `router` of `topology`, in words, sorted.
pub(super) fn flows(lab: &Lab, topology: &str) -> Vec<String> {
    let (topology, router): (TopologyName, NetnsName) =
        (topology.parse().unwrap(), "router".parse().unwrap());
    let flows = lab.host().enter(|| {
        let pins = Pins::new("/sys/fs/bpf".as_ref(), &topology, &Place::Netns(router));
        Tables::open(&pins).unwrap().flows().unwrap()
    });
    let mut flows: Vec<String> =
        flows.iter().map(|flow| format!("{:?} -> {:?}", flow.original, flow.translated)).collect();
    flows.sort();
    flows
}
