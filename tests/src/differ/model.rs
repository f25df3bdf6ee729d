//! The third voter: what a NAT has to do by the RFCs and by netctl's documented decisions, as a function of its flows and a
//! packet. Written from RFC 4787, 5382, 5508 and 3022, with nothing of either implementation in it.

use std::net::{IpAddr, SocketAddr};

use super::{
    edit::{self, Tuple},
    known::Known,
    names,
    seen::{Seen, What},
    world::{EXTRA, FAR_MTU, FORWARDS, Family, Forward, INSIDE_MTU, LISTENERS, Party, family},
};
use crate::packet::{
    check::{self, View},
    flag, proto,
};

/// What must come of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this.
    Exactly(Vec<Seen>),
    /// At most something that the gateway says to the sender. Both sides must say the same.
    Reply,
    /// The model does not say. Both sides must do the same.
    Unspecified,
}

/// What the model says of a packet.
#[derive(Debug)]
pub struct Verdict {
    /// What must come of it.
    pub expected: Expected,
    /// Why netfilter may do otherwise.
    pub known: Option<Known>,
    /// A name that may mean another port from now on: its connection begins anew.
    pub renamed: Option<u16>,
}

impl Verdict {
    const UNSPECIFIED: Self = Self { expected: Expected::Unspecified, known: None, renamed: None };
    const REPLY: Self = Self { expected: Expected::Reply, known: None, renamed: None };
    /// Nothing may come of it.
    pub const NOTHING: Self = Self { expected: Expected::Exactly(Vec::new()), known: None, renamed: None };

    fn but(self, known: impl Into<Option<Known>>) -> Self {
        let known = self.known.or(known.into());
        Self { known, ..self }
    }
}

/// A translated flow.
#[derive(Debug)]
struct Flow {
    /// As the end that opened it sends.
    near: Tuple,
    /// As the other end receives.
    far: Tuple,
    /// TCP flags seen, on and back.
    seen: [u8; 2],
    /// A packet of it has been seen on its way: its port has a name.
    shown: bool,
    /// Both ends have agreed to speak (TCP).
    established: bool,
    /// Why netfilter may treat it otherwise.
    known: Option<Known>,
}

/// All that the NAT remembers.
#[derive(Debug, Default)]
pub struct Model {
    flows: Vec<Flow>,
    /// Tuples that netfilter's table has and the model's has not, and why.
    ghosts: Vec<(Tuple, Known)>,
    /// Sockets of the gateway, connected.
    own: Vec<Tuple>,
    /// Whether the third forward is there.
    has_extra: bool,
}

impl Model {
    /// Forgets every flow.
    pub fn flush(&mut self) {
        self.flows.clear();
        self.ghosts.clear();
    }

    /// A datagram of which a part was lost on the way in: netfilter never sees it, netctl the part with the ports.
    pub fn part(&mut self, from: Party, frame: &[u8], step: u16) -> Verdict {
        let before = self.flows.len();
        self.packet(from, frame, step);
        for flow in &mut self.flows[before..] {
            flow.shown = false;
        }
        if let Some(view) = View::read(frame) {
            self.doubt(Tuple::of(&view), Some(Known::Early));
        }
        Verdict::NOTHING
    }

    /// A packet from `from`, in step number `step`.
    pub fn packet(&mut self, from: Party, frame: &[u8], step: u16) -> Verdict {
        let Some(view) = View::read(frame) else { return Verdict::UNSPECIFIED };
        let tuple = Tuple::of(&view);
        let family = family(tuple.src.is_ipv6());
        if !is_sound(frame, &view) {
            // To the gateway itself it may be an answer to nothing; through it nothing passes.
            return if family.is_gateways(tuple.dst.ip()) { Verdict::REPLY } else { Verdict::NOTHING };
        }
        if has_source_route(frame) {
            if !from.is_inside() {
                let is_new = self.find(tuple).is_none();
                self.translate(from, frame, &view, step);
                if let Some((index, _)) = self.find(tuple).filter(|_| is_new) {
                    self.flows[index].shown = false;
                }
            }
            self.doubt(tuple, Some(Known::Early));
            return Verdict::NOTHING; // RFC 7126
        }
        if !is_ordinary(tuple.src.ip()) || !is_ordinary(tuple.dst.ip()) {
            return Verdict::UNSPECIFIED.but(Known::Leak);
        }
        if family.is_gateways(tuple.src.ip()) {
            // IPv6 has no such thing as a martian source: the packet is nobody's to translate.
            let is_through = tuple.src.is_ipv6() && from.is_inside() && !is_near(tuple.dst.ip());
            let verdict = if is_through { passed(frame, tuple) } else { Verdict::NOTHING };
            return verdict.but(Known::Spoofed);
        }
        if !from.is_inside() && family.is_inside(tuple.src.ip()) {
            return Verdict::UNSPECIFIED.but(Known::Spoofed);
        }
        if edit::is_error(frame, &view) {
            return self.error(from, frame, &view);
        }
        let verdict = self.translate(from, frame, &view, step);
        // Netfilter also looks into headers that need no translation, such as that of GRE.
        let is_short = !has_ports(tuple.proto) && view.end < view.transport + 8;
        let is_broken = is_short || check::checksums(frame).is_err() && view.checksum_field().is_some();
        if !is_broken {
            return verdict;
        }
        self.doubt(tuple, Some(Known::Leak));
        verdict.but(Known::Leak)
    }

    /// From now on, netfilter may treat the flow of a packet otherwise.
    fn doubt(&mut self, tuple: Tuple, known: Option<Known>) {
        if let Some((index, _)) = self.find(tuple) {
            let flow = &mut self.flows[index];
            flow.known = flow.known.or(known);
        }
    }

    /// The third forward comes or goes. Its flows end with it; netfilter's go on.
    pub fn set_extra(&mut self, on: bool) {
        self.has_extra = on;
        if on {
            return;
        }
        let ghosts = &mut self.ghosts;
        self.flows.retain(|flow| {
            let is_its = family(flow.near.dst.is_ipv6()).wan == flow.near.dst.ip()
                && flow.near.dst.port() == EXTRA.listen
                && flow.near.dst != flow.far.dst;
            if is_its {
                ghosts.extend([(flow.near, Known::Stale), (flow.far, Known::Stale)]);
            }
            !is_its
        });
    }

    fn forwards(&self) -> impl Iterator<Item = Forward> {
        FORWARDS.into_iter().chain(self.has_extra.then_some(EXTRA))
    }

    /// Netfilter has been sent another packet than the model: whatever it has made of it.
    pub fn suspect(&mut self, tuple: Tuple, known: Known) {
        self.ghosts.push((tuple, known));
    }

    /// A packet of a socket of the gateway: what it looks like outside, and why netfilter may do otherwise. `None` if the
    /// gateway has that socket already.
    pub fn own(&mut self, tuple: Tuple, step: u16) -> Option<(Tuple, Option<Known>)> {
        if self.own.contains(&tuple) {
            return None;
        }
        let answer = tuple.reversed();
        let (mut far, mut known) = (tuple, None);
        if let Some(holder) = self.is_taken(answer) {
            far.src.set_port(names::FIRST + step);
            known = holder;
        }
        known = known.or(self.ghosts.iter().find(|(ghost, _)| *ghost == answer).map(|(_, known)| *known));
        self.own.push(tuple);
        self.flows.push(Flow { near: tuple, far, seen: [0; 2], shown: true, established: false, known });
        Some((far, known))
    }

    fn translate(&mut self, from: Party, frame: &[u8], view: &View, step: u16) -> Verdict {
        let tuple = Tuple::of(view);
        let flags = if tuple.proto == proto::TCP { frame[view.transport + 13] } else { 0 };
        let ghost = self.ghosts.iter().find(|(ghost, _)| *ghost == tuple || ghost.reversed() == tuple);
        let ghost = ghost.map(|(_, known)| *known);
        // Of a query, only the one who asked asks and only the other one answers.
        let is_query = matches!(tuple.proto, proto::ICMP | proto::ICMPV6);
        let found = self.find(tuple).filter(|(_, back)| !is_query || *back != opens(frame, view));
        if let Some((flow, back)) = found {
            return self.follow(frame, flow, back, flags).but(ghost);
        }
        let family = family(tuple.src.is_ipv6());
        let dst = tuple.dst.ip();
        let is_covered = family.is_inside(tuple.src.ip());
        let forward = self.forwards().find(|forward| dst == family.wan && forward.listen == tuple.dst.port());
        let verdict = match forward {
            Some(to) if matches!(tuple.proto, proto::TCP | proto::UDP) && opens(frame, view) => {
                let server = to.server.address(tuple.dst.is_ipv6());
                let mut far = Tuple { dst: SocketAddr::new(server, to.port), ..tuple };
                if from.is_inside() {
                    far.src.set_ip(family.wan);
                }
                let known = (from.is_inside() && !is_covered).then_some(Known::Hairpin);
                let verdict = self.open(frame, tuple, far, flags, step);
                self.doubt(tuple, known);
                verdict.but(known)
            }
            Some(_) if tuple.proto == proto::TCP => Verdict::NOTHING.but(Known::Unanswered),
            // It would have to answer from that address (invariant I1).
            _ if dst == family.lan && !from.is_inside() => Verdict::NOTHING.but(Known::Spoofed),
            _ if family.is_gateways(dst) => {
                if opens(frame, view) {
                    self.ghosts.push((tuple, Known::Stray));
                }
                // An answer that leaves by the other side of the gateway may not show an inside address.
                let is_here = party(tuple.src.ip()) == Some(from);
                let verdict = if is_here { Verdict::REPLY } else { Verdict::UNSPECIFIED.but(Known::Leak) };
                verdict.but((tuple.proto == proto::TCP).then_some(Known::Unanswered))
            }
            _ if family.is_inside(dst) && !from.is_inside() => Verdict::NOTHING,
            _ if family.is_inside(dst) || !is_covered => {
                let is_tracked = tuple.proto == proto::TCP || !opens(frame, view);
                too_far(frame, tuple)
                    .unwrap_or_else(|| passed(frame, tuple))
                    .but(is_tracked.then_some(Known::Tracking))
            }
            _ if !opens(frame, view) => too_far(frame, tuple).unwrap_or(Verdict::NOTHING),
            _ => {
                let far = Tuple { src: SocketAddr::new(family.wan, tuple.src.port()), ..tuple };
                self.open(frame, tuple, far, flags, step)
            }
        };
        self.doubt(tuple, ghost);
        verdict.but(ghost)
    }

    /// The flow that a packet belongs to, and whether it goes back.
    fn find(&self, tuple: Tuple) -> Option<(usize, bool)> {
        let is_near = |flow: &Flow| flow.near == tuple;
        let is_back = |flow: &Flow| flow.far.reversed() == tuple;
        self.flows
            .iter()
            .position(is_near)
            .map(|i| (i, false))
            .or_else(|| self.flows.iter().position(is_back).map(|i| (i, true)))
    }

    fn follow(&mut self, frame: &[u8], index: usize, back: bool, flags: u8) -> Verdict {
        let flow = &mut self.flows[index];
        let to = if back { flow.near.reversed() } else { flow.far };
        if family(to.src.is_ipv6()).is_gateways(to.dst.ip()) {
            return Verdict::REPLY.but(flow.known); // the gateway's own
        }
        let is_source_changed = flow.near.dst == flow.far.dst;
        if is_source_changed
            && !back
            && let Some(verdict) = too_far(frame, to)
        {
            if flags & (SYN_ACK | flag::FIN | flag::RST) != flag::ACK {
                flow.known = flow.known.or(Some(Known::Tracking));
            }
            return verdict.but(flow.known);
        }
        let mut renamed = None;
        if flow.near.proto == proto::TCP {
            let [there, answered] = flow.seen;
            let closed = (there | answered) & flag::RST != 0 || there & answered & flag::FIN != 0;
            let is_syn = flags & (SYN_ACK | flag::RST | flag::FIN) == flag::SYN;
            let is_syn_ack = flags & SYN_ACK == SYN_ACK;
            if !back && is_syn && closed {
                (flow.seen, flow.established) = ([0; 2], false);
                renamed = Some(flow.far.src.port());
            } else if is_odd(flags)
                || (flow.established && flags & flag::SYN != 0)
                || (answered == 0 && flags & flag::RST != 0)
            {
                flow.known = flow.known.or(Some(Known::Tracking));
            } else if !flow.established && back && is_syn_ack {
                flow.established = true;
            } else if !flow.established && (back || !is_syn) {
                flow.known = flow.known.or(Some(Known::Tracking));
            }
            flow.seen[usize::from(back)] |= flags;
        }
        let verdict = too_far(frame, to).unwrap_or_else(|| passed(frame, to));
        if !flow.shown && matches!(&verdict.expected, Expected::Exactly(seen) if seen[0].passed().is_some()) {
            flow.shown = true;
            renamed = Some(flow.far.src.port());
        }
        Verdict { renamed, ..verdict.but(flow.known) }
    }

    fn open(&mut self, frame: &[u8], near: Tuple, mut far: Tuple, flags: u8, step: u16) -> Verdict {
        let ending = too_far(frame, far);
        if near.src != far.src
            && let Some(verdict) = ending
        {
            return verdict; // A source is changed where the packet leaves, and it does not.
        }
        let wish = far.reversed();
        let mut known = None;
        if self.is_reserved(near, wish) {
            known = Some(Known::Reserved);
            self.ghosts.push((wish, Known::Reserved));
        }
        // A port that calls itself could not tell a call from an answer where only the destination has changed.
        if near.src == far.dst {
            known = Some(Known::Itself);
        }
        let holder = self.is_taken(wish);
        if holder.is_some() && !has_ports(near.proto) {
            return Verdict::NOTHING.but(Known::Leak); // The answers could not be told apart.
        }
        if known.is_some() || holder.is_some() {
            far.src.set_port(names::FIRST + step);
            known = known.or(holder.flatten());
        } else if let Some((_, ghost)) = self.ghosts.iter().find(|(ghost, _)| *ghost == wish) {
            known = Some(*ghost);
        }
        let is_odd = near.proto == proto::TCP && is_odd(flags);
        let known = known.or(is_odd.then_some(Known::Tracking)).or_else(|| self.doubted(near, far));
        let known = known.or(ending.as_ref().map(|_| Known::Early));
        // Where it takes a port again, answers come there.
        let again =
            self.flows.iter().filter(|flow| flow.near.proto == near.proto && flow.near.src == near.src);
        let again = again.map(|flow| (Tuple { src: flow.far.src, ..far }, Known::Mapping));
        self.ghosts.extend(again.collect::<Vec<_>>());
        let established = flags & flag::SYN == 0;
        let shown = ending.is_none();
        self.flows.push(Flow { near, far, seen: [flags, 0], shown, established, known });
        ending.unwrap_or_else(|| passed(frame, far)).but(known)
    }

    /// Whether answers with this tuple are another flow's, and why netfilter might think otherwise.
    fn is_taken(&self, answer: Tuple) -> Option<Option<Known>> {
        let has = |flow: &&Flow| flow.near == answer || flow.far.reversed() == answer;
        self.flows.iter().find(has).map(|flow| flow.known)
    }

    /// Why netfilter may choose another port for a new flow: the same end has one on another port than its own, which it
    /// takes again, or its table has something else about the same peer than the model has.
    fn doubted(&self, near: Tuple, far: Tuple) -> Option<Known> {
        let same = |flow: &&Flow| flow.near.proto == near.proto;
        let is_remapped = |flow: &Flow| flow.near.src == near.src && flow.far.src.port() != near.src.port();
        if self.flows.iter().filter(same).any(is_remapped) {
            return Some(Known::Mapping);
        }
        let ends = [near.src, far.src, far.dst];
        let shares =
            |flow: &Flow| ends.iter().any(|end| [flow.near.src, flow.far.src, flow.far.dst].contains(end));
        let rumour = |(ghost, known): &(Tuple, Known)| {
            let shares =
                ghost.proto == near.proto && [ghost.src, ghost.dst].iter().any(|end| ends.contains(end));
            shares.then_some(*known)
        };
        let flow = self.flows.iter().filter(same).filter(|flow| shares(flow)).find_map(|flow| flow.known);
        flow.or_else(|| self.ghosts.iter().find_map(rumour))
    }

    /// Whether answers with this tuple are for a forward or for a socket of the gateway (RFC 5382 has no say in it: the
    /// port is not the NAT's to give).
    fn is_reserved(&self, near: Tuple, answer: Tuple) -> bool {
        let family = family(near.src.is_ipv6());
        let port = answer.dst.port();
        let listener = match near.proto {
            proto::TCP => LISTENERS.0,
            proto::UDP => LISTENERS.1,
            _ => return false,
        };
        let is_forward =
            answer.dst.ip() == family.wan && self.forwards().any(|forward| forward.listen == port);
        let is_socket = self.own.contains(&answer.reversed()) && self.is_taken(answer).is_none();
        family.is_gateways(answer.dst.ip()) && (is_forward || port == listener || is_socket)
    }

    /// An ICMP error (RFC 5508 section 4): it goes to who sent the packet that it quotes, which it quotes as it was sent.
    fn error(&self, from: Party, frame: &[u8], view: &View) -> Verdict {
        let outer = Tuple::of(view);
        let family = family(outer.src.is_ipv6());
        let is_redirect = view.proto == proto::ICMP && frame[view.transport] == 5;
        if check::checksums(frame).is_err() || is_redirect {
            return Verdict::NOTHING;
        }
        let Some(quote) = edit::quote(frame, view) else {
            return Verdict::NOTHING.but(Known::Short);
        };
        let quoted = Tuple::of(&quote.view);
        let answer = quoted.reversed();
        let flow = self.flows.iter().find_map(|flow| {
            if flow.far.reversed() == answer {
                Some((flow, flow.near))
            } else if flow.near == answer {
                Some((flow, flow.far.reversed()))
            } else {
                None
            }
        });
        let Some((flow, sent)) = flow else {
            let is_ghost = self.ghosts.iter().find(|(ghost, _)| *ghost == answer || *ghost == quoted);
            let is_through =
                !family.is_gateways(outer.dst.ip()) && !family.is_inside(outer.src.ip()) && from.is_inside();
            let verdict = if is_through { passed(frame, outer) } else { Verdict::NOTHING };
            return verdict.but(is_ghost.map(|(_, known)| *known));
        };
        if outer.dst.ip() != quoted.src.ip() {
            return Verdict::NOTHING.but(flow.known);
        }
        let mut to = Tuple { dst: (sent.src.ip(), 0).into(), ..outer };
        if from.is_inside() {
            to.src.set_ip(sent.dst.ip());
        }
        if family.is_gateways(to.dst.ip()) {
            return Verdict::REPLY.but(flow.known);
        }
        let is_double = flow.near.src != flow.far.src && flow.near.dst != flow.far.dst;
        let hidden = (is_double && outer.src.ip() != quoted.dst.ip()).then_some(Known::Router);
        if let Some(verdict) = too_far(frame, to) {
            return verdict.but(flow.known);
        }
        let mut frame = frame.to_vec();
        edit::retuple_quote(&mut frame, sent);
        passed(&frame, to).but(flow.known).but(hidden)
    }
}

/// The packet, on its way with another tuple.
fn passed(frame: &[u8], to: Tuple) -> Verdict {
    let Some(by) = party(to.dst.ip()) else { return Verdict::UNSPECIFIED };
    let mut frame = frame.to_vec();
    edit::retuple(&mut frame, to);
    edit::decrement_ttl(&mut frame);
    let end = View::read(&frame).map_or(frame.len(), |view| view.end.min(frame.len()));
    let what = What::Passed(frame[14..end].to_vec());
    Verdict { expected: Expected::Exactly(vec![Seen { by, what }]), known: None, renamed: None }
}

/// Who gets what is sent to an address.
fn party(address: IpAddr) -> Option<Party> {
    let family = family(address.is_ipv6());
    match address {
        _ if address == family.c1 => Some(Party::C1),
        _ if address == family.c2 => Some(Party::C2),
        _ if family.is_inside(address) => None,
        _ => Some(Party::Inet),
    }
}

/// Whether the packet ends here, its time or the next link's size exceeded: the gateway says so to the sender, quoting it
/// as he sent it (RFC 1812 sections 5.3.1 and 4.3.2, RFC 4443 sections 3.2 and 3.3).
fn too_far(frame: &[u8], to: Tuple) -> Option<Verdict> {
    let family = family(to.src.is_ipv6());
    let mtu = match to.dst.ip() {
        address if family.is_inside(address) => INSIDE_MTU,
        address if [family.server, family.other].contains(&address) => 1500,
        _ => FAR_MTU,
    };
    let (kind, code, mtu) = match (edit::ttl(frame) <= 1, to.src.is_ipv6()) {
        (true, false) => (11, 0, 0),
        (true, true) => (3, 0, 0),
        _ if frame.len() - 14 <= usize::from(mtu) => return None,
        (_, false) => (3, 4, mtu),
        (_, true) => (2, 0, mtu),
    };
    let sent = Tuple::of(&View::read(frame)?);
    let by = party(sent.src.ip())?;
    let from = if by.is_inside() { family.lan } else { family.wan };
    let quote = Some(format!("{sent:?}"));
    let what = What::Error(from.to_string(), sent.src.ip().to_string(), kind, code, mtu, quote);
    let verdict =
        Verdict { expected: Expected::Exactly(vec![Seen { by, what }]), known: None, renamed: None };
    Some(verdict.but(by.is_inside().then_some(Known::ErrorSource)))
}

/// Whether headers and lengths agree, and IPv4's checksum is right: what every router looks at.
fn is_sound(frame: &[u8], view: &View) -> bool {
    if view.src.is_ipv4() {
        let end = 14 + usize::from(frame[14] & 0x0f) * 4;
        if frame.get(14..end).is_none_or(|header| check::sum(&[header]) != 0) {
            return false;
        }
    }
    let Some(segment) = frame.get(view.transport..view.end) else { return false };
    let word = |at: usize| usize::from(u16::from_be_bytes([segment[at], segment[at + 1]]));
    match view.proto {
        proto::TCP => {
            segment.len() >= 20 && (20..=segment.len()).contains(&(usize::from(segment[12] >> 4) * 4))
        }
        proto::UDP => segment.len() >= 8 && (8..=segment.len()).contains(&word(4)),
        proto::ICMP | proto::ICMPV6 => segment.len() >= 8,
        _ => true,
    }
}

/// Whether an address is the gateway's or inside.
fn is_near(address: IpAddr) -> bool {
    let family = family(address.is_ipv6());
    family.is_gateways(address) || family.is_inside(address)
}

/// Whether an IPv4 packet says by what routers it wants to go.
fn has_source_route(frame: &[u8]) -> bool {
    frame[12] == 0x08 && frame[14] & 0x0f > 5 && matches!(frame[34], 0x83 | 0x89)
}

/// Whether an address is a host's.
fn is_ordinary(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[3] == 255);
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_broadcast)
        && !(address.is_ipv6() && Family::is_private(address) && !family(true).is_inside(address))
}

/// Whether a packet may begin a flow: a SYN; an ACK, which picks up a connection whose state was lost; a query.
fn opens(frame: &[u8], view: &View) -> bool {
    match view.proto {
        proto::TCP => {
            let flags = frame[view.transport + 13] & (flag::SYN | flag::ACK | flag::RST | flag::FIN);
            flags == flag::SYN || flags == flag::ACK
        }
        proto::ICMP | proto::ICMPV6 => matches!(frame[view.transport], 8 | 128),
        UDP_LITE => false,
        _ => true,
    }
}

/// Its checksum covers the addresses, in a place of its own: it is not translated.
const UDP_LITE: u8 = 136;

/// Whether a NAT can choose a port, or an identifier, to tell flows of a protocol apart by.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6)
}

const SYN_ACK: u8 = flag::SYN | flag::ACK;

/// Whether TCP flags are such that netfilter's connection tracking has a view of its own on them.
fn is_odd(flags: u8) -> bool {
    const URG: u8 = 0x20;
    !matches!(
        flags & (flag::SYN | flag::ACK | flag::RST | flag::FIN | URG),
        flag::SYN | flag::ACK | flag::RST | 0x12 | 0x14 | 0x11
    )
}
