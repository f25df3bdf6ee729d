//! What there is to see, in words.

mod nat;

use netctl::{
    model::Place,
    op::{Effect, Op},
    show::{Object, Shown, ShownLink, ShownPlace, ShownSysctl},
    single::{neigh, route},
};

use super::{
    super::{
        cells::{self, faint, name, plain},
        link::behind,
        print,
    },
    page::{Block, Line, Page},
};

/// What the kernel gives a link that has no other.
const USUAL_MTU: u32 = 1500;
/// As many addresses, or MAC addresses, as fit in a line.
const IN_A_LINE: usize = 2;

/// The page about an object. Of a topology it leaves out what the kernel adds to every link by itself.
pub(super) fn page(shown: &Shown, object: &Object) -> Page {
    let in_full = !matches!(object, Object::Topology(_));
    let mut blocks = vec![overview(shown, object)];
    blocks.extend(shown.places.iter().map(|place| self::place(place, in_full)));
    if let (true, [overview, place]) = (in_full, blocks.as_mut_slice()) {
        // One block: what the topology says of it comes first.
        overview.groups.append(&mut place.groups);
        blocks.truncate(1);
    }
    Page(blocks)
}

/// Whether it is up, and as it was made.
fn overview(shown: &Shown, object: &Object) -> Block {
    let mut heading = vec![name(object.to_string())];
    if let Some(topology) = &shown.name {
        let state = match (shown.complete, &shown.conflict) {
            (true, None) if shown.drift.is_empty() => (print::GOOD, "as it was made".to_owned()),
            (true, None) => (print::BAD, "not as it was made; `netctl up` would".to_owned()),
            (false, _) => (print::BAD, "incomplete: a command was killed, or is at work".to_owned()),
            (true, Some(conflict)) => (print::BAD, format!("in conflict: {conflict}")),
        };
        let belongs = match object {
            Object::Topology(_) if shown.complete => "is up,".to_owned(),
            Object::Topology(_) => "is".to_owned(),
            Object::Place(_) | Object::Link(..) => format!("of {topology},"),
        };
        heading.extend([plain(belongs), state]);
    }
    Block { heading, groups: vec![shown.drift.iter().map(change).collect()] }
}

fn change(op: &Op) -> Line {
    let (sign, style) = match op.effect() {
        Some(Effect::Add) => ("+", print::GOOD),
        Some(Effect::Modify) => ("~", print::CHANGED),
        Some(Effect::Remove) => ("-", print::BAD),
        None => (" ", print::FAINT),
    };
    Line::of(vec![(style, sign.to_owned()), (style, op.to_string())])
}

fn place(place: &ShownPlace, in_full: bool) -> Block {
    let mut heading = vec![name(place.name.to_string())];
    if !place.exists {
        heading.push((print::BAD, "missing".to_owned()));
    }
    let routes = place.routes.iter().filter(|route| in_full || route.protocol != "kernel");
    let sysctls = place.sysctls.iter().filter(|sysctl| matters(sysctl));
    let mut groups = vec![
        place.links.iter().flat_map(|link| self::link(&place.name, link, in_full)).collect(),
        routes.map(route).collect(),
        place.neighbours.iter().map(neighbour).collect(),
        sysctls.map(sysctl).collect(),
    ];
    groups.extend(place.nat.iter().map(nat::lines));
    Block { heading, groups }
}

fn link(place: &Place, link: &ShownLink, in_full: bool) -> Vec<Line> {
    let its = &link.its;
    let mut words = Vec::new();
    words.extend(its.peer.as_ref().map(|peer| format!("to {}", behind(place, peer))));
    words.extend(its.master.as_ref().map(|master| format!("port of {master}")));
    if words.is_empty() {
        words.extend(its.kind.clone());
    }
    words.extend(link.full_name.as_ref().map(|full| format!("`{full}`")));
    if in_full || its.mtu != USUAL_MTU {
        words.push(format!("mtu {}", its.mtu));
    }
    let mac = its.mac.map_or_else(String::new, |mac| mac.to_string());
    let first = vec![name(&*its.name), cells::state(its.state), faint(mac), plain(words.join(", "))];
    let mut lines = vec![Line::new(&*its.name, first)];
    let addresses = link.addresses.iter().filter(|address| in_full || address.scope != "link");
    let addresses = addresses.map(|its| {
        let tentative = if its.tentative { " tentative" } else { "" };
        format!("{}{tentative}", its.address)
    });
    lines.extend(listed(&its.name, "", &addresses.collect::<Vec<_>>()));
    let learned: Vec<String> = its.learned.iter().map(ToString::to_string).collect();
    lines.extend(listed(&its.name, "learned ", &learned));
    lines
}

/// Some in each line.
fn listed(link: &str, what: &str, all: &[String]) -> Vec<Line> {
    let line = |(number, some): (usize, &[String])| {
        let text = format!("{what}{}", some.join("  "));
        Line::new(format!("{link} {what} {number}"), vec![plain(""), plain(text)])
    };
    all.chunks(IN_A_LINE).enumerate().map(line).collect()
}

fn route(route: &route::Listed) -> Line {
    let mut words = Vec::new();
    if route.kind != "unicast" {
        words.push(route.kind.to_owned());
    }
    words.push(route.to.clone());
    match (route.via, &route.interface) {
        (Some(via), _) => words.push(format!("via {via}")),
        (None, Some(interface)) => words.push(format!("dev {interface}")),
        (None, None) if route.multipath => words.push("by several next hops".to_owned()),
        (None, None) => {}
    }
    if !matches!(route.protocol, "boot" | "netctl" | "static") {
        words.push(format!("by {}", route.protocol));
    }
    Line::of(vec![faint("route"), plain(words.join(" "))])
}

fn neighbour(its: &neigh::Listed) -> Line {
    let style = match its.state {
        "REACHABLE" | "PERMANENT" => print::GOOD,
        "FAILED" | "INCOMPLETE" => print::BAD,
        _ => print::FAINT,
    };
    let cells = vec![
        faint("neighbour"),
        plain(its.address.to_string()),
        cells::or_dash(its.mac),
        plain(&*its.interface),
        (style, its.state.to_lowercase()),
    ];
    Line::new(format!("neighbour {} {}", its.address, its.interface), cells)
}

/// Not the kernel's usual silence about what nobody set.
fn matters(sysctl: &ShownSysctl) -> bool {
    sysctl.wanted.is_some() || sysctl.value.as_deref().is_some_and(|value| value != "0")
}

fn sysctl(sysctl: &ShownSysctl) -> Line {
    let value = sysctl.value.as_deref().unwrap_or("missing");
    let text = format!("{} = {value}", sysctl.key);
    let words = match &sysctl.wanted {
        Some(wanted) if sysctl.value.as_ref() != Some(wanted) => {
            (print::BAD, format!("{text}, not {wanted}"))
        }
        None if sysctl.key.ends_with(".rp_filter") => (print::CHANGED, format!("{text}: strict")),
        _ => plain(text),
    };
    Line::new(format!("sysctl {}", sysctl.key), vec![faint("sysctl"), words])
}
