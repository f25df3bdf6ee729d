//! `netctl show`: a topology in full.

use std::io;

use anstyle::Style;
use netctl::{
    show::{Shown, ShownLink, ShownNat, ShownNetfilter, ShownPlace, ShownRule, show},
    state::Directories,
};

use super::{Exit, Failure, Printer, print, source};

/// What to show.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The topology, by its name or its file [default: the one that is up, else as `up` without a file]
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
}

pub(super) fn run(args: &Args, directories: &Directories, printer: &mut Printer) -> Result<Exit, Failure> {
    let name = source::up(args.topology.as_deref(), directories)?;
    let shown = show(&name, directories)?;
    printer.show(&shown, |printer| tell(&shown, printer))?;
    for place in &shown.places {
        for filter in place.nat.iter().flat_map(|nat| &nat.filters) {
            printer.warning(&filter.advice(&place.name));
        }
    }
    Ok(Exit::Done)
}

type Row = Vec<(Style, String)>;

fn plain(text: impl Into<String>) -> (Style, String) {
    (Style::new(), text.into())
}

fn tell(shown: &Shown, printer: &mut Printer) -> io::Result<()> {
    let state = if shown.complete { (print::GOOD, "up") } else { (print::BAD, "incomplete") };
    let name = printer.paint(print::NAME, shown.name.as_str());
    printer.line(&format!("{name} is {}", printer.paint(state.0, state.1)))?;
    for place in &shown.places {
        printer.line("")?;
        let name = printer.paint(print::NAME, &place.name.to_string());
        let state = if place.exists { String::new() } else { printer.paint(print::BAD, "  missing") };
        printer.line(&format!("{name}{state}"))?;
        printer.table("  ", &place.links.iter().map(link).collect::<Vec<_>>())?;
        printer.table("  ", &routes_and_neighbours(place))?;
        if let Some(nat) = &place.nat {
            printer.table("  ", &nat_rows(nat))?;
        }
        if let Some(netfilter) = &place.netfilter {
            printer.table("  ", &netfilter_rows(netfilter))?;
        }
    }
    Ok(())
}

fn link(link: &ShownLink) -> Row {
    let state = match (link.up, link.carrier) {
        (true, true) => (print::GOOD, "up".to_owned()),
        (true, false) => (print::BAD, "no-carrier".to_owned()),
        (false, _) => (print::BAD, "down".to_owned()),
    };
    let leads = match (&link.peer, &link.master) {
        (Some((place, interface)), Some(master)) => format!("{master}, to {place} {interface}"),
        (Some((place, interface)), None) => format!("to {place} {interface}"),
        (None, _) => link.kind.clone(),
    };
    let mac = link.mac.clone().unwrap_or_default();
    let name =
        link.full_name.as_ref().map_or_else(|| link.name.clone(), |full| format!("{} ({full})", link.name));
    vec![
        plain(name),
        state,
        plain(leads),
        (print::FAINT, format!("mtu {}", link.mtu)),
        (print::FAINT, mac),
        plain(link.addresses.join(" ")),
    ]
}

fn routes_and_neighbours(place: &ShownPlace) -> Vec<Row> {
    let routes = place.routes.iter().map(|route| {
        let to = if route.to.prefix_len() == 0 { "default".to_owned() } else { route.to.to_string() };
        vec![(print::FAINT, "route".to_owned()), plain(to), plain(format!("via {}", route.via))]
    });
    let neighbours = place.neighbours.iter().map(|neighbour| {
        let mac = neighbour.mac.clone().unwrap_or_default();
        vec![
            (print::FAINT, "neighbour".to_owned()),
            plain(&neighbour.address),
            plain(format!("dev {} {mac} {}", neighbour.interface, neighbour.state)),
        ]
    });
    routes.chain(neighbours).collect()
}

fn nat_rows(nat: &ShownNat) -> Vec<Row> {
    let masquerades = nat.masquerades.iter().map(|rule| rule_row("masquerade", rule));
    let forwards = nat.forwards.iter().map(|rule| rule_row("forward", rule));
    let drops = nat.drops.iter().map(|drop| {
        let packets = format!("{} packets: {}", drop.packets, drop.text);
        vec![(print::BAD, "dropped".to_owned()), plain(packets)]
    });
    masquerades.chain(forwards).chain(drops).collect()
}

fn netfilter_rows(netfilter: &ShownNetfilter) -> Vec<Row> {
    let state = if netfilter.in_force {
        plain(format!("by {}", netfilter.backend))
    } else {
        (print::BAD, format!("not as {} was told", netfilter.backend))
    };
    let row = |kind: &str, rule: String| vec![(print::FAINT, kind.to_owned()), plain(rule), state.clone()];
    let masquerades = netfilter.masquerades.iter().map(|rule| row("masquerade", rule.to_string()));
    let forwards = netfilter.forwards.iter().map(|rule| row("forward", rule.to_string()));
    masquerades.chain(forwards).collect()
}

fn rule_row<R: std::fmt::Display>(kind: &str, rule: &ShownRule<R>) -> Row {
    let traffic = match rule.flows {
        0 => "no flows".to_owned(),
        1 => format!("1 flow, {} packets, {} bytes", rule.packets, rule.bytes),
        n => format!("{n} flows, {} packets, {} bytes", rule.packets, rule.bytes),
    };
    vec![(print::FAINT, kind.to_owned()), plain(rule.rule.to_string()), plain(traffic)]
}
