//! `control`: how long it takes to build a network, against the `ip` commands that do the same.
//!
//! Every run has a machine of its own. The contenders take turns within each round, so that whatever else the computer
//! is doing disturbs all of them, and a run begins when the kernel has freed what the one before has left.

mod contender;
mod machine;
mod network;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netctl_tests::lab::netctl;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

pub(crate) use self::machine::settle;
use self::{
    contender::{Contender, Phase, Stage},
    network::Network,
};
use crate::{
    options::Options,
    record::{Records, Unit},
};

/// From so many namespaces on, a network is built half as often.
const LARGE: usize = 1000;

/// What one command took.
#[derive(Clone, Copy)]
struct Time {
    /// From its start to its end.
    wall: Duration,
    /// Of the processors, itself and its children. What the kernel's own threads do for it is not in it.
    processor: Duration,
}

/// Builds networks of each size by each contender.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rounds = options.rounds(5, 3);
    for round in 1..=rounds {
        for namespaces in options.namespaces() {
            let network = Network { namespaces };
            let rounds = if namespaces < LARGE { rounds } else { rounds.div_ceil(2) };
            if round > rounds {
                continue;
            }
            let stage =
                Stage::set(network, &directory.path().join(namespaces.to_string()), Path::new(&netctl()))?;
            for contender in Contender::ALL {
                eprintln!("control: {namespaces} namespaces by {}, round {round}", contender.name());
                let times = run_once(network, &stage, contender)
                    .with_context(|| format!("{} with {namespaces} namespaces", contender.name()))?;
                for (phase, Time { wall, processor }) in times {
                    let mut add = |case: &str, time: Duration| {
                        let milliseconds = time.as_secs_f64() * 1000.0;
                        records.add("control", case, contender.name(), Unit::Milliseconds, milliseconds);
                    };
                    let case = format!("{}, {namespaces} namespaces", phase.name());
                    add(&case, wall);
                    if phase.is_all_done_by_the_command() {
                        add(&format!("{case}, of that processor time"), processor);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Builds the network and takes it away again.
fn run_once(network: Network, stage: &Stage, contender: Contender) -> Result<Vec<(Phase, Time)>> {
    settle()?;
    machine::on_a_machine(|| {
        let mut times = Vec::new();
        for &phase in contender.phases() {
            let start = Instant::now();
            let time = time(&mut stage.command(contender, phase)?)?;
            times.push((phase, time));
            match phase {
                Phase::Up => check(network)?,
                Phase::Down => {
                    settle()?;
                    times.push((Phase::Gone, Time { wall: start.elapsed(), processor: time.processor }));
                }
                _ => {}
            }
        }
        Ok(times)
    })
}

/// Runs a command that has to succeed.
fn time(command: &mut Command) -> Result<Time> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (before, start) = (processor_time()?, Instant::now());
    let status = command.status().context("running it")?;
    let time = Time { wall: start.elapsed(), processor: processor_time()?.saturating_sub(before) };
    if !status.success() {
        bail!("it failed: {status}");
    }
    Ok(time)
}

/// What the commands that have ended used of the processors, in user space and for them in the kernel.
fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = |time: TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs();
    Ok(Duration::from_micros(microseconds(usage.user_time()) + microseconds(usage.system_time())))
}

/// Whether the network is there: its last namespace has its address and its route.
fn check(network: Network) -> Result<()> {
    let Some((name, address)) = network.last() else { return Ok(()) };
    let shows = |words: &[&str], text: &str| -> Result<bool> {
        let output = Command::new("ip").args(["-n", &name]).args(words).output().context("running ip")?;
        Ok(String::from_utf8_lossy(&output.stdout).contains(text))
    };
    if !shows(&["addr"], &address.to_string())? || !shows(&["route"], "default via")? {
        bail!("the network is not what it should be: look into namespace {name}");
    }
    Ok(())
}
