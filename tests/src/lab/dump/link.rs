//! Links, in the words of `include/uapi/linux/if_link.h`.

use std::fmt::Write as _;

use super::{
    Items, Value,
    netlink::{Field, Names, Netlink, Shape, attribute, describe, number, text},
};
use Shape::{Interface, Mac, Nest, Number, Skip, Text};

const RTM_GETLINK: u16 = 18;
const IFNAME: u16 = 3;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const INFO_KIND: u16 = 1;
const IFALIAS: u16 = 20;
const AF_SPEC: u16 = 26;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_BRIDGE: u8 = 7;

/// What the kernel sets by itself: `IFF_RUNNING`, `IFF_LOWER_UP`, `IFF_DORMANT`.
const VOLATILE_FLAGS: u64 = 1 << 6 | 1 << 16 | 1 << 17;

/// Counters, carrier and the numbers of other namespaces are left out; an index of a peer is in [`Link::peer`].
const FIELDS: &[Field] = &[
    (1, "address", Mac),
    (2, "broadcast", Mac),
    (3, "name", Skip),
    (4, "mtu", Number),
    (5, "peer", Skip),
    (6, "qdisc", Text),
    (7, "stats", Skip),
    (10, "master", Interface),
    (13, "txqueuelen", Number),
    (14, "map", Skip),
    (16, "operstate", Skip),
    (17, "linkmode", Number),
    (18, "", Nest(INFO)),
    (20, "alias", Text),
    (23, "stats64", Skip),
    (26, "", Skip),
    (27, "group", Number),
    (30, "promiscuity", Number),
    (31, "tx-queues", Number),
    (32, "rx-queues", Number),
    (33, "carrier", Skip),
    (35, "carrier-changes", Skip),
    (37, "netnsid", Skip),
    (39, "proto-down", Number),
    (40, "gso-max-segs", Number),
    (41, "gso-max-size", Number),
    (42, "", Skip),
    (43, "xdp", Nest(&[])),
    (44, "event", Skip),
    (47, "carrier-ups", Skip),
    (48, "carrier-downs", Skip),
    (50, "min-mtu", Number),
    (51, "max-mtu", Number),
    (52, "altnames", Nest(&[(53, "name", Text)])),
    (54, "permanent-address", Mac),
    (58, "gro-max-size", Number),
    (59, "tso-max-size", Skip),
    (60, "tso-max-segs", Skip),
    (61, "allmulti", Number),
    (63, "gso-ipv4-max-size", Number),
    (64, "gro-ipv4-max-size", Number),
];

const INFO: &[Field] = &[
    (1, "kind", Text),
    // What a bridge or a port elects and learns is in 10 to 19, its neighbours' view in 47 and 48.
    (
        2,
        "data",
        Nest(&[
            (10, "", Skip),
            (11, "", Skip),
            (12, "", Skip),
            (13, "", Skip),
            (14, "", Skip),
            (15, "", Skip),
            (16, "", Skip),
            (17, "", Skip),
            (18, "", Skip),
            (19, "", Skip),
            (47, "", Skip),
            (48, "", Skip),
            (1, "1", Number),
            (2, "2", Number),
            (3, "3", Number),
            (4, "4", Number),
            (5, "5", Number),
            (6, "6", Number),
            (7, "7", Number),
            (8, "8", Number),
            (9, "9", Number),
        ]),
    ),
    (3, "", Skip),
    (4, "port-of", Text),
    (
        5,
        "port",
        Nest(&[
            (1, "state", Skip),
            (13, "", Skip),
            (14, "", Skip),
            (15, "", Skip),
            (16, "", Skip),
            (17, "", Skip),
            (18, "", Skip),
            (19, "", Skip),
            (20, "", Skip),
            (21, "", Skip),
            (22, "", Skip),
            (23, "", Skip),
            (38, "", Skip),
            (41, "", Skip),
            (2, "priority", Number),
            (3, "cost", Skip),
            (4, "hairpin", Number),
            (5, "guard", Number),
            (8, "learning", Number),
            (9, "flood", Number),
            (33, "isolated", Number),
        ]),
    ),
];

/// What the other subjects have to know of links.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) kind: String,
}

/// The links of the thread's namespace go to `items`.
pub(super) fn dump(netlink: &Netlink, items: &mut Items<'_>) -> (Vec<Link>, Names) {
    /// `RTEXT_FILTER_SKIP_STATS`, in an `IFLA_EXT_MASK`.
    const NO_STATISTICS: [u8; 8] = [8, 0, 29, 0, 8, 0, 0, 0];
    let answers = netlink.dump(RTM_GETLINK, &[&[0; 16][..], &NO_STATISTICS].concat()).expect("dump links");
    let indexed = answers.iter().map(|answer| {
        let name = attribute(&answer[16..], IFNAME).map(text).unwrap_or_default();
        (number(&answer[4..8]) as u32, name)
    });
    let names: Names = indexed.collect();
    let mut links = Vec::new();
    for answer in &answers {
        let (index, rest) = (number(&answer[4..8]) as u32, &answer[16..]);
        let name = names[&index].clone();
        let info = attribute(rest, LINKINFO).unwrap_or_default();
        let kind = attribute(info, INFO_KIND).map(text).unwrap_or_default();
        let alias = attribute(rest, IFALIAS).map(text).unwrap_or_default();
        let flags = number(&answer[8..12]) & !VOLATILE_FLAGS;
        let mut words = format!("type={} flags={flags:#x} up={}", number(&answer[2..4]), flags & 1);
        // An index is part of what a link is, and new where netctl has to make its own anew.
        let is_netctls = alias.starts_with("netctl:");
        if !is_netctls {
            let _ = write!(words, " index={index}");
            if let Some(peer) = attribute(rest, 5) {
                let _ = write!(words, " peer={}", number(peer));
            }
        }
        describe(&mut words, rest, FIELDS, "", &names);
        items.add(format!("link {name}"), Value::Words(words));
        configuration(items, &name, attribute(rest, AF_SPEC).unwrap_or_default());
        links.push(Link { name, kind });
    }
    if links.iter().any(|link| link.kind == "bridge") {
        vlans(netlink, items, &names);
    }
    (links, names)
}

/// `net.ipv4.conf.NAME` and `net.ipv6.conf.NAME`.
fn configuration(items: &mut Items<'_>, name: &str, spec: &[u8]) {
    const CONF4: u16 = 1;
    const CONF6: u16 = 2;
    const TOKEN: u16 = 7;
    const ADDR_GEN_MODE: u16 = 8;
    if let Some(values) = attribute(spec, AF_INET).and_then(|inet| attribute(inet, CONF4)) {
        items.add(format!("sysctl net.ipv4.conf.{name}"), Value::Numbers(&IPV4, values.to_vec()));
    }
    let Some(inet6) = attribute(spec, AF_INET6) else { return };
    if let Some(values) = attribute(inet6, CONF6) {
        items.add(format!("sysctl net.ipv6.conf.{name}"), Value::Numbers(&IPV6, values.to_vec()));
    }
    let token = attribute(inet6, TOKEN).map(super::netlink::address).unwrap_or_default();
    let mode = attribute(inet6, ADDR_GEN_MODE).map(number).unwrap_or_default();
    items.add(format!("link {name} ipv6"), Value::Words(format!("token={token} addr-gen-mode={mode}")));
}

/// What `bridge vlan` shows.
fn vlans(netlink: &Netlink, items: &mut Items<'_>, names: &Names) {
    /// `RTEXT_FILTER_BRVLAN_COMPRESSED`.
    const VLANS: [u8; 8] = [8, 0, 29, 0, 4, 0, 0, 0];
    const INFO: u16 = 2;
    let header = [&[AF_BRIDGE][..], &[0; 15], &VLANS].concat();
    for answer in netlink.dump(RTM_GETLINK, &header).expect("dump bridges' VLANs") {
        let name = super::netlink::interface(number(&answer[4..8]), names);
        let spec = attribute(&answer[16..], AF_SPEC).unwrap_or_default();
        let vlans = super::netlink::attributes(spec).filter(|(kind, _)| *kind == INFO);
        let vlans: Vec<_> =
            vlans.map(|(_, info)| format!("{}:{:x}", number(&info[2..4]), number(&info[..2]))).collect();
        let of =
            attribute(&answer[16..], MASTER).map(|master| super::netlink::interface(number(master), names));
        let of = of.unwrap_or_default();
        items.add(format!("vlans {name}"), Value::Words(format!("bridge={of} vlans={}", vlans.join(","))));
    }
}

/// `IPV4_DEVCONF_…` of `include/uapi/linux/ip.h`, from 1.
static IPV4: [&str; 33] = [
    "forwarding",
    "mc_forwarding",
    "proxy_arp",
    "accept_redirects",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "rp_filter",
    "accept_source_route",
    "bootp_relay",
    "log_martians",
    "tag",
    "arp_filter",
    "medium_id",
    "disable_xfrm",
    "disable_policy",
    "force_igmp_version",
    "arp_announce",
    "arp_ignore",
    "promote_secondaries",
    "arp_accept",
    "arp_notify",
    "accept_local",
    "src_valid_mark",
    "proxy_arp_pvlan",
    "route_localnet",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_gratuitous_arp",
    "bc_forwarding",
    "arp_evict_nocarrier",
];

/// `DEVCONF_…` of `include/uapi/linux/ipv6.h`, from 0.
static IPV6: [&str; 57] = [
    "forwarding",
    "hop_limit",
    "mtu",
    "accept_ra",
    "accept_redirects",
    "autoconf",
    "dad_transmits",
    "router_solicitations",
    "router_solicitation_interval",
    "router_solicitation_delay",
    "use_tempaddr",
    "temp_valid_lft",
    "temp_prefered_lft",
    "regen_max_retry",
    "max_desync_factor",
    "max_addresses",
    "force_mld_version",
    "accept_ra_defrtr",
    "accept_ra_pinfo",
    "accept_ra_rtr_pref",
    "router_probe_interval",
    "accept_ra_rt_info_max_plen",
    "proxy_ndp",
    "optimistic_dad",
    "accept_source_route",
    "mc_forwarding",
    "disable_ipv6",
    "accept_dad",
    "force_tllao",
    "ndisc_notify",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "suppress_frag_ndisc",
    "accept_ra_from_local",
    "use_optimistic",
    "accept_ra_mtu",
    "stable_secret",
    "use_oif_addrs_only",
    "accept_ra_min_hop_limit",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_unsolicited_na",
    "keep_addr_on_down",
    "router_solicitation_max_interval",
    "seg6_enabled",
    "seg6_require_hmac",
    "enhanced_dad",
    "addr_gen_mode",
    "disable_policy",
    "accept_ra_rt_info_min_plen",
    "ndisc_tclass",
    "rpl_seg_enabled",
    "ra_defrtr_metric",
    "ioam6_enabled",
    "ioam6_id",
    "ioam6_id_wide",
    "ndisc_evict_nocarrier",
];
