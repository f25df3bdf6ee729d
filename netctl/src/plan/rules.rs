//! From the rules in force to the wanted ones: which end, which begin, and which follow others for the same packets.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
};

use crate::model::{Forward, Masquerade};

/// A kind of rule.
pub(super) trait Rule: Clone + Hash + Eq {
    /// The same for rules that do the same.
    fn key(&self) -> Cow<'_, Self>;
    /// Tells whether there are packets that one of these rules and another one may both be for.
    fn overlap_with(rules: &[Self]) -> impl Fn(&Self) -> bool;
}

impl Rule for Masquerade {
    fn key(&self) -> Cow<'_, Self> {
        Cow::Owned(self.sorted())
    }

    fn overlap_with(rules: &[Self]) -> impl Fn(&Self) -> bool {
        let overlap = |one: &Self, other: &Self| {
            let nested = one.source.contains(&other.source) || other.source.contains(&one.source);
            nested && one.out.iter().any(|out| other.out.contains(out))
        };
        move |rule| rules.iter().any(|one| overlap(one, rule))
    }
}

impl Rule for Forward {
    fn key(&self) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    fn overlap_with(rules: &[Self]) -> impl Fn(&Self) -> bool {
        let socket = |rule: &Self, address| (rule.protocol, rule.to.is_ipv4(), address);
        // By socket, and of those with any address and of all together.
        let (mut listening, mut anywhere) = (HashMap::<_, Ports>::new(), HashMap::<_, Ports>::new());
        for rule in rules {
            listening.entry(socket(rule, rule.address)).or_default().add(rule.ports);
            anywhere.entry(socket(rule, None)).or_default().add(rule.ports);
        }
        move |rule| {
            let any = socket(rule, None);
            let of_any = if rule.address.is_some() { &listening } else { &anywhere };
            let at = |ports: &Ports| ports.meet(rule.ports);
            of_any.get(&any).is_some_and(at) || listening.get(&socket(rule, rule.address)).is_some_and(at)
        }
    }
}

/// A set of ports: ranges that do not overlap, by their first port.
#[derive(Default)]
struct Ports(BTreeMap<u16, u16>);

impl Ports {
    fn add(&mut self, (mut first, mut last): (u16, u16)) {
        while let Some((start, end)) = self.find((first, last)) {
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    fn meet(&self, range: (u16, u16)) -> bool {
        self.find(range).is_some()
    }

    /// The last of the ranges that overlap with this one.
    fn find(&self, (first, last): (u16, u16)) -> Option<(u16, u16)> {
        let found = self.0.range(..=last).next_back().filter(|(_, end)| **end >= first);
        found.map(|(&start, &end)| (start, end))
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
        // What is the same at both ends stays, and need not be looked for: most of it, where one rule has come or gone.
        let same = found.iter().zip(wanted).take_while(|(found, wanted)| **found == *wanted).count();
        let (found, wanted) = (&found[same..], &wanted[same..]);
        let pairs = found.iter().rev().zip(wanted.iter().rev());
        let same = pairs.take_while(|(found, wanted)| **found == *wanted).count();
        let (found, wanted) = (&found[..found.len() - same], &wanted[..wanted.len() - same]);
        let there: HashSet<Cow<'_, R>> = found.iter().map(|rule| rule.key()).collect();
        let stay: HashSet<Cow<'_, R>> = wanted.iter().map(Rule::key).collect();
        let coming = wanted.iter().filter(|rule| !there.contains(&rule.key())).cloned();
        let coming: Vec<R> = coming.collect();
        let leaving = found.iter().copied().filter(|rule| !stay.contains(&rule.key())).cloned();
        let (before, end): (Vec<R>, Vec<R>) = leaving.partition(R::overlap_with(&coming));
        let (after, begin) = coming.into_iter().partition(R::overlap_with(&before));
        Self { end, before, after, begin }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let overlap =
            |one: &Masquerade, other: &Masquerade| Masquerade::overlap_with(std::slice::from_ref(one))(other);
        assert!(overlap(&wide, &rule("10.1.0.0/16", &["wan1"])));
        assert!(overlap(&rule("10.1.0.0/16", &["wan1"]), &wide));
        assert!(!overlap(&wide, &rule("10.1.0.0/16", &["wan2"])));
        assert!(!overlap(&wide, &rule("11.0.0.0/8", &["wan0"])));
    }

    fn any_forward() -> impl Strategy<Value = Forward> {
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        (0..3_u8, 1..60_u16, 0..9_u16, protocol, any::<bool>()).prop_map(
            |(host, port, more, protocol, is_v4)| {
                let address = |v4: String, v6: String| if is_v4 { v4 } else { v6 }.parse().unwrap();
                Forward {
                    address: (host != 0)
                        .then(|| address(format!("203.0.113.{host}"), format!("2001:db8::{host}"))),
                    ports: (port, port + more),
                    protocol,
                    to: address("192.168.15.2".to_owned(), "fd15::2".to_owned()),
                    to_port: 80,
                    allow: None,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn forwards_overlap_as_any_two_of_them_do(
            rules in proptest::collection::vec(any_forward(), 0..12), other in any_forward(),
        ) {
            let expected = rules.iter().any(|rule| rule.overlaps(&other));
            prop_assert_eq!(Forward::overlap_with(&rules)(&other), expected);
        }
    }

    #[test]
    fn sixty_thousand_forwards_are_followed_by_as_many_others() {
        let all = |to_port| (1..=60_000).map(|port| forward((port, port), to_port)).collect::<Vec<_>>();
        let (found, wanted) = (all(80), all(81));
        let changes = Changes::between(found.iter(), &wanted);
        assert!(changes.end.is_empty() && changes.begin.is_empty());
        assert_eq!((changes.before, changes.after), (found, wanted));
    }
}
