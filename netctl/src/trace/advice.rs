//! What to do about it: commands. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{model::Place, netlink::link::Link, ownership, up};

/// `netctl`, at work in a place.
pub(super) fn netctl(place: &Place) -> String {
    match place {
        Place::Host => "netctl".to_owned(),
        Place::Netns(name) => format!("netctl -n {name:#}"),
    }
}

/// Brings a link up. With one of a topology that was down, more than that is to be put right: its routes and, of IPv6, its
/// addresses are gone.
pub(super) fn set_up(place: &Place, link: &Link) -> String {
    let command = format!("{} link set {} up", netctl(place), link.name);
    match link.alias.as_deref().and_then(ownership::owner) {
        Some(owner) => format!("{}, which also sets its routes; or {command}", up::again(&owner)),
        None => command,
    }
}

pub(super) fn set_mtu(place: &Place, link: &str, size: u32) -> String {
    format!("send less at once, or {} link set {link} mtu {size}", netctl(place))
}

pub(super) fn set_sysctl(place: &Place, key: &str, value: &str) -> String {
    format!("{} sysctl set {key}={value}", netctl(place))
}

/// A route, by this next hop if one is known.
pub(super) fn add_route(place: &Place, to: &str, via: Option<IpAddr>) -> String {
    let via = via.map_or_else(|| "ROUTER".to_owned(), |via| via.to_string());
    format!("{} route add {to} via {via}", netctl(place))
}

pub(super) fn masquerade(place: &Place, source: IpNet, out: &str) -> String {
    format!("{} nat masquerade add --source {} --out {out}", netctl(place), source.trunc())
}

/// What a device is that netctl cannot follow.
pub(super) fn device(kind: Option<&str>) -> String {
    match kind {
        None => "a device of this machine".to_owned(),
        Some(kind) => format!("a `{kind}` device"),
    }
}
