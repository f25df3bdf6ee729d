//! Neighbours: whether the kernel, which has one table a family for all namespaces together, has room for them.

use std::collections::BTreeSet;

use super::Finding;
use crate::{
    model::{Gateway, IfName, Place, Topology, is_link_local},
    netlink::{
        Socket,
        neightbl::{self, Table},
    },
    netns::{Netns, NetnsError},
};

/// A gateway with more neighbours than the kernel's table takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    /// Where it is.
    pub gateway: Place,
    /// Whether they are of IPv4, or of IPv6.
    pub ipv4: bool,
    /// How many there are.
    pub neighbours: usize,
    /// How many entries they can take: one of each, and one each has of the gateway.
    pub entries: usize,
    /// How many there is room for.
    pub limit: u32,
}

impl Crowd {
    /// What it comes to.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "`{}` has {} {} neighbours: with what they know of it {} entries, and the kernel's neighbour table holds {} \
             for all namespaces together; beyond that it drops packets",
            self.gateway,
            self.neighbours,
            if self.ipv4 { "IPv4" } else { "IPv6" },
            self.entries,
            self.limit
        )
    }

    /// The command that makes room.
    #[must_use]
    pub fn remedy(&self) -> String {
        room(self.ipv4, 2 * self.entries)
    }
}

/// The command, for the machine's own namespace, that makes room for so many.
fn room(ipv4: bool, entries: usize) -> String {
    let family = if ipv4 { "ipv4" } else { "ipv6" };
    format!("sysctl -w net.{family}.neigh.default.gc_thresh3={}", entries.next_power_of_two())
}

/// The gateways of a topology that have too many neighbours. What cannot be known is left out.
#[must_use]
pub fn crowds(topology: &Topology) -> Vec<Crowd> {
    // Far below any limit there is no need to ask the kernel.
    const FEW: usize = 100;
    let all: Vec<_> = topology.gateways.iter().flat_map(|gateway| counted(gateway, topology)).collect();
    if all.iter().all(|crowd| crowd.entries < FEW) {
        return Vec::new();
    }
    beyond(all, &tables())
}

fn beyond(all: Vec<Crowd>, tables: &[Table]) -> Vec<Crowd> {
    let limited = |crowd: Crowd| {
        let limit = tables.iter().find(|table| table.ipv4 == crowd.ipv4)?.limit;
        (crowd.entries > limit as usize).then_some(Crowd { limit, ..crowd })
    };
    all.into_iter().filter_map(limited).collect()
}

/// A gateway's neighbours of both families on its segments, whatever the limit.
fn counted(gateway: &Gateway, topology: &Topology) -> [Crowd; 2] {
    let place = &gateway.place;
    let bridges: BTreeSet<&IfName> =
        topology.bridges.iter().filter(|bridge| bridge.place == *place).map(|bridge| &bridge.name).collect();
    let is_near = |master: &Option<IfName>| master.as_ref().is_none_or(|name| bridges.contains(name));
    let near: Vec<_> = topology
        .cables
        .iter()
        .flat_map(|cable| [(&cable.a, &cable.b), (&cable.b, &cable.a)])
        .filter(|(own, far)| own.place == *place && far.place != *place && is_near(&own.master))
        .map(|(_, far)| far)
        .collect();
    [true, false].map(|ipv4| {
        let of_family = |end: &&&crate::model::End| {
            end.addresses
                .iter()
                .filter(|net| net.addr().is_ipv4() == ipv4 && !is_link_local(net.addr()))
                .count()
        };
        let counts: Vec<usize> = near.iter().map(|end| of_family(&end)).filter(|count| *count > 0).collect();
        let neighbours: usize = counts.iter().sum();
        Crowd { gateway: place.clone(), ipv4, neighbours, entries: neighbours + counts.len(), limit: 0 }
    })
}

/// The kernel's tables, if it tells of them.
pub(crate) fn tables() -> Vec<Table> {
    let dump = || Ok::<_, NetnsError>(Socket::open().and_then(|mut socket| neightbl::dump(&mut socket)));
    match Netns::current().and_then(|netns| netns.run(dump)) {
        Ok(Ok(tables)) => tables,
        Ok(Err(error)) => {
            tracing::debug!("neighbour tables: {error}");
            Vec::new()
        }
        Err(error) => {
            tracing::debug!("neighbour tables: {error}");
            Vec::new()
        }
    }
}

/// Whether there was too little room at some time.
pub(super) fn examine() -> Vec<Finding> {
    overflowed(&tables())
}

fn overflowed(tables: &[Table]) -> Vec<Finding> {
    let finding = |table: &Table| {
        let family = if table.ipv4 { "IPv4" } else { "IPv6" };
        let text = format!(
            "the table of {family} neighbours, {} for all namespaces together, was full {} times since the machine is \
             up: packets were dropped",
            table.limit, table.overflows
        );
        Finding::warning(text, room(table.ipv4, 4 * table.limit as usize))
    };
    tables.iter().filter(|table| table.overflows > 0).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(namespaces: usize) -> Topology {
        let text = format!(
            "[namespaces.n]\ncount = {namespaces}\n[namespaces.gate]\n[namespaces.out]\n[bridges.br0]\nnamespace = 'gate'\n\
             addresses = ['10.0.0.1/16']\n[bridges.br0.ports]\nn = {{}}\n\
             [[cables]]\na = {{ namespace = 'gate', interface = 'wan', addresses = ['192.0.2.1/24'] }}\n\
             b = {{ namespace = 'out', interface = 'eth0', addresses = ['192.0.2.2/24'] }}\n\
             [[nat.masquerade]]\nnamespace = 'gate'\nsource = '10.0.0.0/16'\nout = 'wan'\n"
        );
        Topology::parse(&text, "f", "trial".parse().unwrap())
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn a_gateway_with_more_neighbours_than_there_is_room_for_is_named_with_the_sysctl() {
        let tables = [
            Table { ipv4: true, limit: 1024, overflows: 0 },
            Table { ipv4: false, limit: 1024, overflows: 0 },
        ];
        let of = |namespaces| {
            let topology = topology(namespaces);
            beyond(counted(&topology.gateways[0], &topology).to_vec(), &tables)
        };
        assert_eq!(of(400), []);
        let crowds = of(1000);
        let [crowd] = crowds.as_slice() else { panic!("{crowds:?}") };
        assert_eq!((crowd.neighbours, crowd.entries, crowd.ipv4), (1001, 2002, true));
        assert!(
            crowd
                .text()
                .starts_with("`gate` has 1001 IPv4 neighbours: with what they know of it 2002 entries")
        );
        assert_eq!(crowd.remedy(), "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096");
    }

    #[test]
    fn a_table_that_was_full_is_a_warning() {
        let table = Table { ipv4: false, limit: 1024, overflows: 3 };
        let [finding] = overflowed(&[table, Table { overflows: 0, ..table }]).try_into().unwrap();
        assert!(finding.text.contains("was full 3 times"), "{finding:?}");
        assert_eq!(finding.fix.unwrap(), "sysctl -w net.ipv6.neigh.default.gc_thresh3=4096");
    }
}
