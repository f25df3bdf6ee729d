//! Routes and policy rules, as the file has them. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use neli::consts::rtnl::{Rtn, Rtprot};

use super::{
    left::Left,
    seen::{Seen, SeenPlace},
    wanted::Wanted,
};
use crate::{
    model::{Family, IfName, Place, Route, RouteKind, Rule, RuleAction, is_link_local},
    netlink::{route, rule},
    observe::{administered_route, administered_rule},
    spec::{self, Spec, Table},
};

/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
const NAMED: [(u32, &str); 3] = [(253, "default"), (254, "main"), (255, "local")];
const LOCAL_TABLE: u32 = 255;
/// `FRA_PROTOCOL` of the kernel's own rules.
const KERNEL: u8 = 2;

/// Puts the routes and rules into `spec`.
pub(super) fn write(seen: &Seen, wanted: &Wanted, spec: &mut Spec, left: &mut Vec<Left>) {
    for (place, there) in &seen.places {
        let is_in_part = seen.is_host_in_part && *place == Place::Host;
        let has = |interface: &IfName| wanted.interfaces.contains(&(place.clone(), interface.clone()));
        let mut routes = of_place(place, there, is_in_part, left);
        // Of the host, the routes of others than the file's interfaces are the machine's own.
        routes.retain(|route| match &route.dev {
            Some(dev) if has(dev) => true,
            Some(dev) => {
                if !is_in_part {
                    let what = format!("route {route}");
                    left.push(Left::new(place, what, format!("the file does not have `{dev}`")));
                }
                false
            }
            None => !is_in_part,
        });
        routes.retain(|route| {
            let is_usual = route.table.is_none() && route.metric.is_none();
            !(is_usual && wanted.brought.contains(&(place.clone(), route.to)))
        });
        // A next hop may be reached by a route that is before its own.
        routes.sort_by_key(|route| {
            (route.table, route.via.is_some(), route.to.addr().is_ipv6(), route.to, route.metric)
        });
        let tables: BTreeSet<u32> = routes.iter().filter_map(|route| route.table).collect();
        spec.routes.extend(routes.iter().map(|route| write_route(route, there)));
        let is_near = |rule: &Rule| {
            let by_table = match rule.action {
                RuleAction::Table(table) => tables.contains(&table),
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => false,
            };
            by_table || [&rule.iif, &rule.oif].into_iter().flatten().any(has)
        };
        for found in there.rules.iter().filter(|rule| rule.protocol != Some(KERNEL)) {
            match administered_rule(place, found) {
                Some(rule) if !is_in_part || found.is_netctls() || is_near(&rule) => {
                    spec.rules.push(write_rule(&rule));
                }
                Some(_) => {}
                None if is_in_part => {}
                None => {
                    let what = format!("policy rule of priority {}", found.priority);
                    left.push(Left::new(place, what, why_no_rule(found)));
                }
            }
        }
    }
}

/// The default route of the family of an address.
pub(super) fn default_of(via: IpAddr) -> Option<IpNet> {
    if via.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().ok()
}

/// Whether a place sends everything of that family to a next hop, by an interface.
pub(super) fn has_default(place: &Place, there: &SeenPlace, via: IpAddr, interface: &IfName) -> bool {
    let Some(to) = default_of(via) else { return false };
    let mut wanted = Route::through(place.clone(), to, via);
    wanted.dev = Some(interface.clone());
    let names = there.names();
    let mut set = there.routes.iter().filter(|route| is_set_by_hand(route) && why_not(route).is_empty());
    set.any(|route| administered_route(place, route, &names).as_ref() == Some(&wanted))
}

/// Whether an administrator or netctl set it, and no program that would set it again.
fn is_set_by_hand(route: &route::Route) -> bool {
    matches!(route.protocol, Rtprot::Boot | Rtprot::Static) || route.is_netctls()
}

/// What of a route no file has.
fn why_not(route: &route::Route) -> &'static str {
    if route.is_multipath() {
        "it has several next hops"
    } else if route.source.is_some() {
        "it has a source address"
    } else if route.from.is_some() {
        "it is for some sources alone"
    } else if route.expires.is_some() {
        "it has a lifetime"
    } else {
        ""
    }
}

/// Those of a place that a file can have.
fn of_place(place: &Place, there: &SeenPlace, is_in_part: bool, left: &mut Vec<Left>) -> Vec<Route> {
    let names = there.names();
    let mut routes = Vec::new();
    for found in &there.routes {
        // The kernel's own, which come with addresses and links.
        if found.protocol == Rtprot::Kernel || found.table == LOCAL_TABLE {
            continue;
        }
        let what = || {
            let table = NAMED.iter().find(|(number, _)| *number == found.table);
            let table = table.map_or_else(|| found.table.to_string(), |(_, name)| (*name).to_owned());
            format!("route to {} of table {table}", found.destination)
        };
        let mut leave = |why: &str| {
            if !is_in_part {
                left.push(Left::new(place, what(), why));
            }
        };
        if !is_set_by_hand(found) {
            leave(&format!("a program set it (protocol {})", u8::from(found.protocol)));
            continue;
        }
        let why = why_not(found);
        if !why.is_empty() {
            leave(why);
            continue;
        }
        match administered_route(place, found, &names) {
            Some(route) if route.dev.is_some() || !route.kind.is_unicast() => routes.push(route),
            Some(_) => leave("its interface has a name that no file can have"),
            None => leave(match found.kind {
                Rtn::Local => "it is of the type `local`",
                Rtn::Throw => "it is of the type `throw`",
                Rtn::Multicast => "it is of the type `multicast`",
                _ => "no file has routes of its type",
            }),
        }
    }
    routes
}

fn write_route(route: &Route, there: &SeenPlace) -> spec::Route {
    let is_default =
        route.to.prefix_len() == 0 && route.via.is_some_and(|via| via.is_ipv4() == route.to.addr().is_ipv4());
    let is_found = |via: &IpAddr| {
        let connected: BTreeSet<Option<&str>> = there
            .addresses
            .iter()
            .filter(|address| address.address.trunc().contains(via))
            .map(|address| there.link(address.index).map(|link| link.name.as_str()))
            .collect();
        !is_link_local(*via)
            && connected.len() == 1
            && connected.first().copied().flatten() == route.dev.as_ref().map(IfName::as_str)
    };
    let is_obvious = !route.onlink && route.via.as_ref().is_some_and(is_found);
    spec::Route {
        namespace: route.place.to_string(),
        to: if is_default { "default".to_owned() } else { route.to.to_string() },
        kind: match route.kind {
            RouteKind::Unicast => None,
            RouteKind::Blackhole => Some("blackhole".to_owned()),
            RouteKind::Unreachable => Some("unreachable".to_owned()),
            RouteKind::Prohibit => Some("prohibit".to_owned()),
        },
        via: route.via.map(|via| via.to_string()),
        dev: route.dev.as_ref().filter(|_| !is_obvious).map(ToString::to_string),
        onlink: route.onlink,
        metric: route.metric.map(i64::from),
        table: route.table.map(i64::from),
    }
}

fn why_no_rule(rule: &rule::Rule) -> &'static str {
    match rule.action {
        rule::Action::Other(_) => "no file has rules of its type",
        _ if rule.suppress_prefix_length.is_some() => "it suppresses prefixes",
        _ => "it is narrower than a file can say",
    }
}

fn write_rule(rule: &Rule) -> spec::Rule {
    let (table, kind) = match rule.action {
        RuleAction::Table(table) => {
            let named = NAMED.iter().find(|(number, _)| *number == table);
            let table = match named {
                Some((_, name)) => Table::Name((*name).to_owned()),
                None => Table::Number(table.into()),
            };
            (Some(table), None)
        }
        RuleAction::Blackhole => (None, Some("blackhole")),
        RuleAction::Unreachable => (None, Some("unreachable")),
        RuleAction::Prohibit => (None, Some("prohibit")),
    };
    let family = match rule.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    let is_clear = rule.from.is_some() || rule.to.is_some();
    spec::Rule {
        namespace: rule.place.to_string(),
        priority: rule.priority.into(),
        from: rule.from.map(|from| from.to_string()),
        to: rule.to.map(|to| to.to_string()),
        iif: rule.iif.as_ref().map(ToString::to_string),
        oif: rule.oif.as_ref().map(ToString::to_string),
        fwmark: rule.mark.map(|(mark, mask)| {
            if mask == u32::MAX { format!("{mark:#x}") } else { format!("{mark:#x}/{mask:#x}") }
        }),
        family: (!is_clear).then(|| family.to_owned()),
        table,
        kind: kind.map(str::to_owned),
    }
}
