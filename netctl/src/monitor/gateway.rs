//! Listens to one gateway: flows and drops, as its programs tell of them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use netctl_ebpf::{
    event::{self, cause, what},
    flow::hook,
    proto,
    reason::DropReason,
};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    Note, Notes,
    event::{Drop, Event, Flow, Kind, LeftOut, Lost, Object, What},
    ready::Readiness,
};
use crate::{
    nat::{
        ebpf::{
            self,
            maps::{
                Tables,
                events::{Events, Untold, monotonic_ns},
            },
        },
        pinned::Pinned,
    },
    netlink::link,
    place::Places,
    single::{
        self,
        nat::{Proto, Rule, Tuple},
    },
};

/// How often the programs are told that somebody listens.
const RENEWAL: Duration = Duration::from_secs(1);

/// As many records as are read before others have their turn.
const AT_ONCE: usize = 256;

/// A gateway that is listened to.
pub(super) struct Listening {
    gateway: Pinned,
    bpffs: PathBuf,
    /// What was not told before this began.
    untold: Untold,
    words: Words,
    /// Whether they are to be asked for where one is missing: once between two renewals.
    may_ask: bool,
    /// From the programs' clock to the time of day.
    epoch: Timestamp,
}

/// What the numbers of events stand for.
#[derive(Default)]
struct Words {
    rules: BTreeMap<u32, Rule>,
    interfaces: BTreeMap<u32, String>,
}

/// Why one is listened to no more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
    #[error("wait for a ring buffer: {0}")]
    Wait(#[from] std::io::Error),
}

impl Listening {
    pub(super) fn new(gateway: Pinned, bpffs: PathBuf, events: &Events) -> Result<Self, ebpf::Error> {
        Ok(Self {
            gateway,
            bpffs,
            untold: events.untold()?,
            words: Words::default(),
            may_ask: true,
            epoch: epoch(),
        })
    }

    /// Tells what happens, until that fails.
    pub(super) async fn tell(mut self, events: Events, notes: Notes) {
        if let Err(failure) = self.listen(events, &notes).await {
            notes.note(Note::BrokenGateway(self.gateway, failure.to_string()));
        }
    }

    async fn listen(&mut self, mut events: Events, notes: &Notes) -> Result<(), Failure> {
        let readiness = Readiness::of(&events)?;
        let mut renewal = Instant::now() + RENEWAL;
        loop {
            let heard = timeout_at(renewal, readiness.read(|| self.hear(&mut events, notes))).await;
            // That there was nothing to read is no error.
            heard.unwrap_or(Ok(()))?;
            if Instant::now() >= renewal {
                // What was told comes before what was not.
                self.hear(&mut events, notes);
                self.renew(&mut events, notes)?;
                renewal = Instant::now() + RENEWAL;
            }
            yield_now().await;
        }
    }

    /// Tells of some records; whether these were all.
    fn hear(&mut self, events: &mut Events, notes: &Notes) -> bool {
        let heard = (0..AT_ONCE).map_while(|_| events.take());
        heard.map(|record| notes.tell(self.event(&record))).count() < AT_ONCE
    }

    /// Goes on listening, and tells what was not told.
    fn renew(&mut self, events: &mut Events, notes: &Notes) -> Result<(), Failure> {
        if let Some(silent) = events.renew()? {
            let why = format!("netctl was stopped, and for {:.1} s nothing was told", silent.as_secs_f64());
            notes.tell(self.lost(None, why));
        }
        let untold = events.untold()?;
        match untold.lost - self.untold.lost {
            0 => {}
            events => notes.tell(self.lost(Some(events), "too many at once".to_owned())),
        }
        for ((reason, now), (_, before)) in untold.left_out.iter().zip(&self.untold.left_out) {
            if now > before {
                let left_out = LeftOut { reason: reason.id(), text: reason.text(), packets: now - before };
                notes.tell(self.of(Timestamp::now(), Kind::Drop, What::LeftOut, Object::LeftOut(left_out)));
            }
        }
        self.untold = untold;
        self.may_ask = true;
        self.epoch = epoch();
        Ok(())
    }

    fn of(&self, time: Timestamp, kind: Kind, what: What, object: Object) -> Event {
        Event { time, place: Some(self.gateway.place.clone()), kind, what, object, before: None }
    }

    fn lost(&self, events: Option<u64>, why: String) -> Event {
        let kinds = vec![Kind::Flow, Kind::Drop];
        self.of(Timestamp::now(), Kind::Lost, What::Lost, Object::Lost(Lost { kinds, events, why }))
    }

    fn event(&mut self, record: &event::Event) -> Event {
        let time = self.epoch + SignedDuration::from_nanos(record.at_ns.cast_signed());
        let words = self.words(record);
        let interface = || {
            let named = words.interfaces.get(&record.ifindex);
            named.cloned().unwrap_or_else(|| format!("if{}", record.ifindex))
        };
        let (protocol, original) = (Proto(record.original.proto), Tuple::from(&record.original));
        if record.what == what::DROPPED {
            let reason =
                DropReason::ALL.get(usize::from(record.why)).copied().unwrap_or(DropReason::Malformed);
            let (reason, text) = (reason.id(), reason.text());
            let direction = if record.hook == hook::INGRESS { "in" } else { "out" };
            let drop = Drop { reason, text, protocol, packet: original, interface: interface(), direction };
            return self.of(time, Kind::Drop, What::Dropped, Object::Drop(drop));
        }
        let (what, why) = outcome(record);
        let flow = Flow {
            protocol,
            kind: single::nat::Kind::of(record.kind),
            rule: words.rules.get(&record.rule).cloned(),
            original,
            translated: Tuple::from(&record.translated),
            packets: record.packets.into(),
            bytes: record.bytes.into(),
            why,
        };
        self.of(time, Kind::Flow, what, Object::Flow(Box::new(flow)))
    }

    /// What the numbers of an event stand for.
    fn words(&mut self, record: &event::Event) -> &Words {
        let is_drop = record.what == what::DROPPED;
        let is_known = (is_drop || self.words.rules.contains_key(&record.rule))
            && self.words.interfaces.contains_key(&record.ifindex);
        if !is_known && self.may_ask {
            self.words = Words::read(&self.gateway, &self.bpffs);
            self.may_ask = false;
        }
        &self.words
    }
}

impl Words {
    /// What cannot be read has no name.
    fn read(gateway: &Pinned, bpffs: &std::path::Path) -> Self {
        let mut places = Places::default();
        let rules = Tables::open(&gateway.pins(bpffs))
            .map_err(single::Error::from)
            .and_then(|tables| single::nat::rules(&gateway.place, &tables, &mut places));
        let is_open = places.open(&gateway.place).unwrap_or_default();
        let links = if is_open {
            places.socket(&gateway.place).ok().and_then(|socket| link::dump(socket).ok())
        } else {
            None
        };
        Self {
            rules: rules.unwrap_or_default().into_iter().map(|rule| (rule.number, rule)).collect(),
            interfaces: links.unwrap_or_default().into_iter().map(|link| (link.index, link.name)).collect(),
        }
    }
}

/// What has become of the flow, and why.
fn outcome(record: &event::Event) -> (What, Option<&'static str>) {
    match (record.what, record.why) {
        (what::NEW, _) => (What::New, None),
        (what::ESTABLISHED, _) if record.original.proto == proto::TCP => (What::Established, None),
        (what::ESTABLISHED, _) => (What::Answered, None),
        (what::CLOSED, _) => (What::Closed, None),
        (_, cause::TIME) => (What::Expired, None),
        (_, cause::RULE) => (What::Ended, Some("its rule has ended")),
        (_, cause::REOPENED) => (What::Ended, Some("a new connection has its tuple")),
        (_, cause::MOVED) => (What::Ended, Some("its outside address or its uplink is another now")),
        (_, cause::CROWDED) => (What::Ended, Some("too many flows wait for an answer")),
        _ => (What::Ended, None),
    }
}

/// When the programs' clock began, by the time of day.
fn epoch() -> Timestamp {
    Timestamp::now() - SignedDuration::from_nanos(monotonic_ns().cast_signed())
}
