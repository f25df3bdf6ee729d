//! `netctl link`: links, one at a time.

pub(super) mod parse;

use netctl::{
    model::{IfName, Place},
    single::{
        Session,
        link::{self, Filter, Listed, Peer},
    },
    state::Directories,
};

use super::{Exit, Failure, Printer, cells, namespace::Namespace};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl link add veth veth-red red veth-red-br     one end in the namespace red, the other here
  netctl link add bridge v-net-0
  netctl link set veth-red-br master v-net-0 up
  netctl -n red link set veth-red name eth0 up
  netctl link ls --master v-net-0                   its ports and what it has seen behind them";

/// What to do with links.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    namespace: Namespace,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a veth pair or a bridge; it is down
    Add {
        #[command(subcommand)]
        kind: Kind,
    },
    /// Change a link: several things at once, all or nothing
    Set {
        /// The link
        #[arg(value_name = "IF")]
        interface: String,
        /// `up` or `down`, `netns NS` (`host`: back), `master BRIDGE` or `nomaster`, `name NEW`, `mtu BYTES`
        #[arg(value_name = "CHANGE", required = true)]
        changes: Vec<String>,
        /// Also if a topology owns it
        #[arg(long)]
        force: bool,
    },
    /// Delete a link; of a veth pair the other end goes too
    #[command(visible_alias = "delete")]
    Del {
        /// The link
        #[arg(value_name = "IF")]
        interface: IfName,
        /// Also if a topology owns it
        #[arg(long)]
        force: bool,
    },
    /// List links
    #[command(visible_aliases = ["list", "show"])]
    Ls {
        /// Only this one
        #[arg(value_name = "IF")]
        interface: Option<IfName>,
        /// Only this bridge's ports, with the MAC addresses seen behind them
        #[arg(long, value_name = "BRIDGE")]
        master: Option<IfName>,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// A cable: `A [NS] B [NS]`; an end without a namespace is where the command acts
    #[command(override_usage = "netctl link add veth A [NS] B [NS]")]
    Veth {
        /// One end and its namespace, the other and its
        #[arg(value_name = "END", required = true, num_args = 2..=4)]
        ends: Vec<String>,
    },
    /// A bridge
    Bridge {
        /// Its name
        name: IfName,
    },
}

pub(super) fn run(
    args: &Args,
    before: Option<&Place>,
    directories: &Directories,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let place = args.namespace.or(before)?;
    let begin = |force: bool| Session::begin(directories, force);
    let ops = match &args.verb {
        Some(Verb::Add { kind: Kind::Veth { ends } }) => {
            let (a, b) = parse::ends(ends, &place, parse::is_namespace)?;
            link::add_veth(&mut begin(false)?, &a, &b)?
        }
        Some(Verb::Add { kind: Kind::Bridge { name } }) => {
            link::add_bridge(&mut begin(false)?, &place, name)?
        }
        Some(Verb::Set { interface, changes, force }) => {
            let (interface, changes) = parse::changes(interface, changes)?;
            link::set(&mut begin(*force)?, &place, &interface, &changes)?
        }
        Some(Verb::Del { interface, force }) => link::delete(&mut begin(*force)?, &place, interface)?,
        Some(Verb::Ls { interface, master }) => {
            let filter = Filter { interface: interface.clone(), master: master.clone() };
            return list(&place, &filter, printer);
        }
        None => return list(&place, &Filter::default(), printer),
    };
    cells::done(&ops, None, printer)
}

fn list(place: &Place, filter: &Filter, printer: &mut Printer) -> Result<Exit, Failure> {
    let listed = link::ls(place, filter)?;
    let of_a_bridge = filter.master.is_some();
    printer.show(&listed, |printer| {
        let titles = ["NAME", "STATE", "KIND", "PEER", "MASTER", "MTU", "MAC", "ALIAS", "LEARNED"];
        let shown = if of_a_bridge { &titles[..] } else { &titles[..8] };
        let rows = listed.iter().map(|its| {
            let mut row = row(place, its);
            row.truncate(shown.len());
            row
        });
        cells::table(shown, rows, "it has no ports", printer)
    })?;
    Ok(Exit::Done)
}

fn row(place: &Place, its: &Listed) -> cells::Row {
    let learned: Vec<String> = its.learned.iter().map(ToString::to_string).collect();
    vec![
        cells::name(&*its.name),
        cells::state(its.state),
        cells::or_dash(its.kind.as_ref()),
        cells::or_dash(its.peer.as_ref().map(|peer| behind(place, peer))),
        cells::or_dash(its.master.as_ref()),
        cells::plain(its.mtu.to_string()),
        cells::or_dash(its.mac),
        cells::or_dash(its.alias.as_ref()),
        cells::or_dash((!learned.is_empty()).then(|| learned.join(" "))),
    ]
}

/// `eth0` in the same place, `red:eth0` elsewhere, `@if13` as `ip` has it where nothing more is known.
pub(super) fn behind(place: &Place, peer: &Peer) -> String {
    let interface = peer.interface.clone().unwrap_or_else(|| format!("if{}", peer.index));
    match &peer.place {
        Some(there) if there == place => interface,
        Some(there) => format!("{there}:{interface}"),
        None => format!("@{interface}"),
    }
}
