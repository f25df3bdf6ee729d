//! Translation by programs: the real ones are asked, on a copy of what they know.

use std::collections::{BTreeMap, BTreeSet};

use netctl_ebpf::{
    flow::{direction, kind},
    reason::DropReason,
};

use super::{
    Error, Packet,
    nat::{Made, Passing, Way},
    world::World,
};
use crate::{
    hint,
    model::{Forward, IfName, Place, Side},
    nat::{
        ebpf::{
            self, attach,
            maps::Tables,
            rehearsal::{Fate, Meeting, Rehearsal},
        },
        pinned::Pinned,
    },
    netns::NetnsError,
};

/// The gateway's own, to frames that leave it: nobody looks.
const ANY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A gateway.
pub(super) struct Programs {
    place: Place,
    attached: BTreeMap<IfName, BTreeSet<Side>>,
    /// Whether its own processes reach forwarded ports.
    has_local: bool,
    live: Tables,
    masquerades: BTreeMap<u32, String>,
    forwards: BTreeMap<u32, Forward>,
    copy: Option<Rehearsal>,
}

/// What fails inside its namespace.
#[derive(Debug, thiserror::Error)]
enum Inside {
    #[error("{0}")]
    Netns(#[from] NetnsError),
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
}

impl Programs {
    pub(super) fn open(gateway: &Pinned, world: &mut World<'_>) -> Result<Self, Error> {
        let place = gateway.place.clone();
        let failed = failed(&gateway.place);
        let (pins, ground) = (gateway.pins(&world.directories.bpffs), world.ground(&place)?);
        let named =
            || ground.links.iter().filter_map(|link| Some((link.name.parse::<IfName>().ok()?, link.index)));
        let indexes = named().collect();
        let running = world.netns(&place)?.run(|| Ok::<_, Inside>(attach::running(&pins, &indexes)?));
        let running = running.map_err(&failed)?;
        let mut attached: BTreeMap<IfName, BTreeSet<Side>> = BTreeMap::new();
        for (side, interface) in running.interfaces {
            attached.entry(interface).or_default().insert(side);
        }
        let live = Tables::open(&pins).map_err(|error| failed(error.into()))?;
        let names = named().map(|(name, index)| (index, name)).collect();
        let masquerades = live.masquerades(&names).map_err(|error| failed(error.into()))?;
        let forwards = live.forwards().map_err(|error| failed(error.into()))?;
        Ok(Self {
            attached,
            has_local: running.local,
            masquerades: masquerades.into_iter().map(|its| (its.id, its.rule.to_string())).collect(),
            forwards: forwards.into_iter().map(|its| (its.id, its.rule)).collect(),
            live,
            copy: None,
            place,
        })
    }

    /// What the programs of an interface make of a packet; `None` if it has none.
    pub(super) fn at(&mut self, world: &World<'_>, passing: &Passing<'_>) -> Result<Option<Made>, Error> {
        let Passing { link, way, came_by, packet, .. } = *passing;
        let Some(sides) = self.attached.iter().find(|(name, _)| name.as_str() == link.name) else {
            return Ok(None);
        };
        // A port's only take shortcuts.
        let Some(&side) = sides.1.iter().find(|side| **side != Side::Port) else { return Ok(None) };
        let (hook, to_mac) = match way {
            Way::In => ("ingress", link.address.unwrap_or(ANY_MAC)),
            Way::Out => ("egress", ANY_MAC),
        };
        let meeting = Meeting { side, hook, interface: link.index, came_by };
        let (live, copy, frame) = (&self.live, &mut self.copy, packet.frame(to_mac));
        let ask = || {
            let copy = match copy {
                Some(copy) => copy,
                None => copy.insert(Rehearsal::of(live)?),
            };
            Ok::<_, Inside>(copy.run(meeting, &frame)?)
        };
        let fate = world.netns(&self.place)?.run(ask).map_err(failed(&self.place))?;
        let made = self.tell(packet, fate)?;
        // Only there is it worth a word that nothing happens.
        let is_noteworthy = side == Side::Uplink && came_by.is_some() && !packet.is_answer;
        Ok(Some(made).filter(|made| is_noteworthy || !matches!(made, Made::Untouched)))
    }

    fn tell(&self, packet: &Packet, fate: Fate) -> Result<Made, Error> {
        let bytes = match fate {
            Fate::Passes(bytes) => bytes,
            Fate::Dropped(reason) => return Ok(dropped(reason)),
        };
        let after = packet.read(&bytes).filter(|after| after != packet);
        let Some(after) = after else { return Ok(Made::Untouched) };
        let half = match &self.copy {
            Some(copy) => copy.half(&packet.key()).map_err(|error| failed(&self.place)(error.into()))?,
            None => None,
        };
        let (by, forward) = match half {
            None => ("a rule".to_owned(), None),
            Some(half) if half.direction == direction::REPLY => ("undone".to_owned(), None),
            Some(half) => {
                let forward = self.forwards.get(&half.rule);
                let rule = match (forward, self.masquerades.get(&half.rule)) {
                    (Some(_), _) if half.kind == kind::HAIRPIN_SOURCE => "hairpin".to_owned(),
                    (Some(rule), _) => format!("forward {}", rule.listen()),
                    (None, Some(rule)) => format!("masquerade {rule}"),
                    (None, None) => "a rule".to_owned(),
                };
                let is_known =
                    self.live.half(&packet.key()).map_err(|error| failed(&self.place)(error.into()))?;
                let flow = if is_known.is_some() { "a flow that is there" } else { "a new flow" };
                (format!("{rule}, {flow}"), forward.filter(|_| half.kind == kind::FORWARD))
            }
        };
        Ok(Made::Translated { packet: after, by, forward: forward.cloned() })
    }

    /// Where a socket of the gateway's is led that connects like this; `None` if nowhere else.
    pub(super) fn led(&self, packet: &Packet, is_own: bool) -> Option<(Packet, String)> {
        let protocol = packet.what.protocol()?;
        if !self.has_local || !is_own || packet.is_answer {
            return None;
        }
        let (address, port) = (packet.to.ip(), packet.to.port());
        let listens = |rule: &&Forward| {
            let covers = rule.protocol == protocol && (rule.ports.0..=rule.ports.1).contains(&port);
            let is_there = address.is_loopback() || rule.address.is_none_or(|its| its == address);
            covers && is_there && rule.to.is_ipv4() == address.is_ipv4()
        };
        let mut rules: Vec<&Forward> = self.forwards.values().filter(listens).collect();
        // One that listens at the address itself comes before one that listens everywhere.
        rules.sort_by_key(|rule| rule.address != Some(address));
        let rule = rules.first()?;
        let to = (rule.to, port - rule.ports.0 + rule.to_port).into();
        Some((Packet { to, ..*packet }, format!("forward {}", rule.listen())))
    }
}

fn failed(place: &Place) -> impl Fn(Inside) -> Error {
    let place = place.clone();
    move |error| match error {
        Inside::Netns(error) => Error::Netns(error),
        Inside::Nat(source) => Error::Programs { place: place.clone(), source },
    }
}

fn dropped(reason: Option<DropReason>) -> Made {
    let Some(reason) = reason else {
        return Made::Dropped { why: "the programs drop it".to_owned(), fix: None };
    };
    let fix = match reason {
        DropReason::NotAllowed => Some("have `allow` of the forward name the client's network"),
        DropReason::Unsolicited => {
            Some("a forward to it (`netctl nat forward add`), or `routed = true` in the masquerade rule")
        }
        DropReason::Spoofed => Some("another source: this one is the gateway's own, or lives inside"),
        reason => hint::of_drop(reason.id()),
    };
    let why = format!("dropped ({}): {}", reason.id(), reason.text());
    Made::Dropped { why, fix: fix.map(str::to_owned) }
}
