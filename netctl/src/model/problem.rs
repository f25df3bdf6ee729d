//! What can be wrong with a topology: each problem carries what it needs to name both sides, and knows what to do.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::{Backend, Filtering, IfName, Mapping, NameError, Place, Protocol};
use crate::hint::Advise;
use crate::spec::{KeyPath, nearest};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum Problem {
    // Names and places.
    #[error("{0}")]
    Name(NameError),
    #[error("no default for `{key}`: {error}")]
    DefaultName { key: &'static str, error: NameError },
    #[error("unknown namespace `{name}`")]
    UnknownNamespace { name: String, nearest: Option<String> },
    #[error("two namespaces called `{name}`: the other is of `{other}`")]
    NamespaceTaken { name: String, other: KeyPath },
    #[error("a count of {count} is not between 1 and {most}")]
    Count { count: i64, most: i64 },
    #[error("`{name}` stands for {count} namespaces")]
    CountedName { name: String, count: usize },
    #[error("`{name}` stands for {count} namespaces, which cannot all have the same {key}")]
    CountedKey { name: String, count: usize, key: &'static str },
    #[error("`lo` is the loopback interface of every namespace")]
    Loopback,
    #[error("two interfaces called `{name}` in `{place}`: the other is `{other}`")]
    InterfaceTaken { name: String, place: Place, other: KeyPath },
    #[error("`host` has interfaces of its own, so this one needs a name")]
    HostInterface,
    #[error("bridge `{bridge}` lives in `{place}`, which cannot be plugged into it too")]
    OwnBridge { bridge: String, place: Place },
    #[error("`{place}` is plugged into bridge `{bridge}` already, by `{other}`")]
    PluggedTwice { bridge: String, place: Place, other: KeyPath },
    #[error("bridge `{bridge}` gets {ports} ports, and the kernel takes at most {most}")]
    PortLimit { bridge: String, ports: usize, most: usize },
    #[error("an mtu of {mtu} is not between {least} and 65535")]
    Mtu { mtu: i64, least: i64 },
    #[error("`{key}` is not the name of a network sysctl")]
    Sysctl { key: String },
    #[error("this is `{other}` under another name, which is {value:?}")]
    SysctlTwice { other: String, value: String },
    #[error("{value:?} contradicts `forwarding = {forwarding}`")]
    ForwardingContradicted { forwarding: bool, value: String },
    #[error("`{place}` translates addresses, which needs forwarding")]
    ForwardingOff { place: Place },
    #[error("this turns IPv6 off at {}, and {of_ipv6} needs it", place_or_link(.place, .link))]
    Ipv6Off { place: Place, link: Option<String>, of_ipv6: String },

    #[error("`{place}` has no interface `{name}`{purpose}")]
    UnknownInterface { place: Place, name: String, purpose: &'static str, nearest: Option<String> },
    #[error("`{port}` is a port of bridge `{bridge}`")]
    BridgePort { port: String, bridge: String },
    #[error("`{name}` carries no Ethernet frames")]
    NoEthernet { name: IfName },
    #[error("a {key} of {given} is not between {least} and {most}")]
    Range { key: &'static str, given: i64, least: i64, most: i64 },
    #[error("a VLAN is one of another interface")]
    NoParent,
    #[error("only a VLAN has `{key}`")]
    OnlyVlan { key: &'static str },
    #[error("`{interface}` is a VLAN of itself: {}", chain(.links))]
    ParentCircle { interface: String, links: Vec<String> },
    #[error("`{parent}` of `{place}` has VLAN {id} already: `{other}`")]
    VlanTaken { parent: String, place: Place, id: u16, other: KeyPath },
    #[error("an mtu of {mtu} does not fit through `{parent}`, which has {most}")]
    BeyondParent { mtu: u32, parent: String, most: u32 },

    // Addresses.
    #[error("`{text}` is not an address with a prefix length")]
    Address { text: String },
    #[error("{address} cannot be the address of an interface")]
    NotUnicast { address: IpAddr },
    #[error("{address} has everyone in its subnet")]
    NoSubnetAtAll { address: IpNet },
    #[error("{} is the address of the network {} itself", .address.addr(), .address.trunc())]
    NetworkAddress { address: IpNet },
    #[error("{} is the broadcast address of {}", .address.addr(), .address.trunc())]
    BroadcastAddress { address: IpNet },
    #[error("{address} is listed twice")]
    RepeatedAddress { address: IpAddr },
    #[error("two {links} with one address: {one} and {other} both have {address}")]
    SharedAddress { links: &'static str, one: String, other: String, address: IpAddr },
    #[error("{address} is outside the subnets of bridge `{bridge}`, {}", list(.subnets))]
    OutsideBridge { address: IpAddr, bridge: String, subnets: Vec<IpNet> },
    #[error("bridge `{bridge}` has no subnet to take an address for `{place}` from")]
    NoSubnet { bridge: String, place: Place },
    #[error("{subnet} of bridge `{bridge}` has no address left for `{place}`")]
    Exhausted { subnet: IpNet, bridge: String, place: Place, needed: usize },
    #[error("subnet {subnet} of {one} overlaps {other_subnet} of {other}, another link of the same place")]
    Overlap { subnet: IpNet, one: String, other_subnet: IpNet, other: String },

    // Routes.
    #[error("`{text}` is not a network with a prefix length")]
    Network { text: String },
    #[error("{given} has host bits set")]
    HostBits { given: IpNet },
    #[error("`{text}` is not an IP address")]
    Ip { text: String },
    #[error("{one} and {other} are of different address families")]
    Families { one: String, other: String },
    #[error("next hop {via} is in no subnet that `{place}` is connected to")]
    Unreachable { via: IpAddr, place: Place, subnets: Vec<IpNet> },
    #[error("next hop {via} is an address of `{place}` itself")]
    OwnNextHop { via: IpAddr, place: Place },
    #[error("next hop {via} is link-local, so it takes the interface that it is at")]
    LinkLocalNextHop { via: IpAddr },
    #[error("next hop {via} is at `{there}`, not at `{dev}`")]
    NextHopElsewhere { via: IpAddr, there: String, dev: String },
    #[error("this route leads nowhere")]
    NoNextHop,
    #[error("a route of type `{kind}` sends nothing on, so it has no `{key}`")]
    LeadsNowhere { kind: &'static str, key: &'static str },
    #[error("`onlink` without `{key}`")]
    OnlinkNeeds { key: &'static str },
    #[error("`default` could be IPv4 or IPv6 here")]
    DefaultFamily,
    #[error("table 255 is the kernel's, for the addresses of the place itself")]
    LocalTable,
    #[error("`{place}` has a route to {to} already: `{other}`")]
    DuplicateRoute { place: Place, to: IpNet, other: KeyPath },
    #[error("`{place}` is connected to {to}, so it has a route to it already")]
    ConnectedRoute { place: Place, to: IpNet },
    #[error("packets to {to} would go in a circle: {}", circle(.places))]
    Circle { to: IpNet, places: Vec<Place> },
    #[error("bridge `{bridge}` has no address that this port could have its default route through")]
    NoDefaultRoute { bridge: String },
    #[error("`{place}` gets two {} default routes: from bridges `{one}` and `{other}`", family(.via))]
    TwoDefaultRoutes { place: Place, via: IpAddr, one: String, other: String },

    // Policy rules.
    #[error("a policy rule has either `table` or `type`")]
    RuleAction,
    #[error("`{text}` is not a routing table")]
    Table { text: String },
    #[error("this could be about IPv4 or IPv6")]
    RuleFamily,
    #[error("`{text}` is not a mark")]
    Mark { text: String },
    #[error("mark {mark:#x} has bits that its mask {mask:#x} leaves out")]
    MarkBeyondMask { mark: u32, mask: u32 },
    #[error("`{place}` has a policy rule of priority {priority} about the same packets: `{other}`")]
    DuplicateRule { place: Place, priority: u32, other: KeyPath },

    // Address translation.
    #[error("`{out}` is the interface that {source_net} lives behind")]
    OutIsInside { out: String, source_net: IpNet },
    #[error("`{place}` has no interface to go out of")]
    NoUplink { place: Place },
    #[error("`host` has interfaces that the file does not know of, so `out` is needed")]
    HostOut,
    #[error("a masquerade rule has `source` or `out`, or both")]
    NoSource,
    #[error("the file does not have the interface of `host` that this comes in by")]
    HostUplink,
    #[error("{address} is not an address of {}", place_or_link(.place, .out))]
    ForeignAddress { address: IpAddr, place: Place, out: Option<String>, own: Vec<IpAddr> },
    #[error("`{text}` is not a range of ports")]
    Ports { text: String },
    #[error("{source_net} is masqueraded out of `{out}` already: `{other}`")]
    DuplicateMasquerade { source_net: IpNet, out: String, other: KeyPath },
    #[error("`{text}` is not one of the words here")]
    Word { text: String, words: Vec<&'static str> },
    #[error("{filtering} filtering needs an endpoint-independent mapping")]
    IdleFiltering { filtering: Filtering },
    #[error("`{text}` does not say where to listen")]
    Listen { text: String },
    #[error("`{text}` does not say where to forward to")]
    Target { text: String },
    #[error("{address} is not an address that one can {verb}")]
    Unspecified { address: IpAddr, verb: &'static str },
    #[error("{count} ports from {first} on go beyond 65535")]
    BeyondLastPort { first: u16, count: u32 },
    #[error("two forwards of {protocol} port {port}: `{one}` and `{other}`")]
    OverlappingForwards { protocol: Protocol, port: u16, one: KeyPath, other: KeyPath },
    #[error("`{text}` is not a duration of at least a second")]
    Duration { text: String },
    #[error("{given} flows are not between 1 and {most}")]
    MaxFlows { given: i64, most: u32 },
    #[error("nobody could use this forward")]
    NobodyAllowed,
    #[error("`{place}` has no route to {to}")]
    NoRouteTo { to: IpAddr, place: Place },
    #[error("{backend} has no name for the interface `{name}` alone")]
    ClassicName { backend: Backend, name: IfName },
    #[error("{backend} has no {mapping} mapping")]
    ClassicMapping { backend: Backend, mapping: Mapping },
    #[error("{backend} has no table of flows for each gateway")]
    ClassicMaxFlows { backend: Backend },
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

fn chain(links: &[String]) -> String {
    let links: Vec<String> = links.iter().map(|link| format!("`{link}`")).collect();
    links.join(" on ")
}

fn circle(places: &[Place]) -> String {
    let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
    places.join(" -> ")
}

/// The place, or the one link of it that is meant.
fn place_or_link(place: &Place, link: &Option<String>) -> String {
    match link {
        Some(link) => format!("`{link}` of `{place}`"),
        None => format!("`{place}`"),
    }
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

impl Advise for Problem {
    fn advice(&self) -> Option<String> {
        let meant = |nearest: &Option<String>| nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
        Some(match self {
            Self::Name(NameError::Reserved { name }) if name == "host" => {
                "`host` is where netctl is started and needs no declaration".to_owned()
            }
            Self::DefaultName { key, .. } => format!("set `{key} = \"…\"` to a name of at most 15 bytes"),
            Self::UnknownNamespace { name, nearest } => {
                return meant(nearest).or_else(|| Some(format!("declare it: `[namespaces.{name}]`")));
            }
            Self::NamespaceTaken { .. } => "give one of them another name".to_owned(),
            Self::CountedName { name, count } => {
                format!("name one of `{name}-0` to `{name}-{}`", count.saturating_sub(1))
            }
            Self::CountedKey { name, key, .. } => {
                format!(
                    "leave `{key}` out, and each gets its own; or plug `{name}-0` and so on in one by one"
                )
            }
            Self::PortLimit { .. } => "spread them over several bridges".to_owned(),
            Self::NoSubnet { .. } => {
                "give the bridge an address, or set `addresses = []` for none".to_owned()
            }
            Self::Exhausted { subnet, needed, .. } => match roomy(subnet, *needed) {
                Some(length) => format!("a /{length} has room for all {needed}"),
                None => return None,
            },
            Self::Circle { .. } => "let one of them send it elsewhere".to_owned(),
            Self::HostInterface => "set `interface = \"…\"`".to_owned(),
            Self::InterfaceTaken { .. } => "give one of them another name".to_owned(),
            Self::Mtu { mtu, least: 1280 } if *mtu >= 68 => "IPv6 needs an mtu of at least 1280".to_owned(),
            Self::Sysctl { .. } => "write it in dotted form, as in `net.ipv4.conf.all.rp_filter`".to_owned(),
            Self::SysctlTwice { .. } | Self::ForwardingContradicted { .. } => {
                "leave one of them out".to_owned()
            }
            Self::Ipv6Off { .. } => "leave the sysctl out, or what is of IPv6 there".to_owned(),
            Self::ForwardingOff { .. } => "leave this out, or its [[nat.*]] rules".to_owned(),
            Self::Address { text } => match text.parse::<IpAddr>() {
                Ok(address) => {
                    format!("add its subnet's prefix length, as in `{address}/{}`", usual_prefix(address))
                }
                Err(_) => return None,
            },
            Self::NotUnicast { address: IpAddr::V6(address) } => {
                let ipv4 = address.to_ipv4_mapped()?;
                format!("it is an IPv4 address in the form of IPv6: write `{ipv4}`")
            }
            Self::NoSubnetAtAll { address } => {
                let (address, length) = (address.addr(), usual_prefix(address.addr()));
                format!("write its subnet's prefix length, as in `{address}/{length}`")
            }
            Self::Network { text } => match text.parse::<IpAddr>() {
                Ok(address) => format!("write `{}`", IpNet::from(address)),
                Err(_) => "write it as `192.168.1.0/24`".to_owned(),
            },
            Self::HostBits { given } => format!("the network is `{}`", given.trunc()),
            Self::Unreachable { subnets, .. } if !subnets.is_empty() => {
                format!("it is connected to {}", list(subnets))
            }
            Self::LinkLocalNextHop { .. } => "set `dev` to that interface".to_owned(),
            Self::NextHopElsewhere { there, .. } => format!("leave `dev` out, or set it to `{there}`"),
            Self::NoNextHop => {
                "set `via` to the next hop, `dev` where it is a neighbour itself, or `type = \"blackhole\"`"
                    .to_owned()
            }
            Self::LeadsNowhere { key, .. } => format!("leave `type` or `{key}` out"),
            Self::OnlinkNeeds { .. } => {
                "`via` is the next hop, and `dev` the interface that it is on the link of".to_owned()
            }
            Self::DefaultFamily => "write `0.0.0.0/0` or `::/0`".to_owned(),
            Self::RuleAction => "set `table` to the one that decides, or `type = \"blackhole\"`".to_owned(),
            Self::Table { .. } => {
                "write its number, from 1 to 4294967295, or \"main\", \"default\" or \"local\"".to_owned()
            }
            Self::RuleFamily => "add `family = \"ipv4\"` or `family = \"ipv6\"`".to_owned(),
            Self::Mark { .. } => "write it as `0x1`, or with a mask as `0x1/0xff`".to_owned(),
            Self::NoDefaultRoute { .. } => {
                "leave `default-route` out, or give bridge and port addresses of one subnet".to_owned()
            }
            Self::TwoDefaultRoutes { .. } => "set `default-route = false` on one of the ports".to_owned(),
            Self::UnknownInterface { nearest, .. } => return meant(nearest),
            Self::BridgePort { bridge, .. } => format!("use `{bridge}`"),
            Self::NoEthernet { .. } => {
                "`backend = \"nftables\"` in `[nat]` of a file translates at any interface".to_owned()
            }
            Self::NoParent => "set `parent` to that interface, and `id` to the VLAN's number".to_owned(),
            Self::OnlyVlan { key } => format!("leave `{key}` out, or set `kind = \"vlan\"`"),
            Self::BeyondParent { .. } => "give the parent a larger one, or leave it out".to_owned(),
            Self::OutIsInside { .. } => "`out` is the interface on the other side".to_owned(),
            Self::NoSource => {
                "set `out` to the interface that leads outside, or `source` to the network inside".to_owned()
            }
            Self::HostOut => "set `out` to the interface that leads outside".to_owned(),
            Self::HostUplink => "add a `[[nat.masquerade]]` whose `out` is that interface".to_owned(),
            Self::NoUplink { .. } => "add a cable, or a bridge, that leads outside".to_owned(),
            Self::ForeignAddress { own, .. } if !own.is_empty() => format!("it has {}", list(own)),
            Self::Ports { .. } => {
                "write `FIRST-LAST`, both from 1 to 65535 and the lower one first".to_owned()
            }
            Self::Word { text, words } => match nearest(text, words.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write `{}`", words.join("` or `")),
            },
            Self::IdleFiltering { .. } => "add `mapping = \"endpoint-independent\"`".to_owned(),
            Self::Duration { .. } => {
                "write it as `2h4m`, `300s` or a number of seconds without quotes".to_owned()
            }
            Self::NobodyAllowed => "leave `allow` out for everyone, or remove the forward".to_owned(),
            Self::ClassicName { .. } => "use `backend = \"ebpf\"`, or call it otherwise".to_owned(),
            Self::ClassicMaxFlows { .. } => {
                "the kernel has one limit for the whole machine, `net.netfilter.nf_conntrack_max`".to_owned()
            }
            Self::ClassicMapping { .. } => "`backend = \"ebpf\"` has".to_owned(),
            Self::Listen { .. } => {
                "write `[ADDRESS:]PORT[-PORT][/tcp|udp|tcp+udp]`, an IPv6 address in brackets".to_owned()
            }
            Self::Target { .. } => {
                "write `ADDRESS[:PORT]`, an IPv6 address with a port in brackets".to_owned()
            }
            Self::Unspecified { verb: "listen on", .. } => {
                "leave the address out to listen on every one".to_owned()
            }
            Self::NoRouteTo { .. } => "add a route that leads there, or an address in its subnet".to_owned(),
            _ => return None,
        })
    }
}

/// The prefix length of the smallest subnet around `subnet` with room for so many hosts.
fn roomy(subnet: &IpNet, hosts: usize) -> Option<u8> {
    // Beside the hosts, the network's own address and IPv4's broadcast address.
    let addresses = u32::try_from(hosts).ok()?.checked_add(2)?.checked_next_power_of_two()?;
    let length = subnet.max_prefix_len().checked_sub(u8::try_from(addresses.trailing_zeros()).ok()?)?;
    (length < subnet.prefix_len()).then_some(length)
}

/// The prefix length that a subnet of this family most often has.
fn usual_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}
