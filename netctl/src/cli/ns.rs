//! `netctl ns`: namespaces, one at a time.

use netctl::{
    model::NetnsName,
    single::ns::{self, Deleted, Listed, State},
};
use serde::Serialize;

use super::{Exit, Failure, cells, namespace::Desk, print, up::warn_if_hidden};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl ns add red blue
  netctl exec red -- bash

Both `ip netns` and netctl see all of them. Unlike `ip netns add`, `netctl ns add` brings the loopback up.";

/// What to do with namespaces.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make namespaces, with `lo` up
    Add {
        /// Their names
        #[arg(value_name = "NS", required = true)]
        names: Vec<NetnsName>,
    },
    /// Delete namespaces; processes inside live on without a name
    #[command(visible_alias = "delete")]
    Del {
        /// Their names
        #[arg(value_name = "NS", required = true)]
        names: Vec<NetnsName>,
        /// Also those that a topology owns
        #[arg(long)]
        force: bool,
    },
    /// List the namespaces
    #[command(visible_alias = "list")]
    Ls,
}

#[derive(Serialize)]
struct Document {
    deleted: Vec<Deleted>,
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    match &args.verb {
        Some(Verb::Add { names }) => {
            let ops = ns::add(&mut desk.session(false)?, names)?;
            warn_if_hidden(desk.printer);
            let names: Vec<&str> = names.iter().map(NetnsName::as_str).collect();
            let is = if names.len() == 1 { "is there, its" } else { "are there, their" };
            cells::done(&ops, Some(&format!("{} {is} loopback up", names.join(", "))), desk.printer)
        }
        Some(Verb::Del { names, force }) => {
            let deleted = ns::delete(&mut desk.session(*force)?, names)?;
            for Deleted { name, processes } in deleted.iter().filter(|gone| !gone.processes.is_empty()) {
                let pids: Vec<String> = processes.iter().map(u32::to_string).collect();
                desk.printer
                    .warning(&format!("processes still live in namespace `{name}`: {}", pids.join(", ")));
            }
            desk.printer.report(&Document { deleted }, |_| Ok(()))?;
            Ok(Exit::Done)
        }
        None | Some(Verb::Ls) => {
            let titles = ["NAME", "STATE", "OWNER", "PROCESSES"];
            cells::list(&ns::ls()?, &titles, row, "no namespace has a name", desk.printer)
        }
    }
}

fn row(its: &Listed) -> cells::Row {
    let (state, text) = match its.state {
        State::Present => (print::GOOD, "present"),
        State::Closed => (print::CHANGED, "closed"),
        State::Stale => (print::BAD, "stale"),
    };
    vec![
        cells::name(its.name.as_str()),
        (state, text.to_owned()),
        cells::or_dash(its.owner.as_ref()),
        cells::plain(its.processes.to_string()),
    ]
}
