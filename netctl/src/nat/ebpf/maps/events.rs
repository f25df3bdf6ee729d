//! What the programs of a gateway tell: their ring buffer, for one listener at a time.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use aya::maps::{Array, Map, MapData, MapInfo, PerCpuArray, RingBuf};
use netctl_ebpf::{
    event::{Event, Listener, Quota},
    reason::DropReason,
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    time::{ClockId, clock_gettime},
};

use super::{ANY, Error, Pins, failed, open, sum};

/// How long the programs go on telling after the listener was heard of last.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener; the programs fall silent when it is dropped, and soon after it is killed.
pub struct Events {
    ring: RingBuf<MapData>,
    listener: Array<MapData, Listener>,
    quotas: PerCpuArray<MapData, Quota>,
    lost: PerCpuArray<MapData, u64>,
    until_ns: u64,
    /// Two readers would take each other's records away.
    _turn: Flock<File>,
}

/// What was not told, since the maps were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untold {
    /// Events that the ring buffer had no room for.
    pub lost: u64,
    /// Drops beyond what a CPU tells of in a second, by reason.
    pub left_out: Vec<(DropReason, u64)>,
}

impl Events {
    /// Begins to listen; `None` if somebody else does.
    ///
    /// # Errors
    /// If a pin is missing or is not what it should be.
    pub fn open(pins: &Pins) -> Result<Option<Self>, Error> {
        let directory = pins.maps();
        let file = File::open(&directory).map_err(Error::io("open", &directory))?;
        let turn = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(turn) => turn,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(Error::io("lock", &directory)(errno.into())),
        };
        let mut events = Self {
            ring: open(pins, "EVENTS", Map::RingBuf)?,
            listener: open(pins, "LISTENER", Map::Array)?,
            quotas: open(pins, "QUOTAS", Map::PerCpuArray)?,
            lost: open(pins, "LOST", Map::PerCpuArray)?,
            until_ns: 0,
            _turn: turn,
        };
        // What another listener was not to hear any more.
        while events.ring.next().is_some() {}
        events.renew()?;
        Ok(Some(events))
    }

    /// The kernel's number of the ring buffer that is pinned: a gateway may be given a new one.
    ///
    /// # Errors
    /// If there is none.
    pub fn id(pins: &Pins) -> Result<u32, Error> {
        MapInfo::from_pin(pins.map("EVENTS")).map(|info| info.id()).map_err(failed("EVENTS"))
    }

    /// Goes on listening; to be called every second or so. For how long the programs were silent if it was called too
    /// late, as by a process that was stopped.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn renew(&mut self) -> Result<Option<Duration>, Error> {
        let now_ns = monotonic_ns();
        let silent_ns = now_ns.checked_sub(self.until_ns).filter(|_| self.until_ns != 0);
        self.say(now_ns + PATIENCE.as_nanos() as u64)?;
        Ok(silent_ns.map(Duration::from_nanos))
    }

    /// The next event, if there is one.
    pub fn take(&mut self) -> Option<Event> {
        let record = self.ring.next()?;
        // SAFETY: the programs write nothing but events into the ring, which are plain data; where a record is shorter,
        // nothing is read.
        (record.len() >= size_of::<Event>())
            .then(|| unsafe { record.as_ptr().cast::<Event>().read_unaligned() })
    }

    /// What was not told so far.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn untold(&self) -> Result<Untold, Error> {
        let lost = sum(&self.lost.get(&0, 0).map_err(failed("LOST"))?);
        let left_out = DropReason::ALL.iter().map(|&reason| {
            let per_cpu = self.quotas.get(&(reason as u32), 0).map_err(failed("QUOTAS"))?;
            Ok((reason, per_cpu.iter().map(|quota| quota.left_out).sum()))
        });
        Ok(Untold { lost, left_out: left_out.collect::<Result<_, Error>>()? })
    }

    fn say(&mut self, until_ns: u64) -> Result<(), Error> {
        self.until_ns = until_ns;
        self.listener.set(0, Listener { until_ns }, ANY).map_err(failed("LISTENER"))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // If the kernel refuses, its time runs out.
        let _ = self.say(0);
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// The clock of the programs, in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
