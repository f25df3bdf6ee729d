//! Which flows: all that is said has to fit. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Kind, Listed, Proto, Rule, State};

/// Which flows; what is `None` fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this protocol.
    pub proto: Option<Proto>,
    /// Whose first packet came from there.
    pub source: Option<IpNet>,
    /// Whose first packet was for there.
    pub destination: Option<IpNet>,
    /// That have anything to do with it, before or after translation.
    pub address: Option<IpNet>,
    /// Whose first packet came from this port.
    pub source_port: Option<u16>,
    /// Whose first packet was for this port.
    pub destination_port: Option<u16>,
    /// That have anything to do with it, before or after translation.
    pub port: Option<u16>,
    /// That have come so far.
    pub state: Option<State>,
    /// That exist for this reason.
    pub kind: Option<Kind>,
    /// That this rule has made.
    pub rule: Option<RuleName>,
}

/// How a rule is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleName {
    /// By its number.
    Number(u32),
    /// By what it is called: a masquerade rule's source, what a forward listens on.
    Name(String),
}

impl From<&str> for RuleName {
    fn from(word: &str) -> Self {
        word.parse().map_or_else(|_| Self::Name(word.to_owned()), Self::Number)
    }
}

impl RuleName {
    fn is(&self, rule: &Rule) -> bool {
        match self {
            Self::Number(number) => rule.number == *number,
            Self::Name(name) => rule.name == *name,
        }
    }
}

impl Filter {
    /// Whether a flow fits.
    #[must_use]
    pub fn matches(&self, flow: &Listed) -> bool {
        let (original, translated) = (&flow.original, &flow.translated);
        let addresses = [original.source, original.destination, translated.source, translated.destination];
        let ports = [
            original.source_port,
            original.destination_port,
            translated.source_port,
            translated.destination_port,
        ];
        let within = |wanted: Option<IpNet>, any: &[IpAddr]| {
            wanted.is_none_or(|net| any.iter().any(|address| net.contains(address)))
        };
        let one_of = |wanted: Option<u16>, any: &[Option<u16>]| wanted.is_none() || any.contains(&wanted);
        self.proto.is_none_or(|proto| proto == flow.protocol)
            && within(self.source, &[original.source])
            && within(self.destination, &[original.destination])
            && within(self.address, &addresses)
            && one_of(self.source_port, &[original.source_port])
            && one_of(self.destination_port, &[original.destination_port])
            && one_of(self.port, &ports)
            && self.state.is_none_or(|state| state == flow.state)
            && self.kind.is_none_or(|kind| kind == flow.kind)
            && self.rule.as_ref().is_none_or(|name| flow.rule.as_ref().is_some_and(|rule| name.is(rule)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::RuleKind, super::Tuple, *};
    use crate::model::Place;

    fn tuple(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            source_port: Some(source_port),
            destination: destination.parse().unwrap(),
            destination_port: Some(destination_port),
            id: None,
        }
    }

    fn flow() -> Listed {
        let (name, text) = ("192.168.15.0/24".to_owned(), "192.168.15.0/24 out wan0".to_owned());
        Listed {
            gateway: Place::Host,
            topology: None,
            protocol: Proto::of("tcp").unwrap(),
            state: State::Established,
            kind: Kind::Masquerade,
            rule: Some(Rule { number: 3, kind: RuleKind::Masquerade, name, text }),
            original: tuple("192.168.15.1", 4321, "198.51.100.7", 443),
            translated: tuple("203.0.113.1", 5000, "198.51.100.7", 443),
            seconds_left: 7,
            packets: [1, 1].into(),
            bytes: [60, 60].into(),
        }
    }

    #[test]
    fn each_word_is_compared_with_its_own() {
        let net = |text: &str| Some(text.parse::<IpNet>().unwrap());
        let none = Filter::default;
        for (filter, fits) in [
            (none(), true),
            (Filter { proto: Proto::of("tcp"), ..none() }, true),
            (Filter { proto: Proto::of("udp"), ..none() }, false),
            (Filter { source: net("192.168.15.0/24"), ..none() }, true),
            (Filter { source: net("203.0.113.1/32"), ..none() }, false),
            (Filter { destination: net("198.51.100.0/24"), ..none() }, true),
            (Filter { destination: net("192.168.0.0/16"), ..none() }, false),
            (Filter { address: net("203.0.113.0/24"), ..none() }, true),
            (Filter { address: net("::/0"), ..none() }, false),
            (Filter { source_port: Some(4321), ..none() }, true),
            (Filter { source_port: Some(5000), ..none() }, false),
            (Filter { destination_port: Some(443), ..none() }, true),
            (Filter { destination_port: Some(4321), ..none() }, false),
            (Filter { port: Some(5000), ..none() }, true),
            (Filter { port: Some(80), ..none() }, false),
            (Filter { state: Some(State::Established), ..none() }, true),
            (Filter { state: Some(State::Closing), ..none() }, false),
            (Filter { kind: Some(Kind::Masquerade), ..none() }, true),
            (Filter { kind: Some(Kind::Hairpin), ..none() }, false),
            (Filter { rule: Some("3".into()), ..none() }, true),
            (Filter { rule: Some("192.168.15.0/24".into()), ..none() }, true),
            (Filter { rule: Some("4".into()), ..none() }, false),
            (Filter { port: Some(443), state: Some(State::Opening), ..none() }, false),
        ] {
            assert_eq!(filter.matches(&flow()), fits, "{filter:?}");
        }
    }

    #[test]
    fn a_flow_without_ports_has_none_to_fit() {
        let mut flow = flow();
        (flow.original.source_port, flow.original.destination_port) = (None, None);
        (flow.translated.source_port, flow.translated.destination_port) = (None, None);
        assert!(!Filter { port: Some(0), ..Filter::default() }.matches(&flow));
        assert!(Filter::default().matches(&flow));
    }
}
