//! Who reaches whom: every place of a topology that is up pings every address of the others and connects to the forwarded
//! ports, and what comes of it is compared with what the topology lets expect. What `netctl ping` tells.

mod expect;
pub(crate) mod icmp;
mod neighbours;
pub(crate) mod network;
mod segments;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

pub use self::{expect::Why, wire::Outcome};
use self::{
    neighbours::Neighbours,
    network::{Network, Seat},
    wire::{call, echo},
};
use crate::{
    doctor, interrupt,
    model::{Forward, Gateway, NetnsName, Place, Protocol, Topology, TopologyName},
    netns::NetnsError,
    ownership,
    place::{self, Places},
    state::{self, Directories, NotUp},
    up,
};

/// Why nothing could be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not up.
    #[error("{0}")]
    NotUp(#[from] NotUp),
    /// This process may not.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// The record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] place::Error),
    /// A namespace could not be entered.
    #[error("{0}")]
    Netns(#[from] NetnsError),
    /// The user has seen enough.
    #[error("interrupted")]
    Interrupted,
}

/// Everything that was asked, and what came of it.
#[derive(Debug)]
pub struct Report {
    /// Of which topology.
    pub topology: TopologyName,
    /// Its places.
    pub places: Vec<Place>,
    /// All pings, then all connections.
    pub probes: Vec<Probe>,
    /// How often meanwhile a packet was dropped since the kernel's table of neighbours was full.
    pub overflows: u64,
}

/// One question and its answer.
#[derive(Debug)]
pub struct Probe {
    /// Who asked.
    pub from: Place,
    /// Whom: of a forwarded port, the gateway.
    pub to: Place,
    /// How.
    pub how: How,
    /// Whether an answer is expected, and why not.
    pub expected: Result<(), Why>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// An echo of this address, by ICMP.
    Echo(IpAddr),
    /// A connection to a forwarded port, by TCP.
    Connect {
        /// The forward, as the file's `listen` has it.
        listen: String,
        /// Where it was called.
        at: SocketAddr,
    },
}

impl Probe {
    /// Whether an answer was expected and did not come.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.expected.is_ok() && matches!(self.outcome, Outcome::Failed(_))
    }
}

/// What a topology lets expect, without asking anybody.
pub struct Expected<'a>(Network<'a>);

impl<'a> Expected<'a> {
    /// What `topology` does.
    #[must_use]
    pub fn of(topology: &'a Topology) -> Self {
        Self(Network::new(topology))
    }

    /// Whether `from` gets an answer to an echo of `to`.
    #[must_use]
    pub fn answers(&self, from: &Place, to: IpAddr) -> bool {
        expect::echo(&self.0, from, None, to).is_ok()
    }

    /// Whether `from` gets to a forward's server where the forward listens.
    #[must_use]
    pub fn connects(&self, from: &Place, at: SocketAddr) -> bool {
        expect::connect(&self.0, from, at.ip(), at.port()).is_ok()
    }
}

/// Asks everyone everything. Unanswered is what no answer came to within `timeout`.
///
/// # Errors
/// If the topology is not up, or a namespace of it is there and cannot be entered.
pub fn ping(name: &TopologyName, timeout: Duration, directories: &Directories) -> Result<Report, Error> {
    up::require_root()?;
    let record = directories.record(name)?.ok_or_else(|| NotUp(name.clone()))?;
    let topology = &record.topology;
    let places = topology.places();
    if places.contains(&Place::Host) {
        ownership::check_host(Some(&record)).map_err(up::Error::from)?;
    }
    let mut open = Places::default();
    let sockets = sockets(&places, &mut open)?;
    let _servers = servers(topology, &open);
    let mut probes = questions(topology, &places);
    let overflows = || doctor::tables().iter().map(|table| table.overflows).sum::<u64>();
    let before = overflows();
    ask(&mut probes, &sockets, &mut open, timeout)?;
    let overflows = overflows().saturating_sub(before);
    if interrupt::is_requested() {
        return Err(Error::Interrupted);
    }
    Ok(Report { topology: name.clone(), places, probes, overflows })
}

/// Opens the places that are there.
fn sockets(places: &[Place], open: &mut Places) -> Result<BTreeMap<Place, echo::Sockets>, Error> {
    let names = places.iter().filter_map(|place| match place {
        Place::Host => None,
        Place::Netns(name) => Some(name.clone()),
    });
    open.open_all(&names.collect::<Vec<NetnsName>>())?;
    let mut sockets = BTreeMap::new();
    for place in places {
        if open.open(place)? {
            let its = open.netns(place)?.run(|| Ok::<_, NetnsError>(echo::Sockets::open()))?;
            sockets.insert(place.clone(), its);
        }
    }
    Ok(sockets)
}

/// Listeners where forwards lead and nobody listens, so that there is somebody to reach.
fn servers(topology: &Topology, open: &Places) -> Vec<TcpListener> {
    let listen = |(place, at): (Place, SocketAddr)| call::listen(open.netns(&place).ok()?, at);
    targets(topology).into_iter().filter_map(listen).collect()
}

/// Where forwards lead. The same address may be inside of several gateways: each leads to its own.
fn targets(topology: &Topology) -> BTreeSet<(Place, SocketAddr)> {
    let network = Network::new(topology);
    let target = |(gateway, rule): (&Gateway, &Forward)| {
        let place = network.end(&gateway.place, rule.to)?;
        Some((place, SocketAddr::new(rule.to, rule.to_port)))
    };
    tcp_forwards(topology).filter_map(target).collect()
}

fn tcp_forwards(topology: &Topology) -> impl Iterator<Item = (&Gateway, &Forward)> {
    let gateways = topology.gateways.iter();
    let forwards = gateways.flat_map(|gateway| gateway.forwards.iter().map(move |rule| (gateway, rule)));
    forwards.filter(|(_, rule)| rule.protocol == Protocol::Tcp)
}

/// What there is to ask, without outcomes.
fn questions(topology: &Topology, places: &[Place]) -> Vec<Probe> {
    let network = Network::new(topology);
    let probe = |from: &Place, to: &Place, how, expected| {
        let missing = || format!("there is no namespace `{from}`");
        let outcome = Outcome::Failed(if is_asked(&expected) { missing() } else { "not asked".to_owned() });
        Probe { from: from.clone(), to: to.clone(), how, expected, outcome }
    };
    let mut probes = Vec::new();
    for from in places {
        for to in places.iter().filter(|to| *to != from) {
            for address in network.seat(to).into_iter().flat_map(Seat::addresses) {
                let expected = expect::echo(&network, from, Some(to), address);
                probes.push(probe(from, to, How::Echo(address), expected));
            }
        }
    }
    for (gateway, rule) in tcp_forwards(topology) {
        let Some(address) = listens_at(gateway, rule, &network) else { continue };
        let at = SocketAddr::new(address, rule.ports.0);
        for from in places {
            let expected = expect::connect(&network, from, at.ip(), at.port());
            let how = How::Connect { listen: rule.listen(), at };
            probes.push(probe(from, &gateway.place, how, expected));
        }
    }
    probes
}

/// Whether an answer would be that of the place that is meant.
const fn is_asked(expected: &Result<(), Why>) -> bool {
    !matches!(expected, Err(Why::Namesake { .. }))
}

/// The address to call a forward by: its own, else one of an uplink, else any of the gateway.
fn listens_at(gateway: &Gateway, rule: &Forward, network: &Network<'_>) -> Option<IpAddr> {
    let of_family = |address: &IpAddr| address.is_ipv4() == rule.to.is_ipv4();
    let seat = network.seat(&gateway.place)?;
    let outside = || gateway.uplinks.iter().flat_map(|name| seat.addresses_of(name)).find(of_family);
    rule.address.or_else(outside).or_else(|| seat.addresses().find(of_family))
}

/// Fills the outcomes in, of those whose places are there.
fn ask(
    probes: &mut [Probe],
    sockets: &BTreeMap<Place, echo::Sockets>,
    open: &mut Places,
    timeout: Duration,
) -> Result<(), Error> {
    let (mut pings, mut calls) = (Vec::new(), Vec::new());
    for (index, probe) in probes.iter().enumerate().filter(|(_, probe)| is_asked(&probe.expected)) {
        match (sockets.get(&probe.from), &probe.how) {
            (Some(sockets), How::Echo(address)) => pings.push((index, (sockets, *address))),
            (Some(_), How::Connect { at, .. }) => calls.push((index, (open.netns(&probe.from)?, *at))),
            (None, _) => {}
        }
    }
    let (indexes, questions): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let mut outcomes: Vec<_> = indexes.into_iter().zip(call::all(&questions, timeout)).collect();
    let (indexes, questions): (Vec<_>, Vec<_>) = pings.into_iter().unzip();
    let addresses = questions.iter().map(|(_, to)| *to).collect();
    let neighbours = Neighbours::look(sockets.keys().cloned(), addresses, open)?;
    let forget = || {
        let forgotten = neighbours.forget(open);
        forgotten.unwrap_or_else(|error| tracing::debug!("neighbours stay known: {error}"));
    };
    outcomes.extend(indexes.into_iter().zip(echo::all(&questions, timeout, forget)));
    for (index, outcome) in outcomes {
        probes[index].outcome = outcome;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged_and_drawn_on_paper_opens_no_socket() {
        let files = [
            include_str!("ping/expect.rs"),
            include_str!("ping/network.rs"),
            include_str!("ping/segments.rs"),
            include_str!("graph.rs"),
            include_str!("graph/scene.rs"),
        ];
        for text in files {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in ["netlink", "netns", "nix::", "Socket", "Places", "observe"] {
                let used =
                    code.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                assert_eq!(used, None, "{word}");
            }
        }
    }

    #[test]
    fn the_same_address_inside_of_two_gateways_is_each_ones_own_target() {
        let site = |n: u8| {
            format!(
                "[namespaces.in{n}]\n[namespaces.gate{n}]\n[bridges.lan{n}]\nnamespace = 'gate{n}'\naddresses = ['10.0.0.1/24']\n\
                 ports.in{n} = {{ addresses = ['10.0.0.2/24'] }}\n\
                 [[cables]]\na = {{ namespace = 'gate{n}', interface = 'wan', addresses = ['203.0.113.{n}/24'] }}\n\
                 b = {{ namespace = 'net', interface = 'eth{n}' }}\n\
                 [[nat.masquerade]]\nnamespace = 'gate{n}'\nsource = '10.0.0.0/24'\nout = 'wan'\n\
                 [[nat.forward]]\nnamespace = 'gate{n}'\nlisten = '203.0.113.{n}:80'\nto = '10.0.0.2'\n"
            )
        };
        let text = format!("[namespaces.net]\n{}{}", site(1), site(2));
        let topology = Topology::parse(&text, "f", "trial".parse().unwrap()).unwrap();
        let target = |name: &str| (Place::try_from(name.to_owned()).unwrap(), "10.0.0.2:80".parse().unwrap());
        assert_eq!(targets(&topology), [target("in1"), target("in2")].into());
        let probes = questions(&topology, &topology.places());
        let from_one_to_the_other: Vec<&Probe> = probes
            .iter()
            .filter(|probe| probe.from.to_string() == "in1" && probe.to.to_string() == "in2")
            .collect();
        let [Probe { expected: Err(Why::Namesake { place }), outcome, .. }] = &from_one_to_the_other[..]
        else {
            panic!("{from_one_to_the_other:?}")
        };
        assert_eq!(
            (place.to_string(), outcome),
            ("in1".to_owned(), &Outcome::Failed("not asked".to_owned()))
        );
    }
}
