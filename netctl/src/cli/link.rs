//! `netctl link`: links, one at a time.

pub(super) mod parse;

use netctl::{
    model::{IfName, Place},
    op::{NewKind, Op},
    single::link::{self, Filter, Listed, Peer},
};

use super::{
    Exit, Failure, Printer, cells,
    namespace::{Desk, Placed},
};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl link add veth veth-red red veth-red-br     one end in the namespace red, the other here
  netctl link add bridge v-net-0
  netctl link add dummy lan0
  netctl link add vlan eth0.7 link eth0 id 7
  netctl link set veth-red-br master v-net-0 up
  netctl -n red link set veth-red name eth0 up
  netctl link ls --master v-net-0                   its ports and what it has seen behind them";

/// What to do with links.
pub(super) type Args = Placed<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Make a veth pair, a bridge, a dummy or a VLAN; it is down
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
pub(super) enum Kind {
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
    /// A link that leads nowhere, for addresses that are up whatever else is
    Dummy {
        /// Its name
        name: IfName,
    },
    /// One VLAN of another link
    #[command(override_usage = "netctl link add vlan NAME link PARENT id N")]
    Vlan {
        /// Its name
        name: IfName,
        /// `link PARENT` and `id N`, from 1 to 4094
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
    },
}

impl Kind {
    /// Makes one.
    fn add(&self, place: &Place, desk: &Desk<'_>) -> Result<Vec<Op>, Failure> {
        let (name, kind) = match self {
            Self::Veth { ends } => {
                let (a, b) = parse::ends(ends, place, parse::is_namespace)?;
                return Ok(link::add_veth(&mut desk.session(false)?, &a, &b)?);
            }
            Self::Bridge { name } => (name, NewKind::Bridge),
            Self::Dummy { name } => (name, NewKind::Dummy),
            Self::Vlan { name, words } => (name, parse::vlan(words)?),
        };
        Ok(link::add(&mut desk.session(false)?, place, name, kind)?)
    }
}

pub(super) fn run(args: &Args, desk: &mut Desk<'_>) -> Result<Exit, Failure> {
    let place = args.namespace.or(desk.before)?;
    let ops = match &args.verb {
        Some(Verb::Add { kind }) => kind.add(&place, desk)?,
        Some(Verb::Set { interface, changes, force }) => {
            let (interface, changes) = parse::changes(interface, changes)?;
            link::set(&mut desk.session(*force)?, &place, &interface, &changes)?
        }
        Some(Verb::Del { interface, force }) => link::delete(&mut desk.session(*force)?, &place, interface)?,
        Some(Verb::Ls { interface, master }) => {
            let filter = Filter { interface: interface.clone(), master: master.clone() };
            return list(&place, &filter, desk.printer);
        }
        None => return list(&place, &Filter::default(), desk.printer),
    };
    cells::done(&ops, None, desk.printer)
}

fn list(place: &Place, filter: &Filter, printer: &mut Printer) -> Result<Exit, Failure> {
    let titles = ["NAME", "STATE", "KIND", "PEER", "MASTER", "MTU", "MAC", "ALIAS", "LEARNED"];
    let shown = if filter.master.is_some() { &titles[..] } else { &titles[..8] };
    let row = |its: &Listed| row(place, its).into_iter().take(shown.len()).collect();
    cells::list(&link::ls(place, filter)?, shown, row, "it has no ports", printer)
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
