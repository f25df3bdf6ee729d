//! Links: making, deleting, marking and changing them.

use std::fmt;

use serde::Serialize;

use super::{Effect, Faces, Lookup, Mac, Message, Op, command};
use crate::{
    model::{At, IfName, LinkKind, Place},
    netlink::{
        Request,
        link::{self, NewLink, Peer},
    },
};

/// A change of one link, or the making of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum LinkChange {
    /// Makes a link that is no cable.
    CreateLink {
        /// Its interface name.
        interface: IfName,
        /// What it is.
        #[serde(flatten)]
        kind: NewKind,
        /// Bytes; the kernel's default when `None`.
        mtu: Option<u32>,
        /// Its MAC address; a random one when `None`.
        mac: Option<Mac>,
        /// Whether it is up from the start.
        up: bool,
    },
    /// Makes a veth pair, each end born in its place.
    CreateCable {
        /// The end with a master, if one has; its place is the operation's.
        a: CableEnd,
        /// The other end, still down.
        b: CableEnd,
        /// Whether `a` is up from the start.
        up: bool,
    },
    /// Deletes a link, a cable's other end with it. What was kept of the place makes it again.
    DeleteLink {
        /// Its interface name.
        interface: IfName,
        /// The other end of a cable, where it is known.
        #[serde(skip)]
        far: Option<(Place, IfName)>,
    },
    /// Writes the owner's mark.
    MarkLink {
        /// Its interface name.
        interface: IfName,
        /// The mark.
        alias: String,
        /// The alias that it had, if it stays: empty for none.
        #[serde(skip)]
        before: Option<String>,
    },
    /// Sets a link up.
    SetUp {
        /// Its interface name.
        interface: IfName,
    },
    /// Sets a link down. What was kept of the place brings back what goes with that.
    SetDown {
        /// Its interface name.
        interface: IfName,
    },
    /// Plugs a link into a bridge, or out of one.
    SetMaster {
        /// Its interface name.
        interface: IfName,
        /// The bridge.
        master: Option<IfName>,
        /// The bridge it was in before.
        before: Option<IfName>,
    },
    /// Gives a link another MAC address. What was kept of the place brings the one before back.
    SetMac {
        /// Its interface name.
        interface: IfName,
        /// The address.
        mac: Mac,
    },
    /// Sets a link's MTU.
    SetMtu {
        /// Its interface name.
        interface: IfName,
        /// Bytes.
        mtu: u32,
        /// Bytes before.
        before: u32,
    },
    /// Gives a link another name.
    Rename {
        /// Its interface name.
        interface: IfName,
        /// The new name.
        name: IfName,
    },
    /// Moves a link to another place, where it is down, without addresses and in no bridge. What was kept of the place
    /// makes it as it was, once it is back.
    Move {
        /// Its interface name.
        interface: IfName,
        /// Where it goes.
        to: Place,
        /// Its name there.
        name: IfName,
    },
}

/// The kind of a link to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NewKind {
    /// A Linux bridge.
    Bridge,
    /// A link that leads nowhere.
    Dummy,
    /// One VLAN of another link.
    Vlan {
        /// The link whose packets have the tag.
        parent: IfName,
        /// The VLAN's number.
        id: u16,
    },
}

impl From<&LinkKind> for NewKind {
    fn from(kind: &LinkKind) -> Self {
        match kind {
            LinkKind::Dummy => Self::Dummy,
            LinkKind::Vlan { parent, id } => Self::Vlan { parent: parent.clone(), id: *id },
        }
    }
}

impl fmt::Display for NewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Dummy => "dummy",
            Self::Vlan { .. } => "VLAN",
        })
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
    /// Its MAC address; a random one when `None`.
    pub mac: Option<Mac>,
}

impl CableEnd {
    /// A free end, otherwise as the kernel likes.
    #[must_use]
    pub const fn named(place: Place, interface: IfName) -> Self {
        Self { place, interface, mtu: None, master: None, mac: None }
    }
}

impl LinkChange {
    /// Deletes a link of which no other end is known.
    #[must_use]
    pub const fn delete(interface: IfName) -> Self {
        Self::DeleteLink { interface, far: None }
    }
}

impl Faces for LinkChange {
    fn effect(&self) -> Option<Effect> {
        match self {
            Self::MarkLink { .. } => None,
            Self::CreateLink { .. } | Self::CreateCable { .. } => Some(Effect::Add),
            Self::SetUp { .. }
            | Self::SetDown { .. }
            | Self::SetMaster { .. }
            | Self::SetMtu { .. }
            | Self::SetMac { .. }
            | Self::Rename { .. }
            | Self::Move { .. } => Some(Effect::Modify),
            Self::DeleteLink { .. } => Some(Effect::Remove),
        }
    }

    fn describe(&self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = At(place);
        match self {
            Self::CreateLink { interface, kind, .. } => write!(f, "create {kind} `{interface}` {at}"),
            Self::CreateCable { a, b, .. } => {
                let (near, far) = (&a.interface, &b.interface);
                write!(f, "create cable `{near}` {at} to `{far}` {}", At(&b.place))
            }
            Self::DeleteLink { interface, .. } => write!(f, "delete link `{interface}` {at}"),
            Self::MarkLink { interface, .. } => write!(f, "mark link `{interface}` {at}"),
            Self::SetUp { interface } => write!(f, "set link `{interface}` {at} up"),
            Self::SetDown { interface } => write!(f, "set link `{interface}` {at} down"),
            Self::SetMaster { interface, master: Some(master), .. } => {
                write!(f, "plug link `{interface}` {at} into bridge `{master}`")
            }
            Self::SetMaster { interface, master: None, .. } => write!(f, "unplug link `{interface}` {at}"),
            Self::SetMtu { interface, mtu, .. } => write!(f, "set MTU {mtu} of link `{interface}` {at}"),
            Self::SetMac { interface, mac } => write!(f, "set MAC address {mac} of link `{interface}` {at}"),
            Self::Rename { interface, name } => write!(f, "rename link `{interface}` {at} to `{name}`"),
            Self::Move { interface, to: Place::Host, .. } => {
                write!(f, "move link `{interface}` {at} to the host")
            }
            Self::Move { interface, to, .. } => write!(f, "move link `{interface}` {at} to namespace `{to}`"),
        }
    }

    fn commands(&self, place: &Place) -> Vec<String> {
        let ip = command::ip(place);
        vec![match self {
            Self::CreateLink { interface, kind, mtu, mac, up } => {
                let (mtu, mac) = (mtu_words(*mtu), mac_words(*mac));
                let (above, kind) = match kind {
                    NewKind::Bridge => (String::new(), "bridge".to_owned()),
                    NewKind::Dummy => (String::new(), "dummy".to_owned()),
                    NewKind::Vlan { parent, id } => {
                        (format!("link {parent:#} name "), format!("vlan id {id}"))
                    }
                };
                let mut commands = vec![format!("{ip} link add {above}{interface:#}{mtu}{mac} type {kind}")];
                commands.extend(up.then(|| format!("{ip} link set {interface:#} up")));
                return commands;
            }
            Self::CreateCable { a, b, up } => return create_cable(a, b, *up),
            Self::DeleteLink { interface, .. } => format!("{ip} link delete {interface:#}"),
            Self::MarkLink { .. } => return Vec::new(),
            Self::SetUp { interface } => format!("{ip} link set {interface:#} up"),
            Self::SetDown { interface } => format!("{ip} link set {interface:#} down"),
            Self::SetMaster { interface, master: Some(master), .. } => {
                format!("{ip} link set {interface:#} master {master:#}")
            }
            Self::SetMaster { interface, master: None, .. } => {
                format!("{ip} link set {interface:#} nomaster")
            }
            Self::SetMtu { interface, mtu, .. } => format!("{ip} link set {interface:#} mtu {mtu}"),
            Self::SetMac { interface, mac } => format!("{ip} link set {interface:#} address {mac}"),
            Self::Rename { interface, name } => format!("{ip} link set {interface:#} name {name:#}"),
            Self::Move { interface, to, name } => {
                let renamed = if name == interface { String::new() } else { format!(" name {name:#}") };
                format!("{ip} link set {interface:#}{}{renamed}", command::netns_words(place, to))
            }
        }]
    }

    fn inverse(&self, place: &Place) -> Vec<Op> {
        vec![match self.clone() {
            Self::CreateLink { interface, .. } => Op::new(place, Self::delete(interface)),
            Self::CreateCable { a, .. } => Op::new(place, Self::delete(a.interface)),
            Self::SetMaster { interface, master, before } => {
                Op::new(place, Self::SetMaster { interface, master: before, before: master })
            }
            Self::SetMtu { interface, mtu, before } => {
                Op::new(place, Self::SetMtu { interface, mtu: before, before: mtu })
            }
            Self::SetUp { interface } => Op::new(place, Self::SetDown { interface }),
            Self::SetDown { interface } => Op::new(place, Self::SetUp { interface }),
            Self::Rename { interface, name } => {
                Op::new(place, Self::Rename { interface: name, name: interface })
            }
            Self::Move { interface, to, name } => {
                Op::new(&to, Self::Move { interface: name, to: place.clone(), name: interface })
            }
            Self::MarkLink { interface, alias, before: Some(before) } => {
                Op::new(place, Self::MarkLink { interface, alias: before, before: Some(alias) })
            }
            Self::DeleteLink { .. } | Self::MarkLink { before: None, .. } | Self::SetMac { .. } => {
                return Vec::new();
            }
        }]
    }

    fn message(&self) -> Option<&dyn Message> {
        Some(self)
    }

    fn link(&self) -> Option<&IfName> {
        match self {
            Self::CreateLink { interface, .. }
            | Self::CreateCable { a: CableEnd { interface, .. }, .. }
            | Self::DeleteLink { interface, .. }
            | Self::MarkLink { interface, .. }
            | Self::SetUp { interface }
            | Self::SetDown { interface }
            | Self::SetMaster { interface, .. }
            | Self::SetMtu { interface, .. }
            | Self::SetMac { interface, .. }
            | Self::Rename { interface, .. }
            | Self::Move { interface, .. } => Some(interface),
        }
    }
}

impl Message for LinkChange {
    fn needs_index(&self) -> Option<&IfName> {
        match self {
            Self::CreateCable { a, .. } => a.master.as_ref(),
            Self::SetMaster { master, .. } => master.as_ref(),
            Self::Rename { interface, .. } | Self::Move { interface, .. } => Some(interface),
            Self::CreateLink { kind: NewKind::Vlan { parent, .. }, .. } => Some(parent),
            Self::CreateLink { kind: NewKind::Bridge | NewKind::Dummy, .. }
            | Self::DeleteLink { .. }
            | Self::MarkLink { .. }
            | Self::SetUp { .. }
            | Self::SetDown { .. }
            | Self::SetMac { .. }
            | Self::SetMtu { .. } => None,
        }
    }

    fn renumbers<'a>(&'a self, place: &'a Place) -> Vec<(&'a Place, &'a IfName)> {
        match self {
            Self::CreateLink { interface, .. } | Self::DeleteLink { interface, .. } => {
                vec![(place, interface)]
            }
            Self::CreateCable { a, b, .. } => vec![(&a.place, &a.interface), (&b.place, &b.interface)],
            Self::Rename { interface, name } => vec![(place, interface), (place, name)],
            Self::Move { interface, to, name } => vec![(place, interface), (to, name)],
            Self::MarkLink { .. }
            | Self::SetUp { .. }
            | Self::SetDown { .. }
            | Self::SetMaster { .. }
            | Self::SetMac { .. }
            | Self::SetMtu { .. } => Vec::new(),
        }
    }

    fn request(&self, place: &Place, lookup: &dyn Lookup) -> Option<Request> {
        Some(match self {
            Self::CreateLink { interface, kind, mtu, mac, up } => {
                let address = mac.map(|mac| mac.0);
                let new = NewLink { mtu: *mtu, address, up: *up, ..NewLink::named(interface) };
                match kind {
                    NewKind::Bridge => link::create_bridge(&new),
                    NewKind::Dummy => link::create_dummy(&new),
                    NewKind::Vlan { parent, id } => {
                        link::create_vlan(&new, lookup.index(place, parent)?, *id)
                    }
                }
            }
            Self::CreateCable { a, b, up } => link::create_veth(
                &NewLink {
                    mtu: a.mtu,
                    address: a.mac.map(|mac| mac.0),
                    master: index(lookup, place, a.master.as_ref())?,
                    up: *up,
                    ..NewLink::named(&a.interface)
                },
                &Peer {
                    name: &b.interface,
                    index: None,
                    mtu: b.mtu,
                    address: b.mac.map(|mac| mac.0),
                    netns: lookup.netns(&b.place)?,
                },
            ),
            Self::DeleteLink { interface, .. } => link::delete(interface),
            Self::MarkLink { interface, alias, .. } => link::set_alias(interface, alias),
            Self::SetUp { interface } => link::set_up(interface),
            Self::SetDown { interface } => link::set_down(interface),
            Self::SetMaster { interface, master, .. } => {
                link::set_master(interface, index(lookup, place, master.as_ref())?)
            }
            Self::SetMtu { interface, mtu, .. } => link::set_mtu(interface, *mtu),
            Self::SetMac { interface, mac } => link::set_address(interface, mac.0),
            Self::Rename { interface, name } => link::rename(lookup.index(place, interface)?, name),
            Self::Move { interface, to, name } => {
                link::move_as(lookup.index(place, interface)?, lookup.netns(to)?, name)
            }
        })
    }
}

/// The index of an interface that may be left out; `None` while it is not known.
#[expect(clippy::option_option, reason = "an index that is not known is no index that is left out")]
pub(super) fn index(lookup: &dyn Lookup, place: &Place, interface: Option<&IfName>) -> Option<Option<u32>> {
    match interface {
        Some(interface) => lookup.index(place, interface).map(Some),
        None => Some(None),
    }
}

fn mtu_words(mtu: Option<u32>) -> String {
    mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"))
}

fn mac_words(mac: Option<Mac>) -> String {
    mac.map_or_else(String::new, |mac| format!(" address {mac}"))
}

fn create_cable(a: &CableEnd, b: &CableEnd, up: bool) -> Vec<String> {
    let (ip, netns) = (command::ip(&a.place), command::netns_words(&a.place, &b.place));
    let (near, far) = (&a.interface, &b.interface);
    let describe = |end: &CableEnd| format!("{}{}", mtu_words(end.mtu), mac_words(end.mac));
    let mut commands = vec![format!(
        "{ip} link add {near:#}{} type veth peer name {far:#}{}{netns}",
        describe(a),
        describe(b)
    )];
    if let Some(master) = &a.master {
        commands.push(format!("{ip} link set {near:#} master {master:#}"));
    }
    commands.extend(up.then(|| format!("{ip} link set {near:#} up")));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netns(name: &str) -> Place {
        Place::Netns(name.parse().unwrap())
    }

    fn interface(name: &str) -> IfName {
        name.parse().unwrap()
    }

    fn moved() -> Op {
        let (interface, name) = (interface("veth1"), interface("eth0"));
        Op::new(&Place::Host, LinkChange::Move { interface, to: netns("red"), name })
    }

    #[test]
    fn an_operation_names_object_and_place() {
        let (interface, mac) = (interface("br0"), Some(Mac([2, 0, 0, 0, 0, 1])));
        let create = LinkChange::CreateLink {
            interface: interface.clone(),
            kind: NewKind::Bridge,
            mtu: None,
            mac,
            up: true,
        };
        assert_eq!(Op::new(&netns("red"), create).to_string(), "create bridge `br0` in namespace `red`");
        let up = LinkChange::SetUp { interface };
        assert_eq!(Op::new(&Place::Host, up).to_string(), "set link `br0` on the host up");
    }

    #[test]
    fn a_link_that_is_moved_is_moved_back() {
        let [back] = <[Op; 1]>::try_from(moved().inverse()).unwrap();
        assert_eq!(back.to_string(), "move link `eth0` in namespace `red` to the host");
        assert_eq!(back.inverse(), [moved()]);
    }

    #[test]
    fn a_cable_is_made_where_its_ends_live() {
        let end = |place: &str, name: &str, master: Option<&str>| CableEnd {
            master: master.map(interface),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            ..CableEnd::named(netns(place), interface(name))
        };
        let (a, b) = (end("router", "veth-red-br", Some("br0")), end("red", "eth0", None));
        assert_eq!(
            Op::new(&a.place.clone(), LinkChange::CreateCable { a, b, up: true }).commands(),
            [
                "ip -n router link add veth-red-br address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:01 netns red",
                "ip -n router link set veth-red-br master br0",
                "ip -n router link set veth-red-br up",
            ]
        );
        let (a, b) =
            (CableEnd::named(netns("red"), interface("v0")), CableEnd::named(Place::Host, interface("v1")));
        assert_eq!(
            Op::new(&a.place.clone(), LinkChange::CreateCable { a, b, up: false }).commands(),
            ["ip -n red link add v0 type veth peer name v1 netns 1"]
        );
        assert_eq!(moved().commands(), ["ip link set veth1 netns red name eth0"]);
    }

    #[test]
    fn json_names_the_operation_and_its_place() {
        let down = Op::new(&netns("red"), LinkChange::SetDown { interface: interface("eth0") });
        assert_eq!(
            serde_json::to_string(&down).unwrap(),
            r#"{"place":"red","op":"set-down","interface":"eth0"}"#
        );
    }
}
