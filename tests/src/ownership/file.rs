//! Random topology files, and random edits of them.

use std::fmt::Write as _;

use super::Edit;
use crate::random::Random;

/// A place as files name it.
pub(super) type Place = String;

const HOST: &str = crate::lab::HOST;

/// A topology file. All names and addresses are written out, so that it is known what is where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub(super) project: char,
    /// Names and addresses that were used so far: a new one is new.
    counter: usize,
    namespaces: Vec<Namespace>,
    bridges: Vec<Bridge>,
    cables: Vec<Cable>,
    routes: Vec<Route>,
    nat: Option<Nat>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Namespace {
    name: String,
    forwarding: bool,
    sysctls: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bridge {
    place: Place,
    name: String,
    subnet: usize,
    has_ipv6: bool,
    host_part: usize,
    mtu: Option<u32>,
    ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    namespace: String,
    interface: String,
    port: String,
    host_part: usize,
    mtu: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cable {
    subnet: usize,
    has_ipv6: bool,
    ends: [End; 2],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    place: Place,
    interface: String,
    host_part: usize,
    mtu: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    place: Place,
    to: String,
    via: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Nat {
    backend: &'static str,
    gateway: String,
    source: String,
    out: String,
    forward: Option<String>,
}

const MTUS: [Option<u32>; 5] = [None, None, Some(1400), Some(1300), Some(9000)];
const SYSCTLS: [(&str, [&str; 3]); 4] = [
    ("net.ipv4.conf.all.rp_filter", ["0", "1", "2"]),
    ("net.ipv4.tcp_keepalive_time", ["6000", "6100", "6200"]),
    ("net.ipv4.ip_default_ttl", ["61", "62", "63"]),
    ("net.ipv4.conf.all.arp_ignore", ["0", "1", "2"]),
];

impl File {
    /// A new file of a project, which is called by a letter.
    pub fn draw(random: &mut Random, project: char) -> Self {
        let (namespaces, bridges, cables, routes) = Default::default();
        let mut file = Self { project, counter: 0, namespaces, bridges, cables, routes, nat: None };
        for _ in 0..=random.below(3) {
            file.add_namespace(random);
        }
        for _ in 0..random.below(3) {
            file.add_bridge(random);
        }
        for _ in 0..random.below(3) {
            file.add_cable(random);
        }
        for _ in 0..random.below(3) {
            file.add_route(random);
        }
        file
    }

    fn next(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    fn place(&self, random: &mut Random) -> Place {
        match random.percent(40) || self.namespaces.is_empty() {
            true => HOST.to_owned(),
            false => self.namespaces[random.below(self.namespaces.len())].name.clone(),
        }
    }

    fn add_namespace(&mut self, random: &mut Random) {
        let number = self.next();
        let name = format!("{}n{number}", self.project);
        let sysctls = if random.percent(30) { vec![sysctl(random)] } else { Vec::new() };
        self.namespaces.push(Namespace { name, forwarding: random.percent(20), sysctls });
    }

    fn add_bridge(&mut self, random: &mut Random) {
        let (place, subnet) = (self.place(random), self.next());
        let name = format!("{}br{subnet}", self.project);
        let (has_ipv6, mtu) = (random.percent(40), random.pick(&MTUS));
        self.bridges.push(Bridge { place, name, subnet, has_ipv6, host_part: 1, mtu, ports: Vec::new() });
        for _ in 0..random.below(4) {
            self.add_port(random);
        }
    }

    /// At the last bridge or another.
    fn add_port(&mut self, random: &mut Random) {
        if self.bridges.is_empty() || self.namespaces.is_empty() {
            return;
        }
        let at = random.below(self.bridges.len());
        let namespace = self.namespaces[random.below(self.namespaces.len())].name.clone();
        let number = self.next();
        let bridge = &mut self.bridges[at];
        let is_in = bridge.ports.iter().any(|port| port.namespace == namespace);
        if bridge.place == namespace || is_in {
            return;
        }
        let (interface, port) = (format!("e{number}"), format!("{}p{number}", self.project));
        let mtu = if random.percent(20) { random.pick(&MTUS) } else { None };
        bridge.ports.push(Port { namespace, interface, port, host_part: 10 + number % 200, mtu });
    }

    fn add_cable(&mut self, random: &mut Random) {
        let (a, b) = (self.place(random), self.place(random));
        if a == b && random.percent(80) {
            return;
        }
        let (subnet, project) = (self.next(), self.project);
        let mtu = random.pick(&MTUS);
        let mut number = 0;
        let ends = [a, b].map(|place| {
            number += 1;
            End {
                place,
                interface: format!("{project}c{subnet}{}", ["a", "b"][number - 1]),
                host_part: number,
                mtu,
            }
        });
        self.cables.push(Cable { subnet, has_ipv6: random.percent(40), ends });
    }

    /// By way of a cable or a bridge.
    fn add_route(&mut self, random: &mut Random) {
        let number = self.next();
        let mut ways = Vec::new();
        for cable in &self.cables {
            let [a, b] = &cable.ends;
            ways.push((a.place.clone(), self.address(cable.subnet, b.host_part)));
            ways.push((b.place.clone(), self.address(cable.subnet, a.host_part)));
        }
        for bridge in &self.bridges {
            for port in &bridge.ports {
                ways.push((port.namespace.clone(), self.address(bridge.subnet, bridge.host_part)));
            }
        }
        if ways.is_empty() {
            return;
        }
        let (place, via) = random.pick(&ways);
        self.routes.push(Route { place, to: format!("172.{}.{number}.0/24", self.octet() + 5), via });
    }

    fn set_nat(&mut self, random: &mut Random, backend: &'static str) {
        let number = self.next();
        let mut gateways = Vec::new();
        for bridge in &self.bridges {
            for end in self.cables.iter().flat_map(|cable| &cable.ends) {
                if end.place == bridge.place {
                    let to = bridge.ports.first().map(|port| self.address(bridge.subnet, port.host_part));
                    gateways.push((
                        bridge.place.clone(),
                        self.network(bridge.subnet),
                        end.interface.clone(),
                        to,
                    ));
                }
            }
        }
        self.nat = None;
        if !gateways.is_empty() {
            let (gateway, source, out, to) = random.pick(&gateways);
            let forward = to.map(|to| format!("listen = '{}/tcp'\nto = '{to}:80'", 8000 + number % 1000));
            self.nat = Some(Nat { backend, gateway, source, out, forward });
        }
    }

    /// Another file that differs by one edit; what no longer makes sense goes, too.
    pub(super) fn edited(&self, random: &mut Random, edit: Edit) -> Self {
        let mut file = self.clone();
        match edit {
            Edit::AddNamespace => file.add_namespace(random),
            Edit::RemoveNamespace => drop_one(random, &mut file.namespaces),
            Edit::AddBridge => file.add_bridge(random),
            Edit::RemoveBridge => drop_one(random, &mut file.bridges),
            Edit::AddPort => file.add_port(random),
            Edit::RemovePort => {
                if let Some(bridge) = one(random, &mut file.bridges) {
                    drop_one(random, &mut bridge.ports);
                }
            }
            Edit::RenamePort => {
                let number = file.next();
                let bridge = one(random, &mut file.bridges);
                if let Some(port) = bridge.and_then(|bridge| one(random, &mut bridge.ports)) {
                    port.interface = format!("e{number}");
                }
            }
            Edit::ChangeMtu => {
                let mtu = random.pick(&MTUS);
                match random.percent(50) {
                    true => one(random, &mut file.bridges).into_iter().for_each(|bridge| bridge.mtu = mtu),
                    false => one(random, &mut file.cables)
                        .into_iter()
                        .for_each(|cable| cable.ends.iter_mut().for_each(|end| end.mtu = mtu)),
                }
            }
            Edit::ChangeAddress => {
                let part = 210 + file.next() % 40;
                match random.percent(50) {
                    true => {
                        let bridge = one(random, &mut file.bridges);
                        if let Some(port) = bridge.and_then(|bridge| one(random, &mut bridge.ports)) {
                            port.host_part = part;
                        }
                    }
                    false => {
                        if let Some(cable) = one(random, &mut file.cables) {
                            cable.ends[0].host_part = part;
                        }
                    }
                }
            }
            Edit::ChangeFamilies => {
                let bridge = one(random, &mut file.bridges).map(|bridge| &mut bridge.has_ipv6);
                let cable = one(random, &mut file.cables).map(|cable| &mut cable.has_ipv6);
                if let Some(has_ipv6) = if random.percent(50) { bridge.or(cable) } else { cable } {
                    *has_ipv6 = !*has_ipv6;
                }
            }
            Edit::AddCable => file.add_cable(random),
            Edit::RemoveCable => drop_one(random, &mut file.cables),
            Edit::MoveEnd => {
                let place = file.place(random);
                if let Some(cable) = one(random, &mut file.cables) {
                    cable.ends[random.below(2)].place = place;
                }
            }
            Edit::AddRoute => file.add_route(random),
            Edit::RemoveRoute => drop_one(random, &mut file.routes),
            Edit::ChangeSysctl => {
                let (drawn, adds) = (sysctl(random), random.percent(60));
                if let Some(namespace) = one(random, &mut file.namespaces) {
                    namespace.sysctls.retain(|(key, _)| *key != drawn.0);
                    if adds {
                        namespace.sysctls.push(drawn);
                    }
                }
            }
            Edit::ChangeForwarding => {
                one(random, &mut file.namespaces)
                    .into_iter()
                    .for_each(|one| one.forwarding = !one.forwarding);
            }
            Edit::Nftables => file.set_nat(random, "nftables"),
            Edit::Ebpf => file.set_nat(random, "ebpf"),
            Edit::RemoveNat => file.nat = None,
        }
        file.mend();
        file
    }

    /// Removes what speaks of something that is gone.
    fn mend(&mut self) {
        let names: Vec<String> = self.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        let is_there = |place: &Place| place == HOST || names.contains(place);
        self.bridges.retain(|bridge| is_there(&bridge.place));
        for bridge in &mut self.bridges {
            bridge.ports.retain(|port| is_there(&port.namespace));
        }
        self.cables.retain(|cable| cable.ends.iter().all(|end| is_there(&end.place)));
        let addresses = self.addresses();
        self.routes.retain(|route| {
            // The next hop is another's address, in a subnet of the place.
            let network = |address: &str| address.rsplit_once('.').map(|(network, _)| network.to_owned());
            is_there(&route.place)
                && addresses.iter().any(|(place, address)| *address == route.via && *place != route.place)
                && addresses
                    .iter()
                    .any(|(place, at)| *place == route.place && network(at) == network(&route.via))
        });
        let links = self.links();
        let networks: Vec<_> =
            self.bridges.iter().map(|one| (one.place.clone(), self.network(one.subnet))).collect();
        let targets = addresses;
        if let Some(nat) = &mut self.nat {
            let has_target = nat.forward.as_ref().is_none_or(|forward| {
                targets.iter().any(|(_, address)| forward.contains(&format!("'{address}:")))
            });
            if !has_target {
                nat.forward = None;
            }
            let is_right = links.contains(&(nat.gateway.clone(), nat.out.clone()))
                && networks.contains(&(nat.gateway.clone(), nat.source.clone()));
            if !is_right {
                self.nat = None;
            }
        }
    }

    fn addresses(&self) -> Vec<(Place, String)> {
        let mut addresses = Vec::new();
        for bridge in &self.bridges {
            addresses.push((bridge.place.clone(), self.address(bridge.subnet, bridge.host_part)));
            for port in &bridge.ports {
                addresses.push((port.namespace.clone(), self.address(bridge.subnet, port.host_part)));
            }
        }
        for cable in &self.cables {
            for end in &cable.ends {
                addresses.push((end.place.clone(), self.address(cable.subnet, end.host_part)));
            }
        }
        addresses
    }

    /// Its links, by place and name.
    pub(super) fn links(&self) -> Vec<(Place, String)> {
        let bridges = self.bridges.iter().map(|bridge| (bridge.place.clone(), bridge.name.clone()));
        let ports = self.bridges.iter().flat_map(|bridge| {
            bridge.ports.iter().flat_map(|port| {
                [(bridge.place.clone(), port.port.clone()), (port.namespace.clone(), port.interface.clone())]
            })
        });
        let ends = self.cables.iter().flat_map(|cable| &cable.ends);
        bridges.chain(ports).chain(ends.map(|end| (end.place.clone(), end.interface.clone()))).collect()
    }

    /// Its bridges, by place and name.
    pub(super) fn bridges(&self) -> Vec<(Place, String)> {
        self.bridges.iter().map(|bridge| (bridge.place.clone(), bridge.name.clone())).collect()
    }

    pub(super) fn namespaces(&self) -> Vec<Place> {
        self.namespaces.iter().map(|namespace| namespace.name.clone()).collect()
    }

    /// The other ends of the cable or port that a link is an end of, and the names that it has.
    pub(super) fn peer(&self, link: &(Place, String)) -> Option<(Place, String)> {
        let pairs = self.bridges.iter().flat_map(|bridge| {
            bridge.ports.iter().map(|port| {
                [(bridge.place.clone(), port.port.clone()), (port.namespace.clone(), port.interface.clone())]
            })
        });
        let cables = self.cables.iter().map(|cable| cable.ends.clone().map(|end| (end.place, end.interface)));
        pairs.chain(cables).find_map(|[a, b]| match link {
            link if *link == a => Some(b),
            link if *link == b => Some(a),
            _ => None,
        })
    }

    fn octet(&self) -> usize {
        20 + 100 * (self.project as usize - 'a' as usize)
    }

    fn address(&self, subnet: usize, host_part: usize) -> String {
        format!("10.{}.{subnet}.{host_part}", self.octet())
    }

    fn network(&self, subnet: usize) -> String {
        format!("10.{}.{subnet}.0/24", self.octet())
    }

    fn both(&self, subnet: usize, host_part: usize, has_ipv6: bool) -> String {
        let mut text = format!("addresses = ['{}/24'", self.address(subnet, host_part));
        if has_ipv6 {
            let _ = write!(text, ", 'fd{}:{subnet}::{host_part}/64'", self.octet());
        }
        text + "]"
    }

    /// As netctl reads it.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = format!("name = '{}'\n", self.project);
        let mtu =
            |mtu: Option<u32>, after: &str| mtu.map(|mtu| format!("mtu = {mtu}{after}")).unwrap_or_default();
        for namespace in &self.namespaces {
            let _ = writeln!(text, "[namespaces.{}]", namespace.name);
            if namespace.forwarding {
                text.push_str("forwarding = true\n");
            }
            for (key, value) in &namespace.sysctls {
                let _ = writeln!(text, "sysctls.\"{key}\" = '{value}'");
            }
        }
        let mut has_default: Vec<&str> = Vec::new();
        for bridge in &self.bridges {
            let addresses = self.both(bridge.subnet, bridge.host_part, bridge.has_ipv6);
            let (name, place) = (&bridge.name, &bridge.place);
            let _ = writeln!(
                text,
                "[bridges.{name}]\nnamespace = '{place}'\n{addresses}\n{}",
                mtu(bridge.mtu, "")
            );
            for port in &bridge.ports {
                let addresses = self.both(bridge.subnet, port.host_part, bridge.has_ipv6);
                let rest = if has_default.contains(&port.namespace.as_str()) {
                    "default-route = false, "
                } else {
                    ""
                };
                has_default.push(&port.namespace);
                let Port { namespace, interface, port, mtu: wanted, .. } = port;
                let rest = format!("{rest}{}", mtu(*wanted, ", "));
                let _ = writeln!(
                    text,
                    "ports.{namespace} = {{ interface = '{interface}', port = '{port}', {rest}{addresses} }}"
                );
            }
        }
        for cable in &self.cables {
            text.push_str("[[cables]]\n");
            for (end, name) in cable.ends.iter().zip(["a", "b"]) {
                let addresses = self.both(cable.subnet, end.host_part, cable.has_ipv6);
                let End { place, interface, mtu: wanted, .. } = end;
                let mtu = mtu(*wanted, ", ");
                let _ = writeln!(
                    text,
                    "{name} = {{ namespace = '{place}', interface = '{interface}', {mtu}{addresses} }}"
                );
            }
        }
        for Route { place, to, via } in &self.routes {
            let _ = writeln!(text, "[[routes]]\nnamespace = '{place}'\nto = '{to}'\nvia = '{via}'");
        }
        if let Some(Nat { backend, gateway, source, out, forward }) = &self.nat {
            let _ = writeln!(text, "[nat]\nbackend = '{backend}'");
            let _ = writeln!(
                text,
                "[[nat.masquerade]]\nnamespace = '{gateway}'\nsource = '{source}'\nout = '{out}'"
            );
            if let Some(forward) = forward {
                let _ = writeln!(text, "[[nat.forward]]\nnamespace = '{gateway}'\n{forward}");
            }
        }
        text
    }

    /// The same, and a step that the kernel refuses.
    pub(super) fn poisoned(&self) -> String {
        let refused = format!(
            "[namespaces.{}refused]\nsysctls.\"net.ipv4.tcp_syn_retries\" = '100000'\n",
            self.project
        );
        self.toml().replacen('\n', &format!("\n{refused}"), 1)
    }
}

fn sysctl(random: &mut Random) -> (&'static str, &'static str) {
    let (key, values) = random.pick(&SYSCTLS);
    (key, random.pick(&values))
}

fn one<'a, T>(random: &mut Random, from: &'a mut [T]) -> Option<&'a mut T> {
    if from.is_empty() { None } else { Some(&mut from[random.below(from.len())]) }
}

fn drop_one<T>(random: &mut Random, from: &mut Vec<T>) {
    if !from.is_empty() {
        from.remove(random.below(from.len()));
    }
}
