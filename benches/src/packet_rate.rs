//! `packet-rate`: what a packet costs on its way through the gateway.
//!
//! A generator in the kernel puts UDP frames into the client's port of the gateway (or, inwards, into its uplink), where
//! they are received as if from the other end; a sink at the far end counts them and drops them. Everything between
//! happens on the one CPU that the generator runs on. All contenders' networks are up at once and take turns in short
//! bursts, so that what else the machine does disturbs all of them alike.

mod arena;

use anyhow::Result;

pub(crate) use self::arena::Arena;
use crate::{
    machine::Conntrack,
    options::Options,
    programs::Programs,
    record::{Records, Unit},
    site::Wanted,
};

/// Measures every case: the flows of an IP version, then sizes and ways.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let (contenders, versions, flows) = (options.contenders(), options.versions(), options.flows());
    let most = flows.iter().copied().max().unwrap_or(1);
    let translated = contenders.iter().filter(|contender| contender.translates()).count() * versions.len();
    let _room = Conntrack::with_room_for(most.saturating_mul(translated as u32).saturating_add(10_000))?;
    let mut programs = Programs::load()?;
    let settings = format!("max-flows = {}", (2 * most).max(131_072));
    let wanted = Wanted { settings, peer: options.peer.clone(), ..Wanted::default() };
    let arenas = contenders.iter().map(|&contender| Arena::build(contender, &wanted, &mut programs));
    let mut arenas = arenas.collect::<Result<Vec<_>>>()?;

    for version in versions {
        for &flows in &flows {
            for arena in &mut arenas {
                eprintln!("packet-rate: {} opens {flows} flows of IPv{version}", arena.name());
                arena.open(&mut programs, version == 6, flows)?;
            }
            for round in 1..=options.rounds(7, 3) {
                eprintln!("packet-rate: {flows} flows of IPv{version}, round {round}");
                for arena in &mut arenas {
                    turn(options, records, &mut programs, arena, version, flows)?;
                }
            }
        }
    }
    Ok(())
}

/// One contender's bursts of each size, either way.
fn turn(
    options: &Options,
    records: &mut Records,
    programs: &mut Programs,
    arena: &mut Arena,
    version: u8,
    flows: u32,
) -> Result<()> {
    for size in options.sizes() {
        for way in options.ways() {
            let case = format!("{}, IPv{version}, {size} bytes, flows: {flows}", way.name());
            let burst = arena.burst(programs, version == 6, flows, way, size, options.packets())?;
            let value = burst.each.as_secs_f64() * 1e9;
            records.add("packet-rate", &case, arena.name(), Unit::NanosecondsPerPacket, value);
            let lost = burst.sent - burst.arrived;
            if f64::from(lost) > f64::from(burst.sent) / 100.0 {
                records.note(format!("{}: {case}: {lost} of {} packets lost", arena.name(), burst.sent));
            }
        }
    }
    Ok(())
}
