//! What there is to see, in words.

mod nat;

use netctl::{
    model::{Family, Place},
    op::{Effect, Op},
    show::{Object, Shown, ShownAddress, ShownLink, ShownPlace, ShownPolicy, ShownRoute, ShownSysctl},
    single::neigh,
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
/// `IP6_RT_PRIO_USER`
const USUAL_METRIC: u32 = 1024;
/// `RT_TABLE_MAIN`
const MAIN_TABLE: u32 = 254;
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
    let routes = place.routes.iter().filter(|route| in_full || route.its.protocol != "kernel");
    let rules = place.rules.iter().filter(|rule| in_full || rule.its.protocol != "kernel");
    let sysctls = place.sysctls.iter().filter(|sysctl| matters(sysctl));
    let mut groups = vec![
        place.links.iter().flat_map(|link| self::link(&place.name, link, in_full)).collect(),
        routes.map(|its| route(its, in_full)).collect(),
        rules.map(|its| policy(its, in_full)).collect(),
        place.neighbours.iter().map(neighbour).collect(),
        sysctls.map(sysctl).collect(),
    ];
    groups.extend(place.nat.iter().map(nat::lines));
    Block { heading, groups }
}

fn link(place: &Place, link: &ShownLink, in_full: bool) -> Vec<Line> {
    let its = &link.its;
    let mut words = Vec::new();
    let below = its.peer.as_ref().map_or_else(|| "?".to_owned(), |peer| behind(place, peer));
    match link.vlan {
        Some(id) => words.push(format!("vlan {id} of {below}")),
        None => words.extend(its.peer.as_ref().map(|_| format!("to {below}"))),
    }
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
    let addresses = link.addresses.iter().filter(|address| in_full || address.its.scope != "link");
    lines.extend(listed(&its.name, "", &addresses.map(address).collect::<Vec<_>>()));
    let learned: Vec<String> = its.learned.iter().map(ToString::to_string).collect();
    lines.extend(listed(&its.name, "learned ", &learned));
    lines
}

fn address(address: &ShownAddress) -> String {
    let tentative = if address.its.tentative { " tentative" } else { "" };
    let whose = match (address.foreign, address.valid) {
        (true, None) => " (foreign)",
        (true, Some(_)) => " (foreign, for a time)",
        (false, _) => "",
    };
    format!("{}{tentative}{whose}", address.its.address)
}

/// Some in each line.
fn listed(link: &str, what: &str, all: &[String]) -> Vec<Line> {
    let line = |(number, some): (usize, &[String])| {
        let text = format!("{what}{}", some.join("  "));
        Line::new(format!("{link} {what} {number}"), vec![plain(""), plain(text)])
    };
    all.chunks(IN_A_LINE).enumerate().map(line).collect()
}

fn route(shown: &ShownRoute, in_full: bool) -> Line {
    let route = &shown.its;
    let mut words = Vec::new();
    if route.kind != "unicast" {
        words.push(route.kind.to_owned());
    }
    words.push(route.to.clone());
    match (route.via, &route.interface) {
        (Some(via), _) => words.push(format!("via {via}")),
        (None, Some(interface)) if route.kind == "unicast" => words.push(format!("dev {interface}")),
        (None, None) if route.multipath => words.push("by several next hops".to_owned()),
        (None, _) => {}
    }
    // What everybody has whose command says nothing of it.
    if route.metric != 0 && route.metric != USUAL_METRIC && route.protocol != "kernel" {
        words.push(format!("metric {}", route.metric));
    }
    if route.table != MAIN_TABLE {
        words.push(format!("table {}", route.table));
    }
    words.extend(whose(route.protocol, shown.foreign, in_full));
    Line::of(vec![faint("route"), plain(words.join(" "))])
}

/// Who has set it, unless it goes without saying: of a topology, what is its own.
fn whose(protocol: &str, foreign: bool, in_full: bool) -> Option<String> {
    let by = match protocol {
        "none" | "boot" | "static" => None,
        "netctl" if !in_full => None,
        protocol => Some(format!("by {protocol}")),
    };
    match (by, foreign) {
        (Some(by), true) => Some(format!("{by} (foreign)")),
        (None, true) => Some("(foreign)".to_owned()),
        (by, false) => by,
    }
}

fn policy(shown: &ShownPolicy, in_full: bool) -> Line {
    let rule = &shown.its;
    let mut words = vec![format!("priority {}", rule.priority)];
    let networks = [("from", rule.from), ("to", rule.to)];
    words.extend(networks.iter().filter_map(|(word, net)| Some(format!("{word} {}", (*net)?))));
    let texts = [("iif", &rule.iif), ("oif", &rule.oif), ("fwmark", &rule.fwmark)];
    words.extend(texts.iter().filter_map(|(word, text)| Some(format!("{word} {}", text.as_ref()?))));
    words.extend(rule.narrower.then(|| "and more conditions".to_owned()));
    words.push(match (rule.action, rule.table) {
        ("table", Some(MAIN_TABLE)) => "table main".to_owned(),
        ("table", Some(table)) => format!("table {table}"),
        (action, _) => action.to_owned(),
    });
    words.extend(whose(rule.protocol, shown.foreign, in_full));
    let family = match rule.family {
        Family::Ipv4 => "rule",
        Family::Ipv6 => "rule -6",
    };
    Line::of(vec![faint(family), plain(words.join(" "))])
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
