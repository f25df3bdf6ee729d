//! `netctl link ls`: the links of a place, with what is behind them.

use serde::Serialize;

use super::super::{
    Error, find, links, name_of, owner_of,
    peer::{self, Peer},
};
use crate::{
    model::{IfName, Place, TopologyName},
    netlink::{fdb, link},
    op::Mac,
    place::Places,
};

/// Whether a link works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is up and has a carrier.
    Up,
    /// It is up; the cable's other end is down, or the bridge has no port that is up.
    NoCarrier,
    /// It is down.
    Down,
}

impl From<&link::Link> for State {
    fn from(link: &link::Link) -> Self {
        match (link.up, link.lower_up) {
            (true, true) => Self::Up,
            (true, false) => Self::NoCarrier,
            (false, _) => Self::Down,
        }
    }
}

/// A line of `netctl link ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub state: State,
    /// The driver's word, `veth`, `bridge`, ..; `null` for the loopback and hardware.
    pub kind: Option<String>,
    /// What is behind it.
    pub peer: Option<Peer>,
    /// The bridge that it is plugged into.
    pub master: Option<String>,
    /// Bytes.
    pub mtu: u32,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// Free text, such as an owner's mark.
    pub alias: Option<String>,
    /// The topology that made it.
    pub owner: Option<TopologyName>,
    /// Of a bridge's port: the MAC addresses that the bridge has seen behind it.
    pub learned: Vec<Mac>,
}

/// Which links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The one of this name.
    pub interface: Option<IfName>,
    /// The ports of this bridge.
    pub master: Option<IfName>,
}

/// The links of a place, in the order of their indexes.
///
/// # Errors
/// If the place, or a link that the filter names, is not there or may not be looked at.
pub fn ls(place: &Place, filter: &Filter) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    let all = links(&mut places, place)?;
    let mut shown = all.clone();
    if let Some(interface) = &filter.interface {
        shown = vec![find(shown, place, interface, "show link")?];
    }
    if let Some(master) = &filter.master {
        let bridge = find(all.clone(), place, master, "show the ports of")?;
        shown.retain(|link| link.master == Some(bridge.index));
    }
    let has_ports = shown.iter().any(|link| link.master.is_some());
    let learned = if has_ports { fdb::dump(places.socket(place)?)? } else { Vec::new() };
    let mut peers = peer::resolve(place, &all, &mut places);
    Ok(shown
        .into_iter()
        .map(|link| {
            let peer = peers.remove(&link.index);
            Listed::new(link, peer, &all, &learned)
        })
        .collect())
}

impl Listed {
    /// A link of those of its place, and what the place's bridges have learned.
    pub(crate) fn new(
        link: link::Link,
        peer: Option<Peer>,
        all: &[link::Link],
        learned: &[fdb::Entry],
    ) -> Self {
        Self {
            index: link.index,
            state: State::from(&link),
            peer,
            master: link.master.map(|index| name_of(all, index)),
            mtu: link.mtu,
            mac: link.address.map(Mac),
            owner: owner_of(&link),
            learned: behind(link.index, learned),
            name: link.name,
            kind: link.kind,
            alias: link.alias,
        }
    }
}

/// Each once, whatever VLAN it was seen in.
fn behind(port: u32, entries: &[fdb::Entry]) -> Vec<Mac> {
    let its = entries.iter().filter(|entry| entry.port == port && entry.is_learned());
    let mut macs: Vec<[u8; 6]> = its.map(|entry| entry.mac).collect();
    macs.sort_unstable();
    macs.dedup();
    macs.into_iter().map(Mac).collect()
}
