//! The second mode: damaged packets, against netctl alone. What must come of them nobody says; what must never happen does.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
};

use super::{
    build,
    edit::{self, Tuple},
    side::{Side, Which},
    step::{ErrorFlaw, Kind, Shape, Who},
    world::{FORWARDS, Party, family},
};
use crate::{
    packet::{
        check::{self, View},
        flag, proto,
    },
    random::Random,
};

/// Damaged packets between two beginnings.
const ROUND: u64 = 1000;

/// What damaged packets came to.
#[derive(Debug, Default)]
pub struct Survived {
    /// How many there were.
    pub packets: u64,
    /// How many frames came of them.
    pub passed: u64,
}

/// Puts in so many damaged packets.
///
/// # Errors
/// What happened that must never happen, and after which packet.
pub fn run(packets: u64, seed: u64) -> Result<Survived, String> {
    let mut side = Side::new(Which::Netctl);
    let mut random = Random::new(seed);
    let mut kernel = Kernel::listen();
    let mut survived = Survived::default();
    while survived.packets < packets {
        side.reset();
        let whole = whole(&mut side)?;
        for _ in 0..ROUND {
            let (from, frame) = &whole[random.below(whole.len())];
            let frame = damage(&mut random, frame);
            side.send(*from, &frame);
            survived.packets += 1;
            let mut wrong = None;
            side.take(|by, seen| {
                survived.passed += 1;
                wrong = wrong.take().or_else(|| forbidden(*from, &frame, by, seen));
            });
            if let Some(wrong) = wrong {
                return Err(format!("{wrong}\nafter {from:?} sent {frame:02x?}"));
            }
        }
        let orphans = side.orphans();
        if orphans != 0 {
            return Err(format!("{orphans} flows have half of their entries"));
        }
        kernel.is_content()?;
        side.reset();
        self::whole(&mut side).map_err(|error| format!("after the damage, {error}"))?;
    }
    Ok(survived)
}

/// Packets of every kind that pass, flows and answers and errors about them.
fn whole(side: &mut Side) -> Result<Vec<(Party, Vec<u8>)>, String> {
    let mut all = Vec::new();
    for v6 in [false, true] {
        let who = |who: Who, port: u16| (build::address(who, v6), port).into();
        for kind in [Kind::Udp, Kind::Tcp(flag::SYN), Kind::Echo] {
            let port = if kind == Kind::Echo { 0 } else { 53 };
            let call = |src, dst| build::packet(src, dst, kind, &Shape::default());
            let mut openings = vec![
                (Party::C1, call(who(Who::C1, 5000), who(Who::Server, port)), Party::Inet),
                (Party::C2, call(who(Who::C2, 5000), who(Who::Server, port)), Party::Inet),
            ];
            if kind != Kind::Echo {
                let forward = who(Who::Wan, FORWARDS[0].listen);
                openings.push((Party::Inet, call(who(Who::Other, 777), forward), Party::C1));
                openings.push((Party::C2, call(who(Who::C2, 5000), forward), Party::C1));
            }
            for (from, frame, to) in openings {
                let arrived = exchange(side, from, &frame, to)?;
                let tuple = build::tuple(&arrived).ok_or("what arrived cannot be read")?;
                let back = build::kind_of(&arrived, flag::SYN | flag::ACK, true).ok_or("an error arrived")?;
                let answer = build::packet(tuple.dst, tuple.src, back, &Shape::default());
                let error = if v6 { (1, 4) } else { (3, 3) };
                let error =
                    build::error(tuple.dst.ip(), tuple.src.ip(), error, &arrived, 500, ErrorFlaw::None);
                exchange(side, to, &answer, from)?;
                all.extend([(from, frame), (to, answer)]);
                all.extend(error.map(|error| (to, error)));
            }
        }
    }
    Ok(all)
}

/// Sends a packet that must arrive. Errors about damaged ones may come a while after them.
fn exchange(side: &mut Side, from: Party, frame: &[u8], to: Party) -> Result<Vec<u8>, String> {
    side.send(from, frame);
    let mut arrived = None;
    side.take(|by, seen| {
        let is_error = View::read(seen).is_none_or(|view| edit::is_error(seen, &view));
        if by == to && !is_error {
            arrived = Some(seen.to_vec());
        }
    });
    arrived.ok_or_else(|| format!("nothing came of {:?}", build::tuple(frame)))
}

/// Flips bits, replaces bytes, cuts or lengthens, a few times and mostly in the headers. Checksums are made right again in
/// half of the cases: else few packets would get past the first look.
fn damage(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 60;
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(3) {
        let reach = if random.percent(25) { frame.len() } else { frame.len().min(14 + HEADERS) };
        let at = 14 + random.below(reach - 14);
        match random.below(8) {
            0..4 => frame[at] ^= 1 << random.below(8),
            4..6 => frame[at] = random.number() as u8,
            6 => frame.truncate(at.max(34)),
            _ => frame.extend((0..random.below(64)).map(|i| i as u8)),
        }
    }
    if random.percent(50) {
        check::repair(&mut frame);
    }
    frame
}

/// What a frame is that must never be seen after this packet.
fn forbidden(from: Party, sent: &[u8], by: Party, seen: &[u8]) -> Option<String> {
    let view = View::read(seen)?;
    let family = family(view.src.is_ipv6());
    if view.proto == proto::ICMPV6 && matches!(seen.get(view.transport), Some(130..=137 | 143)) {
        return None; // neighbours among themselves
    }
    if by == Party::Inet {
        // What somebody whom no rule covers quotes is his own affair, unless it is about a flow.
        let is_covered = View::read(sent).is_some_and(|sent| family.is_inside(sent.src.ip()));
        let quoted = edit::quote(seen, &view).filter(|_| is_covered).map(|quote| quote.view.dst.ip());
        let shown = [Some(view.src.ip()), quoted].into_iter().flatten().find(|ip| family.is_inside(*ip));
        if let Some(address) = shown {
            return Some(format!("{address} is seen outside: {seen:02x?}"));
        }
    }
    let before = View::read(sent)?;
    if view.is_fragment
        || seen.len() != 14 + before.end.saturating_sub(14)
        || edit::ttl(seen).wrapping_add(1) != edit::ttl(sent)
    {
        return None; // the gateway's own word, or a part
    }
    let was_right = check::checksums(sent).is_ok();
    if was_right != check::checksums(seen).is_ok() {
        let [before, after] = if was_right { ["right", "wrong"] } else { ["wrong", "right"] };
        return Some(format!("a checksum that was {before} is {after}: {seen:02x?}"));
    }
    let is_ours = family.is_inside(before.src.ip()) || family.is_gateways(before.src.ip());
    // An error from anywhere may be about a flow.
    if by == Party::Inet && from.is_inside() && !is_ours && !edit::is_error(sent, &before) {
        let mut untouched = sent[..before.end].to_vec();
        edit::decrement_ttl(&mut untouched);
        if untouched[14..] != seen[14..] {
            return Some(format!("not ours, and changed from {:?}: {seen:02x?}", Tuple::of(&before)));
        }
    }
    None
}

/// What the kernel says of itself (invariant I5).
struct Kernel {
    log: File,
    tainted: String,
}

impl Kernel {
    /// Listens from now on.
    fn listen() -> Self {
        let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").unwrap();
        let mut past = [0; 8192];
        while log.read(&mut past).is_ok() {}
        Self { log, tainted: tainted() }
    }

    fn is_content(&mut self) -> Result<(), String> {
        const ALARMS: [&str; 6] =
            ["WARNING", "BUG", "Oops", "hw csum failure", "general protection", "stall"];
        let mut record = [0; 8192];
        while let Ok(length) = self.log.read(&mut record) {
            let line = String::from_utf8_lossy(&record[..length]);
            if ALARMS.iter().any(|alarm| line.contains(alarm)) {
                return Err(format!("the kernel says: {line}"));
            }
        }
        if tainted() == self.tainted { Ok(()) } else { Err("the kernel is tainted".into()) }
    }
}

fn tainted() -> String {
    fs::read_to_string("/proc/sys/kernel/tainted").unwrap()
}
