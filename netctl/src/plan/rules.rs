//! From the rules in force to the wanted ones: which end, which begin, and which follow others for the same packets.

use std::{collections::HashSet, hash::Hash};

use crate::model::{Forward, Masquerade};

/// A kind of rule.
pub(super) trait Rule: Clone + Hash + Eq {
    /// The same for rules that do the same.
    fn key(&self) -> Self;
    /// Whether there are packets that both may be for.
    fn overlaps(&self, other: &Self) -> bool;
}

impl Rule for Masquerade {
    fn key(&self) -> Self {
        self.sorted()
    }

    fn overlaps(&self, other: &Self) -> bool {
        let nested = self.source.contains(&other.source) || other.source.contains(&self.source);
        nested && self.out.iter().any(|out| other.out.contains(out))
    }
}

impl Rule for Forward {
    fn key(&self) -> Self {
        self.clone()
    }

    fn overlaps(&self, other: &Self) -> bool {
        let either_any = self.address.is_none() || other.address.is_none();
        self.protocol == other.protocol
            && self.to.is_ipv4() == other.to.is_ipv4()
            && (either_any || self.address == other.address)
            && self.ports.0 <= other.ports.1
            && other.ports.0 <= self.ports.1
    }
}

/// What becomes of a gateway's rules of one kind.
pub(super) struct Changes<R> {
    /// End, and no other follows.
    pub(super) end: Vec<R>,
    /// End when [`Self::after`] are in force.
    pub(super) before: Vec<R>,
    /// Follow [`Self::before`].
    pub(super) after: Vec<R>,
    /// Begin where there was none.
    pub(super) begin: Vec<R>,
}

impl<R: Rule> Changes<R> {
    pub(super) fn between<'a>(found: impl Iterator<Item = &'a R>, wanted: &'a [R]) -> Self
    where
        R: 'a,
    {
        let found: Vec<&R> = found.collect();
        let there: HashSet<R> = found.iter().map(|rule| rule.key()).collect();
        let stay: HashSet<R> = wanted.iter().map(Rule::key).collect();
        let coming: Vec<&R> = wanted.iter().filter(|rule| !there.contains(&rule.key())).collect();
        let leaving = found.into_iter().filter(|rule| !stay.contains(&rule.key())).cloned();
        let (before, end): (Vec<R>, Vec<R>) =
            leaving.partition(|rule| coming.iter().any(|new| new.overlaps(rule)));
        let coming = coming.into_iter().cloned();
        let (after, begin) = coming.partition(|rule| before.iter().any(|old| old.overlaps(rule)));
        Self { end, before, after, begin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Filtering, Mapping, Protocol};

    fn forward(ports: (u16, u16), to_port: u16) -> Forward {
        Forward {
            address: Some("203.0.113.1".parse().unwrap()),
            ports,
            protocol: Protocol::Tcp,
            to: "192.168.15.2".parse().unwrap(),
            to_port,
            allow: None,
        }
    }

    #[test]
    fn what_stays_is_left_alone_and_what_is_for_the_same_packets_follows() {
        let (stays, goes) = (forward((22, 22), 22), forward((8000, 8009), 80));
        let (one, two) = (forward((8000, 8004), 80), forward((8005, 8009), 90));
        let (ends, begins) = (forward((53, 53), 53), Forward { protocol: Protocol::Udp, ..goes.clone() });
        let found = [stays.clone(), goes.clone(), ends.clone()];
        let wanted = [begins.clone(), two.clone(), stays, one.clone()];
        let changes = Changes::between(found.iter(), &wanted);
        assert_eq!((changes.end, changes.begin), (vec![ends], vec![begins]));
        assert_eq!((changes.before, changes.after), (vec![goes], vec![two, one]));
    }

    #[test]
    fn masquerades_overlap_by_source_and_uplink() {
        let rule = |source: &str, out: &[&str]| Masquerade {
            source: source.parse().unwrap(),
            out: out.iter().map(|out| out.parse().unwrap()).collect(),
            address: None,
            ports: None,
            routed: false,
            mapping: Mapping::default(),
            filtering: Filtering::default(),
        };
        let wide = rule("10.0.0.0/8", &["wan0", "wan1"]);
        assert!(wide.overlaps(&rule("10.1.0.0/16", &["wan1"])));
        assert!(rule("10.1.0.0/16", &["wan1"]).overlaps(&wide));
        assert!(!wide.overlaps(&rule("10.1.0.0/16", &["wan2"])));
        assert!(!wide.overlaps(&rule("11.0.0.0/8", &["wan0"])));
    }
}
