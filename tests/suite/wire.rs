//! Frames on the wire around the gateway, as no socket would send them: what its IP layer makes of them with the programs
//! before and behind it.

use netctl_tests::{
    differ::tap::Tap,
    lab::{Lab, Ns, eventually},
    packet::{Packet, check::View, proto, tcp, udp},
};

/// The quickstart, its links in the hands of the test.
struct Wires {
    /// A client inside.
    red: Tap,
    /// The server inside, whose port 80 is forwarded.
    blue: Tap,
    /// Everyone outside.
    internet: Tap,
    /// The gateway's MACs, inside and outside.
    gateway: [[u8; 6]; 2],
    _lab: Lab,
}

impl Wires {
    fn new() -> Self {
        let lab = Lab::quickstart();
        // Everyone knows his neighbours.
        for to in ["192.168.15.2", "fd15::2", "203.0.113.2", "2001:db8:113::2"] {
            for from in ["red", "router"] {
                lab.ns(from).run("ping", ["-c", "1", "-W", "5", to]).success();
            }
        }
        let tap = |place| lab.ns(place).enter(|| Tap::open("eth0"));
        let gateway = ["v-net-0", "wan0"].map(|link| mac(lab.ns("router"), link));
        Self { red: tap("red"), blue: tap("blue"), internet: tap("internet"), gateway, _lab: lab }
    }

    /// A packet of red's.
    fn red_sends(&self, packet: &Packet) {
        self.red.send(&Packet { to_mac: self.gateway[0], ..packet.clone() }.frame());
    }

    /// A packet from outside.
    fn internet_sends(&self, packet: &Packet) {
        self.internet.send(&Packet { to_mac: self.gateway[1], ..packet.clone() }.frame());
    }
}

fn mac(place: Ns<'_>, link: &str) -> [u8; 6] {
    let shown = place.run("ip", ["-j", "link", "show", link]).success().json();
    let bytes = shown[0]["address"].as_str().unwrap().split(':');
    let bytes: Vec<u8> = bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// The first frame to come that is the one.
#[track_caller]
fn wait(tap: &mut Tap, what: &str, is_it: impl Fn(&View) -> bool) -> Vec<u8> {
    let mut found = None;
    eventually(what, || {
        tap.take(|frame| {
            if found.is_none() && View::read(frame).is_some_and(|view| is_it(&view)) {
                found = Some(frame.to_vec());
            }
        });
        found.is_some()
    });
    found.unwrap()
}

/// Time to live, or hop limit.
fn ttl(frame: &[u8]) -> u8 {
    if frame[12..14] == [8, 0] { frame[22] } else { frame[21] }
}

/// Red, blue, the gateway's outside address and a server.
const FAMILIES: [[&str; 4]; 2] = [
    ["192.168.15.1", "192.168.15.2", "203.0.113.1", "203.0.113.2"],
    ["fd15::1", "fd15::2", "2001:db8:113::1", "2001:db8:113::2"],
];

#[test]
fn row_43_a_hairpinned_packet_takes_one_hop_and_comes_from_the_gateway() {
    let mut wires = Wires::new();
    let gateway = wires.gateway[0];
    for [red, _, outside, _] in FAMILIES {
        let call = Packet { ttl: 17, ..tcp((red, 777), (outside, 8080)).syn() };
        wires.red_sends(&call);
        let arrived =
            wait(&mut wires.blue, "the call", |view| view.proto == proto::TCP && view.dst.port() == 80);
        assert_eq!((ttl(&arrived), &arrived[6..12]), (16, &gateway[..]));
        // Nobody listens, which blue says with 64 hops to go.
        let refused =
            wait(&mut wires.red, "the answer", |view| view.proto == proto::TCP && view.src.port() == 8080);
        assert_eq!((ttl(&refused), &refused[6..12]), (63, &gateway[..]));
    }
}

/// `accept_source_route` is off. What has to arrive, and does, is sent after what must not.
#[test]
fn row_90_the_kernel_forwards_nothing_that_is_routed_by_its_source() {
    let mut wires = Wires::new();
    let [red, _, outside, server] = FAMILIES[0];
    let by_way_of = |kind: u8| vec![kind, 7, 4, 203, 0, 113, 77, 1];
    let (loose, strict, padding) = (by_way_of(131), by_way_of(137), vec![1; 8]);
    for (port, options) in [(1, &loose), (2, &strict), (3, &padding)] {
        wires.red_sends(&Packet { options: options.clone(), ..udp((red, port), (server, 53)) });
        wires.internet_sends(&Packet {
            options: options.clone(),
            ..tcp((server, port), (outside, 8080)).syn()
        });
    }
    let left =
        wait(&mut wires.internet, "what red sent", |view| view.proto == proto::UDP && view.dst.port() == 53);
    assert_eq!(View::read(&left).unwrap().src.port(), 3);
    let led = wait(&mut wires.blue, "the call", |view| view.proto == proto::TCP && view.dst.port() == 80);
    assert_eq!(View::read(&led).unwrap().src.port(), 3);
}

#[test]
fn row_91_a_packet_without_a_hop_left_goes_nowhere_and_its_sender_is_told_in_his_terms() {
    let mut wires = Wires::new();
    let is_icmp = |view: &View| matches!(view.proto, proto::ICMP | proto::ICMPV6);
    for [red, _, outside, server] in FAMILIES {
        let spent = |packet: Packet| Packet { ttl: 0, ..packet };
        let (own, call) = (udp((red, 4321), (server, 53)), tcp((server, 777), (outside, 8080)).syn());
        for (packet, is_red) in [(own, true), (call, false)] {
            let sent = spent(packet.clone());
            let send = if is_red { Wires::red_sends } else { Wires::internet_sends };
            send(&wires, &sent);
            let sender = if is_red { &mut wires.red } else { &mut wires.internet };
            let exceeded =
                wait(sender, "time exceeded", |view| is_icmp(view) && view.dst.ip() == sent.src.ip());
            let view = View::read(&exceeded).unwrap();
            assert_eq!(exceeded[view.transport], if sent.src.is_ipv4() { 11 } else { 3 });
            assert!(exceeded.ends_with(&sent.frame()[14..]), "{exceeded:02x?} quotes {sent:?}");

            // One that has hops left arrives, as the first of its kind.
            let other = packet.from((sent.src.ip(), sent.src.port() + 1));
            send(&wires, &other);
            let receiver = if is_red { &mut wires.internet } else { &mut wires.blue };
            let port = if is_red { 53 } else { 80 };
            let arrived = wait(receiver, "the other one", |view| {
                matches!(view.proto, proto::TCP | proto::UDP) && view.dst.port() == port
            });
            assert_eq!(View::read(&arrived).unwrap().src.port(), other.src.port());
        }
    }
}
