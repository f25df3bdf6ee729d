//! A gateway's programs: loading, attaching, rules.

use std::{fmt, net::IpAddr};

use netctl_ebpf::config::MAX_FLOWS;
use serde::Serialize;

use super::{Effect, Faces, Op, command};
use crate::{
    build::Build,
    model::{At, Forward, IfName, Mapping, Masquerade, Place, Seconds, Shortcut, Side, Timeout},
    netfilter::{
        self,
        rule::{self, Hook},
    },
};

/// A change of a gateway's programs, or of what they have in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum NatChange {
    /// Loads and pins a gateway's programs and maps.
    LoadNat {
        /// The build that runs meanwhile; without one, whatever may be left there goes first.
        beside: Option<Build>,
        /// How many flows there may be, where a table is made for them.
        max_flows: u32,
    },
    /// Sets a gateway's maps aside, its programs running on, to make room for maps of another size.
    SetAsideNat {
        /// How many flows the new table takes.
        max_flows: u32,
        /// How many the old one takes.
        before: u32,
    },
    /// Puts the maps back that were set aside. Only to undo that.
    RestoreNat,
    /// Sets how long flows of one kind live.
    SetTimeout {
        /// The kind of flows.
        timeout: Timeout,
        /// Their lifetime.
        lifetime: Seconds,
        /// Their lifetime before.
        before: Seconds,
    },
    /// Says where packets go straight.
    SetShortcut {
        /// Where.
        shortcut: Shortcut,
        /// Where they did before.
        before: Shortcut,
    },
    /// Hands every hook of a gateway over to another build of the programs, in place.
    RenewNat {
        /// That build; the binary's own when `None`.
        build: Option<Build>,
        /// The build before; `None` when it is not to come back.
        before: Option<Build>,
    },
    /// Removes what no hook of a gateway runs, and what killed commands left.
    PruneNat {
        /// The build that stays; the binary's own when `None`.
        keep: Option<Build>,
    },
    /// Ends all translation of a gateway.
    UnloadNat {
        /// What makes it again as it was, but for its flows.
        #[serde(skip)]
        restore: Vec<Op>,
    },
    /// Attaches the programs of one side to an interface.
    AttachNat {
        /// The interface.
        interface: IfName,
        /// Which programs.
        side: Side,
    },
    /// Detaches the programs of one side from an interface.
    DetachNat {
        /// The interface.
        interface: IfName,
        /// Which programs.
        side: Side,
    },
    /// Lets the gateway's own processes reach its forwarded ports.
    AttachLocal,
    /// Ends that.
    DetachLocal,
    /// Puts a masquerade rule in force.
    AddMasquerade {
        /// The rule.
        rule: Masquerade,
    },
    /// Ends a masquerade rule and its flows.
    RemoveMasquerade {
        /// The rule.
        rule: Masquerade,
    },
    /// Puts masquerade rules in force in the place of others, without a moment between them.
    ChangeMasquerades {
        /// The rules that end, with their flows.
        before: Vec<Masquerade>,
        /// The rules that follow.
        after: Vec<Masquerade>,
    },
    /// Puts a forward rule in force.
    AddForward {
        /// The rule.
        rule: Forward,
    },
    /// Ends a forward rule and its flows.
    RemoveForward {
        /// The rule.
        rule: Forward,
    },
    /// Puts forward rules in force in the place of others, without a moment between them.
    ChangeForwards {
        /// The rules that end, with their flows.
        before: Vec<Forward>,
        /// The rules that follow.
        after: Vec<Forward>,
    },
}

impl Faces for NatChange {
    fn effect(&self) -> Option<Effect> {
        match self {
            Self::LoadNat { .. } | Self::RestoreNat | Self::PruneNat { .. } | Self::UnloadNat { .. } => None,
            Self::AttachNat { .. }
            | Self::AttachLocal
            | Self::AddMasquerade { .. }
            | Self::AddForward { .. } => Some(Effect::Add),
            Self::SetAsideNat { .. }
            | Self::SetTimeout { .. }
            | Self::SetShortcut { .. }
            | Self::ChangeMasquerades { .. }
            | Self::ChangeForwards { .. }
            | Self::RenewNat { .. } => Some(Effect::Modify),
            Self::DetachNat { .. }
            | Self::DetachLocal
            | Self::RemoveMasquerade { .. }
            | Self::RemoveForward { .. } => Some(Effect::Remove),
        }
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = At(place);
        match self {
            Self::LoadNat { .. } => write!(f, "load the NAT programs {at}"),
            Self::SetAsideNat { max_flows, before } => {
                write!(f, "set max-flows to {max_flows} (was {before}) {at}; its flows end")
            }
            Self::RestoreNat => write!(f, "restore the flow table {at}"),
            Self::SetTimeout { timeout, lifetime, before } => {
                write!(f, "set timeout `{timeout}` to {lifetime} (was {before}) {at}")
            }
            Self::SetShortcut { shortcut, before } => {
                write!(f, "set shortcuts to `{shortcut}` (was `{before}`) {at}")
            }
            Self::RenewNat { before: Some(before), .. } if before.is_aside() => {
                write!(f, "replace the NAT programs {at}")
            }
            Self::RenewNat { before: Some(before), .. } if !before.shares_flows() => {
                let abi = before.abi;
                write!(f, "replace the NAT programs {at}; their maps are of ABI version {abi}, flows end")
            }
            Self::RenewNat { .. } => write!(f, "replace the NAT programs {at}; flows go on"),
            Self::PruneNat { .. } => write!(f, "remove what is left of the NAT {at}"),
            Self::UnloadNat { .. } => write!(f, "unload the NAT programs {at}"),
            Self::AttachNat { interface, side } => {
                write!(f, "attach NAT to {} `{interface}` {at}", side.as_str())
            }
            Self::DetachNat { interface, side } => {
                write!(f, "detach NAT from {} `{interface}` {at}", side.as_str())
            }
            Self::AttachLocal => write!(f, "attach NAT to the sockets {at}"),
            Self::DetachLocal => write!(f, "detach NAT from the sockets {at}"),
            Self::AddMasquerade { rule } => write!(f, "add masquerade {rule} {at}"),
            Self::RemoveMasquerade { rule } => write!(f, "remove masquerade {rule} {at}"),
            Self::ChangeMasquerades { before, after } => {
                write!(f, "replace masquerade {} by {} {at}", listed(before), listed(after))
            }
            Self::AddForward { rule } => write!(f, "add forward {rule} {at}"),
            Self::RemoveForward { rule } => write!(f, "remove forward {rule} {at}"),
            Self::ChangeForwards { before, after } => {
                write!(f, "replace forward {} by {} {at}", listed(before), listed(after))
            }
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        match self {
            // The kernel takes it for the whole machine only.
            Self::LoadNat { max_flows, .. } if *max_flows != MAX_FLOWS => {
                vec![format!("# as `sysctl -w net.netfilter.nf_conntrack_max={max_flows}` on the host")]
            }
            Self::SetTimeout { timeout, lifetime, .. } => timeout
                .conntrack_keys()
                .map(|key| format!("{}sysctl -w {key}={}", command::inside(place), lifetime.0))
                .collect(),
            Self::AddMasquerade { rule } => masquerade(place, "-A", rule),
            Self::RemoveMasquerade { rule } => masquerade(place, "-D", rule),
            Self::ChangeMasquerades { before, after } => replaced(place, before, after, masquerade),
            Self::AddForward { rule } => forward(place, "-A", rule),
            Self::RemoveForward { rule } => forward(place, "-D", rule),
            Self::ChangeForwards { before, after } => replaced(place, before, after, forward),
            Self::LoadNat { .. }
            | Self::SetAsideNat { .. }
            | Self::RestoreNat
            | Self::SetShortcut { .. }
            | Self::RenewNat { .. }
            | Self::PruneNat { .. }
            | Self::UnloadNat { .. }
            | Self::AttachNat { .. }
            | Self::DetachNat { .. }
            | Self::AttachLocal
            | Self::DetachLocal => Vec::new(),
        }
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        let one = match self.clone() {
            Self::UnloadNat { restore } => return restore,
            Self::LoadNat { beside: None, .. } => Self::UnloadNat { restore: Vec::new() },
            Self::LoadNat { beside, .. } => Self::PruneNat { keep: beside },
            Self::SetAsideNat { .. } => Self::RestoreNat,
            Self::SetTimeout { timeout, lifetime, before } => {
                Self::SetTimeout { timeout, lifetime: before, before: lifetime }
            }
            Self::SetShortcut { shortcut, before } => {
                Self::SetShortcut { shortcut: before, before: shortcut }
            }
            Self::RenewNat { before: Some(before), .. } => {
                Self::RenewNat { build: Some(before), before: None }
            }
            Self::AttachNat { interface, side } => Self::DetachNat { interface, side },
            Self::DetachNat { interface, side } => Self::AttachNat { interface, side },
            Self::AttachLocal => Self::DetachLocal,
            Self::DetachLocal => Self::AttachLocal,
            Self::AddMasquerade { rule } => Self::RemoveMasquerade { rule },
            Self::RemoveMasquerade { rule } => Self::AddMasquerade { rule },
            Self::ChangeMasquerades { before, after } => {
                Self::ChangeMasquerades { before: after, after: before }
            }
            Self::AddForward { rule } => Self::RemoveForward { rule },
            Self::RemoveForward { rule } => Self::AddForward { rule },
            Self::ChangeForwards { before, after } => Self::ChangeForwards { before: after, after: before },
            Self::RenewNat { before: None, .. } | Self::RestoreNat | Self::PruneNat { .. } => {
                return Vec::new();
            }
        };
        vec![Op::new(place, one)]
    }

    fn link(&self) -> Option<&IfName> {
        match self {
            Self::AttachNat { interface, .. } | Self::DetachNat { interface, .. } => Some(interface),
            Self::LoadNat { .. }
            | Self::SetAsideNat { .. }
            | Self::RestoreNat
            | Self::SetTimeout { .. }
            | Self::SetShortcut { .. }
            | Self::RenewNat { .. }
            | Self::PruneNat { .. }
            | Self::UnloadNat { .. }
            | Self::AttachLocal
            | Self::DetachLocal
            | Self::AddMasquerade { .. }
            | Self::RemoveMasquerade { .. }
            | Self::ChangeMasquerades { .. }
            | Self::AddForward { .. }
            | Self::RemoveForward { .. }
            | Self::ChangeForwards { .. } => None,
        }
    }
}

/// One after the other, with commas.
fn listed(rules: &[impl fmt::Display]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn replaced<R>(
    place: &Place,
    before: &[R],
    after: &[R],
    commands: fn(&Place, &str, &R) -> Vec<String>,
) -> Vec<String> {
    let ended = before.iter().flat_map(|rule| commands(place, "-D", rule));
    ended.chain(after.iter().flat_map(|rule| commands(place, "-A", rule))).collect()
}

fn masquerade(place: &Place, action: &str, rule: &Masquerade) -> Vec<String> {
    let family = iptables(place, &rule.source.addr());
    let rules = rule::masquerade(rule).into_iter();
    let beyond = (rule.mapping == Mapping::EndpointIndependent)
        .then(|| format!("# iptables has no {} mapping with {} filtering", rule.mapping, rule.filtering));
    rules.map(|rule| format!("{family} {}", netfilter::arguments(&rule, action))).chain(beyond).collect()
}

fn forward(place: &Place, action: &str, rule: &Forward) -> Vec<String> {
    let family = iptables(place, &rule.to);
    let own = rule::to_destination(rule, Hook::Output, None);
    rule::arriving(rule)
        .into_iter()
        .chain([own])
        .map(|rule| format!("{family} {}", netfilter::arguments(&rule, action)))
        .collect()
}

fn iptables(place: &Place, address: &IpAddr) -> String {
    format!("{}{}", command::inside(place), if address.is_ipv6() { "ip6tables" } else { "iptables" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Filtering, Protocol};

    fn commands(place: &Place, change: NatChange) -> Vec<String> {
        Op::new(place, change).commands()
    }

    fn router() -> Place {
        Place::Netns("router".parse().unwrap())
    }

    #[test]
    fn a_timeout_is_one_or_more_of_netfilters() {
        let set = |timeout| {
            let (lifetime, before) = (Seconds(90), Seconds(300));
            commands(&router(), NatChange::SetTimeout { timeout, lifetime, before })
        };
        assert_eq!(
            set(Timeout::Udp),
            ["ip netns exec router sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=90"]
        );
        assert_eq!(set(Timeout::TcpOpening).len(), 2);
        let load = |max_flows| commands(&router(), NatChange::LoadNat { beside: None, max_flows });
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
        let add = |rule| commands(&router(), NatChange::AddMasquerade { rule });
        assert_eq!(add(rule.clone()), [line]);
        let (mapping, filtering) = (Mapping::EndpointIndependent, Filtering::AddressDependent);
        assert_eq!(
            add(Masquerade { mapping, filtering, ..rule }),
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
        let expected = ["PREROUTING -d 2001:db8::1 -s 2001:db8:1::/48", "PREROUTING -d 2001:db8::1 -s 2001:db8:2::/48", "OUTPUT -d 2001:db8::1"]
            .map(|from| format!("ip6tables -t nat -A {from} -p tcp --dport 8000:8009 -j DNAT --to-destination [fd15::2]:80-89/8000"));
        assert_eq!(commands(&Place::Host, NatChange::AddForward { rule }), expected);
    }
}
