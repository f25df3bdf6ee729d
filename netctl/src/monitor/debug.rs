//! Listens to what the programs of a gateway log, if they are of a build that does.

use jiff::Timestamp;

use super::{
    Note, Notes,
    event::{Event, Kind, Logged, Object, What},
    ready::Readiness,
};
use crate::nat::{ebpf::log::Logs, pinned::Pinned};

/// Tells what is logged, until that fails.
pub(super) async fn tell(mut logs: Logs, gateway: Pinned, notes: Notes) {
    let readiness = match Readiness::of(&logs) {
        Ok(readiness) => readiness,
        Err(error) => return notes.note(Note::BrokenGateway(gateway, error.to_string())),
    };
    loop {
        let read = || {
            for text in logs.take() {
                notes.tell(Event {
                    time: Timestamp::now(),
                    place: Some(gateway.place.clone()),
                    kind: Kind::Debug,
                    what: What::Logged,
                    object: Object::Logged(Logged { text }),
                    before: None,
                });
            }
            true
        };
        if let Err(error) = readiness.read(read).await {
            return notes.note(Note::BrokenGateway(gateway, error.to_string()));
        }
    }
}
