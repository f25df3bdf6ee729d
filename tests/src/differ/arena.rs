//! Both labs side by side: a case is played on both, step by step, and each step is judged.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{
    build::{self, address},
    cut::{self, Waiting},
    edit::{self, Tuple},
    known::Known,
    model::{Expected, Model, Verdict},
    names::{self, Coincidence, Names},
    seen::{self, Seen},
    side::{Side, Which},
    step::{ErrorFlaw, Flaw, FlowId, Kind, Lost, Shape, Step, Who, Wrong},
    world::{EXTRA, FORWARDS, Party, family},
};
use crate::packet::{check::View, proto};

/// How long an answer may take that one side has and the other has not.
const LATE: Duration = Duration::from_millis(50);

/// What playing cases came to.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Packets put in, those of netfilter's side and of netctl's counted as one.
    pub packets: u64,
    /// Steps played.
    pub steps: u64,
    /// Cases played to their end.
    pub cases: u64,
    /// Cases played again because a random port fell on one that they use.
    pub coincidences: u64,
    /// Differences that were gone when their case was played again.
    pub unrepeated: Vec<String>,
    /// Steps of which the model said exactly what must come.
    pub voted: u64,
    /// Steps where netfilter did otherwise, for a known reason.
    pub known: BTreeMap<Known, u64>,
}

/// A step after which the sides differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Its number within the case.
    pub step: usize,
    /// What was expected, and what each side did.
    pub text: String,
}

/// Both labs.
pub struct Arena {
    sides: [Side; 2],
    /// The identification of the next datagram in parts: none comes twice while a gateway may remember it.
    identity: u16,
    /// The sum of all cases.
    pub tally: Tally,
}

/// One flow as one side has shown it, in the language of steps.
#[derive(Default, Clone)]
struct Record {
    /// The end that opened it, and its packet.
    sent: Option<(Party, Vec<u8>)>,
    /// Where that packet arrived, and as what.
    arrived: Option<(Party, Vec<u8>)>,
    /// The last packet back, as it arrived.
    answered: Option<Vec<u8>>,
    /// Why the other side has another port for it.
    known: Option<Known>,
}

/// One side in the course of a case.
#[derive(Default)]
struct Course {
    names: Names,
    flows: BTreeMap<FlowId, Record>,
}

/// A step made concrete: a frame, in the language of steps.
struct Input {
    from: Party,
    frame: Vec<u8>,
}

impl Arena {
    /// Builds both labs.
    #[must_use]
    pub fn new() -> Self {
        let sides = [Which::Netfilter, Which::Netctl].map(Side::new);
        Self { sides, identity: 0, tally: Tally::default() }
    }

    /// Plays a case; the first difference ends it.
    ///
    /// # Errors
    /// The difference.
    pub fn play(&mut self, case: &[Step]) -> Result<(), Difference> {
        // Random ports: that they fall on one in use again and again is a fault and not chance.
        const ATTEMPTS: usize = 20;
        for _ in 0..ATTEMPTS {
            match self.attempt(case) {
                Ok(played) => return played,
                Err(Coincidence) => self.tally.coincidences += 1,
            }
        }
        panic!("{ATTEMPTS} times in a row a port was chosen that the case uses: {case:?}");
    }

    /// Plays a case; a difference counts if it is there every time. A random port that falls on one in use can look like
    /// one that was kept.
    ///
    /// # Errors
    /// The difference.
    pub fn play_surely(&mut self, case: &[Step]) -> Result<(), Difference> {
        let played = self.play(case);
        let Err(difference) = played else { return Ok(()) };
        if (0..3).any(|_| self.play(case).is_ok()) {
            self.tally.unrepeated.push(difference.text);
            return Ok(());
        }
        Err(difference)
    }

    fn attempt(&mut self, case: &[Step]) -> Result<Result<(), Difference>, Coincidence> {
        for side in &mut self.sides {
            side.reset();
        }
        let (mut model, mut courses) = (Model::default(), <[Course; 2]>::default());
        for (number, step) in (0_u16..).zip(case) {
            if let Some(text) = self.step(number, step, &mut model, &mut courses)? {
                return Ok(Err(Difference { step: usize::from(number), text }));
            }
            self.tally.steps += 1;
        }
        self.tally.cases += 1;
        Ok(Ok(()))
    }

    fn step(
        &mut self,
        number: u16,
        step: &Step,
        model: &mut Model,
        courses: &mut [Course; 2],
    ) -> Result<Option<String>, Coincidence> {
        match step {
            Step::Forward { on } => {
                self.sides.iter_mut().for_each(|side| side.set_extra(*on));
                model.set_extra(*on);
                return Ok(None);
            }
            Step::Flush => {
                self.sides.iter_mut().for_each(Side::forget_flows);
                model.flush();
                return Ok(None);
            }
            Step::Socket { v6, port, dst, .. } => {
                let (src, to) = ((family(*v6).wan, *port).into(), (address(dst.0, *v6), dst.1).into());
                return self.socket(number, step, Tuple { proto: proto::UDP, src, dst: to }, model, courses);
            }
            _ => {}
        }
        // What one side has no answer for, both leave.
        let [Some(netfilters), Some(netctls)] = [0, 1].map(|i| courses[i].input(step)) else {
            return Ok(None);
        };
        if netctls.frame.len() - 14 > usize::from(netctls.from.mtu()) {
            return Ok(None);
        }
        let cut = step.parts();
        let mut verdict = match cut.and_then(|parts| parts.lost) {
            Some(Lost::First) => Verdict::NOTHING,
            Some(Lost::Last) => model.part(netctls.from, &netctls.frame, number),
            None => model.packet(netctls.from, &netctls.frame, number),
        };
        if let (Some(_), Expected::Exactly(expected)) = (cut, &mut verdict.expected) {
            expected.iter_mut().for_each(Seen::forget_identity);
        }
        let free = verdict.renamed.filter(|port| names::is_chosen(*port));
        courses.iter_mut().for_each(|course| course.names.pass_on(free));
        for ((side, course), input) in self.sides.iter().zip(courses.iter()).zip([&netfilters, &netctls]) {
            let mut frame = input.frame.clone();
            course.names.speak(&mut frame);
            match cut {
                Some(parts) => {
                    cut::cut(&frame, parts, self.identity)
                        .iter()
                        .for_each(|part| side.send(input.from, part));
                }
                None => side.send(input.from, &frame),
            }
        }
        self.identity = self.identity.wrapping_add(1);
        self.tally.packets += 1;
        let checked = is_flawless(step);
        let mut seen = [0, 1].map(|_| Heard { is_cut: cut.is_some(), ..Heard::default() });
        self.hear(number, courses, checked, &mut seen)?;
        if [&netfilters, &netctls].iter().zip(&seen).any(|(input, heard)| heard.hides_a_choice(input)) {
            return Err(Coincidence);
        }
        if netfilters.frame != netctls.frame {
            // They already have different ports.
            verdict.known = verdict.known.or(courses[1].known(step));
            if let (Some(tuple), Some(known)) = (build::tuple(&netfilters.frame), verdict.known) {
                model.suspect(tuple, known);
            }
        }
        let mut judged = judge(step, &verdict, netctls.from, &seen);
        if judged.is_err() {
            std::thread::park_timeout(LATE);
            self.hear(number, courses, checked, &mut seen)?;
            judged = judge(step, &verdict, netctls.from, &seen);
        }
        let known = match judged {
            Ok(known) => known,
            Err(difference) => return Ok(Some(difference)),
        };
        self.tally.voted += u64::from(matches!(verdict.expected, Expected::Exactly(_)));
        if let Some(known) = known {
            *self.tally.known.entry(known).or_default() += 1;
        }
        // A later packet that only one side lets pass is none that both could be asked about.
        let is_shared = seen.iter().all(|heard| heard.packets.iter().any(|seen| seen.passed().is_some()));
        if is_shared || matches!(step, Step::Send { .. }) {
            for ((course, input), seen) in courses.iter_mut().zip([netfilters, netctls]).zip(&seen) {
                course.note(step, input, &seen.packets, known);
            }
        }
        Ok(None)
    }

    /// A socket of the gateway sends.
    fn socket(
        &mut self,
        number: u16,
        step: &Step,
        tuple: Tuple,
        model: &mut Model,
        courses: &mut [Course; 2],
    ) -> Result<Option<String>, Coincidence> {
        let Some((far, known)) = model.own(tuple, number) else { return Ok(None) };
        for side in &mut self.sides {
            side.send_own(tuple.src.port(), tuple.dst);
        }
        self.tally.packets += 1;
        let mut seen = <[Heard; 2]>::default();
        self.hear(number, courses, true, &mut seen)?;
        let [is_netfilters, is_netctls] = [0, 1].map(|i| match &seen[i].packets[..] {
            [packet] => build::tuple(&packet.frame()) == Some(far),
            _ => false,
        });
        self.tally.voted += 1;
        if is_netctls
            && !is_netfilters
            && let Some(known) = known
        {
            *self.tally.known.entry(known).or_default() += 1;
            return Ok(None);
        }
        Ok((!is_netfilters || !is_netctls).then(|| describe(step, None, &seen)))
    }

    /// What both sides' parties have seen of a step since they were asked last.
    fn hear(
        &mut self,
        number: u16,
        courses: &mut [Course; 2],
        checked: bool,
        heard: &mut [Heard; 2],
    ) -> Result<(), Coincidence> {
        for ((side, course), heard) in self.sides.iter_mut().zip(courses).zip(heard) {
            heard.listen(side, course, number, checked)?;
        }
        Ok(())
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

/// What the parties of one side have seen in one step.
#[derive(Default, Debug)]
struct Heard {
    packets: Vec<Seen>,
    waiting: Waiting,
    /// Something in parts was said: what identifies parts says nothing.
    is_cut: bool,
    violation: Option<String>,
}

impl PartialEq for Heard {
    fn eq(&self, other: &Self) -> bool {
        self.packets == other.packets
    }
}

impl Heard {
    /// Whether a packet left from a port that was chosen for it and that steps use as well.
    fn hides_a_choice(&self, input: &Input) -> bool {
        let Some(sent) = build::tuple(&input.frame) else { return false };
        let is_answer =
            |port: u16| [FORWARDS[0], FORWARDS[1], EXTRA].iter().any(|forward| forward.listen == port);
        self.packets.iter().filter_map(Seen::passed).filter_map(|frame| build::tuple(&frame)).any(|tuple| {
            let port = tuple.src.port();
            port != sent.src.port() && names::LITERAL.contains(&port) && port != 0 && !is_answer(port)
        })
    }

    fn listen(
        &mut self,
        side: &mut Side,
        course: &mut Course,
        number: u16,
        checked: bool,
    ) -> Result<(), Coincidence> {
        let mut coincidence = Ok(());
        side.take(|by, frame| {
            self.violation = self.violation.take().or_else(|| seen::violation(by, frame, checked));
            let Some(mut frame) = self.waiting.add(by, frame) else { return };
            self.violation = self.violation.take().or_else(|| seen::violation(by, &frame, checked));
            if let Err(error) = course.names.hear(&mut frame, number) {
                coincidence = Err(error);
            }
            let mut seen = Seen::read(by, &frame);
            if self.is_cut {
                seen.iter_mut().for_each(Seen::forget_identity);
            }
            self.packets.extend(seen);
        });
        self.packets.sort();
        coincidence
    }
}

impl Course {
    /// The frame that a step means on this side; `None` if it has not seen what the step refers to.
    fn input(&self, step: &Step) -> Option<Input> {
        let record = |flow: &FlowId| self.flows.get(flow);
        match step {
            Step::Send { from, v6, src, dst, kind, shape, .. } => {
                let end = |(who, port): (Who, u16)| (address(who, *v6), port).into();
                Some(Input { from: *from, frame: build::packet(end(*src), end(*dst), *kind, shape) })
            }
            Step::Say { flow, back: false, flags, shape } => {
                let (from, sent) = record(flow)?.sent.as_ref()?;
                let tuple = build::tuple(sent)?;
                let kind = build::kind_of(sent, *flags, false)?;
                Some(Input { from: *from, frame: build::packet(tuple.src, tuple.dst, kind, shape) })
            }
            Step::Say { flow, back: true, flags, shape } => {
                let (from, arrived) = record(flow)?.arrived.as_ref()?;
                let tuple = build::tuple(arrived)?.reversed();
                let kind = build::kind_of(arrived, *flags, true)?;
                Some(Input { from: *from, frame: build::packet(tuple.src, tuple.dst, kind, shape) })
            }
            Step::Wrong { flow, how, flags } => {
                let (from, arrived) = record(flow)?.arrived.as_ref()?;
                wrong(*from, arrived, *how, *flags)
            }
            Step::Error { flow, back, router, kind, quoted, flaw } => {
                let record = record(flow)?;
                let (at, about) = if *back {
                    (record.sent.as_ref()?.0, record.answered.as_ref()?)
                } else {
                    let (at, frame) = record.arrived.as_ref()?;
                    (*at, frame)
                };
                let tuple = build::tuple(about)?;
                let family = family(tuple.src.is_ipv6());
                let (from, source) = match (router, at) {
                    (false, at) => (at, tuple.dst.ip()),
                    (true, Party::Inet) => (Party::Inet, family.router),
                    (true, _) => (Party::C2, family.c2),
                };
                let to = if *flaw == ErrorFlaw::Destination { family.second } else { tuple.src.ip() };
                Some(Input { from, frame: build::error(source, to, *kind, about, *quoted, *flaw)? })
            }
            Step::Socket { .. } | Step::Forward { .. } | Step::Flush => None,
        }
    }

    /// Why the sides differ in the flow that a step is about.
    fn known(&self, step: &Step) -> Option<Known> {
        match step {
            Step::Say { flow, .. } | Step::Wrong { flow, .. } | Step::Error { flow, .. } => {
                self.flows.get(flow).and_then(|record| record.known)
            }
            _ => None,
        }
    }

    /// Remembers what came of a step.
    fn note(&mut self, step: &Step, input: Input, seen: &[Seen], known: Option<Known>) {
        let arrived = seen.iter().find_map(|seen| Some((seen.by, seen.passed()?)));
        match step {
            Step::Send { flow: Some(flow), .. } => {
                let record = self.flows.entry(*flow).or_default();
                *record = Record { sent: Some((input.from, input.frame)), arrived, answered: None, known };
            }
            Step::Say { flow, back, .. } => {
                let (Some(record), Some((by, frame))) = (self.flows.get_mut(flow), arrived) else { return };
                record.known = record.known.or(known);
                if *back {
                    record.answered = Some(frame);
                } else {
                    record.arrived = Some((by, frame));
                }
            }
            _ => {}
        }
    }
}

/// An answer to the packet that arrived, but for one thing.
fn wrong(from: Party, arrived: &[u8], how: Wrong, flags: u8) -> Option<Input> {
    let mut tuple = build::tuple(arrived)?.reversed();
    let mut kind = build::kind_of(arrived, flags, true)?;
    let family = family(tuple.src.is_ipv6());
    match how {
        Wrong::Host if from == Party::Inet => {
            let other = if tuple.src.ip() == family.server { family.other } else { family.server };
            tuple.src.set_ip(other);
        }
        Wrong::Host => tuple.src.set_ip(family.c2),
        Wrong::Port => tuple.src.set_port(99),
        Wrong::Address if tuple.dst.ip() == family.wan => tuple.dst.set_ip(family.second),
        Wrong::Address => return None,
        // A port that was chosen for one protocol means nothing in another.
        Wrong::Protocol if names::is_chosen(tuple.src.port()) || names::is_chosen(tuple.dst.port()) => {
            return None;
        }
        Wrong::Protocol => {
            kind = match kind {
                Kind::Tcp(_) => Kind::Udp,
                Kind::Udp => Kind::Tcp(flags),
                _ => return None,
            }
        }
    }
    let from = if how == Wrong::Host && from != Party::Inet { Party::C2 } else { from };
    Some(Input { from, frame: build::packet(tuple.src, tuple.dst, kind, &Shape::default()) })
}

/// Why netfilter did otherwise, if it did.
fn judge(step: &Step, verdict: &Verdict, from: Party, seen: &[Heard; 2]) -> Result<Option<Known>, String> {
    let [netfilter, netctl] = seen;
    let is_agreed = match &verdict.expected {
        Expected::Exactly(expected) => {
            if netctl.packets != *expected {
                return Err(describe(step, Some(verdict), seen));
            }
            netfilter.packets == *expected
        }
        Expected::Reply if netctl.packets.iter().any(|seen| seen.by != from) => {
            return Err(describe(step, Some(verdict), seen));
        }
        _ => netfilter.packets == netctl.packets,
    };
    if netctl.violation.is_some() {
        return Err(describe(step, Some(verdict), seen));
    }
    if is_agreed {
        return Ok(None);
    }
    let known = verdict.known.ok_or_else(|| describe(step, Some(verdict), seen))?;
    Ok(Some(known))
}

/// Whether every checksum that comes of a step must be right.
fn is_flawless(step: &Step) -> bool {
    match step {
        Step::Send { shape, .. } | Step::Say { shape, .. } => matches!(shape.flaw, Flaw::None | Flaw::Padded),
        Step::Error { flaw, .. } => *flaw != ErrorFlaw::Checksum,
        _ => true,
    }
}

fn describe(step: &Step, verdict: Option<&Verdict>, seen: &[Heard; 2]) -> String {
    let mut text = format!("{step:?}\n");
    let mut list = |who: &str, packets: &[Seen], violation: Option<&String>| {
        let _ = writeln!(text, "  {who}:");
        if let Some(violation) = violation {
            let _ = writeln!(text, "    ! {violation}");
        }
        for seen in packets {
            let _ = writeln!(text, "    {:?} {}", seen.by, brief(seen));
        }
    };
    match verdict.map(|verdict| (&verdict.expected, verdict.known)) {
        Some((Expected::Exactly(expected), _)) => list("model", expected, None),
        Some((expected, known)) => list(&format!("model: {expected:?}, {known:?}"), &[], None),
        None => {}
    }
    for (who, heard) in ["netfilter", "netctl"].iter().zip(seen) {
        list(who, &heard.packets, heard.violation.as_ref());
    }
    text
}

/// A packet in one line.
fn brief(seen: &Seen) -> String {
    let frame = seen.passed();
    let tuple = frame.as_ref().and_then(|frame| View::read(frame));
    match (frame, tuple) {
        (Some(frame), Some(view)) => {
            let quote = edit::quote(&frame, &view).map(|quote| Tuple::of(&quote.view));
            let quote = quote.map_or(String::new(), |quote| format!(" about {} to {}", quote.src, quote.dst));
            let bytes: String = frame[14..].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("protocol {} {} to {}{quote} {bytes}", view.proto, view.src, view.dst)
        }
        _ => format!("{:?}", seen.what),
    }
}
