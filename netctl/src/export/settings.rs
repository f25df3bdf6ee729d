//! The sysctls of a place that are not as a new namespace has them. Pure.

use std::collections::BTreeMap;

use super::{
    seen::{Seen, SeenPlace, Settings},
    wanted::{Forwarding, Wanted},
};
use crate::model::{
    CONNTRACK_LIBERAL, Place,
    backend::BRIDGED,
    keys::{IPV4, IPV6, of_interface},
};

/// IPv4's own name for [`IPV4`].
const IPV4_ALL: &str = "net.ipv4.conf.all.forwarding";
/// The kernel changes it when IPv4 forwarding is turned (`inet_forward_change`).
const ALL_REDIRECTS: &str = "net.ipv4.conf.all.accept_redirects";
/// Turned for all, it is turned for each (`addrconf_disable_ipv6`).
const ALL_DISABLED: &str = "net.ipv6.conf.all.disable_ipv6";
/// Keys that are each namespace's or interface's own by chance, or another's under a second name.
const IGNORED: [&str; 7] = [
    "tcp_fastopen_key",
    "stable_secret",
    "mc_forwarding",
    "mtu",
    "retrans_time",
    "base_reachable_time",
    "ra_defrtr_metric",
];
/// Where IPv6 has each interface's.
const IPV6_CONF: &str = "net.ipv6.conf.";
/// The interface that stands for those to come.
const DEFAULT: &str = "default";

/// Finds them, and who forwards.
pub(super) fn find(seen: &Seen, wanted: &mut Wanted) {
    for (place, there) in &seen.places {
        let Settings { found, usual } = &there.sysctls;
        let on = |all: &BTreeMap<String, String>| {
            [IPV4, IPV6].map(|key| all.get(key).is_some_and(|value| value != "0"))
        };
        wanted.forwarding.insert(place.clone(), Forwarding { found: on(found), usual: on(usual) });
        // No file sets those of the host.
        if *place != Place::Host {
            let differing = found.iter().filter(|(key, value)| differs(key, value, there));
            let differing = differing.map(|(key, value)| (key.clone(), value.clone())).collect();
            wanted.sysctls.insert(place.clone(), differing);
        }
    }
}

/// Whether a key has another value than it would have by itself, in a new namespace with the same links.
fn differs(key: &str, value: &str, there: &SeenPlace) -> bool {
    let Settings { found, usual } = &there.sysctls;
    let last = key.rsplit_once('.').map_or(key, |(_, last)| last);
    // netctl sets these itself.
    let is_netctls = !there.gateways.is_empty() && (key == CONNTRACK_LIBERAL || BRIDGED.contains(&key));
    if value.is_empty() || IGNORED.contains(&last) || [IPV4, IPV6, IPV4_ALL].contains(&key) || is_netctls {
        return false;
    }
    let is = |all: &BTreeMap<String, String>, key: &str| all.get(key).cloned();
    if key == ALL_REDIRECTS && is(found, IPV4) != is(usual, IPV4) {
        let is_on = is(found, IPV4).is_some_and(|forwards| forwards != "0");
        return value != if is_on { "0" } else { "1" };
    }
    let Some((prefix, interface, last)) = of_interface(key) else {
        return is(usual, key).is_some_and(|usual| usual != value);
    };
    if last == "forwarding" && interface != "all" {
        return is(found, &format!("{prefix}all.{last}")).is_some_and(|all| all != value);
    }
    if last == "disable_ipv6" && interface != "all" && is(found, ALL_DISABLED) != is(usual, ALL_DISABLED) {
        return is(found, ALL_DISABLED).is_some_and(|all| all != value);
    }
    let of_default = format!("{prefix}{DEFAULT}.{last}");
    match is(usual, key) {
        Some(usual) => usual != value,
        // IPv4 sets what is set for interfaces to come for some of those that are there, too (`devinet_copy_dflt_conf`).
        None if prefix != IPV6_CONF && is(found, &of_default) != is(usual, &of_default) => true,
        None => is(usual, &of_default).is_some_and(|usual| usual != value),
    }
}
