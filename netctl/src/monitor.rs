//! What happens in a topology, or in some places, as it happens: what `netctl monitor` tells.
//!
//! Each place and each gateway is listened to by a task of its own: places by netlink's multicast groups, gateways by the
//! ring buffers of their programs. What they tell is put into the order of its times. Nothing is hidden: where events are
//! lost, that is one. Once a second, and whenever a namespace gets or loses its name, there is a look around for what has
//! come and gone.

mod debug;
pub mod event;
mod gateway;
mod names;
mod order;
mod place;
mod ready;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, spawn},
    time::{sleep, timeout_at},
};

use self::{
    event::{Event, Kind, Lost, Named, Object, Started, What},
    order::Order,
};
use crate::{
    hint::Advise,
    model::{Place, TopologyName},
    nat::{
        ebpf::{self, log::Logs, maps::events::Events},
        pinned::{Pinned, pinned},
    },
    netlink,
    netns::{Identity, Netns},
    state::{self, Directories, NotUp},
    up,
};

/// How often to look around at least.
const PAUSE: Duration = Duration::from_secs(1);

/// Why nothing can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topology is not up.
    #[error("{0}")]
    NotUp(#[from] NotUp),
    /// A place that was named is not the topology's.
    #[error("`{place}` is no place of `{topology}`")]
    Foreign {
        /// What was named.
        place: Place,
        /// The topology.
        topology: TopologyName,
    },
    /// A place that was named is not there.
    #[error("there is no namespace `{0}`")]
    NoPlace(Place),
    /// A gateway tells one listener at a time.
    #[error("another `netctl monitor` listens to the gateway `{0}`")]
    Busy(Place),
    /// A gateway's programs log nothing.
    #[error("the programs of the gateway `{0}` log nothing: they were built without")]
    NoLog(Place),
    /// This process may not listen.
    #[error("{0}")]
    Up(#[from] up::Error),
    /// The record could not be read.
    #[error("{0}")]
    State(#[from] state::Error),
    /// A place could not be entered.
    #[error("{0}")]
    Place(#[from] crate::place::Error),
    /// A place does not answer.
    #[error("netlink: {0}")]
    Netlink(#[from] netlink::Error),
    /// A gateway's programs cannot be listened to.
    #[error("{0}")]
    Nat(#[from] ebpf::Error),
}

impl Advise for Error {
    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NoLog(_) => {
                "`cargo xtask build-ebpf --log`, build netctl again, and `netctl up` again loads some that do"
                    .to_owned()
            }
            Self::Busy(_) => "with `--only link,address,route,neighbour` several may listen".to_owned(),
            Self::NoPlace(_) => "`netctl ns ls` lists the namespaces".to_owned(),
            _ => return None,
        })
    }
}

/// What to listen to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The topology whose places they are; without one, the places have to be named.
    pub topology: Option<TopologyName>,
    /// The places; empty: all of the topology.
    pub places: Vec<Place>,
    /// What to tell of, out of [`Kind::CHOICE`].
    pub kinds: BTreeSet<Kind>,
    /// Whether to tell what the programs log, too.
    pub debug: bool,
}

impl Wanted {
    fn wants_places(&self) -> bool {
        self.kinds.iter().any(|kind| !kind.is_of_gateway())
    }

    fn wants_gateways(&self) -> bool {
        self.debug || self.kinds.iter().any(|kind| kind.is_of_gateway())
    }

    /// Whether an event is told: what was not to be chosen from is.
    fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind) || !Kind::CHOICE.contains(&kind)
    }
}

/// What the tasks say.
#[derive(Debug)]
enum Note {
    /// Something happened.
    Event(Box<Event>),
    /// Something may have come or gone.
    Look,
    /// A place is listened to no more.
    Broken(Place, String),
    /// A gateway is listened to no more.
    BrokenGateway(Pinned, String),
    /// It is enough.
    End,
}

/// Where the tasks say it.
#[derive(Clone)]
struct Notes(UnboundedSender<Note>);

impl Notes {
    fn tell(&self, event: Event) {
        self.note(Note::Event(Box::new(event)));
    }

    /// Nobody listens any more only when all is over.
    fn note(&self, note: Note) {
        let _ = self.0.send(note);
    }
}

/// A task that ends when this is dropped.
struct Task(AbortHandle);

impl Task {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(spawn(task).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens, and ends with it.
pub struct Monitor {
    wanted: Wanted,
    directories: Directories,
    record: Record,
    places: BTreeMap<Place, (Identity, Task)>,
    gateways: BTreeMap<Pinned, (u32, Vec<Task>)>,
    /// Gateways that others listen to, which was told.
    busy: BTreeSet<Pinned>,
    notes: Notes,
    heard: UnboundedReceiver<Note>,
    order: Order,
    is_over: bool,
    _tasks: [Task; 2],
}

/// A topology's places, as its record has them.
#[derive(Default)]
struct Record {
    /// Which file was read: inode and time of change.
    file: Option<(u64, i64, i64)>,
    places: Vec<Place>,
}

impl Monitor {
    /// Begins to listen. What is there by then is taken for known.
    ///
    /// To be called within a runtime of tokio.
    ///
    /// # Errors
    /// If there is nothing to listen to, or it may or can not be.
    pub fn begin(wanted: Wanted, directories: &Directories) -> Result<Self, Error> {
        up::require_root()?;
        let (sender, heard) = unbounded_channel();
        let notes = Notes(sender);
        let tasks = [Task::spawn(names::watch(notes.clone())), Task::spawn(tick(notes.clone()))];
        let mut monitor = Self {
            wanted,
            directories: directories.clone(),
            record: Record::default(),
            places: BTreeMap::new(),
            gateways: BTreeMap::new(),
            busy: BTreeSet::new(),
            notes,
            heard,
            order: Order::default(),
            is_over: false,
            _tasks: tasks,
        };
        monitor.check()?;
        monitor.look(true)?;
        if let Some(gateway) = monitor.busy.first() {
            return Err(Error::Busy(gateway.place.clone()));
        }
        let started = Started {
            topology: monitor.wanted.topology.clone(),
            places: monitor.wanted_places(),
            gateways: monitor.gateways.keys().map(|gateway| gateway.place.clone()).collect(),
        };
        monitor.tell(None, Kind::Monitor, What::Started, Object::Started(started));
        Ok(monitor)
    }

    /// Has the events end at `signal`.
    pub fn end_at(&self, signal: impl Future<Output = ()> + Send + 'static) {
        let notes = self.notes.clone();
        spawn(async move {
            signal.await;
            notes.note(Note::End);
        });
    }

    /// The next event; `None` when it is over.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if self.is_over {
                return self.order.pop_any();
            }
            if let Some(event) = self.order.pop(Instant::now()) {
                return Some(event);
            }
            let note = match self.order.due() {
                Some(due) => match timeout_at(due.into(), self.heard.recv()).await {
                    Ok(note) => note,
                    Err(_) => continue,
                },
                None => self.heard.recv().await,
            };
            self.heed(note?);
        }
    }

    fn heed(&mut self, note: Note) {
        match note {
            Note::Event(event) if self.wanted.wants(event.kind) => self.order.push(*event, Instant::now()),
            Note::Event(_) => {}
            Note::Look => {
                if let Err(error) = self.look(false) {
                    tracing::warn!("{error}");
                }
            }
            Note::Broken(place, why) => {
                self.places.remove(&place);
                self.lose(
                    place,
                    Kind::CHOICE.into_iter().filter(|kind| !kind.is_of_gateway()).collect(),
                    why,
                );
            }
            Note::BrokenGateway(gateway, why) => {
                self.gateways.remove(&gateway);
                self.lose(gateway.place, vec![Kind::Flow, Kind::Drop], why);
            }
            Note::End => self.is_over = true,
        }
    }

    fn tell(&mut self, place: Option<Place>, kind: Kind, what: What, object: Object) {
        let event = Event { time: Timestamp::now(), place, kind, what, object, before: None };
        self.order.push(event, Instant::now());
    }

    fn lose(&mut self, place: Place, kinds: Vec<Kind>, why: String) {
        self.tell(Some(place), Kind::Lost, What::Lost, Object::Lost(Lost { kinds, events: None, why }));
    }

    /// Refuses what is not there from the start.
    fn check(&mut self) -> Result<(), Error> {
        self.read_record()?;
        if let Some(topology) = &self.wanted.topology {
            if self.record.file.is_none() {
                return Err(NotUp(topology.clone()).into());
            }
            let is_foreign = |place: &&Place| !self.record.places.contains(place);
            return match self.wanted.places.iter().find(is_foreign) {
                Some(place) => Err(Error::Foreign { place: place.clone(), topology: topology.clone() }),
                None => Ok(()),
            };
        }
        let is_missing =
            |place: &&Place| matches!(place, Place::Netns(name) if Netns::identity_of(name).is_none());
        match self.wanted.places.iter().find(is_missing) {
            Some(place) => Err(Error::NoPlace(place.clone())),
            None => Ok(()),
        }
    }

    /// Reads the topology's record, if it is another than before.
    fn read_record(&mut self) -> Result<(), state::Error> {
        let Some(topology) = &self.wanted.topology else { return Ok(()) };
        let file = fs::metadata(self.directories.record_path(topology)).ok();
        let file = file.map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        if file != self.record.file {
            let record = self.directories.record(topology)?;
            let places = record.map(|record| record.topology.places()).unwrap_or_default();
            self.record = Record { file, places };
        }
        Ok(())
    }

    /// The places to listen to, as far as they are there.
    fn wanted_places(&self) -> Vec<Place> {
        match (&self.wanted.topology, self.wanted.places.as_slice()) {
            (None, named) => named.to_vec(),
            (Some(_), []) => self.record.places.clone(),
            (Some(_), named) => {
                named.iter().filter(|place| self.record.places.contains(place)).cloned().collect()
            }
        }
    }

    /// Begins to listen to what has come, and lets go of what has gone; for the `first` time what is there is known.
    fn look(&mut self, first: bool) -> Result<(), Error> {
        self.read_record()?;
        let wanted = self.wanted_places();
        if self.wanted.wants_places() {
            self.let_places_go(&wanted);
            for place in
                wanted.iter().filter(|place| !self.places.contains_key(place)).cloned().collect::<Vec<_>>()
            {
                self.listen_to_place(place, first)?;
            }
        }
        if self.wanted.wants_gateways() {
            self.look_for_gateways(&wanted, first)?;
        }
        Ok(())
    }

    fn let_places_go(&mut self, wanted: &[Place]) {
        let is_there = |place: &Place, identity: Identity| match place {
            Place::Host => true,
            Place::Netns(name) => Netns::identity_of(name) == Some(identity),
        };
        let gone: Vec<Place> = self
            .places
            .iter()
            .filter(|(place, (identity, _))| !wanted.contains(place) || !is_there(place, *identity))
            .map(|(place, _)| place.clone())
            .collect();
        for place in gone {
            self.places.remove(&place);
            self.tell_name(place, Kind::Namespace, What::Removed);
        }
    }

    fn listen_to_place(&mut self, place: Place, first: bool) -> Result<(), Error> {
        let Some((mut listening, identity)) = place::Listening::open(&place, self.wanted.topology.as_ref())?
        else {
            return Ok(());
        };
        if first {
            listening.take_for_known()?;
        } else {
            self.tell_name(place.clone(), Kind::Namespace, What::Added);
        }
        let task = Task::spawn(listening.tell(self.notes.clone()));
        self.places.insert(place, (identity, task));
        Ok(())
    }

    fn look_for_gateways(&mut self, wanted: &[Place], first: bool) -> Result<(), Error> {
        let bpffs = self.directories.bpffs.clone();
        let is_ours = |gateway: &Pinned| {
            let owner = self.wanted.topology.as_ref();
            wanted.contains(&gateway.place)
                && (owner.is_none_or(|owner| gateway.owner == *owner)
                    || gateway.owner.is_by_hand() && gateway.place != Place::Host)
        };
        let mut there = BTreeMap::new();
        for gateway in pinned(&bpffs)?.into_iter().filter(is_ours) {
            // One that goes at this moment is not there.
            there.extend(Events::id(&gateway.pins(&bpffs)).ok().map(|id| (gateway, id)));
        }
        let gone: Vec<Pinned> = self
            .gateways
            .iter()
            .filter(|(its, (id, _))| there.get(its) != Some(id))
            .map(|(its, _)| its.clone())
            .collect();
        for gateway in gone {
            self.gateways.remove(&gateway);
            self.tell_name(gateway.place, Kind::Gateway, What::Removed);
        }
        self.busy.retain(|gateway| there.contains_key(gateway));
        for (gateway, id) in there {
            if !self.gateways.contains_key(&gateway) {
                self.listen_to_gateway(gateway, id, first)?;
            }
        }
        Ok(())
    }

    fn listen_to_gateway(&mut self, gateway: Pinned, id: u32, first: bool) -> Result<(), Error> {
        let Some(events) = Events::open(&gateway.pins(&self.directories.bpffs))? else {
            let place = gateway.place.clone();
            if self.busy.insert(gateway) && !first {
                let why = "another `netctl monitor` listens to this gateway".to_owned();
                self.lose(place, vec![Kind::Flow, Kind::Drop], why);
            }
            return Ok(());
        };
        self.busy.remove(&gateway);
        if !first {
            self.tell_name(gateway.place.clone(), Kind::Gateway, What::Added);
        }
        let listening = gateway::Listening::new(gateway.clone(), self.directories.bpffs.clone(), &events)?;
        let mut tasks = vec![Task::spawn(listening.tell(events, self.notes.clone()))];
        if self.wanted.debug {
            match Logs::open(&gateway.pins(&self.directories.bpffs))? {
                Some(logs) => tasks.push(Task::spawn(debug::tell(logs, gateway.clone(), self.notes.clone()))),
                None if first => return Err(Error::NoLog(gateway.place)),
                None => {
                    let why = Error::NoLog(gateway.place.clone()).to_string();
                    self.lose(gateway.place.clone(), vec![Kind::Debug], why);
                }
            }
        }
        self.gateways.insert(gateway, (id, tasks));
        Ok(())
    }

    fn tell_name(&mut self, place: Place, kind: Kind, what: What) {
        let name = place.to_string();
        self.tell(Some(place), kind, what, Object::Named(Named { name }));
    }
}

async fn tick(notes: Notes) {
    loop {
        sleep(PAUSE).await;
        notes.note(Note::Look);
    }
}
