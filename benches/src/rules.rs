//! `rules`: how long one more forward takes beside N others, how long N take to load, and a range of 60 000 ports.
//!
//! Everyone is timed as a user would call it: `netctl`, or the tool with the rules that one writes by hand, one a
//! forward. A round loads, adds and clears; what was added goes before anyone else is timed.

mod tool;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use self::tool::{Action, Tool};
use crate::{
    options::Options,
    record::{Records, Unit},
    site::{Site, Wanted},
};

/// Every tool has a network; they take turns.
pub(crate) fn measure(options: &Options, records: &mut Records) -> Result<()> {
    let tools = options.contenders().into_iter().filter_map(Tool::of);
    let sites = tools.map(|tool| Ok((tool, Site::build(tool.network(), &Wanted::default())?)));
    let sites = sites.collect::<Result<Vec<_>>>()?;
    for number in options.forwards() {
        for (tool, site) in &sites {
            tool.write_files(site, number);
        }
        for round in 1..=options.rounds(5, 3) {
            eprintln!("rules: {number} forwards, round {round}");
            for (tool, site) in &sites {
                for (action, case) in [
                    (Action::Load, Some(format!("load {number}"))),
                    (Action::Add, Some(format!("add one to {number}"))),
                    (Action::Remove, None),
                    (Action::AddRange, Some(format!("add 60000 ports to {number}"))),
                    (Action::Clear, None),
                ] {
                    let time = run(site, *tool, &tool.command(action))
                        .with_context(|| format!("{}, {number} forwards: {action:?}", tool.name()))?;
                    if let Some(case) = case {
                        records.add("rules", &case, tool.name(), Unit::Milliseconds, time);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Milliseconds.
fn run(site: &Site, tool: Tool, command: &[String]) -> Result<f64> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let place = if tool == Tool::Netctl { site.host() } else { site.gateway() };
    // Going there is not the tool's time.
    place.enter(|| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).current_dir(site.directory());
        let start = Instant::now();
        let output = command.output().with_context(|| format!("running {program}"))?;
        let time = start.elapsed();
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(time.as_secs_f64() * 1000.0)
    })
}
