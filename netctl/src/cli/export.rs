//! `netctl export`: a topology file of what is there.

use netctl::{export, model::Place, state::Directories};

use super::{Exit, Failure, Printer, namespace};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl export > net.toml              all named namespaces, and what of the host hangs together with them
  netctl export -n red -n router        two namespaces and what is between them
  netctl export -n host                 the host: its bridges, VLANs, dummies, routes
  netctl export | netctl check -

Whether netctl or somebody else made it makes no difference. What no file has is listed in comments at the end; with
--json, on standard error.";

/// What to write down.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A namespace, or host; several times for several [default: all named ones, and what of the host hangs together
    /// with them]
    #[arg(short = 'n', long = "netns", value_name = "NS", value_parser = namespace::place)]
    namespaces: Vec<Place>,
}

pub(super) fn run(
    args: &Args,
    before: Option<&Place>,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let chosen: Vec<Place> = before.into_iter().chain(&args.namespaces).cloned().collect();
    let export = export::export(&chosen, directories)?;
    let mut is_text = false;
    printer.show(&export.document, |printer| {
        is_text = true;
        let text = export.to_toml();
        text.lines().try_for_each(|line| printer.line(line))
    })?;
    if !is_text {
        export.left.iter().for_each(|left| printer.warning(&format!("not exported: {left}")));
    }
    Ok(Exit::Done)
}
