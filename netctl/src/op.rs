//! Operations: one step of bringing a topology up or changing it, as a value: a place and a change.
//!
//! The kinds of change are the files below. Each has all faces of its kind side by side: the words for people, the
//! netlink message, the operations that undo it, and the command that equals it. Plan, apply, rollback, `--dry-run` and
//! `--explain` all read the same list. Pure.

mod address;
mod command;
mod filter;
mod link;
mod mac;
mod namespace;
mod nat;
mod neighbour;
mod route;
mod rule;
mod sysctl;

use std::{fmt, net::IpAddr};

use serde::Serialize;

pub use self::{
    address::AddressChange,
    filter::FilterChange,
    link::{CableEnd, LinkChange, NewKind},
    mac::{Mac, MacError, Machine},
    namespace::NamespaceChange,
    nat::NatChange,
    neighbour::NeighbourChange,
    route::RouteChange,
    rule::RuleChange,
    sysctl::{Exchanged, SysctlChange},
};
use crate::{
    model::{IfName, Place},
    netlink::{Request, link::NamespaceFd},
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Op {
    /// Where it acts; of a cable, where its `a` end is.
    pub place: Place,
    /// What it does.
    #[serde(flatten)]
    pub change: Change,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($change:ty)),* $(,)?) => {
        /// What an operation does, by kind.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Change {
            $($(#[$doc])* $kind($change),)*
        }

        $(impl From<$change> for Change {
            fn from(change: $change) -> Self {
                Self::$kind(change)
            }
        })*

        impl Change {
            fn faces(&self) -> &dyn Faces {
                match self {
                    $(Self::$kind(change) => change,)*
                }
            }
        }
    };
}

kinds! {
    /// To the place itself.
    Namespace(NamespaceChange),
    /// To a link.
    Link(LinkChange),
    /// To a link's addresses.
    Address(AddressChange),
    /// To routes.
    Route(RouteChange),
    /// To policy rules.
    Rule(RuleChange),
    /// To a link's neighbours.
    Neighbour(NeighbourChange),
    /// To a sysctl.
    Sysctl(SysctlChange),
    /// To a gateway's programs.
    Nat(NatChange),
    /// To a gateway's rules in netfilter.
    Filter(FilterChange),
}

/// What every kind of change tells of itself. `place` is that of the operation.
trait Faces {
    /// Whether it adds, changes or removes; `None` for a small step that belongs to another one.
    fn effect(&self) -> Option<Effect>;
    /// The phrase for people, as it fits behind "error:".
    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// The commands that do the same; none for netctl's own book-keeping.
    fn commands(&self, place: &Place) -> Vec<String>;
    /// What undoes it, in the order to do it.
    fn inverse(&self, place: &Place) -> Vec<Op>;
    /// Its netlink message, if it is one.
    fn message(&self) -> Option<&dyn Message> {
        None
    }
    /// The link of its place that it is about, if it is about one.
    fn link(&self) -> Option<&IfName> {
        None
    }
}

/// What is done by one netlink message.
trait Message {
    /// The interface whose index the message needs, if any.
    fn needs_index(&self) -> Option<&IfName>;
    /// The message, to be sent in `place`; `None` while `lookup` does not know what it needs.
    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request>;
    /// The interfaces that have another index, or none, after it.
    fn renumbers<'a>(&'a self, _place: &'a Place) -> Vec<(&'a Place, &'a IfName)> {
        Vec::new()
    }
}

/// What messages need and only the kernel knows.
pub trait Lookup {
    /// The index of an interface.
    fn index(&self, place: &Place, interface: &IfName) -> Option<u32>;
    /// The namespace of a place.
    fn netns(&self, place: &Place) -> Option<NamespaceFd<'_>>;
}

/// Whether an operation adds, changes or removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// `+`
    Add,
    /// `~`
    Modify,
    /// `-`
    Remove,
}

impl Effect {
    /// Its sign in a plan.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Modify => '~',
            Self::Remove => '-',
        }
    }
}

/// An operation, as JSON has it.
#[derive(Serialize)]
pub struct Line<'a> {
    change: Option<Effect>,
    text: String,
    #[serde(flatten)]
    op: &'a Op,
}

impl<'a> Line<'a> {
    /// What there is to say of an operation.
    #[must_use]
    pub fn new(op: &'a Op) -> Self {
        Self { change: op.effect(), text: op.to_string(), op }
    }
}

impl Op {
    /// A change at a place.
    pub fn new(place: &Place, change: impl Into<Change>) -> Self {
        Self { place: place.clone(), change: change.into() }
    }

    /// Whether it adds, changes or removes; `None` for the small steps that belong to another one.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        self.change.faces().effect()
    }

    /// What undoes it, in the order to do it. Empty where nothing has to be, or where only what was kept of the place can
    /// tell: a deleted link comes back by `apply`. A namespace that is gone stays gone, which is why a plan deletes
    /// namespaces last.
    #[must_use]
    pub fn inverse(&self) -> Vec<Self> {
        self.change.faces().inverse(&self.place)
    }

    /// The iproute2, sysctl or iptables commands that do the same; none for netctl's own book-keeping.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.change.faces().commands(&self.place)
    }

    /// Whether it is a netlink message.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.change.faces().message().is_some()
    }

    /// The interface whose index its message needs, if any.
    #[must_use]
    pub fn needs_index(&self) -> Option<(&Place, &IfName)> {
        let interface = self.change.faces().message()?.needs_index()?;
        Some((&self.place, interface))
    }

    /// The interfaces that have another index, or none, after it.
    #[must_use]
    pub fn renumbers(&self) -> Vec<(&Place, &IfName)> {
        let message = self.change.faces().message();
        message.map(|message| message.renumbers(&self.place)).unwrap_or_default()
    }

    /// Its message, to be sent in its place. `None` for what is no message, and while `lookup` does not know what the
    /// message needs.
    #[must_use]
    pub fn request(&self, lookup: &dyn Lookup) -> Option<Request> {
        self.change.faces().message()?.request(&self.place, lookup)
    }

    /// Whether it is about this link, one of a topology.
    #[must_use]
    pub fn is_about(&self, link: &IfName, of: &Place) -> bool {
        if let Change::Link(LinkChange::CreateCable { a, b, .. }) = &self.change {
            return [a, b].into_iter().any(|end| (&end.place, &end.interface) == (of, link));
        }
        self.place == *of && self.change.faces().link() == Some(link)
    }
}

impl fmt::Display for Op {
    /// A phrase that fits behind "error:", such as ``create bridge `v-net-0` in namespace `router` ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.faces().describe(&self.place, f)
    }
}

/// `ip route` takes `default` for IPv4 unless told otherwise.
fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv6() { "-6 " } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Seconds, Side, Timeout};

    #[test]
    fn undoing_what_was_undone_is_doing_it_again() {
        let (place, interface) = (Place::Netns("red".parse().unwrap()), "eth0".parse::<IfName>().unwrap());
        let changes: [Change; 7] = [
            LinkChange::SetMaster {
                interface: interface.clone(),
                master: None,
                before: Some("br0".parse().unwrap()),
            }
            .into(),
            LinkChange::SetMtu { interface: interface.clone(), mtu: 1400, before: 1500 }.into(),
            LinkChange::SetMaster {
                interface: interface.clone(),
                master: Some("br0".parse().unwrap()),
                before: None,
            }
            .into(),
            LinkChange::Rename { interface: interface.clone(), name: "eth1".parse().unwrap() }.into(),
            SysctlChange { key: "net.ipv4.ip_forward".into(), value: "1".into(), before: Some("0".into()) }
                .into(),
            NatChange::AttachNat { interface, side: Side::Uplink }.into(),
            NatChange::SetTimeout { timeout: Timeout::Udp, lifetime: Seconds(60), before: Seconds(300) }
                .into(),
        ];
        for change in changes {
            let op = Op::new(&place, change);
            let [inverse] = <[Op; 1]>::try_from(op.inverse()).unwrap();
            assert_ne!(inverse, op);
            assert_eq!(inverse.inverse(), [op]);
        }
    }
}
