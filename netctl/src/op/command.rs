//! The face for learners: the iproute2, sysctl or iptables command that an operation equals.

use std::net::IpAddr;

use netctl_ebpf::config::MAX_FLOWS;

use super::{CableEnd, Op};
use crate::{
    model::{Forward, Mapping, Masquerade, Place},
    nat::classic::{
        self, Rules, Tool,
        rule::{self, Hook},
    },
};

impl Op {
    /// The commands that do the same; none for netctl's own book-keeping.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let place = self.place();
        let ip = |arguments: String| vec![format!("{} {arguments}", ip(&place))];
        match self {
            Self::CreateNamespace { name } => {
                vec![format!("ip netns add {name}"), format!("ip -n {name} link set lo up")]
            }
            Self::DeleteNamespace { name } => vec![format!("ip netns delete {name}")],
            Self::CreateBridge { interface, mtu, mac, .. } => {
                let create = format!("link add {interface}{} address {mac} type bridge", mtu_words(*mtu));
                [create, format!("link set {interface} up")].into_iter().flat_map(ip).collect()
            }
            Self::CreateCable { a, b } => create_cable(a, b),
            Self::DeleteLink { interface, .. } => ip(format!("link delete {interface}")),
            Self::SetUp { interface, .. } => ip(format!("link set {interface} up")),
            Self::SetMaster { interface, master: Some(master), .. } => {
                ip(format!("link set {interface} master {master}"))
            }
            Self::SetMaster { interface, master: None, .. } => ip(format!("link set {interface} nomaster")),
            Self::SetMtu { interface, mtu, .. } => ip(format!("link set {interface} mtu {mtu}")),
            Self::AddAddress { interface, address, .. } => {
                let no_dad = if address.addr().is_ipv6() { " nodad" } else { "" };
                ip(format!("addr add {address} dev {interface}{no_dad}"))
            }
            Self::DeleteAddress { interface, address, .. } => {
                ip(format!("addr delete {address} dev {interface}"))
            }
            Self::AddRoute { route } => ip(format!("{}route add {route}", family(&route.to.addr()))),
            Self::DeleteRoute { route } => ip(format!("{}route delete {route}", family(&route.to.addr()))),
            Self::SetSysctl { key, value, .. } => {
                vec![format!("{}sysctl -w {}", inside(&place), quote(&format!("{key}={value}")))]
            }
            // The kernel takes it for the whole machine only.
            Self::LoadNat { max_flows, .. } if *max_flows != MAX_FLOWS => {
                vec![format!("# as `sysctl -w net.netfilter.nf_conntrack_max={max_flows}` on the host")]
            }
            Self::LoadNat { .. } => Vec::new(),
            Self::SetTimeout { timeout, lifetime, .. } => timeout
                .conntrack_keys()
                .map(|key| format!("{}sysctl -w {key}={}", inside(&place), lifetime.0))
                .collect(),
            Self::AddMasquerade { rule, .. } => masquerade(&place, "-A", rule),
            Self::RemoveMasquerade { rule, .. } => masquerade(&place, "-D", rule),
            Self::AddForward { rule, .. } => forward(&place, "-A", rule),
            Self::RemoveForward { rule, .. } => forward(&place, "-D", rule),
            Self::ChangeMasquerades { before, after, .. } => {
                let commands = |action, rules: &[Masquerade]| -> Vec<String> {
                    rules.iter().flat_map(|rule| masquerade(&place, action, rule)).collect()
                };
                [commands("-D", before), commands("-A", after)].concat()
            }
            Self::ChangeForwards { before, after, .. } => {
                let commands = |action, rules: &[Forward]| -> Vec<String> {
                    rules.iter().flat_map(|rule| forward(&place, action, rule)).collect()
                };
                [commands("-D", before), commands("-A", after)].concat()
            }
            Self::SetRules { tool, rules, before, .. } => vec![set_rules(&place, *tool, before, rules)],
            Self::Single(single) => single.commands(),
            Self::MarkLink { .. }
            | Self::SetAsideNat { .. }
            | Self::RestoreNat { .. }
            | Self::RenewNat { .. }
            | Self::PruneNat { .. }
            | Self::UnloadNat { .. }
            | Self::AttachNat { .. }
            | Self::DetachNat { .. }
            | Self::AttachLocal { .. }
            | Self::DetachLocal { .. } => Vec::new(),
        }
    }
}

pub(super) fn ip(place: &Place) -> String {
    match place {
        Place::Host => "ip".to_owned(),
        Place::Netns(name) => format!("ip -n {name}"),
    }
}

/// What goes before a command to run it in a place.
fn inside(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!("ip netns exec {name} "),
    }
}

/// `ip route` takes `default` for IPv4 unless told otherwise.
pub(super) fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv6() { "-6 " } else { "" }
}

fn mtu_words(mtu: Option<u32>) -> String {
    mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"))
}

/// Says where a link goes, if that is not where the command is run.
pub(super) fn netns_words(from: &Place, to: &Place) -> String {
    match to {
        to if to == from => String::new(),
        // `ip -n A` moves into A first: from there, process 1 is in the host's namespace.
        Place::Host => " netns 1".to_owned(),
        Place::Netns(name) => format!(" netns {name}"),
    }
}

fn create_cable(a: &CableEnd, b: &CableEnd) -> Vec<String> {
    let netns = netns_words(&a.place, &b.place);
    let (near, far) = (&a.interface, &b.interface);
    let mut commands = vec![format!(
        "{} link add {near}{} address {} type veth peer name {far}{} address {}{netns}",
        ip(&a.place),
        mtu_words(a.mtu),
        a.mac,
        mtu_words(b.mtu),
        b.mac
    )];
    if let Some(master) = &a.master {
        commands.push(format!("{} link set {near} master {master}", ip(&a.place)));
    }
    commands.push(format!("{} link set {near} up", ip(&a.place)));
    commands
}

fn masquerade(place: &Place, action: &str, rule: &Masquerade) -> Vec<String> {
    let family = iptables(place, &rule.source.addr());
    let rules = rule::masquerade(rule).into_iter();
    let beyond = (rule.mapping == Mapping::EndpointIndependent)
        .then(|| format!("# iptables has no {} mapping with {} filtering", rule.mapping, rule.filtering));
    rules.map(|rule| format!("{family} {}", classic::arguments(&rule, action))).chain(beyond).collect()
}

fn forward(place: &Place, action: &str, rule: &Forward) -> Vec<String> {
    let family = iptables(place, &rule.to);
    let own = rule::to_destination(rule, Hook::Output, None);
    rule::arriving(rule)
        .into_iter()
        .chain([own])
        .map(|rule| format!("{family} {}", classic::arguments(&rule, action)))
        .collect()
}

/// A shell's here-document: the transaction is one, whatever the number of its rules.
fn set_rules(place: &Place, tool: Tool, before: &Rules, rules: &Rules) -> String {
    let (program, arguments) = tool.writer();
    let text = tool.transaction(before, rules);
    format!("{}{program} {} <<'END'\n{text}END", inside(place), arguments.join(" "))
}

fn iptables(place: &Place, address: &IpAddr) -> String {
    format!("{}{}", inside(place), if address.is_ipv6() { "ip6tables" } else { "iptables" })
}

fn quote(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Filtering, Protocol, Seconds, Timeout},
        op::Mac,
    };

    fn router() -> Place {
        Place::Netns("router".parse().unwrap())
    }

    #[test]
    fn a_cable_is_made_where_its_ends_live() {
        let end = |place: &Place, interface: &str, master: Option<&str>| CableEnd {
            place: place.clone(),
            interface: interface.parse().unwrap(),
            mtu: None,
            master: master.map(|name| name.parse().unwrap()),
            mac: Mac([2, 0, 0, 0, 0, 1]),
        };
        let red = Place::Netns("red".parse().unwrap());
        let op =
            Op::CreateCable { a: end(&router(), "veth-red-br", Some("br0")), b: end(&red, "eth0", None) };
        assert_eq!(
            op.commands(),
            [
                "ip -n router link add veth-red-br address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:01 netns red",
                "ip -n router link set veth-red-br master br0",
                "ip -n router link set veth-red-br up",
            ]
        );
    }

    #[test]
    fn a_timeout_is_one_or_more_of_netfilters() {
        let commands = |timeout| {
            let (lifetime, before) = (Seconds(90), Seconds(300));
            Op::SetTimeout { place: router(), timeout, lifetime, before }.commands()
        };
        assert_eq!(
            commands(Timeout::Udp),
            ["ip netns exec router sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=90"]
        );
        assert_eq!(commands(Timeout::TcpOpening).len(), 2);
        let load = |max_flows| Op::LoadNat { place: router(), beside: None, max_flows }.commands();
        assert!(load(MAX_FLOWS).is_empty());
        assert_eq!(load(1000), ["# as `sysctl -w net.netfilter.nf_conntrack_max=1000` on the host"]);
    }

    #[test]
    fn rules_become_the_tutorials_iptables_lines() {
        let rule = Masquerade {
            source: "192.168.15.0/24".parse().unwrap(),
            out: vec!["wan0".parse().unwrap()],
            address: None,
            ports: None,
            routed: false,
            mapping: Mapping::default(),
            filtering: Filtering::default(),
        };
        let line =
            "ip netns exec router iptables -t nat -A POSTROUTING -s 192.168.15.0/24 -o wan0 -j MASQUERADE";
        let commands = |rule| Op::AddMasquerade { place: router(), rule }.commands();
        assert_eq!(commands(rule.clone()), [line]);
        let (mapping, filtering) = (Mapping::EndpointIndependent, Filtering::AddressDependent);
        assert_eq!(
            commands(Masquerade { mapping, filtering, ..rule }),
            [line, "# iptables has no endpoint-independent mapping with address-dependent filtering"]
        );
        let rule = Forward {
            address: Some("2001:db8::1".parse().unwrap()),
            ports: (8000, 8009),
            protocol: Protocol::Tcp,
            to: "fd15::2".parse().unwrap(),
            to_port: 80,
            allow: Some(
                ["2001:db8:1::/48", "2001:db8:2::/48"].map(|network| network.parse().unwrap()).into(),
            ),
        };
        let commands = Op::AddForward { place: Place::Host, rule }.commands();
        let expected = ["PREROUTING -d 2001:db8::1 -s 2001:db8:1::/48", "PREROUTING -d 2001:db8::1 -s 2001:db8:2::/48", "OUTPUT -d 2001:db8::1"]
            .map(|from| format!("ip6tables -t nat -A {from} -p tcp --dport 8000:8009 -j DNAT --to-destination [fd15::2]:80-89/8000"));
        assert_eq!(commands, expected);
    }
}
