//! Notices that namespaces get or lose their names. A namespace that is listened to lives on without one, with all that is
//! in it, so it has to be let go at once.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::time::sleep;

use super::{Note, Notes, ready::Readiness};
use crate::netns::RUN_DIR;

/// A name is there a moment before its namespace is, and more names may come with it.
const MOMENTS: [Duration; 3] =
    [Duration::from_millis(0), Duration::from_millis(20), Duration::from_millis(200)];

/// How long to wait for the directory of names, which comes with the first of them.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks for a look around whenever a name comes or goes. Where that cannot be watched, nothing is asked for.
pub(super) async fn watch(notes: Notes) {
    loop {
        if let Err(error) = until_gone(&notes).await {
            tracing::debug!("names of namespaces are not watched: {error}");
        }
        sleep(PATIENCE).await;
    }
}

/// Until the directory goes, if it is there at all.
async fn until_gone(notes: &Notes) -> io::Result<()> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(RUN_DIR, flags)?;
    let readiness = Readiness::of(&watch)?;
    loop {
        let mut events = Ok(Vec::new());
        let read = || {
            events = watch.read_events();
            true
        };
        readiness.read(read).await?;
        let is_gone = match events {
            Ok(events) => events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)),
            Err(Errno::EAGAIN) => continue,
            Err(errno) => return Err(errno.into()),
        };
        for moment in MOMENTS {
            sleep(moment).await;
            notes.note(Note::Look);
        }
        if is_gone {
            return Ok(());
        }
    }
}
