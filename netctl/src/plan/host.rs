//! The host's own networks, which a topology must not cut off.
//!
//! A subnet that overlaps one that the host knows would take its traffic, or lose its own to it. Only what is about to
//! be added is looked at: what is there already has shown that it can be.

use std::{collections::HashSet, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Conflict, Given, Neighbour, Overlap, wanted_addresses};
use crate::{
    model::{IfName, Place, networks::Networks},
    observed::HostRoute,
};

/// Refuses subnets of the host that it has no room for.
pub(super) fn check(given: Given<'_>) -> Result<(), Conflict> {
    let mut new = new_subnets(given).peekable();
    if new.peek().is_none() {
        return Ok(());
    }
    let neighbours = neighbours(given);
    for (interface, subnet) in new {
        if let Some((_, neighbour)) = neighbours.overlapping(subnet).next() {
            return Err(Conflict::Subnet(Box::new(Overlap {
                subnet,
                link: called(interface, given),
                neighbour: neighbour.clone(),
                free: free(subnet, &neighbours, given),
            })));
        }
    }
    Ok(())
}

/// The subnets that this plan brings to the host, each with its link.
fn new_subnets<'a>(given: Given<'a>) -> impl Iterator<Item = (&'a IfName, IpNet)> {
    let host = given.there(&Place::Host);
    let is_there = move |interface: &IfName, address: &IpNet| {
        let link = host.and_then(|host| host.links.get(interface)).filter(|link| given.is_ours(link));
        link.is_some_and(|link| link.addresses.contains(address))
    };
    let wanted =
        wanted_addresses(given.topology).into_iter().filter(|((place, _), _)| **place == Place::Host);
    let addresses = wanted
        .flat_map(|((_, interface), addresses)| addresses.iter().map(move |address| (interface, address)));
    addresses
        .filter(move |(interface, address)| is_subnet(address) && !is_there(interface, address))
        .map(|(interface, address)| (interface, address.trunc()))
}

/// A link of the host as the file calls it.
fn called(interface: &IfName, given: Given<'_>) -> String {
    let its = given.topology.interface(&Place::Host, interface);
    its.map_or(interface.as_str(), |its| its.called()).to_owned()
}

/// An address of full length brings no subnet; link-local ones are on every link.
fn is_subnet(address: &IpNet) -> bool {
    address.prefix_len() < address.max_prefix_len() && !is_link_local(address)
}

fn is_link_local(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

/// What the host has beside the topology: addresses first, whose subnets are routes as well.
fn neighbours(given: Given<'_>) -> Networks<Neighbour> {
    let links = || given.there(&Place::Host).into_iter().flat_map(|host| &host.links);
    let foreign = links().filter(|(_, link)| !given.is_ours(link));
    let addresses = foreign.flat_map(|(interface, link)| {
        link.addresses.iter().map(|&address| {
            let (interface, owner) = (interface.clone(), link.owner.clone());
            (address, Neighbour::Address { interface, address, owner })
        })
    });
    let own: HashSet<&IfName> =
        links().filter(|(_, link)| given.is_ours(link)).map(|(name, _)| name).collect();
    let wanted: HashSet<(IpNet, Option<IpAddr>, Option<&IfName>)> = given
        .topology
        .routes
        .iter()
        .filter(|route| route.place == Place::Host && route.is_main())
        .map(|route| (route.to, route.via, route.dev.as_ref()))
        .collect();
    let is_own = |route: &HostRoute| {
        let interface = route.interface.as_ref();
        wanted.contains(&(route.to, route.via, None))
            || wanted.contains(&(route.to, route.via, interface))
            || interface.is_some_and(|name| own.contains(name))
    };
    let routes = given.observed.host_routes.iter().filter(|route| !is_own(route));
    let routes = routes.map(|route| (route.to, Neighbour::Route(route.clone())));
    // A default route is in nobody's way, nor are its halves, as OpenVPN's `redirect-gateway def1` sets them.
    addresses.chain(routes).filter(|(net, _)| net.prefix_len() > 1 && !is_link_local(net)).collect()
}

/// The first private subnet of this size (RFC 1918, RFC 4193) that neither the host nor the topology has: behind the
/// one that is taken if there is one, else the lowest.
fn free(taken: IpNet, neighbours: &Networks<Neighbour>, given: Given<'_>) -> Option<IpNet> {
    let own = wanted_addresses(given.topology).into_values().flatten().map(|&net| (net, ()));
    let own: Networks<()> = own.collect();
    let overlapped = |net: IpNet| -> Option<IpNet> {
        let neighbour = neighbours.overlapping(net).map(|(other, _)| other).next();
        neighbour.or_else(|| own.overlapping(net).map(|(other, ())| other).next())
    };
    let ranges = private(taken);
    let here = ranges.iter().filter(|range| range.contains(&taken)).map(|&range| (range, taken));
    let starts = ranges.iter().filter_map(|&range| Some((range, first(range, taken.prefix_len())?)));
    here.chain(starts).find_map(|(range, start)| {
        let mut candidate = start;
        while range.contains(&candidate) {
            let Some(other) = overlapped(candidate) else { return Some(candidate) };
            let wider = if other.prefix_len() < candidate.prefix_len() { other } else { candidate };
            candidate = after(wider, taken.prefix_len())?;
        }
        None
    })
}

/// The ranges of the family that anyone may use.
fn private(taken: IpNet) -> Vec<IpNet> {
    let ranges: &[&str] = match taken {
        IpNet::V4(_) => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        IpNet::V6(_) => &["fd00::/8"],
    };
    ranges.iter().filter_map(|range| range.parse().ok()).collect()
}

/// The first subnet of a length in a range.
fn first(range: IpNet, length: u8) -> Option<IpNet> {
    IpNet::new(range.network(), length).ok().filter(|_| length >= range.prefix_len())
}

/// The first subnet of a length behind `net`, which is not longer.
fn after(net: IpNet, length: u8) -> Option<IpNet> {
    match net {
        IpNet::V4(net) => {
            let next = u32::from(net.broadcast()).checked_add(1)?;
            Ipv4Net::new(next.into(), length).ok().map(IpNet::V4)
        }
        IpNet::V6(net) => {
            let next = u128::from(net.broadcast()).checked_add(1)?;
            Ipv6Net::new(next.into(), length).ok().map(IpNet::V6)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advice,
        model::Topology,
        observed::{Observed, ObservedPlace},
        plan::plan,
    };

    const OFFICE: &str = "[namespaces.red]\n[bridges.br0]\naddresses = ['192.168.15.5/24', 'fd15::5/64']\n\
                          ports.red = {}";

    fn office() -> Topology {
        Topology::parse(OFFICE, "f", "office".parse().unwrap()).unwrap()
    }

    fn route(to: &str, via: Option<&str>, interface: &str) -> HostRoute {
        let interface = Some(interface.parse().unwrap());
        HostRoute {
            to: to.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
            interface,
            advertised: false,
        }
    }

    fn host_with(routes: &[HostRoute]) -> Observed {
        let mut observed = Observed { host_routes: routes.to_vec(), ..Observed::default() };
        observed.places.insert(Place::Host, ObservedPlace::default());
        observed
    }

    fn refusal(observed: &Observed) -> Option<(String, String)> {
        refusal_of(&office(), observed)
    }

    fn refusal_of(topology: &Topology, observed: &Observed) -> Option<(String, String)> {
        plan(topology, observed).err().map(|conflict| (conflict.to_string(), advice::of(&conflict).unwrap()))
    }

    #[test]
    fn a_subnet_that_the_host_has_a_route_to_is_refused_and_a_free_one_named() {
        let put = "put 192.168.15.0/24 on the host (`br0`): it overlaps the host's route to";
        let cases = [
            (
                route("192.168.0.0/16", Some("10.0.0.1"), "eth0"),
                "192.168.0.0/16 via 10.0.0.1 dev eth0",
                "10.0.0.0/24",
            ),
            (route("192.168.15.128/25", None, "tun0"), "192.168.15.128/25 dev tun0", "192.168.16.0/24"),
            (route("192.168.15.7/32", None, "tun0"), "192.168.15.7/32 dev tun0", "192.168.16.0/24"),
        ];
        for (route, named, free) in cases {
            let expected = (format!("{put} {named}"), format!("{free} is free"));
            assert_eq!(refusal(&host_with(&[route])), Some(expected));
        }
        let ipv6 = refusal(&host_with(&[route("fd15::/48", None, "wg0")])).unwrap();
        assert_eq!(
            ipv6,
            (
                "put fd15::/64 on the host (`br0`): it overlaps the host's route to fd15::/48 dev wg0"
                    .to_owned(),
                "fd15:0:1::/64 is free".to_owned()
            )
        );
    }

    #[test]
    fn a_foreign_address_is_named_with_its_owner() {
        let other = "[namespaces.a]\n[bridges.lab0]\naddresses = ['192.168.15.1/25']";
        let lab = Topology::parse(other, "f", "lab".parse().unwrap()).unwrap();
        assert_eq!(
            refusal(&Observed::settled(&lab)).unwrap().0,
            "put 192.168.15.0/24 on the host (`br0`): it overlaps the address 192.168.15.1/25 of `lab0`, \
             which belongs to the topology `lab`"
        );
    }

    #[test]
    fn routes_that_lead_everywhere_and_the_topologys_own_are_in_nobodys_way() {
        let everywhere = [
            route("0.0.0.0/0", Some("10.0.0.1"), "eth0"),
            route("128.0.0.0/1", None, "tun0"),
            route("::/0", None, "eth0"),
            route("fe80::/64", None, "eth0"),
            route("10.0.0.0/8", None, "eth0"),
        ];
        assert_eq!(refusal(&host_with(&everywhere)), None);
        let mut settled = Observed::settled(&office());
        assert_eq!(settled.host_routes.len(), 2);
        // It came later: what is up stays up.
        settled.host_routes.push(route("192.168.0.0/16", None, "tun0"));
        assert_eq!(refusal(&settled), None);
    }

    #[test]
    fn the_subnet_of_a_dummy_is_refused_like_that_of_a_bridge() {
        let text =
            "[[links]]\ninterface = 'dummy-of-the-office'\nkind = 'dummy'\naddresses = ['192.168.15.5/24']";
        let dummy = Topology::parse(text, "f", "office".parse().unwrap()).unwrap();
        let (refused, _) = refusal_of(&dummy, &host_with(&[route("192.168.0.0/16", None, "tun0")])).unwrap();
        assert_eq!(
            refused,
            "put 192.168.15.0/24 on the host (`dummy-of-the-office`): it overlaps the host's route to \
             192.168.0.0/16 dev tun0"
        );
    }

    #[test]
    fn a_route_of_the_file_by_another_interface_is_not_the_one_that_is_there() {
        let text = format!(
            "{OFFICE}\n[[routes]]\nnamespace = 'host'\nto = '192.168.15.0/25'\ndev = 'eth9'\n\
             [[routes]]\nnamespace = 'host'\nto = '192.168.15.128/25'\ndev = 'eth9'\ntable = 7"
        );
        let topology = Topology::parse(&text, "f", "office".parse().unwrap()).unwrap();
        let is_refused = |to: &str, interface: &str| {
            refusal_of(&topology, &host_with(&[route(to, None, interface)])).is_some()
        };
        assert!(!is_refused("192.168.15.0/25", "eth9"));
        assert!(is_refused("192.168.15.0/25", "tun0"));
        assert!(is_refused("192.168.15.128/25", "eth9"), "the file's is of another table");
    }

    #[test]
    fn where_nothing_is_free_nothing_is_suggested() {
        let full: Vec<_> =
            ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|to| route(to, None, "x")).into();
        assert_eq!(refusal(&host_with(&full)).unwrap().1, "choose another subnet in the file");
    }
}
