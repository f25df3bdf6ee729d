//! `netctl nat masquerade` and `netctl nat forward`: rules, one at a time.
//!
//! A gateway that is there already takes the rule, whoever made it. Where there is none, one is made that belongs to no
//! topology, with hooks and forwarding as `up` would give them, and it ends with its last rule. Either way the gateway is
//! thought of as a topology of its own, whose plan says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
};

use ipnet::IpNet;

use super::{RuleKind, RuleName};
use crate::{
    firewall::{self, Chain},
    holder,
    model::{
        Backend, Forward, Found, Gateway, IfName, Masquerade, Place, Route, Seen, Side, Topology,
        TopologyName, Veth, listens_on,
    },
    nat::{
        self,
        ebpf::{
            Pins,
            load::Constants,
            maps::{Numbered, Tables},
        },
        pinned::pinned,
    },
    netlink::{addr, link, route},
    observe::{Known, observe},
    op::{Change, NatChange, Op, SysctlChange},
    ownership::sysctls::{Fate, Others},
    plan,
    single::{Error, Session, open},
    spec,
    state::{ByHand, HostNetns, Ledger, Written},
    sysctl::{self, SysctlError},
};

/// What was done.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Step by step.
    pub ops: Vec<Op>,
    /// The topology whose gateway it is, if it is one's: its file does not know of it.
    pub owner: Option<TopologyName>,
    /// Packet filters of the gateway's that drop what a rule that was added is about.
    pub filters: Vec<Chain>,
}

/// Which rules are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that is named so.
    Named(RuleName),
    /// Those that listen there, as the file has it.
    Listening(String),
    /// Those with this source, and of these only that which goes out of an interface if one is said.
    From(IpNet, Option<IfName>),
    /// Those without a source that go out of this interface.
    Out(IfName),
}

/// Puts a masquerade rule in force, one of each family where it has no source; the namespace that it names does not
/// count.
///
/// # Errors
/// If it could never work, there is one for that already, or the kernel refuses.
pub fn add_masquerade(
    session: &mut Session<'_>,
    place: &Place,
    spec: &spec::Masquerade,
) -> Result<Changed, Error> {
    let mut scene = Scene::open(session, place)?;
    let there: Vec<Masquerade> = scene.masquerades.iter().map(|its| its.rule.clone()).collect();
    let rules = scene.found.masquerades(spec, &there).map_err(scene.refused(RuleKind::Masquerade))?;
    scene.masquerades.extend(rules.into_iter().map(|rule| Numbered { id: 0, rule }));
    scene.settle(session, RuleKind::Masquerade)
}

/// Puts a forward in force, one for each protocol; the namespace that it names does not count.
///
/// # Errors
/// If it could never work, another listens there already, or the kernel refuses.
pub fn add_forward(session: &mut Session<'_>, place: &Place, spec: &spec::Forward) -> Result<Changed, Error> {
    let mut scene = Scene::open(session, place)?;
    let there: Vec<&Forward> = scene.forwards.iter().map(|its| &its.rule).collect();
    let rules = scene.found.forwards(spec, &there).map_err(scene.refused(RuleKind::Forward))?;
    session.refuse_held(place, &rules)?;
    scene.forwards.extend(rules.into_iter().map(|rule| Numbered { id: 0, rule }));
    scene.settle(session, RuleKind::Forward)
}

impl Session<'_> {
    /// Refuses forwards that take packets from a socket of the gateway, unless that is forced. Where the kernel does not
    /// tell of sockets, none is known.
    fn refuse_held(&self, place: &Place, forwards: &[Forward]) -> Result<(), Error> {
        if self.force {
            return Ok(());
        }
        match holder::of_port(self.places.netns(place)?, forwards) {
            Ok(None) => Ok(()),
            Ok(Some(held)) => Err(Error::Held { place: place.clone(), held: Box::new(held) }),
            Err(error) => {
                tracing::debug!("{error}");
                Ok(())
            }
        }
    }
}

/// Ends rules and their flows; with the last one of a gateway made by hand, that too.
///
/// # Errors
/// If there is none such, a topology wants one, or the kernel refuses.
pub fn delete(
    session: &mut Session<'_>,
    place: &Place,
    kind: RuleKind,
    which: &Which,
) -> Result<Changed, Error> {
    let mut scene = Scene::open(session, place)?;
    let ops: Vec<Op> = match kind {
        RuleKind::Masquerade => {
            let is_meant = which.masquerade();
            let gone = scene.masquerades.extract_if(.., |its| is_meant(its));
            gone.map(|its| Op::new(place, NatChange::RemoveMasquerade { rule: its.rule })).collect()
        }
        RuleKind::Forward => {
            let is_meant = which.forward()?;
            let gone = scene.forwards.extract_if(.., |its| is_meant(its));
            gone.map(|its| Op::new(place, NatChange::RemoveForward { rule: its.rule })).collect()
        }
    };
    if ops.is_empty() {
        return Err(Error::NoRule { kind, name: which.to_string(), place: place.clone() });
    }
    for op in &ops {
        session.refuse_owned(op, scene.owner_of(op, session)?)?;
    }
    scene.settle(session, kind)
}

impl Which {
    fn masquerade(&self) -> impl Fn(&Numbered<Masquerade>) -> bool {
        move |its| match self {
            Self::Named(RuleName::Number(number)) => its.id == *number,
            Self::Named(RuleName::Name(name)) => its.rule.source.to_string() == *name,
            Self::From(source, out) => {
                its.rule.source == *source && out.as_ref().is_none_or(|out| its.rule.out.contains(out))
            }
            Self::Out(out) => its.rule.source.prefix_len() == 0 && its.rule.out.contains(out),
            Self::Listening(_) => false,
        }
    }

    fn forward(&self) -> Result<impl Fn(&Numbered<Forward>) -> bool, Error> {
        let text = match self {
            Self::Listening(text) | Self::Named(RuleName::Name(text)) => Some(text),
            _ => None,
        };
        let listens = text.map(|text| listens_on(text)).transpose();
        let listens = listens.map_err(|problem| Error::Listen(Box::new(problem)))?;
        let number = match self {
            Self::Named(RuleName::Number(number)) => Some(*number),
            _ => None,
        };
        Ok(move |its: &Numbered<Forward>| {
            listens.as_ref().is_some_and(|listens| listens(&its.rule)) || number == Some(its.id)
        })
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(RuleName::Number(number)) => write!(f, "{number}"),
            Self::Named(RuleName::Name(text)) | Self::Listening(text) => f.write_str(text),
            Self::From(source, None) => write!(f, "{source}"),
            Self::From(source, Some(out)) => write!(f, "{source} out {out}"),
            Self::Out(out) => write!(f, "out {out}"),
        }
    }
}

/// A place, the gateway that it is, and the rules that this is to have.
struct Scene {
    place: Place,
    found: Found,
    owner: TopologyName,
    /// The gateway as its topology has it, without the forwards.
    wanted: Option<Gateway>,
    masquerades: Vec<Numbered<Masquerade>>,
    forwards: Vec<Numbered<Forward>>,
}

impl Scene {
    fn open(session: &mut Session<'_>, place: &Place) -> Result<Self, Error> {
        open(&mut session.places, place)?;
        let mut wanted = wanted_gateways(session, place)?;
        let links = session.links(place)?;
        let found = find(session, place, &links)?;
        let owner = owner(session, place)?;
        let wanted = wanted.remove(&owner);
        let pins = Pins::new(&session.directories.bpffs, &owner, place);
        let (mut masquerades, mut forwards) = (Vec::new(), Vec::new());
        if pins.exist() {
            let tables = Tables::open(&pins)?;
            let names = links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
            (masquerades, forwards) = (tables.masquerades(&names)?, tables.forwards()?);
        }
        Ok(Self { place: place.clone(), found, owner, wanted, masquerades, forwards })
    }

    fn refused(&self, kind: RuleKind) -> impl Fn(crate::model::Refused) -> Error + use<> {
        let place = self.place.clone();
        move |refused| Error::Rule { kind, place: place.clone(), refused: Box::new(refused) }
    }

    /// The topology whose file has what the operation takes away.
    fn owner_of(&self, op: &Op, session: &Session<'_>) -> Result<Option<TopologyName>, Error> {
        let Some(gateway) = self.wanted.as_ref() else { return Ok(None) };
        let is_wanted = match &op.change {
            Change::Nat(NatChange::RemoveMasquerade { rule }) => {
                gateway.masquerades.iter().any(|its| its.is_same(rule))
            }
            Change::Nat(NatChange::RemoveForward { rule }) => {
                session.directories.has_forward(&self.owner, &self.place, rule)?
            }
            Change::Nat(NatChange::DetachNat { interface, .. }) => {
                gateway.uplinks.contains(interface) || gateway.insides.contains(interface)
            }
            _ => false,
        };
        Ok(is_wanted.then(|| self.owner.clone()))
    }

    /// The gateway with its rules as they are to be; `None` if it is to end.
    fn gateway(&mut self, kind: RuleKind) -> Result<Option<Gateway>, Error> {
        let masquerades: Vec<Masquerade> = rules(mem::take(&mut self.masquerades));
        let forwards: Vec<Forward> = rules(mem::take(&mut self.forwards));
        if let Some(wanted) = &self.wanted {
            let outs: BTreeSet<&IfName> = masquerades.iter().flat_map(|rule| &rule.out).collect();
            let mut gateway = Gateway { masquerades: masquerades.clone(), forwards, ..wanted.clone() };
            gateway.insides.retain(|inside| !outs.contains(inside));
            let new: Vec<IfName> =
                outs.into_iter().filter(|out| !gateway.uplinks.contains(out)).cloned().collect();
            gateway.uplinks.extend(new);
            return Ok(Some(gateway));
        }
        if masquerades.is_empty() && forwards.is_empty() {
            return Ok(None);
        }
        self.found.gateway(masquerades, forwards).map(Some).map_err(self.refused(kind))
    }

    /// Makes it so.
    fn settle(mut self, session: &mut Session<'_>, kind: RuleKind) -> Result<Changed, Error> {
        let remembered = session.directories.by_hand(&self.place)?.filter(|_| self.owner.is_by_hand());
        let mut topology = match self.gateway(kind)? {
            Some(gateway) => self.topology(gateway),
            None => self.ended(remembered.as_ref(), session)?,
        };
        let ops = self.plan(&mut topology, session)?;
        // Programs at the insides come and go with the rules that need them.
        let has_hairpins = topology.gateways.iter().any(Gateway::lets_in);
        let loses_hook = |op: &&Op| match op.change {
            Change::Nat(NatChange::DetachNat { side, .. }) => side != Side::Inside || has_hairpins,
            _ => false,
        };
        let detached = ops.iter().filter(loses_hook);
        for op in detached {
            session.refuse_owned(op, self.owner_of(op, session)?)?;
        }
        if self.owner.is_by_hand() && !topology.gateways.is_empty() {
            let remembered = self.remember(remembered, &ops, session)?;
            session.lock.save_by_hand(session.directories, &remembered)?;
        }
        self.charge(&ops, session)?;
        let applied = session.apply_to(&self.owner, ops);
        let is_over = topology.gateways.is_empty() || applied.is_err();
        if is_over && !Pins::new(&session.directories.bpffs, &self.owner, &self.place).exist() {
            session.lock.forget_by_hand(session.directories, &self.place)?;
        }
        let ops = applied?;
        nat::tell_addresses(&topology, &mut session.places, session.directories)?;
        let added = |op: &Op| match &op.change {
            Change::Nat(NatChange::AddMasquerade { rule }) => Some(rule.source.addr()),
            Change::Nat(NatChange::AddForward { rule }) => Some(rule.to),
            _ => None,
        };
        let added: Vec<IpAddr> = ops.iter().filter_map(added).collect();
        let filters = firewall::in_the_way(session.places.netns(&self.place)?, &added);
        Ok(Changed { ops, owner: Some(self.owner).filter(|owner| !owner.is_by_hand()), filters })
    }

    /// The gateway as a topology of its own. What a namespace of a topology needs beside, that has given it.
    fn topology(&self, gateway: Gateway) -> Topology {
        let mut topology = Topology::of_gateway(self.owner.clone(), gateway);
        if !self.owner.is_by_hand() && self.place != Place::Host {
            topology.sysctls.clear();
        }
        topology
    }

    /// No gateway, and its sysctls as they were found; but for those that somebody has changed since, and those that a
    /// topology wants too: that one takes over how they were found.
    fn ended(&self, remembered: Option<&ByHand>, session: &Session<'_>) -> Result<Topology, Error> {
        let mut topology = Topology::empty(self.owner.clone());
        let Some(remembered) = remembered.filter(|remembered| !remembered.sysctls.is_empty()) else {
            return Ok(topology);
        };
        let netns = session.places.netns(&self.place)?;
        let failed = |source: SysctlError| Error::Sysctl { place: self.place.clone(), source };
        let keys = remembered.sysctls.keys().map(|key| key.parse()).collect::<Result<Vec<_>, _>>();
        let now = keys.and_then(|keys| sysctl::read(netns, &keys)).map_err(failed)?;
        let mut others = Others::default();
        if self.place == Place::Host {
            let host = HostNetns::current()?;
            others = Others::of(&self.owner, host, session.directories)?.without_by_hand();
        }
        let mut sysctls = BTreeMap::new();
        for ((key, written), now) in remembered.sysctls.iter().zip(now) {
            let fate = others.fate(key, written, now.as_deref());
            others.take_over(key, written, &fate);
            match fate {
                Fate::Back => sysctls.insert(key.clone(), written.before.clone()),
                Fate::Passed { value: Some(value), .. } => sysctls.insert(key.clone(), value),
                Fate::Passed { value: None, .. } | Fate::PassedByHand | Fate::Left => None,
            };
        }
        others.save(&session.lock, session.directories)?;
        topology.sysctls.insert(self.place.clone(), sysctls);
        Ok(topology)
    }

    /// What there is to do for that; a flow table that is there keeps its size, and shortcuts go on as they are.
    fn plan(&self, topology: &mut Topology, session: &mut Session<'_>) -> Result<Vec<Op>, Error> {
        let namespaces = match &self.place {
            Place::Netns(name) => BTreeSet::from([name.clone()]),
            Place::Host => BTreeSet::new(),
        };
        let known = Known { namespaces, ..Known::default() };
        let mut observed = observe(topology, &known, &mut session.places, session.directories)?;
        observed.places.retain(|place, _| *place == self.place);
        let nat = observed.places.get(&self.place).and_then(|there| there.nat.as_ref());
        topology.max_flows = nat.and_then(|nat| nat.max_flows).unwrap_or(topology.max_flows);
        topology.shortcut = nat.map_or(topology.shortcut, |nat| nat.shortcut);
        Ok(plan::translation(topology, &observed))
    }

    /// What to remember of the gateway while it is by hand: the first finding counts.
    fn remember(
        &self,
        remembered: Option<ByHand>,
        ops: &[Op],
        session: &Session<'_>,
    ) -> Result<ByHand, Error> {
        let netns = session.places.netns(&self.place)?;
        let netns_cookie = netns.run(|| {
            Constants::of_this_namespace().map(|constants| constants.netns_cookie).map_err(Error::from)
        })?;
        let mut gateway = remembered.unwrap_or_else(|| ByHand {
            place: self.place.clone(),
            netns_cookie,
            sysctls: Ledger::new(),
        });
        for (key, written) in ops.iter().filter_map(written) {
            gateway.sysctls.entry(key).or_insert(written);
        }
        Ok(gateway)
    }

    /// What a topology's gateway needs more, that topology gives back. Remembered before it is done: a value that was
    /// never written is not put back.
    fn charge(&self, ops: &[Op], session: &Session<'_>) -> Result<(), Error> {
        let mut found = ops.iter().filter_map(written).peekable();
        if self.owner.is_by_hand() || found.peek().is_none() {
            return Ok(());
        }
        if let Some(mut record) = session.directories.record(&self.owner)? {
            let ledger = record.sysctls.entry(self.place.clone()).or_default();
            for (key, written) in found {
                ledger.entry(key).or_insert(written);
            }
            session.lock.save(session.directories, &record)?;
        }
        Ok(())
    }
}

fn written(op: &Op) -> Option<(String, Written)> {
    match &op.change {
        Change::Sysctl(SysctlChange { key, value, before: Some(before) }) => {
            Some((key.clone(), Written::new(before, value)))
        }
        _ => None,
    }
}

fn rules<R>(numbered: Vec<Numbered<R>>) -> Vec<R> {
    numbered.into_iter().map(|its| its.rule).collect()
}

/// The place as the topologies have it that want it to be a gateway, without the forwards. Where one has netfilter
/// translate, its rules are the file's alone.
fn wanted_gateways(session: &Session<'_>, place: &Place) -> Result<BTreeMap<TopologyName, Gateway>, Error> {
    let mut wanted = BTreeMap::new();
    for outline in session.directories.readable_outlines()? {
        let owner = outline.name;
        let gateway = outline.gateways.into_iter().find(|gateway| gateway.place == *place);
        let Some(gateway) = gateway else { continue };
        if gateway.backend != Backend::Ebpf {
            return Err(Error::Classic { owner, backend: gateway.backend, place: place.clone() });
        }
        wanted.insert(owner, gateway);
    }
    Ok(wanted)
}

/// Whose gateway the place is: a topology's, if it is only that one's.
fn owner(session: &Session<'_>, place: &Place) -> Result<TopologyName, Error> {
    let all = pinned(&session.directories.bpffs)?.into_iter();
    let here: Vec<TopologyName> = all.filter(|its| its.place == *place).map(|its| its.owner).collect();
    match here.as_slice() {
        [only] => Ok(only.clone()),
        _ => Ok(TopologyName::by_hand()),
    }
}

/// What the place is connected to, by its links that have a part in layer 3 and carry Ethernet.
fn find(session: &mut Session<'_>, place: &Place, links: &[link::Link]) -> Result<Found, Error> {
    let socket = session.places.socket(place)?;
    let (addresses, routes) = (addr::dump(socket)?, route::dump(socket)?);
    let name = |link: &link::Link| link.name.parse::<IfName>().ok();
    let master = |link: &link::Link| links.iter().find(|other| Some(other.index) == link.master);
    let bridge = |link: &link::Link| master(link).filter(|master| master.kind.as_deref() != Some("vrf"));
    let layer3 = links.iter().filter(|link| link.name != "lo" && bridge(link).is_none());
    let (usable, bare): (Vec<_>, Vec<_>) = layer3.partition(|link| link.address.is_some());
    let ports = links.iter().filter_map(|link| Some((name(link)?, name(bridge(link)?)?))).collect();
    let named: BTreeMap<u32, IfName> =
        usable.into_iter().filter_map(|link| Some((link.index, name(link)?))).collect();
    let mut interfaces: BTreeMap<IfName, Vec<IpNet>> =
        named.values().map(|name| (name.clone(), Vec::new())).collect();
    for address in addresses {
        let its = named.get(&address.index).and_then(|name| interfaces.get_mut(name));
        its.into_iter().for_each(|its| its.push(address.address));
    }
    let main = || routes.iter().filter(|route| route.is_main());
    let connected: Vec<(IpNet, IfName)> = main()
        .filter(|route| route.gateway.is_none())
        .filter_map(|route| Some((route.destination, named.get(&route.oif?)?.clone())))
        .collect();
    let through =
        main().filter_map(|route| Some(Route::through(place.clone(), route.destination, route.gateway?)));
    let is_apart = |link: &&link::Link| link.kind.as_deref() == Some("veth") && link.peer_netnsid.is_some();
    let veth = |link: &link::Link| {
        let itself = name(link)?;
        Some(Veth { through: master(link).and_then(name).unwrap_or_else(|| itself.clone()), name: itself })
    };
    let veths = links.iter().filter(is_apart).filter_map(veth).collect();
    let refused = |refused| {
        let (kind, place) = (RuleKind::Masquerade, place.clone());
        Error::Rule { kind, place, refused: Box::new(refused) }
    };
    let bare = bare.into_iter().filter_map(name).collect();
    Found::new(place, Seen { interfaces, ports, bare, connected, veths }, through).map_err(refused)
}
