//! `netctl sysctl`: the `net.*` keys of a namespace.

use netctl::{single::sysctl, sysctl::Key};

use super::{
    Exit, Failure, cells,
    namespace::{Acting, Desk},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl sysctl set net.ipv4.ip_forward=1
  netctl -n red sysctl get net.ipv4.conf.all.rp_filter";

/// What to do with sysctls.
pub(super) type Args = Acting<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Show values
    Get {
        /// The keys, below `net.`
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<Key>,
    },
    /// Set values, all or none
    Set {
        /// The keys, below `net.`, and their values
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = setting)]
        values: Vec<(Key, String)>,
    },
}

/// Reads `KEY=VALUE`.
fn setting(text: &str) -> Result<(Key, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "a value is missing: KEY=VALUE".to_owned())?;
    let key = key.trim().parse::<Key>().map_err(|error| error.to_string())?;
    Ok((key, value.trim().to_owned()))
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    match &args.verb {
        Verb::Get { keys } => {
            let listed = sysctl::get(&place, keys)?;
            desk.printer.show(&listed, |printer| {
                listed.iter().try_for_each(|its| printer.line(&format!("{} = {}", its.key, its.value)))
            })?;
            Ok(Exit::Done)
        }
        Verb::Set { values } => {
            let ops = sysctl::set(&mut desk.session(false)?, &place, values)?;
            cells::done(&ops, None, desk.printer)
        }
    }
}
