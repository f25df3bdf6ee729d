//! `connections`: short connections a second, and how long an answer takes, beside more and more forwards.
//!
//! With none, the client calls the server through the masquerade; with some, the server calls the client through the
//! last of them. Both ends run on one CPU, so that a figure is the work of both and of all between, and not how quickly
//! one CPU wakes another.

mod talk;

use anyhow::{Context as _, Result};

use self::talk::{Answers, Listener};
use crate::{
    contender::Contender,
    machine::Conntrack,
    options::Options,
    record::{Records, Unit},
    site::{Site, Wanted, addresses, forwards, listens},
};

/// So many connections are remembered until they are forgotten for good, at most.
const REMEMBERED: u32 = 1_000_000;
/// Where the one who is called listens.
const PORT: u16 = 8000;

/// For each number of forwards, all networks at once; they take turns.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let _room = Conntrack::with_room_for(3 * REMEMBERED)?;
    for number in options.forwards() {
        let wanted = Wanted {
            settings: format!("max-flows = {REMEMBERED}"),
            rules: forwards(number, PORT),
            peer: options.peer.clone(),
        };
        let can = |contender: &Contender| number == 0 || contender.backend().is_some();
        let sites = options.contenders().into_iter().filter(can).map(|contender| {
            eprintln!("connections: {} with {number} forwards", contender.name());
            Site::build(contender, &wanted)
        });
        let sites = sites.collect::<Result<Vec<_>>>()?;
        for round in 1..=options.rounds(5, 2) {
            eprintln!("connections: {number} forwards, round {round}");
            for site in &sites {
                let name = site.contender.name();
                let (rate, answers) = run(site, number, options.quick).with_context(|| name.to_owned())?;
                let mut add = |what: &str, unit, value| {
                    records.add("connections", &format!("{what}, forwards: {number}"), name, unit, value);
                };
                add("connections", Unit::PerSecond, rate);
                add("answer, p50", Unit::Microseconds, answers.quantile(50));
                add("answer, p99", Unit::Microseconds, answers.quantile(99));
            }
        }
    }
    Ok(())
}

fn run(site: &Site, forwards: u16, is_quick: bool) -> Result<(f64, Answers)> {
    let all = addresses(false);
    let (caller, called, to) = match forwards {
        0 => (site.client(), site.outside(), (all.server, PORT)),
        number => (site.outside(), site.client(), (all.uplink, listens(number))),
    };
    let milliseconds = if is_quick { 300 } else { 1000 };
    let listener = called.enter(|| Listener::open(PORT))?;
    listener.answer(|| caller.enter(|| talk::call(to.into(), std::time::Duration::from_millis(milliseconds))))
}
