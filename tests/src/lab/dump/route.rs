//! Addresses, routes, policy rules, neighbours and next hops.

use std::fmt::Write as _;

use super::{
    Items, Value,
    netlink::{Field, Names, Netlink, Shape, address, attribute, describe, interface, number, text},
};
use Shape::{Address, Expiry, Interface, Lifetimes, Mac, Nest, NextHops, Number, Skip, Text};

const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
const RTM_GETNEIGHTBL: u16 = 66;
const RTM_GETNEXTHOP: u16 = 106;

/// `RTNH_F_LINKDOWN`: the carrier's doing.
pub(super) const LINKDOWN: u64 = 16;
/// `RTM_F_CLONED`: not a route, but what was learned of one.
const CLONED: u64 = 0x200;

pub(super) const FIELDS: &[Field] = &[
    (1, "dst", Address),
    (2, "from", Address),
    (3, "iif", Interface),
    (4, "dev", Interface),
    (5, "via", Address),
    (6, "metric", Number),
    (7, "src", Address),
    (
        8,
        "metrics",
        Nest(&[(2, "mtu", Number), (3, "window", Number), (8, "advmss", Number), (10, "hoplimit", Number)]),
    ),
    (9, "", NextHops),
    (11, "realm", Number),
    (12, "", Expiry),
    (15, "table", Number),
    (16, "mark", Number),
    (20, "pref", Number),
    (30, "nexthop", Number),
];

pub(super) fn dump(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    addresses(netlink, items, names);
    routes(netlink, items, names);
    rules(netlink, items, names);
    neighbours(netlink, items, names);
    neighbour_tables(netlink, items, names);
    next_hops(netlink, items, names);
}

fn addresses(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    /// `IFA_F_TENTATIVE`, `IFA_F_OPTIMISTIC`: duplicate address detection is at it.
    const VOLATILE_FLAGS: u64 = 0x44;
    const FLAGS: u16 = 8;
    const FIELDS: &[Field] = &[
        (1, "peer", Address),
        (2, "local", Address),
        (3, "label", Text),
        (4, "broadcast", Address),
        (5, "anycast", Address),
        (6, "", Lifetimes),
        (8, "flags", Skip),
        (9, "metric", Number),
        (10, "netnsid", Skip),
        (11, "protocol", Number),
    ];
    for answer in netlink.dump(RTM_GETADDR, &[0; 8]).expect("dump addresses") {
        let rest = &answer[8..];
        // `IFAPROT_KERNEL_LL`: every link gets one, once nobody else is known to have it.
        if attribute(rest, 11).is_some_and(|protocol| protocol == [3]) {
            continue;
        }
        let device = interface(number(&answer[4..8]), names);
        let own = attribute(rest, 2).or_else(|| attribute(rest, 1)).map(address).unwrap_or_default();
        let flags = attribute(rest, FLAGS).map_or(u64::from(answer[2]), number) & !VOLATILE_FLAGS;
        let mut words = format!("scope={} flags={flags:#x}", answer[3]);
        describe(&mut words, rest, FIELDS, "", names);
        items.add(format!("address {own}/{} dev {device}", answer[1]), Value::Words(words));
    }
}

fn routes(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    for answer in netlink.dump(RTM_GETROUTE, &[0; 12]).expect("dump routes") {
        let (header, rest) = answer.split_at(12);
        let flags = number(&header[8..12]);
        if flags & CLONED != 0 {
            continue;
        }
        let family = match header[0] {
            2 => "ipv4",
            10 => "ipv6",
            // Multicast routing has no part in this.
            _ => continue,
        };
        if is_by_itself(header, rest) {
            continue;
        }
        let table = attribute(rest, 15).map_or(u64::from(header[4]), number);
        let to = attribute(rest, 1)
            .map_or_else(|| "default".to_owned(), |to| format!("{}/{}", address(to), header[1]));
        let mut key = format!("route {family} {} {to} table {table}", kind(header[7]));
        for (kind, name) in [(6, "metric"), (5, "via")] {
            if let Some(value) = attribute(rest, kind) {
                let value = if kind == 5 { address(value) } else { number(value).to_string() };
                let _ = write!(key, " {name} {value}");
            }
        }
        if let Some(device) = attribute(rest, 4) {
            let _ = write!(key, " dev {}", interface(number(device), names));
        }
        let mut words = format!(
            "from-len={} tos={} protocol={} scope={} flags={:#x}",
            header[2],
            header[3],
            header[5],
            header[6],
            flags & !LINKDOWN
        );
        describe(&mut words, rest, FIELDS, "", names);
        items.add(key, Value::Words(words));
    }
}

/// IPv6 routes that follow from an address, as soon as nobody else is known to have it.
fn is_by_itself(header: &[u8], rest: &[u8]) -> bool {
    const KERNEL: u8 = 2;
    const UNICAST: u8 = 1;
    let is_link_local = attribute(rest, 1).is_some_and(|to| to.starts_with(&[0xfe, 0x80]));
    header[0] == 10 && header[5] == KERNEL && (header[7] != UNICAST || is_link_local)
}

fn kind(number: u8) -> String {
    let known = [
        "unspec",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
    ];
    known.get(usize::from(number)).map_or_else(|| number.to_string(), |&known| known.to_owned())
}

fn rules(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    const FIELDS: &[Field] = &[
        (1, "to", Address),
        (2, "from", Address),
        (3, "iif", Text),
        (4, "goto", Number),
        (6, "priority", Number),
        (10, "mark", Number),
        (15, "table", Number),
        (16, "mask", Number),
        (17, "oif", Text),
        (21, "protocol", Number),
    ];
    for answer in netlink.dump(RTM_GETRULE, &[0; 12]).expect("dump policy rules") {
        let (header, rest) = answer.split_at(12);
        let family = match header[0] {
            2 => "ipv4",
            10 => "ipv6",
            _ => continue,
        };
        let priority = attribute(rest, 6).map_or(0, number);
        let mut words = format!(
            "to-len={} from-len={} tos={} action={} flags={:#x}",
            header[1],
            header[2],
            header[3],
            header[7],
            number(&header[8..12])
        );
        describe(&mut words, rest, FIELDS, "", names);
        items.add(format!("rule {family} {priority}"), Value::Words(words));
    }
}

/// What somebody has entered: permanent neighbours, entries of bridges, proxies.
fn neighbours(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    const PERMANENT: u64 = 0x80;
    const STATIC: u64 = 0x40;
    const SELF: u8 = 2;
    const PROXY: u8 = 8;
    const AF_BRIDGE: u8 = 7;
    const FIELDS: &[Field] = &[
        (1, "dst", Address),
        (2, "mac", Mac),
        (3, "", Skip),
        (4, "", Skip),
        (5, "vlan", Number),
        (9, "master", Interface),
        (10, "", Skip),
        (12, "protocol", Number),
        (14, "", Skip),
    ];
    for (family, flags) in [(0, 0), (0, PROXY), (AF_BRIDGE, 0)] {
        let request = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0];
        for answer in netlink.dump(RTM_GETNEIGH, &request).expect("dump neighbours") {
            let (state, flags, rest) = (number(&answer[8..10]), answer[10], &answer[12..]);
            // To bridges, `NUD_NOARP` is a static entry.
            let entered = if answer[0] == AF_BRIDGE { PERMANENT | STATIC } else { PERMANENT };
            // A bridge's own entry for the groups that the kernel joins comes and goes with them.
            let is_group = answer[0] == AF_BRIDGE && flags & SELF != 0;
            if state & entered == 0 && flags & PROXY == 0 || is_group {
                continue;
            }
            let what = match (answer[0], flags & PROXY) {
                (AF_BRIDGE, _) => "fdb",
                (_, 0) => "neighbour",
                _ => "proxy",
            };
            let device = interface(number(&answer[4..8]), names);
            let mut words = format!("state={state:#x} flags={flags:#x} type={}", answer[11]);
            describe(&mut words, rest, FIELDS, "", names);
            let mac = || attribute(rest, 2).map(super::netlink::hex);
            let of = attribute(rest, 1).map(address).or_else(mac).unwrap_or_default();
            let vlan = attribute(rest, 5).map(|vlan| format!(" vlan {}", number(vlan))).unwrap_or_default();
            items.add(format!("{what} {of} dev {device}{vlan}"), Value::Words(words));
        }
    }
}

/// `net.ipv4.neigh` and `net.ipv6.neigh`.
fn neighbour_tables(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    const PARAMETERS: u16 = 6;
    const FIELDS: &[Field] = &[
        (1, "name", Skip),
        (2, "gc_thresh1", Number),
        (3, "gc_thresh2", Number),
        (4, "gc_thresh3", Number),
        (5, "config", Skip),
        (
            6,
            "",
            Nest(&[
                (1, "dev", Skip),
                (2, "refcnt", Skip),
                // Drawn anew from time to time.
                (3, "reachable_time", Skip),
                (4, "base_reachable_time_ms", Number),
                (5, "retrans_time_ms", Number),
                (6, "gc_stale_time", Number),
                (7, "delay_first_probe_time", Number),
                (8, "unres_qlen", Number),
                (9, "app_solicit", Number),
                (10, "ucast_solicit", Number),
                (11, "mcast_solicit", Number),
                (12, "anycast_delay", Number),
                (13, "proxy_delay", Number),
                (14, "proxy_qlen", Number),
                (15, "locktime", Number),
                (16, "unres_qlen_bytes", Number),
                (17, "mcast_resolicit", Number),
                (18, "", Skip),
                (19, "interval_probe_time_ms", Number),
            ]),
        ),
        (7, "stats", Skip),
        (8, "gc_interval", Number),
    ];
    for answer in netlink.dump(RTM_GETNEIGHTBL, &[0; 4]).expect("dump neighbour tables") {
        let rest = &answer[4..];
        let table = attribute(rest, 1).map(text).unwrap_or_default();
        let device = attribute(rest, PARAMETERS).and_then(|parameters| attribute(parameters, 1)).map(number);
        let device = device.map_or_else(|| "default".to_owned(), |index| interface(index, names));
        let mut words = String::new();
        describe(&mut words, rest, FIELDS, "", names);
        items.add(format!("sysctl {table} {device}"), Value::Words(words));
    }
}

fn next_hops(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    const FIELDS: &[Field] = &[(1, "id", Number), (5, "dev", Interface), (6, "via", Address)];
    for answer in netlink.dump(RTM_GETNEXTHOP, &[0; 8]).expect("dump next hops") {
        let id = attribute(&answer[8..], 1).map_or(0, number);
        let mut words = format!("family={} scope={} protocol={}", answer[0], answer[1], answer[2]);
        describe(&mut words, &answer[8..], FIELDS, "", names);
        items.add(format!("nexthop {id}"), Value::Words(words));
    }
}
