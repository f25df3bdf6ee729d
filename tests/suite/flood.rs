//! Floods through a running network: what is pushed out, what is refused, and what a look at the table shows meanwhile.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use aya::maps::{HashMap, Map, MapData};
use netctl_ebpf::{
    ABI_VERSION,
    flow::{FlowKey, Half},
};
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

/// SYNs and datagrams that go on until it is dropped, of so many flows in turn.
struct Flood {
    goes_on: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(lab: &Lab, flows: usize) -> Self {
        let (goes_on, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let inlet = Inlet::new(lab);
        let (while_it_does, counter) = (Arc::clone(&goes_on), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            for number in (0..flows).cycle() {
                if !while_it_does.load(Ordering::Relaxed) {
                    return;
                }
                inlet.send(&syn(number));
                inlet.send(&datagram(number));
                counter.fetch_add(2, Ordering::Relaxed);
            }
        });
        Self { goes_on, sent, thread: Some(thread) }
    }

    /// Some thousands more have been sent.
    fn goes_on(&self) {
        let before = self.sent.load(Ordering::Relaxed);
        eventually("the flood goes on", || self.sent.load(Ordering::Relaxed) > before + 5000);
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the flood broke off");
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
    // Half of the places where one CPU has carried all of the flood.
    assert!((500..=1024 + 110).contains(&flows) && drops.is_empty(), "{flows} {drops:?}");

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

/// The flows that are listed; none is twice, by either of its tuples.
fn listed(lab: &Lab) -> usize {
    let flows = lab.netctl(["--json", "nat", "flows"]).success().json();
    let flows = flows.as_array().unwrap();
    for tuple in ["original", "translated"] {
        let tuples = flows.iter().map(|flow| format!("{} {}", flow["protocol"], flow[tuple]));
        let distinct: HashSet<String> = tuples.collect();
        assert_eq!(distinct.len(), flows.len(), "by the {tuple} tuple");
    }
    flows.len()
}

#[test]
fn row_144_a_flood_neither_confuses_a_listing_nor_a_flush_nor_a_new_table() {
    let lab = office();
    let mut crowd = Crowd::connect(&lab);
    let flood = Flood::start(&lab, 51_200);
    for state in ["unanswered", "opening", "closing"].into_iter().cycle().take(9) {
        flood.goes_on();
        assert!((100..=4096).contains(&listed(&lab)));
        lab.netctl(["nat", "flush", "--state", state]).success();
        crowd.goes_on();
    }
    // What forgets the connections as well.
    drop(crowd);
    for (room, words) in [(4096, "nat flush"), (2048, "up"), (2048, "nat flush"), (4096, "up")] {
        flood.goes_on();
        lab.file("netctl.toml", TOPOLOGY.replace("max-flows = 4096", &format!("max-flows = {room}")));
        lab.netctl(words.split(' ')).success();
        lab.netctl(["plan"]).success();
        flood.goes_on();
        let flows = listed(&lab);
        // Those that came while the listing was made, beside those that they pushed out.
        assert!((1..=room / 2).contains(&flows), "{flows} after `{words}`");
    }
    drop(flood);
    eventually("the count is that of the listing, and falls to none", || {
        let before = stats(&lab).0;
        let flows = listed(&lab) as u64;
        // What ends meanwhile may be in the one and not in the other.
        assert!((stats(&lab).0..=before).contains(&flows), "{before} {flows}");
        flows == 0
    });
}

/// The router's flow table as the kernel has it.
fn table(lab: &Lab) -> HashMap<MapData, FlowKey, Half> {
    let pin = format!("/sys/fs/bpf/netctl/office/router/v{ABI_VERSION}/maps/FLOWS");
    let flows = lab.host().enter(|| MapData::from_pin(pin)).unwrap();
    HashMap::try_from(Map::HashMap(flows)).unwrap()
}

#[test]
fn row_145_the_halves_of_a_flow_come_and_go_together() {
    let lab = office();
    let table = table(&lab);
    let is_whole = |key: &FlowKey, half: &Half| {
        table
            .get(&half.to.reversed(), 0)
            .is_ok_and(|other| other.to == key.reversed() && other.serial == half.serial)
    };
    // Of few enough flows that each begins again soon: on a connection that was reset, or after it was pushed out.
    let floods = [Flood::start(&lab, 1500), Flood::start(&lab, 1500)];
    let mut checked = 0;
    for round in 0..20 {
        floods.iter().for_each(Flood::goes_on);
        // Entries are told one after the other: of a flow that comes or goes meanwhile, one may be missing.
        let halves: Vec<(FlowKey, Half)> = table.iter().filter_map(Result::ok).collect();
        for (key, half) in &halves {
            eventually(&format!("{key:?} of {half:?} is whole or gone"), || {
                table.get(key, 0).map_or(true, |half| is_whole(key, &half))
            });
        }
        checked += halves.len();
        if round % 4 == 3 {
            lab.netctl(["nat", "flush"]).success();
        }
    }
    assert!(checked > 20_000, "{checked} halves");
    drop(floods);
    eventually("the table is empty", || table.keys().next().is_none());
}
