//! `netctl addr`: addresses, one at a time.

use std::net::IpAddr;

use ipnet::IpNet;
use netctl::{
    model::Place,
    single::addr::{self, Listed},
};

use super::{
    Exit, Failure, Printer, cells,
    namespace::{Desk, Placed},
    words::{self, device, one_device, parse},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl addr add 192.168.15.5/24 dev v-net-0
  netctl -n red addr ls";

/// What to do with addresses.
pub(super) type Args = Placed<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Give a link an address, which can be used at once
    #[command(override_usage = "netctl addr add ADDRESS/LENGTH [dev] IF")]
    Add {
        /// The address and its subnet's prefix length
        #[arg(value_name = "ADDRESS/LENGTH")]
        address: String,
        /// The link
        #[arg(value_name = "IF", required = true, num_args = 1..=2)]
        interface: Vec<String>,
    },
    /// Take an address from a link
    #[command(visible_alias = "delete", override_usage = "netctl addr del ADDRESS/LENGTH [dev] IF [--force]")]
    Del {
        /// The address and its subnet's prefix length
        #[arg(value_name = "ADDRESS/LENGTH")]
        address: String,
        /// The link
        #[arg(value_name = "IF", required = true, num_args = 1..=2)]
        interface: Vec<String>,
        /// Also if a topology wants it
        #[arg(long)]
        force: bool,
    },
    /// List links and their addresses
    #[command(visible_aliases = ["list", "show"], override_usage = "netctl addr ls [[dev] IF]")]
    Ls {
        /// Only this link's
        #[arg(value_name = "IF", num_args = 1..=2)]
        interface: Vec<String>,
    },
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    let ops = match &args.verb {
        Some(Verb::Add { address, interface }) => {
            let (address, interface) = (with_length(address, desk.printer)?, device(interface)?);
            addr::add(&mut desk.session(false)?, &place, &interface, address)?
        }
        Some(Verb::Del { address, interface, force }) => {
            let (address, interface) = (with_length(address, desk.printer)?, device(interface)?);
            addr::delete(&mut desk.session(*force)?, &place, &interface, address)?
        }
        None => return list(&place, &[], desk),
        Some(Verb::Ls { interface }) => return list(&place, interface, desk),
    };
    cells::done(&ops, None, desk.printer)
}

/// Reads an address; one without a prefix length is alone in its subnet, as with `ip`, which is seldom meant.
fn with_length(text: &str, printer: &Printer) -> Result<IpNet, words::Error> {
    if text.contains('/') {
        return parse("address")(text);
    }
    let alone = IpNet::from(parse::<IpAddr>("address")(text)?);
    let usual = if alone.addr().is_ipv4() { 24 } else { 64 };
    printer.warning(&format!(
        "`{text}` is taken as {alone}, a subnet of one; `{text}/{usual}` would reach its neighbours"
    ));
    Ok(alone)
}

fn list(place: &Place, interface: &[String], desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let listed = addr::ls(place, one_device(interface)?.as_ref())?;
    cells::list(&listed, &["NAME", "STATE", "ADDRESSES"], row, "there are no links", desk.printer)
}

fn row(its: &Listed) -> cells::Row {
    let text = |its: &addr::Address| match its.peer {
        Some(peer) => format!("{} peer {peer}", its.address.addr()),
        None if its.tentative => format!("{} (tentative)", its.address),
        None => its.address.to_string(),
    };
    let addresses: Vec<String> = its.addresses.iter().map(text).collect();
    vec![
        cells::name(&*its.interface),
        cells::state(its.state),
        cells::or_dash((!addresses.is_empty()).then(|| addresses.join(" "))),
    ]
}
