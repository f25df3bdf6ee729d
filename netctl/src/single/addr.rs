//! Addresses: `netctl addr`.

use std::net::IpAddr;

use ipnet::IpNet;
use neli::consts::rtnl::RtScope;
use serde::Serialize;

use super::{Error, Session, find, link::State, links};
use crate::{
    model::{IfName, Place, Topology},
    netlink::addr,
    op::{AddressChange, Op},
    place::Places,
};

/// A line of `netctl addr ls`: a link and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The link.
    pub interface: String,
    /// Whether it works.
    pub state: State,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The address and its subnet's prefix length.
    pub address: IpNet,
    /// How far it is valid: `global`, `link`, `host`, ..
    pub scope: &'static str,
    /// The other side's address, if it is a point-to-point one.
    pub peer: Option<IpAddr>,
    /// IPv4's broadcast address.
    pub broadcast: Option<IpAddr>,
    /// Whether it cannot be used yet, because it is still being looked for elsewhere.
    pub tentative: bool,
}

/// Gives a link an address, at once usable: `ip addr add ADDRESS dev IF nodad`.
///
/// # Errors
/// If the link is not there, or the kernel refuses.
pub fn add(
    session: &mut Session<'_>,
    place: &Place,
    interface: &IfName,
    address: IpNet,
) -> Result<Vec<Op>, Error> {
    session.link(place, interface, "add an address to")?;
    session.apply(vec![Op::new(place, AddressChange::add(interface.clone(), address))])
}

/// Takes an address from a link: `ip addr del ADDRESS dev IF`.
///
/// # Errors
/// If the link or the address is not there, a topology wants it, or the kernel refuses.
pub fn delete(
    session: &mut Session<'_>,
    place: &Place,
    interface: &IfName,
    address: IpNet,
) -> Result<Vec<Op>, Error> {
    let link = session.link(place, interface, "delete an address of")?;
    let mut there = addr::dump(session.places.socket(place)?)?;
    there.retain(|its| its.index == link.index);
    let order: Vec<IpNet> = there.iter().map(|its| its.address).collect();
    let op = Op::new(place, AddressChange::delete(interface.clone(), address, &order, |_| false));
    if !there.iter().any(|its| its.address == address) {
        let there = there.iter().map(|its| its.address.to_string()).collect();
        return Err(Error::NoAddress { op: Box::new(op), there });
    }
    let owner = session.who_wants(|record| wants(&record.topology, place, interface, address))?;
    session.refuse_owned(&op, owner)?;
    session.apply(vec![op])
}

fn wants(topology: &Topology, place: &Place, interface: &IfName, address: IpNet) -> bool {
    let mut wanted = topology.interfaces();
    wanted.any(|its| (its.place, its.interface) == (place, interface) && its.addresses.contains(&address))
}

/// The links of a place and their addresses; of one link only, if one is named.
///
/// # Errors
/// If the place or the link is not there or may not be looked at.
pub fn ls(place: &Place, interface: Option<&IfName>) -> Result<Vec<Listed>, Error> {
    let mut places = Places::default();
    let mut links = links(&mut places, place)?;
    if let Some(interface) = interface {
        links = vec![find(links, place, interface, "show the addresses of")?];
    }
    let all = addr::dump(places.socket(place)?)?;
    let of = |index| all.iter().filter(move |its| its.index == index).map(Address::from).collect();
    Ok(links
        .into_iter()
        .map(|link| Listed { state: State::from(&link), addresses: of(link.index), interface: link.name })
        .collect())
}

impl From<&addr::Address> for Address {
    fn from(its: &addr::Address) -> Self {
        Self {
            address: its.address,
            scope: scope_name(its.scope),
            peer: its.peer,
            broadcast: its.broadcast,
            tentative: its.is_tentative(),
        }
    }
}

/// As `ip` has it (`/etc/iproute2/rt_scopes`).
pub(super) fn scope_name(scope: RtScope) -> &'static str {
    match scope {
        RtScope::Universe => "global",
        RtScope::Site => "site",
        RtScope::Link => "link",
        RtScope::Host => "host",
        RtScope::Nowhere => "nowhere",
        _ => "unknown",
    }
}
