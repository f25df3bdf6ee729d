//! `packet-rate`: what a packet costs on its way through the gateway.
//!
//! A generator in the kernel puts UDP frames into the client's port of the gateway (or, inwards, into its uplink), where
//! they are received as if from the other end; a sink at the far end counts them and drops them. Everything between
//! happens on the one CPU that the generator runs on. All contenders' networks are up at once and take turns in short
//! bursts, so that what else the machine does disturbs all of them alike.

mod arena;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::arena::Arena;
use crate::{
    contender::Contender,
    machine::Conntrack,
    programs::Programs,
    record::{Records, Unit},
    site::Wanted,
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whom to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::ALL, value_name = "NAME,..")]
    pub(crate) contenders: Vec<Contender>,
    /// Numbers of flows that take turns
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1000, 100_000, 1_000_000], value_name = "N,..")]
    pub(crate) flows: Vec<u32>,
    /// Sizes of frames in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [64, 1500], value_name = "N,..")]
    pub(crate) sizes: Vec<usize>,
    /// IP versions
    #[arg(long, value_delimiter = ',', default_values_t = [4, 6], value_name = "4,6")]
    pub(crate) versions: Vec<u8>,
    /// Ways of the packets
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Way::Out, Way::In], value_name = "out,in")]
    pub(crate) ways: Vec<Way>,
    /// Packets in a burst, at least one of each flow
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    pub(crate) packets: u32,
    /// How often every contender has its turn
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
}

/// Of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// From the client
    Out,
    /// Answers to the client
    In,
}

/// Measures every case: the flows of an IP version, then sizes and ways.
pub(crate) fn measure(args: &Args, wanted: &Wanted) -> Result<Records> {
    let most = args.flows.iter().copied().max().unwrap_or(1);
    if args.versions.iter().any(|version| ![4, 6].contains(version))
        || args.sizes.iter().any(|size| !(64..=1514).contains(size))
    {
        bail!("IP versions are 4 and 6, sizes are from 64 to 1514 bytes");
    }
    let networks = args.contenders.iter().filter(|contender| contender.translates()).count() as u32;
    let _room = Conntrack::with_room_for(networks * most * args.versions.len() as u32 + 10_000)?;
    let mut programs = Programs::load()?;
    let settings = format!("max-flows = {}\n{}", (2 * most).max(131_072), wanted.settings);
    let wanted = Wanted { settings, ..wanted.clone() };
    let arenas = args.contenders.iter().map(|&contender| Arena::build(contender, &wanted, &mut programs));
    let mut arenas = arenas.collect::<Result<Vec<_>>>()?;

    let mut records = Records::default();
    for &version in &args.versions {
        for &flows in &args.flows {
            for arena in &mut arenas {
                eprintln!("{}: IPv{version}, {flows} flows begin", arena.name());
                arena.open(&mut programs, version == 6, flows)?;
            }
            for round in 1..=args.rounds {
                eprintln!("IPv{version}, {flows} flows: round {round} of {}", args.rounds);
                for &size in &args.sizes {
                    for &way in &args.ways {
                        for arena in &mut arenas {
                            let case = format!("{}, IPv{version}, {size} bytes, flows: {flows}", way.name());
                            let burst =
                                arena.burst(&mut programs, version == 6, flows, way, size, args.packets)?;
                            let value = burst.each.as_secs_f64() * 1e9;
                            records.add(
                                "packet-rate",
                                &case,
                                arena.name(),
                                Unit::NanosecondsPerPacket,
                                value,
                            );
                            let lost = burst.sent - burst.arrived;
                            if f64::from(lost) > f64::from(burst.sent) / 100.0 {
                                records.note(format!(
                                    "{}: {case}: {lost} of {} packets lost",
                                    arena.name(),
                                    burst.sent
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(records)
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}
