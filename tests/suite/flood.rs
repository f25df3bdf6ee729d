//! Floods through a running network: what is pushed out, what is refused, and what a look at the table shows meanwhile.

use std::net::{IpAddr, Ipv4Addr};

use netctl_tests::{
    differ::tap::Tap,
    lab::{Lab, Server, eventually},
    packet::{Packet, ping, tcp, udp},
};
use serde_json::Value;

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
blue = { addresses = ["192.168.15.2/24"] }

[[cables]]
a = { namespace = "router", interface = "wan0", addresses = ["203.0.113.1/24"] }
b = { namespace = "internet", interface = "eth0", addresses = ["203.0.113.2/24"] }

[[nat.masquerade]]
namespace = "router"
source = "192.168.15.0/24"
out = "wan0"

[nat.timeouts]
tcp-opening = 2
tcp-closing = 2
udp-unanswered = 2
icmp = 3

[nat]
max-flows = 4096
"#;

fn office() -> Lab {
    let lab = Lab::new();
    lab.file("netctl.toml", TOPOLOGY);
    lab.netctl(["up"]).success();
    lab
}

/// The `number`th flow of a flood: of 200 clients with 256 ports each.
fn source(number: usize) -> (IpAddr, u16) {
    let client = Ipv4Addr::new(192, 168, 15, 20 + (number / 256 % 200) as u8);
    (client.into(), 1024 + (number % 256 + number / 51_200 * 256) as u16)
}

/// A SYN to a port where nobody listens: it is answered by a reset.
fn syn(number: usize) -> Packet {
    tcp(source(number), "203.0.113.2:80").syn()
}

/// A datagram that nobody answers.
fn datagram(number: usize) -> Packet {
    udp(source(number), "203.0.113.2:53")
}

/// Where a flood comes in: `red`'s interface, whatever sources the packets have.
struct Inlet {
    tap: Tap,
    gateway: [u8; 6],
}

impl Inlet {
    fn new(lab: &Lab) -> Self {
        let shown = lab.ns("router").run("ip", ["-j", "link", "show", "br0"]).success().json();
        let mut bytes = shown[0]["address"].as_str().unwrap().split(':');
        let gateway = [0; 6].map(|_: u8| u8::from_str_radix(bytes.next().unwrap(), 16).unwrap());
        Self { tap: lab.ns("red").enter(|| Tap::open("eth0")), gateway }
    }

    fn send(&self, packet: &Packet) {
        let mut frame = packet.frame();
        frame[..6].copy_from_slice(&self.gateway);
        self.tap.send(&frame);
    }
}

/// Tells every line's sender its port as it is seen here.
const SERVE: &str = "
import asyncio
async def serve(reader, writer):
    while await reader.readline():
        writer.write(b'%d\\n' % writer.get_extra_info('peername')[1])
async def main():
    async with await asyncio.start_server(serve, '0.0.0.0', 7000, backlog=256) as s: await s.serve_forever()
asyncio.run(main())
";

/// Connects a hundred times and is then idle; for each line of its input it asks on all connections for their ports.
const CROWD: &str = "
import socket, sys
calls = [socket.create_connection(('203.0.113.2', 7000), 15).makefile('rw') for _ in range(100)]
def ports():
    for call in calls: print('?', file=call, flush=True)
    return [call.readline() for call in calls]
before, asked = ports(), 0
print('connected', flush=True)
for _ in sys.stdin:
    assert ports() == before
    asked += 1
    print('still', asked, flush=True)
";

/// A hundred connections of `red`'s.
struct Crowd<'a> {
    lab: &'a Lab,
    client: Server<'a>,
    asked: u32,
    _server: Server<'a>,
}

impl<'a> Crowd<'a> {
    fn connect(lab: &'a Lab) -> Self {
        let server = lab.ns("internet").serve(7000, "python3", ["-c", SERVE]);
        lab.file("crowd.py", CROWD);
        lab.host().run("mkfifo", ["ask"]).success();
        let mut client = lab.ns("red").start("sh", ["-c", "exec 3<>ask; exec python3 -u crowd.py <&3"]);
        client.wait_for("connected");
        Self { lab, client, asked: 0, _server: server }
    }

    /// Every connection carries data, from the port that it has had from the beginning.
    fn goes_on(&mut self) {
        self.lab.host().run("sh", ["-c", "echo > ask"]).success();
        self.asked += 1;
        self.client.wait_for(&format!("still {}\n", self.asked));
    }
}

/// Whether `blue` gets a connection.
fn connects(lab: &Lab) -> bool {
    const CONNECT: &str = "
import socket
s = socket.create_connection(('203.0.113.2', 7000), 2).makefile('rw')
print('?', file=s, flush=True)
assert s.readline()
";
    lab.ns("blue").run("python3", ["-c", CONNECT]).code() == Some(0)
}

/// What `netctl nat stats` says of the router: flows in the table, and packets dropped, by reason.
fn stats(lab: &Lab) -> (u64, Vec<(String, u64)>) {
    let stats = lab.netctl(["--json", "nat", "stats"]).success().json();
    let drop =
        |drop: &Value| (drop["reason"].as_str().unwrap().to_owned(), drop["packets"].as_u64().unwrap());
    let drops = stats[0]["drops"].as_array().unwrap().iter().map(drop).collect();
    (stats[0]["table"]["flows"].as_u64().unwrap(), drops)
}

#[test]
fn rows_141_142_idle_connections_outlive_floods_and_new_ones_get_through() {
    let lab = office();
    let mut crowd = Crowd::connect(&lab);
    let inlet = Inlet::new(&lab);

    // Nobody answers, or with a reset: what is pushed out is the flood's own.
    for number in 0..50_000 {
        inlet.send(&syn(number));
        inlet.send(&datagram(number));
    }
    assert!(connects(&lab), "in the place of another");
    crowd.goes_on();
    let (flows, drops) = stats(&lab);
    assert!((1000..=1024 + 110).contains(&flows) && drops.is_empty(), "{flows} {drops:?}");

    // Every one is answered: the table fills, and what has no room is refused.
    const PINGS: u64 = 8000;
    for number in 0..PINGS {
        inlet.send(&ping(source(number as usize), "203.0.113.2"));
    }
    let (flows, drops) = stats(&lab);
    assert!(flows <= 4096, "{flows}");
    let [(reason, packets)] = drops.as_slice() else { panic!("{drops:?}") };
    assert!(reason == "table-full" && (PINGS - 4096..=PINGS).contains(packets), "{drops:?}");
    crowd.goes_on();
    eventually("blue connects", || connects(&lab));
    crowd.goes_on();
    eventually("only connections are left", || stats(&lab).0 <= 110);
    crowd.goes_on();
}
