//! The owner's mark, and the MAC address that stands in for it. Pure.

use crate::{
    model::{Place, TopologyName},
    netlink::link,
    op::{Mac, Machine},
};

const MARK: &str = "netctl:";

/// What `IFLA_IFALIAS` takes: `IFALIASZ` without the closing NUL.
const ALIAS: usize = 255;

/// The mark that every link of a topology carries as its alias, and the loopback of every namespace that it owns:
/// `netctl:TOPOLOGY`.
#[must_use]
pub fn mark(topology: &TopologyName) -> String {
    format!("{MARK}{topology}")
}

/// The mark of a link that the kernel has a shortened name of: `netctl:TOPOLOGY/FULL-NAME`, cut where an alias ends.
#[must_use]
pub fn mark_in_full(topology: &TopologyName, full_name: &str) -> String {
    let mut alias = format!("{}/{full_name}", mark(topology));
    alias.truncate(alias.floor_char_boundary(ALIAS));
    alias
}

/// Whose mark an alias is.
#[must_use]
pub fn owner(alias: &str) -> Option<TopologyName> {
    let rest = alias.strip_prefix(MARK)?;
    rest.split_once('/').map_or(rest, |(topology, _)| topology).parse().ok()
}

/// Whose a link of `place` is: by its mark or, where it has none, by the MAC address that only `topology` on this `machine`
/// gives a link of that name. The address travels in the message that creates a link, the mark in the next one: a netctl
/// that is killed between the two still knows what it left. And an alias that somebody else writes hides nothing.
#[must_use]
pub fn owner_of(
    link: &link::Link,
    place: &Place,
    topology: &TopologyName,
    machine: Machine,
) -> Option<TopologyName> {
    if let Some(owner) = link.alias.as_deref().and_then(owner) {
        return Some(owner);
    }
    let own = Mac::of(machine, topology, place, &link.name.parse().ok()?);
    (link.address == Some(own.0)).then(|| topology.clone())
}

/// The full name in a link's mark, if there is one.
#[must_use]
pub fn full_name(alias: &str) -> Option<&str> {
    owner(alias)?;
    alias.split_once('/').map(|(_, full_name)| full_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_owner() {
        let office: TopologyName = "office".parse().unwrap();
        assert_eq!(owner(&mark(&office)), Some(office));
        assert_eq!(owner("uplink to netctl:office"), None);
        assert_eq!(owner("netctl:"), None);
        assert_eq!(full_name("netctl:office"), None);
    }

    #[test]
    fn a_mark_has_the_full_name_of_a_shortened_one_as_far_as_it_goes() {
        let office: TopologyName = "office".parse().unwrap();
        let alias = mark_in_full(&office, "the-office/network");
        assert_eq!(alias, "netctl:office/the-office/network");
        assert_eq!((owner(&alias), full_name(&alias)), (Some(office), Some("the-office/network")));
        assert_eq!(full_name("somebody's/alias"), None);
        let longest: TopologyName = "x".repeat(200).parse().unwrap();
        let alias = mark_in_full(&longest, &"é".repeat(100));
        assert_eq!((alias.len(), owner(&alias)), (254, Some(longest)));
    }
}
