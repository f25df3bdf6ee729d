//! Listens to one place: links, addresses, routes and neighbours.

use jiff::Timestamp;

use super::{
    Error, Note, Notes,
    event::{Event, Kind, Lost, Object, What},
    ready::Readiness,
    seen::{Change, Seen},
};
use crate::{
    model::{Place, TopologyName},
    netlink::{
        self, Socket,
        message::messages,
        socket::listen::{Heard, Listener},
    },
    netns::{Identity, Netns, NetnsError},
    place,
};

/// A place that is listened to; its sockets keep its namespace alive.
pub(super) struct Listening {
    place: Place,
    listener: Listener,
    socket: Socket,
    seen: Seen,
}

/// Why one is listened to no more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    #[error("wait for a netlink socket: {0}")]
    Wait(#[from] std::io::Error),
}

impl Listening {
    /// Opens a place; `None` if there is no such namespace. Of the host, `owner`'s links are listened to alone.
    ///
    /// # Errors
    /// If it is there and cannot be entered.
    pub(super) fn open(
        place: &Place,
        owner: Option<&TopologyName>,
    ) -> Result<Option<(Self, Identity)>, Error> {
        let netns = match place {
            Place::Host => Netns::current(),
            Place::Netns(name) => Netns::open(name),
        };
        let netns = match netns {
            Err(NetnsError::NotFound { .. }) => return Ok(None),
            netns => netns.map_err(place::Error::from)?,
        };
        let (listener, socket) = netns.run(|| Ok::<_, place::Error>((Listener::open()?, Socket::open()?)))?;
        let seen = Seen::new(place.clone(), owner.cloned());
        Ok(Some((Self { place: place.clone(), listener, socket, seen }, netns.identity())))
    }

    /// Takes what is there for known.
    ///
    /// # Errors
    /// If the place does not answer.
    pub(super) fn take_for_known(&mut self) -> Result<(), netlink::Error> {
        self.seen.survey(&mut self.socket).map(drop)
    }

    /// Tells what changes, from what is known now, until that fails.
    pub(super) async fn tell(self, notes: Notes) {
        let place = self.place.clone();
        if let Err(failure) = self.listen(&notes).await {
            notes.note(Note::Broken(place, failure.to_string()));
        }
    }

    async fn listen(mut self, notes: &Notes) -> Result<(), Failure> {
        self.survey(notes)?;
        let readiness = Readiness::of(&self.listener)?;
        loop {
            let mut heard = Ok(());
            let read = || {
                heard = self.hear(notes);
                true
            };
            readiness.read(read).await?;
            heard?;
        }
    }

    /// Tells all that there is to hear, and what went unsaid.
    fn hear(&mut self, notes: &Notes) -> Result<(), Failure> {
        let mut has_lost = false;
        loop {
            match self.listener.hear()? {
                Heard::Datagram(datagram) => {
                    for message in messages(datagram) {
                        let change = message.and_then(|message| self.seen.hear(&message));
                        let change = change.map_err(netlink::Error::from)?;
                        change.into_iter().for_each(|change| notes.tell(event(&self.place, change)));
                    }
                }
                Heard::Overrun => has_lost = true,
                Heard::Nothing => break,
            }
        }
        // What was kept is older than what is asked for now, so it comes first.
        if has_lost {
            notes.tell(lost(&self.place));
        }
        if has_lost || self.seen.is_doubtful() {
            self.survey(notes)?;
        }
        Ok(())
    }

    fn survey(&mut self, notes: &Notes) -> Result<(), netlink::Error> {
        let changes = self.seen.survey(&mut self.socket)?;
        changes.into_iter().for_each(|change| notes.tell(event(&self.place, change)));
        Ok(())
    }
}

fn event(place: &Place, change: Change) -> Event {
    let Change { kind, what, object, before } = change;
    Event { time: Timestamp::now(), place: Some(place.clone()), kind, what, object, before }
}

fn lost(place: &Place) -> Event {
    let kinds = Kind::CHOICE.into_iter().filter(|kind| !kind.is_of_gateway()).collect();
    let why = "too many at once; what they have left is told as it is now".to_owned();
    Event {
        time: Timestamp::now(),
        place: Some(place.clone()),
        kind: Kind::Lost,
        what: What::Lost,
        object: Object::Lost(Lost { kinds, events: None, why }),
        before: None,
    }
}
