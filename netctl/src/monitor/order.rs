//! Puts events from many sources into the order of their times. Each is kept back for a moment, in which an earlier one
//! may still come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::event::Event;

/// How long one is kept back.
const MOMENT: Duration = Duration::from_millis(50);

/// Events that wait for their turn.
#[derive(Default)]
pub(super) struct Order {
    /// By time, and those of one time in the order in which they came.
    waiting: BTreeMap<(Timestamp, u64), (Instant, Event)>,
    came: u64,
}

impl Order {
    /// Takes one in that has come at `now`.
    pub(super) fn push(&mut self, event: Event, now: Instant) {
        self.came += 1;
        self.waiting.insert((event.time, self.came), (now, event));
    }

    /// The earliest, if it has waited long enough.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Event> {
        if self.due()? > now { None } else { self.pop_any() }
    }

    /// The earliest.
    pub(super) fn pop_any(&mut self) -> Option<Event> {
        self.waiting.pop_first().map(|(_, (_, event))| event)
    }

    /// When the earliest has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, (came, _))| *came + MOMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::event::{Kind, Named, Object, What};

    fn event(second: i64, name: &str) -> Event {
        Event {
            time: Timestamp::new(second, 0).unwrap(),
            place: None,
            kind: Kind::Namespace,
            what: What::Added,
            object: Object::Named(Named { name: name.to_owned() }),
            before: None,
        }
    }

    #[test]
    fn what_comes_in_disorder_within_a_moment_leaves_in_order() {
        let (mut order, start) = (Order::default(), Instant::now());
        let at = |fraction: u32| start + MOMENT * fraction / 4;
        order.push(event(7, "late"), at(0));
        order.push(event(5, "early"), at(2));
        order.push(event(7, "later"), at(2));
        let mut name = |fraction| match order.pop(at(fraction))?.object {
            Object::Named(named) => Some(named.name),
            _ => None,
        };
        assert_eq!(name(3), None, "another may still come");
        assert_eq!([name(6), name(6), name(6)].map(Option::unwrap), ["early", "late", "later"]);
    }
}
