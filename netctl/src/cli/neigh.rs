//! `netctl neigh`: the neighbours, or ARP table.

use netctl::{
    model::{IfName, Place},
    single::neigh::{self, Listed},
};

use super::{Exit, Failure, Printer, addr::device, cells, namespace::Namespace, print};

/// Which neighbours to list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the neighbours: which MAC address an address was found at
    #[command(visible_aliases = ["list", "show"], override_usage = "netctl neigh ls [[dev] IF]")]
    Ls {
        /// Only those behind this link
        #[arg(value_name = "IF", num_args = 1..=2)]
        interface: Vec<String>,
    },
}

pub(super) fn run(args: &Args, before: Option<&Place>, printer: &mut Printer) -> Result<Exit, Failure> {
    let place = args.namespace.or(before)?;
    let interface: Option<IfName> = match &args.verb {
        Some(Verb::Ls { interface }) if !interface.is_empty() => Some(device(interface)?),
        _ => None,
    };
    let listed = neigh::ls(&place, interface.as_ref())?;
    printer.show(&listed, |printer| {
        let titles = ["ADDRESS", "DEV", "MAC", "STATE"];
        cells::table(&titles, listed.iter().map(row), "no neighbour is known yet", printer)
    })?;
    Ok(Exit::Done)
}

fn row(its: &Listed) -> cells::Row {
    let style = match its.state {
        "REACHABLE" | "PERMANENT" => print::GOOD,
        "FAILED" | "INCOMPLETE" => print::BAD,
        _ => print::CHANGED,
    };
    vec![
        cells::name(its.address.to_string()),
        cells::plain(&*its.interface),
        cells::or_dash(its.mac),
        (style, its.state.to_owned()),
    ]
}
