//! Draws cases. Half of the source ports are from a tiny pool, so that clients contend for them: most bugs of a NAT hide
//! while ports are kept.

use super::{
    step::{ErrorFlaw, Extra, Flaw, FlowId, Kind, Lost, Order, Parts, Shape, Step, Who, Wrong},
    world::{EXTRA, FORWARDS, LISTENERS, Party},
};
use crate::{packet::flag, random::Random};

/// Steps in a case.
pub const STEPS: usize = 150;

const CONTENDED: [u16; 2] = [5000, 5001];
const PORTS: [u16; 15] = [0, 1, 80, 99, 500, 777, 778, 1000, 1023, 1024, 5002, 5003, 8080, 8082, 65535];
const SERVICES: [u16; 4] = [53, 80, 443, 5000];
const V4_ERRORS: [(u8, u8); 11] =
    [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (4, 0), (11, 0), (11, 1), (12, 0), (5, 1)];
const V6_ERRORS: [(u8, u8); 6] = [(1, 0), (1, 1), (1, 4), (2, 0), (3, 0), (4, 1)];

/// The case of a seed.
#[must_use]
pub fn case(seed: u64) -> Vec<Step> {
    let mut draw = Draw { random: Random::new(seed), flows: Vec::new(), hairpins: Vec::new(), next: 0 };
    (0..STEPS).map(|_| draw.step()).collect()
}

struct Draw {
    random: Random,
    /// The flows so far, and which family they are of.
    flows: Vec<(FlowId, bool)>,
    /// Those through the gateway from inside to inside.
    hairpins: Vec<FlowId>,
    next: FlowId,
}

impl Draw {
    fn step(&mut self) -> Step {
        match self.random.below(100) {
            _ if self.flows.is_empty() => self.outwards(),
            0..16 => self.outwards(),
            16..22 => self.inwards(),
            22..26 => self.hairpin(),
            26..32 => self.stray(),
            32..34 => self.portless(),
            34..36 => self.socket(),
            36..54 => self.say(false),
            54..74 => self.say(true),
            74..80 => self.wrong(),
            80..99 => self.error(),
            _ if self.random.percent(20) => Step::Flush,
            _ if self.random.percent(20) => Step::Forward { on: self.random.percent(60) },
            _ => self.say(true),
        }
    }

    fn flow(&mut self, v6: bool) -> Option<FlowId> {
        let id = self.next;
        self.next += 1;
        self.flows.push((id, v6));
        Some(id)
    }

    fn port(&mut self) -> u16 {
        match self.random.below(100) {
            0..50 => self.random.pick(&CONTENDED),
            50..54 => LISTENERS.0,
            54..58 => LISTENERS.1,
            58..75 => 40000 + self.random.below(2) as u16,
            _ => self.random.pick(&PORTS),
        }
    }

    /// The port of a forward, which may not be there.
    fn forward(&mut self) -> u16 {
        let [first, second] = FORWARDS;
        self.random.pick(&[first, first, second, second, EXTRA]).listen
    }

    fn outwards(&mut self) -> Step {
        let v6 = self.random.percent(40);
        let from = self.random.pick(&[Party::C1, Party::C2]);
        let me = if from == Party::C1 { Who::C1 } else { Who::C2 };
        let peer = self.random.pick(&[Who::Server, Who::Server, Who::Other, Who::Far]);
        let kind = self.random.pick(&[Kind::Udp, Kind::Tcp(flag::SYN), Kind::Echo]);
        let kind = if kind == Kind::Tcp(flag::SYN) { Kind::Tcp(self.opening()) } else { kind };
        let to = if kind == Kind::Echo { 0 } else { self.random.pick(&SERVICES) };
        let shape = self.shape(kind);
        Step::Send { flow: self.flow(v6), from, v6, src: (me, self.port()), dst: (peer, to), kind, shape }
    }

    fn inwards(&mut self) -> Step {
        let v6 = self.random.percent(40);
        let peer = self.random.pick(&[Who::Server, Who::Other, Who::Far]);
        let kind = self.random.pick(&[Kind::Udp, Kind::Tcp(flag::SYN)]);
        let to = self.forward();
        let shape = self.plain();
        let src = (peer, self.random.pick(&[777, 778, 5000, 53, 80]));
        Step::Send { flow: self.flow(v6), from: Party::Inet, v6, src, dst: (Who::Wan, to), kind, shape }
    }

    fn hairpin(&mut self) -> Step {
        let v6 = self.random.percent(40);
        let from = self.random.pick(&[Party::C1, Party::C2]);
        let me = if from == Party::C1 { Who::C1 } else { Who::C2 };
        let kind = self.random.pick(&[Kind::Udp, Kind::Tcp(flag::SYN)]);
        let to = self.forward();
        let shape = self.plain();
        self.hairpins.push(self.next);
        let port = self.port();
        Step::Send { flow: self.flow(v6), from, v6, src: (me, port), dst: (Who::Wan, to), kind, shape }
    }

    /// What belongs to nothing: from anywhere to anywhere.
    fn stray(&mut self) -> Step {
        let v6 = self.random.percent(40);
        let from = self.random.pick(&Party::ALL);
        let src = match (from, self.random.percent(15)) {
            (Party::C1, false) => Who::C1,
            (Party::C2, false) => Who::C2,
            (Party::Inet, false) => self.random.pick(&[Who::Server, Who::Other, Who::Far, Who::Router]),
            (Party::Inet, true) => self.random.pick(&[Who::Wan, Who::Loopback, Who::Nobody, Who::Group]),
            // IPv6 knows no martian source: there the gateway's addresses would be as good as its own packets.
            (_, true) if v6 => self.random.pick(&[Who::Loopback, Who::Nobody, Who::Uncovered]),
            (_, true) => self.random.pick(&[Who::Wan, Who::Lan, Who::Loopback, Who::Nobody, Who::Uncovered]),
        };
        let dst = match from {
            Party::Inet => {
                self.random.pick(&[Who::Wan, Who::Wan, Who::Wan, Who::Second, Who::Lan, Who::C1, Who::C2])
            }
            _ => self.random.pick(&[Who::Wan, Who::Second, Who::Lan, Who::Server, Who::Far]),
        };
        let kind = match self.random.below(4) {
            0 => Kind::Udp,
            1 => Kind::Tcp(self.flags()),
            2 => Kind::Echo,
            _ => Kind::EchoReply,
        };
        let ports = match kind {
            Kind::Echo | Kind::EchoReply => {
                let id = self.port();
                if kind == Kind::Echo { (id, 0) } else { (0, id) }
            }
            _ => (self.random.pick(&SERVICES), self.port()),
        };
        let shape = self.plain();
        Step::Send { flow: None, from, v6, src: (src, ports.0), dst: (dst, ports.1), kind, shape }
    }

    /// A protocol without ports, or one that the NAT does not know.
    fn portless(&mut self) -> Step {
        const UDP_LITE: u8 = 136;
        let v6 = self.random.percent(40);
        let from = self.random.pick(&[Party::C1, Party::C2]);
        let me = if from == Party::C1 { Who::C1 } else { Who::C2 };
        let peer = self.random.pick(&[Who::Server, Who::Other, Who::Far]);
        let kind = Kind::Protocol(self.random.pick(&[4, 47, 50, 253, UDP_LITE]));
        let shape = self.plain();
        Step::Send { flow: self.flow(v6), from, v6, src: (me, 0), dst: (peer, 0), kind, shape }
    }

    fn socket(&mut self) -> Step {
        let v6 = self.random.percent(40);
        let flow = self.next;
        self.next += 1;
        let dst = (self.random.pick(&[Who::Server, Who::Other]), self.random.pick(&[53, 80]));
        Step::Socket { flow, v6, port: self.random.pick(&CONTENDED), dst }
    }

    fn say(&mut self, back: bool) -> Step {
        let (flow, _) = self.random.pick(&self.flows);
        let flags = if self.random.percent(15) {
            self.flags()
        } else {
            let syn_ack = flag::SYN | flag::ACK;
            let fin = flag::FIN | flag::ACK;
            let (ack, data) = (flag::ACK, flag::ACK | flag::PSH);
            if back {
                self.random.pick(&[syn_ack, syn_ack, ack, data, data, fin])
            } else {
                self.random.pick(&[flag::SYN, ack, data, data, fin])
            }
        };
        // Whether a connection begins anew, and whether both halves of a hairpin are there, must not hang on a packet that
        // gets half way.
        let is_plain = flags & flag::SYN != 0 || self.hairpins.contains(&flow);
        let shape = if is_plain { self.plain() } else { self.shape(Kind::Tcp(0)) };
        Step::Say { flow, back, flags, shape }
    }

    fn wrong(&mut self) -> Step {
        let (flow, _) = self.random.pick(&self.flows);
        let how = self.random.pick(&[Wrong::Host, Wrong::Port, Wrong::Address, Wrong::Protocol]);
        Step::Wrong { flow, how, flags: self.flags() }
    }

    fn error(&mut self) -> Step {
        let (flow, v6) = self.random.pick(&self.flows);
        let kind = if v6 { self.random.pick(&V6_ERRORS) } else { self.random.pick(&V4_ERRORS) };
        let flaw = match self.random.below(100) {
            0..80 => ErrorFlaw::None,
            80..84 => ErrorFlaw::Destination,
            84..88 => ErrorFlaw::Checksum,
            88..92 => ErrorFlaw::QuotedChecksum,
            92..96 => ErrorFlaw::QuotedFragment,
            _ => ErrorFlaw::Extended,
        };
        let quoted = self.random.pick(&[8, 8, 20, 500, 4]);
        Step::Error {
            flow,
            back: self.random.percent(40),
            router: self.random.percent(50),
            kind,
            quoted,
            flaw,
        }
    }

    /// Flags of a first segment, mostly.
    fn opening(&mut self) -> u8 {
        if self.random.percent(85) { flag::SYN } else { self.flags() }
    }

    fn flags(&mut self) -> u8 {
        let (syn, ack, fin, rst, psh) = (flag::SYN, flag::ACK, flag::FIN, flag::RST, flag::PSH);
        self.random.pick(&[
            syn,
            syn | ack,
            ack,
            ack | psh,
            fin | ack,
            rst,
            rst | ack,
            fin,
            0,
            syn | fin,
            syn | rst,
            0x3f,
            ack | 0x20,
            syn | 0xc0,
        ])
    }

    fn plain(&mut self) -> Shape {
        Shape { id: self.random.number() as u16, ..Shape::default() }
    }

    /// In parts: sometimes one is lost.
    fn cut(&mut self) -> Shape {
        let unit = self.random.pick(&[64, 128, 256, 512]);
        let payload = unit + self.random.below(usize::from(1200 - unit)) as u16;
        let order = self.random.pick(&[Order::Forth, Order::Back, Order::Swapped]);
        let lost = self.random.percent(15).then(|| self.random.pick(&[Lost::First, Lost::Last]));
        let parts = Some(Parts { unit, order, lost });
        Shape { payload, whole: false, parts, ..self.plain() }
    }

    fn shape(&mut self, kind: Kind) -> Shape {
        let plain = self.plain();
        match self.random.below(100) {
            0..10 => self.cut(),
            10..60 => plain,
            60..70 => Shape { payload: self.random.pick(&[0, 1, 2, 7, 64, 333, 1200]), ..plain },
            70..75 => Shape { payload: self.random.pick(&[1250, 1290, 1320, 1370]), ..plain },
            75..79 => Shape { ttl: self.random.pick(&[1, 1, 2, 255]), ..plain },
            79..87 => {
                let extra = self.random.pick(&[Extra::Padding, Extra::Alert, Extra::Route, Extra::Many]);
                Shape { extra, ..plain }
            }
            87..90 => Shape { flaw: Flaw::Padded, ..plain },
            90..94 if kind == Kind::Udp => Shape { flaw: Flaw::NoChecksum, ..plain },
            94..100 => {
                let flaw = self.random.pick(&[
                    Flaw::Checksum,
                    Flaw::HeaderChecksum,
                    Flaw::TooLong,
                    Flaw::TooShort,
                    Flaw::Cut(6),
                    Flaw::Cut(12),
                ]);
                Shape { flaw, ..plain }
            }
            _ => Shape { whole: false, ..plain },
        }
    }
}
