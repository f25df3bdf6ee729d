//! The time without a question a packet: the kernel's coarse clock moves once a tick, and so does its count of ticks,
//! which programs read without a call.

use crate::pod;

/// What the coarse clock said last, and at which tick.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The kernel's `jiffies`.
    tick: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    now_ns: u64,
}

pod!(Clock);

impl Clock {
    /// The time at `tick`; `ask` is asked for it if that is another one than before.
    #[inline(always)]
    pub fn read(&mut self, tick: u64, ask: impl FnOnce() -> u64) -> u64 {
        if self.tick != tick {
            self.now_ns = ask();
            self.tick = tick;
        }
        self.now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_asked_for_once_a_tick() {
        let mut clock = Clock::default();
        assert_eq!(clock.read(7, || 100), 100);
        assert_eq!(clock.read(7, || unreachable!()), 100);
        assert_eq!(clock.read(8, || 200), 200);
    }
}
