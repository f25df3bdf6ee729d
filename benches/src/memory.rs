//! `memory`: what the kernel takes for the flows that a NAT remembers.
//!
//! The generator opens and answers them, so that nothing but their memory grows: no sockets, no routes. What counts are
//! the objects in conntrack's own slab and in those of `kmalloc`, where BPF maps have their entries and conntrack its
//! extensions. They are the whole machine's: an idle one measures best.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    control::settle,
    machine::Conntrack,
    options::Options,
    packet_rate::Arena,
    programs::Programs,
    record::{Records, Unit},
    site::Wanted,
};

/// So many flows are opened.
const FLOWS: u32 = 100_000;

/// Everyone who remembers flows. Networks are made anew each round, all of them before anything is measured, and go
/// together: meanwhile nothing is freed.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let contenders = options.contenders().into_iter().filter(|contender| contender.translates());
    let contenders: Vec<_> = contenders.collect();
    let _room = Conntrack::with_room_for(contenders.len() as u32 * FLOWS)?;
    let mut programs = Programs::load()?;
    let wanted = Wanted { peer: options.peer.clone(), ..Wanted::default() };
    for round in 1..=options.rounds(3, 1) {
        eprintln!("memory: round {round}");
        settle()?;
        wait_until_nothing_falls()?;
        let arenas = contenders.iter().map(|&contender| Arena::build(contender, &wanted, &mut programs));
        for arena in &mut arenas.collect::<Result<Vec<_>>>()? {
            let before = taken()?;
            arena.open(&mut programs, false, FLOWS)?;
            let grown = (taken()? - before) as f64 / f64::from(FLOWS);
            let case = format!("flows: {FLOWS}");
            records.add("memory", &case, arena.name(), Unit::BytesPerFlow, grown);
        }
    }
    Ok(())
}

/// What networks before these have left is freed behind our back, maps later than namespaces.
fn wait_until_nothing_falls() -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    const STEPS_AT_REST: u32 = 10;
    let deadline = Instant::now() + Duration::from_secs(15);
    let (mut least, mut at_rest) = (taken()?, 0);
    while at_rest < STEPS_AT_REST && Instant::now() < deadline {
        thread::sleep(STEP);
        let now = taken()?;
        at_rest = if now < least - 100_000 { 0 } else { at_rest + 1 };
        least = least.min(now);
    }
    Ok(())
}

/// Bytes in the slabs that flows are in.
fn taken() -> Result<i64> {
    let text = fs::read_to_string("/proc/slabinfo").context("reading /proc/slabinfo")?;
    Ok(sum(&text))
}

fn sum(slabinfo: &str) -> i64 {
    let bytes = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let [active, _, size] =
            [words.next()?, words.next()?, words.next()?].map(|word| word.parse::<i64>().ok());
        let counts =
            name == "nf_conntrack" || name.starts_with("kmalloc-") && !name.starts_with("kmalloc-rcl-");
        counts.then_some(active? * size?)
    };
    slabinfo.lines().filter_map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_reclaimed_and_what_is_free_is_not_counted() {
        let slabinfo = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\ndentry 9 9 192 21 1\n\
                        nf_conntrack 2 208 256 32 2\nkmalloc-cg-64 3 1216 64 64 1\nkmalloc-rcl-96 7 7 96 42 1\n";
        assert_eq!(sum(slabinfo), 2 * 256 + 3 * 64);
    }
}
