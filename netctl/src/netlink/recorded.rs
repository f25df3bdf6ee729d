//! What iproute2 really sends, recorded, beside what our builders make for the same command.
//!
//! Messages are compared as sets: type, flags, family header and each attribute, however deep. What differs on purpose
//! is named by the test. The walk below is independent of the reader that netctl uses, and keeps the flag bits.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd as _,
};

use ipnet::IpNet;
use neli::consts::rtnl::Rtn;

use super::{
    Family, Request,
    addr::{self, Lifetimes, NewAddress},
    link::{self, NewLink, Peer},
    neigh::{self, NewNeighbour},
    route::{self, NewRoute},
    rule::{self, Action, Mark, NewRule},
};
use crate::netns::Netns;

const RECORD: &str = include_str!("recorded/iproute2.txt");

/// The parts of a message by name.
type Parts = BTreeMap<String, String>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(bytes: &[u8]) -> usize {
    usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

/// The commands of the record and the messages that they sent.
fn record() -> BTreeMap<&'static str, Vec<u8>> {
    let commands = RECORD.split("\n$ ").skip(1);
    commands
        .map(|block| {
            let (command, hex) = block.split_once('\n').unwrap();
            let digits: String = hex.split_whitespace().collect();
            let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
            (command, bytes.collect::<Result<_, _>>().unwrap())
        })
        .collect()
}

fn parts(message: &[u8]) -> Parts {
    assert_eq!(number(message), message.len(), "one message");
    let kind = number(&message[4..]);
    let family_header = match kind {
        16 | 17 | 19 => 16, // RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK: struct ifinfomsg
        32 | 33 => 12,      // RTM_NEWRULE, RTM_DELRULE: struct fib_rule_hdr
        28 | 29 => 12,      // RTM_NEWNEIGH, RTM_DELNEIGH: struct ndmsg
        20 | 21 => 8,       // RTM_NEWADDR, RTM_DELADDR: struct ifaddrmsg
        24 | 25 => 12,      // RTM_NEWROUTE, RTM_DELROUTE: struct rtmsg
        kind => panic!("type {kind}"),
    };
    let (header, attributes) = message[16..].split_at(family_header);
    let mut parts = Parts::from([
        ("type".to_owned(), kind.to_string()),
        ("flags".to_owned(), format!("{:#x}", number(&message[6..]))),
        ("header".to_owned(), hex(header)),
    ]);
    walk(family_header == 16, "", attributes, &mut parts);
    parts
}

/// `struct ifinfomsg` and attributes are in VETH_INFO_PEER (1) of IFLA_INFO_DATA (2) of IFLA_LINKINFO (18).
fn walk(of_link: bool, above: &str, mut bytes: &[u8], parts: &mut Parts) {
    while !bytes.is_empty() {
        let (length, kind) = (number(bytes), number(&bytes[2..]));
        let path = format!("{above}/{}", kind & 0x3fff);
        let value = &bytes[4..length];
        let nest_after = match path.as_str() {
            "/18" | "/18/2" if of_link => Some(0),
            "/18/2/1" if of_link && value.len() > 16 => Some(16), // a VLAN's IFLA_VLAN_ID is shorter
            _ => None,
        };
        let text = match nest_after {
            Some(header) => {
                walk(of_link, &path, &value[header..], parts);
                format!(
                    "{}{}",
                    if kind & 0x8000 == 0 { "" } else { "marked as nest " },
                    hex(&value[..header])
                )
            }
            None if of_link && path.ends_with("/28") => "a namespace".to_owned(), // IFLA_NET_NS_FD: our number differs
            None => hex(value),
        };
        assert_eq!(parts.insert(path, text), None, "an attribute twice");
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// `PART: THEIRS, ours OURS`, for each part that differs.
fn differences(theirs: &Parts, ours: &Parts) -> Vec<String> {
    let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let text = |parts: &Parts, name| parts.get(name).map_or("none".to_owned(), |text| text.trim().to_owned());
    let both = names.into_iter().map(|name| (name, text(theirs, name), text(ours, name)));
    both.filter(|(_, theirs, ours)| theirs != ours)
        .map(|(name, theirs, ours)| format!("{name}: {theirs}, ours {ours}"))
        .collect()
}

/// We mark IFLA_LINKINFO and IFLA_INFO_DATA as the nests that they are (`NLA_F_NESTED`), as the kernel now asks of new
/// attributes.
const NEST: &str = "/18: , ours marked as nest";
const DATA_NEST: &str = "/18/2: , ours marked as nest";
/// We say RTM_SETLINK, which can only change; iproute2 RTM_NEWLINK, which the kernel takes for the same without
/// `NLM_F_CREATE`.
const SETS: &[&str] = &["type: 16, ours 19"];
const SAME: &[&str] = &[];

/// Each command of the record, our request, and where they differ.
fn pairs(home: &Netns) -> Vec<(&'static str, Request, &'static [&'static str])> {
    let name = |name: &str| name.parse().unwrap();
    let (v0, p0, v1, p1, v2, p2) = (name("v0"), name("p0"), name("v1"), name("p1"), name("v2"), name("p2"));
    let (w0, br0, d0) = (name("w0"), name("br0"), name("d0"));
    let (vlan, other_vlan) = (name("br0.7"), name("br0.8"));
    let peer = |name| Peer { name, index: None, mtu: None, address: None, netns: home.as_fd() };
    let near = NewLink {
        index: Some(77),
        mtu: Some(1400),
        address: Some([2, 0, 0, 0, 0, 8]),
        ..NewLink::named(&v2)
    };
    let far = Peer { mtu: Some(1400), address: Some([2, 0, 0, 0, 0, 9]), ..peer(&p2) };
    let address = |index, address: &str| NewAddress::of(index, address.parse().unwrap());
    let route = |destination: &str, gateway: Option<&str>, device| NewRoute {
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        device,
        ..NewRoute::to(destination.parse().unwrap())
    };
    let nowhere = |destination: &str, kind| NewRoute { kind: Some(kind), ..route(destination, None, None) };
    let by_table = NewRoute { table: Some(100), ..route("10.5.0.0/16", Some("10.0.0.9"), None) };
    let theirs = NewRoute { table: Some(1000), metric: Some(5), protocol: Some(110), ..by_table };
    let on_link_gateway = NewRoute { on_link: true, ..route("10.6.0.0/16", Some("203.0.113.1"), Some(5)) };
    let of_mark = NewRule {
        priority: Some(1001),
        to: Some("10.1.0.0/16".parse().unwrap()),
        iif: Some(&br0),
        oif: Some(&v0),
        mark: Some(Mark { value: 1, mask: 0xff }),
        protocol: Some(110),
        ..NewRule::all(Family::Ipv4, Action::Table(1000))
    };
    let rule = |from: &str, priority, action| {
        let from: IpNet = from.parse().unwrap();
        let family = if from.addr().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        NewRule { from: Some(from), priority: Some(priority), ..NewRule::all(family, action) }
    };
    let neighbour = |address: [u8; 4], last| NewNeighbour {
        index: 5,
        address: address.into(),
        mac: [2, 0, 0, 0, 0, last],
        protocol: None,
    };
    let lasting = |valid, preferred, its| NewAddress { lifetimes: Lifetimes { valid, preferred }, ..its };
    let default = route("0.0.0.0/0", Some("10.0.0.254"), None);
    let on_link = route("10.9.0.0/16", None, None);
    vec![
        (
            "ip link add v0 type veth peer name p0",
            link::create_veth(&NewLink::named(&v0), &peer(&p0)),
            // The far end is always told where to be born.
            &[NEST, DATA_NEST, "/18/2/1/28: none, ours a namespace"],
        ),
        (
            "ip link add v1 type veth peer name p1 netns red",
            link::create_veth(&NewLink::named(&v1), &peer(&p1)),
            &[NEST, DATA_NEST],
        ),
        (
            "ip link add v2 index 77 mtu 1400 address 02:00:00:00:00:08 type veth peer name p2 mtu 1400 \
             address 02:00:00:00:00:09 netns red",
            link::create_veth(&near, &far),
            &[NEST, DATA_NEST],
        ),
        ("ip link add br0 type bridge", link::create_bridge(&NewLink::named(&br0)), &[NEST]),
        ("ip link add d0 type dummy", link::create_dummy(&NewLink::named(&d0)), &[NEST]),
        (
            "ip link add link br0 name br0.7 type vlan id 7",
            link::create_vlan(&NewLink::named(&vlan), 5, 7),
            &[NEST, DATA_NEST],
        ),
        (
            "ip link add link br0 name br0.8 index 88 mtu 1400 type vlan id 8",
            link::create_vlan(
                &NewLink { index: Some(88), mtu: Some(1400), ..NewLink::named(&other_vlan) },
                5,
                8,
            ),
            &[NEST, DATA_NEST],
        ),
        ("ip link set v0 txqueuelen 500", link::set_tx_queue_length(3, 500), SETS),
        ("ip link set v0 up", link::set_up(3), SETS),
        ("ip link set v0 down", link::set_down(3), SETS),
        ("ip link set br0 up", link::set_up(5), SETS),
        ("ip link set v0 master br0", link::set_master(3, Some(5)), SETS),
        ("ip link set v0 nomaster", link::set_master(3, None), SETS),
        ("ip link set v0 mtu 1400", link::set_mtu(3, 1400), SETS),
        ("ip link set v0 address 02:00:00:00:00:05", link::set_address(3, [2, 0, 0, 0, 0, 5]), SETS),
        ("ip link set v0 alias mark", link::set_alias(3, "mark"), SETS),
        ("ip link set v0 name w0", link::rename(3, &w0), SETS),
        ("ip link set p0 netns red", link::move_to(2, home.as_fd()), SETS),
        ("ip link delete w0", link::delete(3), SAME),
        ("ip addr add 10.0.0.1/24 dev br0", addr::add(&address(5, "10.0.0.1/24")), SAME),
        (
            "ip addr add 10.1.0.1/24 brd 10.1.0.255 dev br0",
            addr::add(&NewAddress { broadcast: Some([10, 1, 0, 255].into()), ..address(5, "10.1.0.1/24") }),
            SAME,
        ),
        ("ip addr add 127.0.0.9/8 dev lo", addr::add(&address(1, "127.0.0.9/8")), SAME),
        (
            "ip addr add fd00::1/64 dev br0 nodad",
            addr::add(&NewAddress { no_dad: true, ..address(5, "fd00::1/64") }),
            // Our flags travel in IFA_FLAGS, which has room for all of them.
            &["/8: none, ours 02000000", "header: 0a40020005000000, ours 0a40000005000000"],
        ),
        ("ip addr del 10.0.0.1/24 dev br0", addr::delete(5, "10.0.0.1/24".parse().unwrap()), SAME),
        ("ip addr del fd00::1/64 dev br0", addr::delete(5, "fd00::1/64".parse().unwrap()), SAME),
        ("ip route add default via 10.0.0.254", route::add(&default), SAME),
        ("ip route add 10.9.0.0/16 dev br0", route::add(&NewRoute { device: Some(5), ..on_link }), SAME),
        (
            "ip route add default via fd00::2 dev br0 metric 7",
            route::add(&NewRoute { metric: Some(7), ..route("::/0", Some("fd00::2"), Some(5)) }),
            SAME,
        ),
        (
            "ip route add 10.8.0.0/16 via inet6 fd00::2 dev br0",
            route::add(&route("10.8.0.0/16", Some("fd00::2"), Some(5))),
            SAME,
        ),
        ("ip route add 10.6.0.0/16 via 203.0.113.1 dev br0 onlink", route::add(&on_link_gateway), SAME),
        ("ip route add 10.5.0.0/16 via 10.0.0.9 table 100", route::add(&by_table), SAME),
        ("ip route add 10.5.0.0/16 via 10.0.0.9 table 1000 metric 5 proto 110", route::add(&theirs), SAME),
        ("ip route add blackhole 10.4.0.0/16", route::add(&nowhere("10.4.0.0/16", Rtn::Blackhole)), SAME),
        (
            "ip route add unreachable 10.3.0.0/16 metric 9",
            route::add(&NewRoute { metric: Some(9), ..nowhere("10.3.0.0/16", Rtn::Unreachable) }),
            SAME,
        ),
        (
            "ip route add prohibit 10.2.0.0/16 table 100",
            route::add(&NewRoute { table: Some(100), ..nowhere("10.2.0.0/16", Rtn::Prohibit) }),
            SAME,
        ),
        ("ip route add blackhole fd04::/64", route::add(&nowhere("fd04::/64", Rtn::Blackhole)), SAME),
        (
            "ip route replace 10.5.0.0/16 via 10.0.0.8 table 100",
            route::replace(&NewRoute { gateway: Some([10, 0, 0, 8].into()), ..by_table }),
            SAME,
        ),
        (
            "ip route replace blackhole 10.4.0.0/16",
            route::replace(&nowhere("10.4.0.0/16", Rtn::Blackhole)),
            SAME,
        ),
        ("ip route del 10.5.0.0/16 via 10.0.0.9 table 1000 metric 5 proto 110", route::delete(&theirs), SAME),
        ("ip route del blackhole 10.4.0.0/16", route::delete(&nowhere("10.4.0.0/16", Rtn::Blackhole)), SAME),
        (
            "ip route del prohibit 10.2.0.0/16 table 100",
            route::delete(&NewRoute { table: Some(100), ..nowhere("10.2.0.0/16", Rtn::Prohibit) }),
            SAME,
        ),
        ("ip route del fd04::/64", route::delete(&route("fd04::/64", None, None)), SAME),
        ("ip route del 10.6.0.0/16 via 203.0.113.1 dev br0 onlink", route::delete(&on_link_gateway), SAME),
        (
            "ip addr add 10.2.0.1/24 dev br0 valid_lft 3600 preferred_lft 1800",
            addr::add(&lasting(Some(3600), Some(1800), address(5, "10.2.0.1/24"))),
            SAME,
        ),
        (
            "ip addr add fd00:2::1/64 dev br0 valid_lft forever preferred_lft 0",
            addr::add(&lasting(None, Some(0), address(5, "fd00:2::1/64"))),
            SAME,
        ),
        (
            "ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev br0 nud permanent",
            neigh::add(&neighbour([10, 0, 0, 7], 7)),
            SAME,
        ),
        (
            "ip neigh replace 10.0.0.7 lladdr 02:00:00:00:00:08 dev br0 nud permanent",
            neigh::replace(&neighbour([10, 0, 0, 7], 8)),
            SAME,
        ),
        (
            "ip neigh add 10.0.0.6 lladdr 02:00:00:00:00:06 dev br0 nud permanent protocol 110",
            neigh::add(&NewNeighbour { protocol: Some(110), ..neighbour([10, 0, 0, 6], 6) }),
            SAME,
        ),
        (
            "ip neigh del 10.0.0.7 dev br0",
            neigh::delete(5, [10, 0, 0, 7].into()),
            // The kernel reads no state here.
            &["header: 020000000500000080000000, ours 020000000500000000000000"],
        ),
        (
            "ip rule add from 10.0.0.0/24 table 100 priority 1000",
            rule::add(&rule("10.0.0.0/24", 1000, Action::Table(100))),
            SAME,
        ),
        (
            "ip rule add to 10.1.0.0/16 iif br0 oif v0 fwmark 0x1/0xff table 1000 priority 1001 protocol 110",
            rule::add(&of_mark),
            SAME,
        ),
        (
            "ip rule add from 10.0.0.0/24 fwmark 0x10 blackhole priority 1002",
            rule::add(&NewRule {
                mark: Some(Mark { value: 0x10, mask: u32::MAX }),
                ..rule("10.0.0.0/24", 1002, Action::Blackhole)
            }),
            // What the kernel takes for the mask where there is none.
            &["/16: none, ours ffffffff"],
        ),
        (
            "ip -6 rule add from fd00::/64 priority 1003 prohibit",
            rule::add(&rule("fd00::/64", 1003, Action::Prohibit)),
            SAME,
        ),
        (
            "ip -6 rule add from fd00::/64 priority 1004 unreachable",
            rule::add(&rule("fd00::/64", 1004, Action::Unreachable)),
            SAME,
        ),
        (
            "ip rule del from 10.0.0.0/24 table 100 priority 1000",
            rule::delete(&rule("10.0.0.0/24", 1000, Action::Table(100))),
            // We say that it is to ask a table, as of the others what they are to do.
            &["header: 020018006400000000000000, ours 020018006400000100000000"],
        ),
        (
            "ip -6 rule del from fd00::/64 priority 1003 prohibit",
            rule::delete(&rule("fd00::/64", 1003, Action::Prohibit)),
            SAME,
        ),
        ("ip route del 10.9.0.0/16", route::delete(&on_link), SAME),
        ("ip route del default via 10.0.0.254", route::delete(&default), SAME),
    ]
}

#[test]
fn every_request_is_iproute2s_but_for_what_is_named_here() {
    let home = Netns::current().unwrap();
    let mut record = record();
    for (command, ours, named) in pairs(&home) {
        let theirs = record.remove(command).unwrap_or_else(|| panic!("not recorded: {command}"));
        assert_eq!(differences(&parts(&theirs), &parts(ours.bytes())), named, "{command}");
    }
    assert_eq!(record.keys().collect::<Vec<_>>(), Vec::<&&str>::new(), "recorded, and compared with nothing");
}
