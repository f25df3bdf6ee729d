//! The addresses of all links together: no two in each other's way.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    Place, Problem,
    address::is_link_local,
    error::Error,
    links::{Interface, Links},
    networks::{Networks, overlap},
};

/// No address is there twice on a segment or in a place, and no place is connected to one subnet by two segments.
pub(super) fn check(links: &Links) -> Result<(), Error> {
    let mut claims = Claims::default();
    for interface in &links.interfaces {
        for (index, &net) in interface.addresses.iter().enumerate() {
            let claim = Claim { interface, net };
            if let Some(problem) = claims.earliest_conflict(&claim) {
                let path = if interface.allotted {
                    interface.path.clone()
                } else {
                    interface.path.key("addresses").index(index)
                };
                return Err(Error::new(path, problem));
            }
            claims.add(claim);
        }
    }
    Ok(())
}

/// The addresses seen so far, none of which is in another's way.
#[derive(Default)]
struct Claims<'a> {
    all: Vec<Claim<'a>>,
    /// What follows are indexes of `all`.
    on_segment: BTreeMap<(Option<usize>, IpAddr), usize>,
    in_place: BTreeMap<(&'a Place, IpAddr), usize>,
    /// One claim for each subnet suffices: those of one place that overlap are all on one segment.
    subnets: BTreeMap<&'a Place, Networks<usize>>,
}

impl<'a> Claims<'a> {
    fn earliest_conflict(&self, claim: &Claim<'_>) -> Option<Problem> {
        let (link, address) = (claim.interface, claim.net.addr());
        let same =
            [self.on_segment.get(&(link.segment, address)), self.in_place.get(&(&link.place, address))];
        let subnets = self.subnets.get(&link.place);
        let near =
            subnets.into_iter().flat_map(|subnets| subnets.overlapping(claim.net)).map(|(_, index)| index);
        let mut candidates: Vec<usize> = same.into_iter().flatten().chain(near).copied().collect();
        candidates.sort_unstable();
        candidates.into_iter().find_map(|index| claim.conflict(&self.all[index]))
    }

    fn add(&mut self, claim: Claim<'a>) {
        let (index, link, address) = (self.all.len(), claim.interface, claim.net.addr());
        self.on_segment.entry((link.segment, address)).or_insert(index);
        self.in_place.entry((&link.place, address)).or_insert(index);
        if claim.is_subnet() && !is_link_local(address) {
            self.subnets.entry(&link.place).or_default().insert(claim.net, index);
        }
        self.all.push(claim);
    }
}

/// An address that an interface has.
struct Claim<'a> {
    interface: &'a Interface,
    net: IpNet,
}

impl Claim<'_> {
    fn conflict(&self, earlier: &Self) -> Option<Problem> {
        let address = self.net.addr();
        let same_segment = self.interface.segment == earlier.interface.segment;
        let same_place = self.interface.place == earlier.interface.place && !is_link_local(address);
        if address == earlier.net.addr() && (same_segment || same_place) {
            return Some(self.shared(earlier));
        }
        let apart = same_place && !same_segment && !is_link_local(earlier.net.addr());
        (apart && self.is_subnet() && earlier.is_subnet() && overlap(&self.net, &earlier.net)).then(|| {
            Problem::Overlap {
                subnet: self.net.trunc(),
                one: self.interface.described(),
                other_subnet: earlier.net.trunc(),
                other: earlier.interface.described(),
            }
        })
    }

    fn shared(&self, earlier: &Self) -> Problem {
        let address = self.net.addr();
        if std::ptr::eq(self.interface, earlier.interface) {
            return Problem::RepeatedAddress { address };
        }
        let ports = self.interface.plugged && earlier.interface.plugged;
        Problem::SharedAddress {
            links: if ports { "ports" } else { "interfaces" },
            one: earlier.interface.described(),
            other: self.interface.described(),
            address,
        }
    }

    /// An address of full length brings no subnet that could overlap another.
    fn is_subnet(&self) -> bool {
        self.net.prefix_len() < self.net.max_prefix_len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{assert_office_refused, assert_refused, office, topology};

    #[test]
    fn two_ports_with_one_address_are_refused_by_name() {
        assert_refused(&[(
            "[namespaces.red]\n[namespaces.blue]\n[bridges.b.ports]\nred = { addresses = ['10.0.0.1/24'] }\n\
             blue = { addresses = ['10.0.0.1/24'] }",
            "5: two ports with one address: `eth0` of `red` and `eth0` of `blue` both have 10.0.0.1 \
             (`bridges.b.ports.blue.addresses[0]`)",
            "",
        )]);
    }

    #[test]
    fn an_address_is_there_once_on_a_segment_and_in_a_place() {
        assert_office_refused(&[
            (
                "[bridges.br1]\nnamespace = 'router'\naddresses = ['203.0.113.1/32']",
                "12: two interfaces with one address: `br1` of `router` and `wan0` of `router` both have 203.0.113.1 \
                 (`cables[0].a.addresses[0]`)",
                "",
            ),
            (
                "[[cables]]\na = { namespace = 'red', interface = 'x', addresses = ['10.1.0.1/24'] }\n\
                 b = { namespace = 'blue', interface = 'x', addresses = ['10.1.0.1/24'] }",
                "16: two interfaces with one address: `x` of `red` and `x` of `blue` both have 10.1.0.1 \
                 (`cables[1].b.addresses[0]`)",
                "",
            ),
            (
                "[bridges.br1]\naddresses = ['10.1.0.1/24', '10.1.0.1/16']",
                "15: 10.1.0.1 is listed twice (`bridges.br1.addresses[1]`)",
                "",
            ),
        ]);
    }

    #[test]
    fn a_port_has_addresses_in_the_subnets_of_its_bridge() {
        let with = |address: &str| {
            format!(
                "[namespaces.red]\n[bridges.b]\naddresses = ['10.0.0.5/24', '10.0.1.5/24']\n\
                 ports.red.addresses = ['{address}']"
            )
        };
        assert_refused(&[(
            &with("10.0.2.1/24"),
            "4: 10.0.2.1 is outside the subnets of bridge `b`, 10.0.0.0/24, 10.0.1.0/24 \
             (`bridges.b.ports.red.addresses[0]`)",
            "",
        )]);
        for fine in ["10.0.1.1/24", "10.0.0.7/32", "fd15::1/64", "fe80::1/64"] {
            topology(&with(fine));
        }
    }

    #[test]
    fn a_place_is_not_connected_to_one_subnet_by_two_links() {
        let cable = |address: &str| {
            format!(
                "[[cables]]\na = {{ namespace = 'red', interface = 'x', addresses = ['{address}'] }}\n\
                 b = {{ namespace = 'internet', interface = 'x' }}"
            )
        };
        assert_office_refused(&[(
            &cable("10.0.0.130/25"),
            "15: subnet 10.0.0.128/25 of `x` of `red` overlaps 10.0.0.0/24 of `eth0` of `red`, \
             another link of the same place (`cables[1].a.addresses[0]`)",
            "",
        )]);
        for fine in ["10.0.1.1/24", "10.0.0.9/32", "fe80::1/64"] {
            office(&cable(fine));
        }
    }
}
