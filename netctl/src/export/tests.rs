//! From what was seen to the text of the file.

use ipnet::IpNet;
use neli::consts::rtnl::{RtScope, Rtn, Rtprot};

use super::{
    compose,
    seen::{Peer, Seen, SeenPlace},
};
use crate::{
    model::{
        Family, Place, Topology,
        keys::{IPV4, IPV6},
    },
    netlink::{
        addr::{Address, Lifetimes},
        link::{Link, Vlan},
        route::Route,
        rule::{Action, Rule},
    },
};

fn place(name: &str) -> Place {
    name.to_owned().try_into().unwrap()
}

fn link(index: u32, name: &str, kind: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        alias: None,
        mtu: 1500,
        address: None,
        up: true,
        lower_up: true,
        master: None,
        group: 0,
        peer_index: None,
        peer_netnsid: None,
        tx_queue_length: 1000,
        vlan: None,
    }
}

fn address(index: u32, text: &str) -> Address {
    Address {
        index,
        address: text.parse().unwrap(),
        peer: None,
        broadcast: None,
        scope: RtScope::Universe,
        flags: libc::IFA_F_PERMANENT,
        label: None,
        protocol: None,
        lifetimes: Lifetimes::default(),
        priority: None,
    }
}

fn route(to: &str, via: Option<&str>, oif: Option<u32>) -> Route {
    Route {
        table: 254,
        destination: to.parse().unwrap(),
        from: None,
        gateway: via.map(|via| via.parse().unwrap()),
        oif,
        metric: None,
        protocol: Rtprot::Boot,
        scope: RtScope::Universe,
        kind: Rtn::Unicast,
        source: None,
        flags: 0,
        hops: Vec::new(),
        expires: None,
    }
}

/// A cable between two places: names, and the indexes of its ends.
fn cable(seen: &mut Seen, a: (&str, u32, &str), b: (&str, u32, &str)) {
    for ((at, index, name), (other, peer, _)) in [(a, b), (b, a)] {
        let there = seen.places.entry(place(at)).or_default();
        there.links.push(link(index, name, "veth"));
        seen.peers.insert((place(at), index), Peer::Chosen(place(other), peer));
    }
}

fn at<'a>(seen: &'a mut Seen, name: &str) -> &'a mut SeenPlace {
    seen.places.entry(place(name)).or_default()
}

/// A bridge in `lan` with two namespaces, of which one has a default route.
fn two_on_a_bridge() -> Seen {
    let mut seen = Seen::default();
    at(&mut seen, "lan").links = vec![link(1, "lo", ""), link(2, "br0", "bridge")];
    at(&mut seen, "lan").addresses = vec![address(2, "10.0.0.1/24")];
    for (name, index, port, own) in
        [("red", 3, "veth-red-br", "10.0.0.2/24"), ("blue", 4, "p0", "10.0.0.3/24")]
    {
        cable(&mut seen, ("lan", index, port), (name, 2, "eth0"));
        let port = at(&mut seen, "lan").links.last_mut().unwrap();
        port.master = Some(2);
        at(&mut seen, name).addresses = vec![address(2, own)];
    }
    at(&mut seen, "red").routes = vec![route("0.0.0.0/0", Some("10.0.0.1"), Some(2))];
    let forwards = [IPV4, IPV6].map(|key| (key.to_owned(), "1".to_owned()));
    at(&mut seen, "lan").sysctls.found = forwards.into();
    seen
}

/// The text, which is a right file.
#[track_caller]
fn text(seen: &Seen) -> String {
    let text = compose(seen).unwrap().to_toml();
    Topology::parse(&text, "exported", "exported".parse().unwrap()).unwrap();
    text
}

#[test]
fn a_key_is_written_only_where_the_file_would_come_to_something_else() {
    assert_eq!(
        text(&two_on_a_bridge()),
        "\
[namespaces.blue]
[namespaces.lan]
[namespaces.red]

[bridges.br0]
namespace = \"lan\"
addresses = [\"10.0.0.1/24\"]

[bridges.br0.ports]
blue = { addresses = [\"10.0.0.3/24\"], port = \"p0\", default-route = false }
red = { addresses = [\"10.0.0.2/24\"] }
"
    );
}

#[test]
fn what_hangs_together_with_namespaces_is_what_is_exported_of_the_host() {
    let mut seen = Seen { is_host_in_part: true, ..Seen::default() };
    let host = at(&mut seen, "host");
    host.links = vec![link(1, "eth0", ""), link(2, "br0", "bridge"), link(3, "br1", "bridge")];
    host.links.push(Link {
        peer_index: Some(2),
        vlan: Some(Vlan { id: 7, protocol: 0x8100 }),
        ..link(4, "br0.7", "vlan")
    });
    host.links.push(Link {
        peer_index: Some(1),
        vlan: Some(Vlan { id: 7, protocol: 0x8100 }),
        ..link(5, "eth0.7", "vlan")
    });
    cable(&mut seen, ("host", 9, "to-red"), ("red", 2, "lan"));
    at(&mut seen, "host").links.last_mut().unwrap().master = Some(2);
    assert_eq!(
        text(&seen),
        "\
[namespaces.red]

[bridges.br0.ports]
red = { addresses = [], interface = \"lan\", port = \"to-red\" }

[[links]]
interface = \"br0.7\"
kind = \"vlan\"
parent = \"br0\"
id = 7
"
    );
}

#[test]
fn a_shortened_name_is_written_in_full_if_the_mark_has_it_and_it_comes_to_that_name() {
    let mut seen = Seen::default();
    let marked = |name: &str, full: &str| Link {
        alias: Some(format!("netctl:office/{full}")),
        ..link(2, name, "bridge")
    };
    let bridge =
        Topology::parse("[bridges.the-office-network]", "f", "f".parse().unwrap()).unwrap().bridges.remove(0);
    at(&mut seen, "host").links = vec![
        marked(bridge.name.as_str(), "the-office-network"),
        Link { index: 3, ..marked("somebody", "another-office-network") },
    ];
    assert_eq!(text(&seen), "name = \"office\"\n\n[bridges.somebody]\n\n[bridges.the-office-network]\n");
}

#[test]
fn what_the_model_refuses_is_taken_out_and_told() {
    let mut seen = two_on_a_bridge();
    at(&mut seen, "red").routes.push(route("10.9.0.0/16", Some("10.7.0.1"), Some(2)));
    at(&mut seen, "blue").addresses.push(address(2, "10.55.0.3/24"));
    let rule = Rule {
        family: Family::Ipv4,
        priority: 32800,
        from: None,
        to: Some("10.0.0.0/8".parse().unwrap()),
        iif: None,
        oif: None,
        mark: None,
        action: Action::Table(7),
        suppress_prefix_length: None,
        protocol: None,
        is_narrower: false,
    };
    at(&mut seen, "red").rules = vec![rule];
    let text = text(&seen);
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        told,
        [
            "# not exported: blue: address 10.55.0.3/24 at bridge `br0`: 10.55.0.3 is outside the subnets of \
             bridge `br0`, 10.0.0.0/24",
            "# not exported: red: policy rule of priority 32800: a priority of 32800 is not between 1 and 32765",
            "# not exported: red: route 10.9.0.0/16 via 10.7.0.1 dev eth0: next hop 10.7.0.1 is in no subnet that \
             `red` is connected to",
        ]
    );
}

#[test]
fn sysctls_are_those_that_a_new_namespace_with_the_same_links_would_not_have() {
    let mut seen = two_on_a_bridge();
    let there = &mut at(&mut seen, "red").sysctls;
    let keys = |keys: &[(&str, &str)]| {
        keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    there.usual = keys(&[
        ("net.ipv4.ip_forward", "0"),
        ("net.ipv4.conf.all.accept_redirects", "1"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.proxy_arp", "0"),
        ("net.ipv4.conf.default.rp_filter", "2"),
        ("net.ipv6.conf.all.forwarding", "0"),
        ("net.ipv6.conf.default.mtu", "1280"),
    ]);
    there.found = keys(&[
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.all.forwarding", "1"),
        ("net.ipv4.conf.all.accept_redirects", "0"),
        ("net.ipv4.conf.all.rp_filter", "1"),
        ("net.ipv4.conf.default.proxy_arp", "0"),
        ("net.ipv4.conf.default.rp_filter", "2"),
        ("net.ipv4.conf.eth0.forwarding", "1"),
        ("net.ipv4.conf.tun0.proxy_arp", "1"),
        ("net.ipv4.conf.eth0.proxy_arp", "1"),
        ("net.ipv4.conf.eth0.rp_filter", "2"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv6.conf.eth0.mtu", "1500"),
    ]);
    let text = text(&seen);
    let (_, red) = text.split_once("[namespaces.red]\n").unwrap();
    let red = red.split("[bridges").next().unwrap();
    assert_eq!(
        red,
        "forwarding = true\n\n[namespaces.red.sysctls]\n\"net.ipv4.conf.all.rp_filter\" = \"1\"\n\
         \"net.ipv4.conf.eth0.proxy_arp\" = \"1\"\n\n"
    );
}

#[test]
fn addresses_keep_the_order_in_which_they_were_given() {
    let mut seen = Seen::default();
    cable(&mut seen, ("red", 2, "a"), ("red", 3, "b"));
    // The kernel lists those of IPv6 from the last on.
    let all = ["10.0.0.2/24", "10.0.0.1/24", "fd00::2/64", "fd00::1/64"];
    at(&mut seen, "red").addresses = all.iter().map(|text| address(2, text)).collect();
    let given: Vec<IpNet> =
        Topology::parse(&text(&seen), "f", "f".parse().unwrap()).unwrap().cables[0].a.addresses.clone();
    let given: Vec<String> = given.iter().map(ToString::to_string).collect();
    assert_eq!(given, ["10.0.0.2/24", "10.0.0.1/24", "fd00::1/64", "fd00::2/64"]);
}
