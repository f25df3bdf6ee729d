//! Operations: one step of bringing a topology up or changing it, as a value.
//!
//! Each has its faces here: the words for people, the netlink message, the operations that undo it, and the command
//! that equals it. Plan, apply, rollback, `--dry-run` and `--explain` all read the same list. Pure.

mod command;
mod mac;
mod request;
mod single;
mod words;

use ipnet::IpNet;
use serde::Serialize;

pub(crate) use self::words::{At, Destination};
pub use self::{
    mac::Mac,
    request::Lookup,
    single::{End, RouteBy, Single},
};
use crate::{
    model::{Forward, IfName, Masquerade, NetnsName, Place, Route, Seconds, Timeout},
    nat::{
        classic::{Rules, Tool},
        ebpf::{Build, Side},
    },
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Makes a network namespace, its loopback up and marked as ours.
    CreateNamespace {
        /// Its name.
        name: NetnsName,
    },
    /// Takes a namespace's name away; it ends with its last process.
    DeleteNamespace {
        /// Its name.
        name: NetnsName,
    },
    /// Makes a bridge, up and marked.
    CreateBridge {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// Bytes; the kernel's default when `None`.
        mtu: Option<u32>,
        /// Its MAC address.
        mac: Mac,
    },
    /// Makes a veth pair, each end born in its place; `a` is up, `b` still down.
    CreateCable {
        /// The end with a master, if one has.
        a: CableEnd,
        /// The other end.
        b: CableEnd,
    },
    /// Deletes a link, a cable's other end with it.
    DeleteLink {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// What makes it again as it was.
        #[serde(skip)]
        restore: Vec<Op>,
    },
    /// Writes the owner's mark.
    MarkLink {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// The mark.
        alias: String,
    },
    /// Sets a link up.
    SetUp {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
    },
    /// Plugs a link into a bridge, or out of one.
    SetMaster {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// The bridge.
        master: Option<IfName>,
        /// The bridge it was in before.
        before: Option<IfName>,
    },
    /// Sets a link's MTU.
    SetMtu {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// Bytes.
        mtu: u32,
        /// Bytes before.
        before: u32,
    },
    /// Gives a link an address.
    AddAddress {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// The address and its subnet's prefix length.
        address: IpNet,
    },
    /// Takes an address from a link.
    DeleteAddress {
        /// Where.
        place: Place,
        /// Its interface name.
        interface: IfName,
        /// The address and its subnet's prefix length.
        address: IpNet,
    },
    /// Sets a route.
    AddRoute {
        /// The route.
        route: Route,
    },
    /// Removes a route.
    DeleteRoute {
        /// The route.
        route: Route,
    },
    /// Sets a `net.*` sysctl.
    SetSysctl {
        /// Where.
        place: Place,
        /// In dotted form.
        key: String,
        /// The value.
        value: String,
        /// The value before; `None` if the kernel has no such key.
        before: Option<String>,
    },
    /// Loads and pins a gateway's programs and maps.
    LoadNat {
        /// The gateway.
        place: Place,
        /// The build that runs meanwhile; without one, whatever may be left there goes first.
        beside: Option<Build>,
        /// How many flows there may be, where a table is made for them.
        max_flows: u32,
    },
    /// Sets a gateway's maps aside, its programs running on, to make room for maps of another size.
    SetAsideNat {
        /// The gateway.
        place: Place,
        /// How many flows the new table takes.
        max_flows: u32,
        /// How many the old one takes.
        before: u32,
    },
    /// Puts the maps back that were set aside. Only to undo that.
    RestoreNat {
        /// The gateway.
        place: Place,
    },
    /// Sets how long flows of one kind live.
    SetTimeout {
        /// The gateway.
        place: Place,
        /// The kind of flows.
        timeout: Timeout,
        /// Their lifetime.
        lifetime: Seconds,
        /// Their lifetime before.
        before: Seconds,
    },
    /// Hands every hook of a gateway over to another build of the programs, in place.
    RenewNat {
        /// The gateway.
        place: Place,
        /// That build; the binary's own when `None`.
        build: Option<Build>,
        /// The build before; `None` when it is not to come back.
        before: Option<Build>,
    },
    /// Removes what no hook of a gateway runs, and what killed commands left.
    PruneNat {
        /// The gateway.
        place: Place,
        /// The build that stays; the binary's own when `None`.
        keep: Option<Build>,
    },
    /// Ends all translation of a gateway.
    UnloadNat {
        /// The gateway.
        place: Place,
        /// What makes it again as it was, but for its flows.
        #[serde(skip)]
        restore: Vec<Op>,
    },
    /// Attaches the programs of one side to an interface.
    AttachNat {
        /// The gateway.
        place: Place,
        /// The interface.
        interface: IfName,
        /// Which programs.
        side: Side,
    },
    /// Detaches the programs of one side from an interface.
    DetachNat {
        /// The gateway.
        place: Place,
        /// The interface.
        interface: IfName,
        /// Which programs.
        side: Side,
    },
    /// Lets the gateway's own processes reach its forwarded ports.
    AttachLocal {
        /// The gateway.
        place: Place,
    },
    /// Ends that.
    DetachLocal {
        /// The gateway.
        place: Place,
    },
    /// Puts a masquerade rule in force.
    AddMasquerade {
        /// The gateway.
        place: Place,
        /// The rule.
        rule: Masquerade,
    },
    /// Ends a masquerade rule and its flows.
    RemoveMasquerade {
        /// The gateway.
        place: Place,
        /// The rule.
        rule: Masquerade,
    },
    /// Puts masquerade rules in force in the place of others, without a moment between them.
    ChangeMasquerades {
        /// The gateway.
        place: Place,
        /// The rules that end, with their flows.
        before: Vec<Masquerade>,
        /// The rules that follow.
        after: Vec<Masquerade>,
    },
    /// Puts a forward rule in force.
    AddForward {
        /// The gateway.
        place: Place,
        /// The rule.
        rule: Forward,
    },
    /// Ends a forward rule and its flows.
    RemoveForward {
        /// The gateway.
        place: Place,
        /// The rule.
        rule: Forward,
    },
    /// Puts forward rules in force in the place of others, without a moment between them.
    ChangeForwards {
        /// The gateway.
        place: Place,
        /// The rules that end, with their flows.
        before: Vec<Forward>,
        /// The rules that follow.
        after: Vec<Forward>,
    },
    /// Makes a gateway's rules in netfilter what they shall be, in one transaction.
    SetRules {
        /// The gateway.
        place: Place,
        /// Who writes them.
        tool: Tool,
        /// What they shall be; empty ends them.
        rules: Rules,
        /// What they are.
        #[serde(skip)]
        before: Rules,
    },
    /// What only single commands do.
    #[serde(untagged)]
    Single(Single),
}

/// An operation, as JSON has it.
#[derive(Serialize)]
pub struct Line<'a> {
    change: Option<Change>,
    text: String,
    #[serde(flatten)]
    op: &'a Op,
}

impl<'a> Line<'a> {
    /// What there is to say of an operation.
    #[must_use]
    pub fn new(op: &'a Op) -> Self {
        Self { change: op.change(), text: op.to_string(), op }
    }
}

/// One end of a cable to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CableEnd {
    /// Where it is born.
    pub place: Place,
    /// Its interface name.
    pub interface: IfName,
    /// Bytes; the kernel's default when `None`.
    pub mtu: Option<u32>,
    /// The bridge it is plugged into.
    pub master: Option<IfName>,
    /// Its MAC address.
    pub mac: Mac,
}

/// Whether an operation adds, changes or removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// `+`
    Add,
    /// `~`
    Modify,
    /// `-`
    Remove,
}

impl Change {
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

impl Op {
    /// Where it acts; of a cable, where its `a` end is.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::CreateNamespace { name } | Self::DeleteNamespace { name } => Place::Netns(name.clone()),
            Self::CreateCable { a, .. } => a.place.clone(),
            Self::AddRoute { route } | Self::DeleteRoute { route } => route.place.clone(),
            Self::CreateBridge { place, .. }
            | Self::DeleteLink { place, .. }
            | Self::MarkLink { place, .. }
            | Self::SetUp { place, .. }
            | Self::SetMaster { place, .. }
            | Self::SetMtu { place, .. }
            | Self::AddAddress { place, .. }
            | Self::DeleteAddress { place, .. }
            | Self::SetSysctl { place, .. }
            | Self::LoadNat { place, .. }
            | Self::SetAsideNat { place, .. }
            | Self::RestoreNat { place }
            | Self::SetTimeout { place, .. }
            | Self::RenewNat { place, .. }
            | Self::PruneNat { place, .. }
            | Self::UnloadNat { place, .. }
            | Self::AttachNat { place, .. }
            | Self::DetachNat { place, .. }
            | Self::AttachLocal { place }
            | Self::DetachLocal { place }
            | Self::AddMasquerade { place, .. }
            | Self::RemoveMasquerade { place, .. }
            | Self::AddForward { place, .. }
            | Self::RemoveForward { place, .. }
            | Self::ChangeMasquerades { place, .. }
            | Self::ChangeForwards { place, .. }
            | Self::SetRules { place, .. } => place.clone(),
            Self::Single(single) => single.place().clone(),
        }
    }

    /// Whether it is about this link, one of a topology.
    #[must_use]
    pub fn is_about(&self, link: &IfName, of: &Place) -> bool {
        let is_it = |place: &Place, interface: &IfName| (place, interface) == (of, link);
        match self {
            Self::CreateCable { a, b } => is_it(&a.place, &a.interface) || is_it(&b.place, &b.interface),
            Self::CreateBridge { place, interface, .. }
            | Self::DeleteLink { place, interface, .. }
            | Self::MarkLink { place, interface, .. }
            | Self::SetUp { place, interface }
            | Self::SetMaster { place, interface, .. }
            | Self::SetMtu { place, interface, .. }
            | Self::AddAddress { place, interface, .. }
            | Self::DeleteAddress { place, interface, .. }
            | Self::AttachNat { place, interface, .. }
            | Self::DetachNat { place, interface, .. } => is_it(place, interface),
            _ => false,
        }
    }

    /// Whether it adds, changes or removes; `None` for the small steps that belong to another one.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        match self {
            Self::MarkLink { .. }
            | Self::LoadNat { .. }
            | Self::RestoreNat { .. }
            | Self::PruneNat { .. }
            | Self::UnloadNat { .. } => None,
            Self::CreateNamespace { .. }
            | Self::CreateBridge { .. }
            | Self::CreateCable { .. }
            | Self::AddAddress { .. }
            | Self::AddRoute { .. }
            | Self::AttachNat { .. }
            | Self::AttachLocal { .. }
            | Self::AddMasquerade { .. }
            | Self::AddForward { .. } => Some(Change::Add),
            Self::SetUp { .. }
            | Self::SetMaster { .. }
            | Self::SetMtu { .. }
            | Self::SetSysctl { .. }
            | Self::SetAsideNat { .. }
            | Self::SetTimeout { .. }
            | Self::ChangeMasquerades { .. }
            | Self::ChangeForwards { .. }
            | Self::RenewNat { .. } => Some(Change::Modify),
            Self::DeleteNamespace { .. }
            | Self::DeleteLink { .. }
            | Self::DeleteAddress { .. }
            | Self::DeleteRoute { .. }
            | Self::DetachNat { .. }
            | Self::DetachLocal { .. }
            | Self::RemoveMasquerade { .. }
            | Self::RemoveForward { .. } => Some(Change::Remove),
            Self::SetRules { before, .. } if before.is_empty() => Some(Change::Add),
            Self::SetRules { rules, .. } if rules.is_empty() => Some(Change::Remove),
            Self::SetRules { .. } => Some(Change::Modify),
            Self::Single(single) => Some(single.change()),
        }
    }

    /// What undoes it, in the order to do it. Empty where nothing has to be or nothing can be done: a namespace that
    /// is gone stays gone, which is why a plan deletes namespaces last.
    #[must_use]
    pub fn inverse(&self) -> Vec<Self> {
        let one = match self.clone() {
            Self::CreateNamespace { name } => Self::DeleteNamespace { name },
            Self::CreateBridge { place, interface, .. } => {
                Self::DeleteLink { place, interface, restore: Vec::new() }
            }
            Self::CreateCable { a, .. } => {
                Self::DeleteLink { place: a.place, interface: a.interface, restore: Vec::new() }
            }
            Self::DeleteLink { restore, .. } | Self::UnloadNat { restore, .. } => return restore,
            Self::SetMaster { place, interface, master, before } => {
                Self::SetMaster { place, interface, master: before, before: master }
            }
            Self::SetMtu { place, interface, mtu, before } => {
                Self::SetMtu { place, interface, mtu: before, before: mtu }
            }
            Self::AddAddress { place, interface, address } => {
                Self::DeleteAddress { place, interface, address }
            }
            Self::DeleteAddress { place, interface, address } => {
                Self::AddAddress { place, interface, address }
            }
            Self::AddRoute { route } => Self::DeleteRoute { route },
            Self::DeleteRoute { route } => Self::AddRoute { route },
            Self::SetSysctl { place, key, value, before: Some(before) } => {
                Self::SetSysctl { place, key, value: before, before: Some(value) }
            }
            Self::SetAsideNat { place, .. } => Self::RestoreNat { place },
            Self::SetTimeout { place, timeout, lifetime, before } => {
                Self::SetTimeout { place, timeout, lifetime: before, before: lifetime }
            }
            Self::LoadNat { place, beside: None, .. } => Self::UnloadNat { place, restore: Vec::new() },
            Self::LoadNat { place, beside, .. } => Self::PruneNat { place, keep: beside },
            Self::RenewNat { place, before: Some(before), .. } => {
                Self::RenewNat { place, build: Some(before), before: None }
            }
            Self::AttachNat { place, interface, side } => Self::DetachNat { place, interface, side },
            Self::DetachNat { place, interface, side } => Self::AttachNat { place, interface, side },
            Self::AttachLocal { place } => Self::DetachLocal { place },
            Self::DetachLocal { place } => Self::AttachLocal { place },
            Self::AddMasquerade { place, rule } => Self::RemoveMasquerade { place, rule },
            Self::RemoveMasquerade { place, rule } => Self::AddMasquerade { place, rule },
            Self::AddForward { place, rule } => Self::RemoveForward { place, rule },
            Self::RemoveForward { place, rule } => Self::AddForward { place, rule },
            Self::ChangeMasquerades { place, before, after } => {
                Self::ChangeMasquerades { place, before: after, after: before }
            }
            Self::ChangeForwards { place, before, after } => {
                Self::ChangeForwards { place, before: after, after: before }
            }
            Self::SetRules { place, tool, rules, before } => {
                Self::SetRules { place, tool, rules: before, before: rules }
            }
            Self::Single(single) => return single.inverse(),
            Self::DeleteNamespace { .. }
            | Self::MarkLink { .. }
            | Self::SetUp { .. }
            | Self::SetSysctl { before: None, .. }
            | Self::RenewNat { before: None, .. }
            | Self::RestoreNat { .. }
            | Self::PruneNat { .. } => return Vec::new(),
        };
        vec![one]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red() -> Place {
        Place::Netns("red".parse().unwrap())
    }

    #[test]
    fn undoing_what_was_undone_is_doing_it_again() {
        let (place, interface) = (red(), "eth0".parse::<IfName>().unwrap());
        let ops = [
            Op::AddAddress {
                place: place.clone(),
                interface: interface.clone(),
                address: "192.0.2.1/24".parse().unwrap(),
            },
            Op::SetMtu { place: place.clone(), interface: interface.clone(), mtu: 1400, before: 1500 },
            Op::SetMaster {
                place: place.clone(),
                interface: interface.clone(),
                master: Some("br0".parse().unwrap()),
                before: None,
            },
            Op::SetSysctl {
                place: place.clone(),
                key: "net.ipv4.ip_forward".into(),
                value: "1".into(),
                before: Some("0".into()),
            },
            Op::AttachNat { place: place.clone(), interface, side: Side::Uplink },
            Op::SetTimeout { place, timeout: Timeout::Udp, lifetime: Seconds(60), before: Seconds(300) },
        ];
        for op in ops {
            let [inverse] = <[Op; 1]>::try_from(op.inverse()).unwrap();
            assert_ne!(inverse, op);
            assert_eq!(inverse.inverse(), [op]);
        }
    }
}
