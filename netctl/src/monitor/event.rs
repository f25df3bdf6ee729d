//! What a monitor tells: when, where, what, and of which object, in the words of the field.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    model::{Place, TopologyName},
    op::Mac,
    single::{
        link::State,
        nat::{Both, Kind as FlowKind, Proto, Rule, Tuple},
    },
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When it was noticed; of flows and drops, when it happened.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// Where; `None` of what is about all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it is about.
    pub kind: Kind,
    /// What became of it.
    pub what: What,
    /// The object as it is now, or as it was when it went.
    pub object: Object,
    /// The object as it was, if it has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Object>,
}

/// RFC 3339, in UTC, to the microsecond.
fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A link.
    Link,
    /// An address of a link.
    Address,
    /// A route of the main table.
    Route,
    /// A neighbour of a link.
    Neighbour,
    /// A translated connection.
    Flow,
    /// A packet that a gateway dropped.
    Drop,
    /// A namespace.
    Namespace,
    /// A gateway's programs.
    Gateway,
    /// Events that nobody will hear of.
    Lost,
    /// What the programs log.
    Debug,
    /// The monitor itself.
    Monitor,
}

impl Kind {
    /// Those that can be asked for; of the others is always told.
    pub const CHOICE: [Self; 6] =
        [Self::Link, Self::Address, Self::Route, Self::Neighbour, Self::Flow, Self::Drop];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Neighbour => "neighbour",
            Self::Flow => "flow",
            Self::Drop => "drop",
            Self::Namespace => "namespace",
            Self::Gateway => "gateway",
            Self::Lost => "lost",
            Self::Debug => "debug",
            Self::Monitor => "monitor",
        }
    }

    /// Whether the programs of a gateway tell of it, rather than netlink.
    #[must_use]
    pub const fn is_of_gateway(self) -> bool {
        matches!(self, Self::Flow | Self::Drop)
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is there now.
    Added,
    /// It is another now.
    Changed,
    /// It is gone.
    Removed,
    /// A flow was made.
    New,
    /// A TCP connection is known to both sides.
    Established,
    /// Another flow has been answered.
    Answered,
    /// A TCP connection was closed by both sides, or reset.
    Closed,
    /// A flow was not used for its lifetime.
    Expired,
    /// A flow has ended before that.
    Ended,
    /// A packet was dropped.
    Dropped,
    /// More packets were dropped than are told of one by one.
    LeftOut,
    /// Events were lost.
    Lost,
    /// A record was logged.
    Logged,
    /// The monitor listens.
    Started,
}

impl What {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::New => "new",
            Self::Established => "established",
            Self::Answered => "answered",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Dropped => "dropped",
            Self::LeftOut => "left-out",
            Self::Lost => "lost",
            Self::Logged => "logged",
            Self::Started => "started",
        }
    }
}

/// What it happened to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// Of [`Kind::Link`].
    Link(Link),
    /// Of [`Kind::Address`].
    Address(Address),
    /// Of [`Kind::Route`].
    Route(Route),
    /// Of [`Kind::Neighbour`].
    Neighbour(Neighbour),
    /// Of [`Kind::Flow`].
    Flow(Box<Flow>),
    /// Of [`Kind::Drop`].
    Drop(Drop),
    /// Of [`What::LeftOut`].
    LeftOut(LeftOut),
    /// Of [`Kind::Namespace`] and [`Kind::Gateway`].
    Named(Named),
    /// Of [`Kind::Lost`].
    Lost(Lost),
    /// Of [`Kind::Debug`].
    Logged(Logged),
    /// Of [`Kind::Monitor`].
    Started(Started),
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The driver's word.
    pub kind: Option<String>,
    /// Whether it works.
    pub state: State,
    /// Bytes.
    pub mtu: u32,
    /// The MAC address.
    pub mac: Option<Mac>,
    /// The bridge that it is plugged into.
    pub master: Option<String>,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The link.
    pub interface: String,
    /// The address, with its subnet's prefix length.
    pub address: IpNet,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `default` or the destination.
    pub to: String,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The link to send by.
    pub interface: Option<String>,
    /// The metric; the smallest wins.
    pub metric: u32,
}

/// A neighbour that answered, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// By which link.
    pub interface: String,
    /// Its MAC address; `None` if it does not answer.
    pub mac: Option<Mac>,
}

/// A flow of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Proto,
    /// Why it exists.
    pub kind: FlowKind,
    /// The rule that made it; `None` once the rule has ended.
    pub rule: Option<Rule>,
    /// The first packet as it came.
    pub original: Tuple,
    /// The first packet as it left.
    pub translated: Tuple,
    /// Packets translated so far.
    pub packets: Both,
    /// Their bytes, from the Ethernet header on.
    pub bytes: Both,
    /// Why it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

/// A packet that a gateway dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drop {
    /// A word for machines.
    pub reason: &'static str,
    /// A phrase for people.
    pub text: &'static str,
    /// Its protocol.
    pub protocol: Proto,
    /// Who sent it to whom.
    pub packet: Tuple,
    /// At which link.
    pub interface: String,
    /// `in` or `out`.
    pub direction: &'static str,
}

/// Packets dropped that were not told one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// A word for machines.
    pub reason: &'static str,
    /// A phrase for people.
    pub text: &'static str,
    /// How many.
    pub packets: u64,
}

/// What is known by its place, or by its name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// What it is called.
    pub name: String,
}

/// Events that nobody will hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// What they may have been about.
    pub kinds: Vec<Kind>,
    /// How many, where that is known.
    pub events: Option<u64>,
    /// Why.
    pub why: String,
}

/// What the programs have logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// In their words.
    pub text: String,
}

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Started {
    /// Whose places they are.
    pub topology: Option<TopologyName>,
    /// Where.
    pub places: Vec<Place>,
    /// Whose programs tell of flows and drops.
    pub gateways: Vec<Place>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_object_with_its_time_to_the_microsecond() {
        let address = Address { interface: "eth0".to_owned(), address: "10.0.0.1/24".parse().unwrap() };
        let event = Event {
            time: Timestamp::new(1_700_000_000, 120_456_789).unwrap(),
            place: Some(Place::Host),
            kind: Kind::Address,
            what: What::Added,
            object: Object::Address(address),
            before: None,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"time":"2023-11-14T22:13:20.120456Z","place":"host","kind":"address","what":"added","object":{"interface":"eth0","address":"10.0.0.1/24"}}"#
        );
    }

    #[test]
    fn words_are_those_of_the_json() {
        for kind in Kind::CHOICE {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for what in [What::Added, What::Established, What::LeftOut] {
            assert_eq!(serde_json::to_value(what).unwrap(), what.as_str());
        }
    }
}
