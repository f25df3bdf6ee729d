//! `netctl nat flows`: the live flow table.

use std::{collections::HashMap, time::Duration};

use netctl_ebpf::{
    config::Timeouts,
    flow::{FlowKey, kind},
};
use serde::Serialize;

use super::{Both, Filter, Gateway, Kind, Proto, Rule, State, Tuple, gateways};
use crate::{
    model::{Place, TopologyName},
    nat::ebpf::maps::{Flow, events::monotonic_ns},
    single::Error,
    state::Directories,
};

/// A line of `netctl nat flows`: one connection. That of a client inside which uses a forwarded port is two flows of the
/// table, whose destination changes in the one and whose source in the other; here it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Where it is translated.
    pub gateway: Place,
    /// The topology that made the gateway; `null` of one made by hand.
    pub topology: Option<TopologyName>,
    /// Its protocol.
    pub protocol: Proto,
    /// How far it has come.
    pub state: State,
    /// Why it exists.
    pub kind: Kind,
    /// The rule that made it; `None` in the moment in which the rule ends.
    pub rule: Option<Rule>,
    /// The first packet as it came.
    pub original: Tuple,
    /// The first packet as it left.
    pub translated: Tuple,
    /// How long it lives without another packet.
    pub seconds_left: u64,
    /// Packets translated.
    pub packets: Both,
    /// Their bytes, from the Ethernet header on.
    pub bytes: Both,
}

/// The flows of a gateway, or of all, that fit: by gateway, protocol and original tuple.
///
/// # Errors
/// If the place is not there, or a table cannot be read.
pub fn flows(
    place: Option<&Place>,
    filter: &Filter,
    directories: &Directories,
) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    for gateway in gateways(place, directories)? {
        listed.extend(connections(&gateway, filter)?.into_iter().map(|connection| connection.listed));
    }
    listed.sort_by(|a, b| {
        let key = |its: &Listed| (its.protocol, its.original, its.translated);
        a.gateway.cmp(&b.gateway).then_with(|| key(a).cmp(&key(b)))
    });
    Ok(listed)
}

/// A connection and its flows in the table.
pub(super) struct Connection {
    pub(super) listed: Listed,
    pub(super) flows: Vec<Flow>,
}

/// Those of a gateway that fit.
pub(super) fn connections(gateway: &Gateway, filter: &Filter) -> Result<Vec<Connection>, Error> {
    let timeouts = gateway.tables.config()?.timeouts;
    let now_ns = monotonic_ns();
    let connection = |flows: Vec<Flow>| {
        let listed = list(gateway, &flows, &timeouts, now_ns)?;
        filter.matches(&listed).then_some(Connection { listed, flows })
    };
    Ok(pair(gateway.tables.flows()?).into_iter().filter_map(connection).collect())
}

/// Puts the two flows of each hairpinned connection together: the second begins with the tuple that the first ends with.
/// Either may have outlived the other.
fn pair(flows: Vec<Flow>) -> Vec<Vec<Flow>> {
    let (seconds, firsts): (Vec<Flow>, Vec<Flow>) =
        flows.into_iter().partition(|flow| flow.there.kind == kind::HAIRPIN_SOURCE);
    let mut seconds: HashMap<FlowKey, Flow> = seconds.into_iter().map(|flow| (flow.original, flow)).collect();
    let mut pairs: Vec<Vec<Flow>> = Vec::with_capacity(firsts.len());
    for first in firsts {
        let is_hairpin = first.there.kind == kind::HAIRPIN;
        let second = is_hairpin.then(|| seconds.remove(&first.translated)).flatten();
        pairs.push([first].into_iter().chain(second).collect());
    }
    pairs.extend(seconds.into_values().map(|flow| vec![flow]));
    pairs
}

/// `flows` are one connection's, in the order in which its first packet met them; `None` if there are none.
fn list(gateway: &Gateway, flows: &[Flow], timeouts: &Timeouts, now_ns: u64) -> Option<Listed> {
    let (first, last) = (flows.first()?, flows.last()?);
    let carried = first.carried();
    let left = flows.iter().map(|flow| left(flow, timeouts, now_ns)).min()?;
    Some(Listed {
        gateway: gateway.place.clone(),
        topology: gateway.topology(),
        protocol: Proto(first.original.proto),
        state: State::of(first),
        kind: Kind::of(first.there.kind),
        rule: gateway.rule(first.there.rule).cloned(),
        original: Tuple::from(&first.original),
        translated: Tuple::from(&last.translated),
        seconds_left: left.as_secs(),
        packets: carried.packets.into(),
        bytes: carried.bytes.into(),
    })
}

/// How long a flow lives without another packet: as the timer that ends it reckons.
fn left(flow: &Flow, timeouts: &Timeouts, now_ns: u64) -> Duration {
    let (there, back) = (&flow.there, &flow.back);
    let answered = back.packets != 0;
    let lifetime_ns = timeouts.lifetime_ns(flow.original.proto, there.tcp_seen, back.tcp_seen, answered);
    let deadline_ns = there.last_seen_ns.max(back.last_seen_ns).saturating_add(lifetime_ns);
    Duration::from_nanos(deadline_ns.saturating_sub(now_ns))
}

#[cfg(test)]
mod tests {
    use netctl_ebpf::{addr::from_v4, config::SECOND_NS, flow::Half, proto};

    use super::*;

    fn endpoint(last: u8, port: u16) -> ([u8; 16], [u8; 2]) {
        (from_v4([10, 0, 0, last]), port.to_be_bytes())
    }

    fn key(from: u8, to: u8) -> FlowKey {
        let ((src, src_port), (dst, dst_port)) = (endpoint(from, 777), endpoint(to, 80));
        FlowKey { src, dst, src_port, dst_port, proto: proto::UDP, _pad: [0; 3] }
    }

    fn flow(kind: u8, original: FlowKey, translated: FlowKey) -> Flow {
        let half = Half { kind, packets: 1, last_seen_ns: 5 * SECOND_NS, ..Half::default() };
        Flow { original, translated, there: half, back: Half { packets: 0, ..half } }
    }

    #[test]
    fn the_two_flows_of_a_hairpin_are_one_connection_and_others_are_not() {
        let (called, served, seen) = (key(1, 9), key(1, 2), key(9, 2));
        let pairs = pair(vec![
            flow(kind::HAIRPIN_SOURCE, served, seen),
            flow(kind::FORWARD, key(3, 9), served),
            flow(kind::HAIRPIN, called, served),
            flow(kind::HAIRPIN_SOURCE, key(4, 2), seen),
        ]);
        let ends = |flows: &Vec<Flow>| (flows[0].original, flows[flows.len() - 1].translated);
        let ends: Vec<_> = pairs.iter().map(ends).collect();
        assert_eq!(ends, [(key(3, 9), served), (called, seen), (key(4, 2), seen)]);
    }

    #[test]
    fn what_is_left_is_counted_from_the_last_packet_of_either_direction() {
        let mut flow = flow(kind::FORWARD, key(1, 9), key(1, 2));
        let left = |flow: &Flow, now| left(flow, &Timeouts::DEFAULT, now * SECOND_NS).as_secs();
        assert_eq!(left(&flow, 5), 120);
        assert_eq!(left(&flow, 60), 65);
        assert_eq!(left(&flow, 1000), 0);
        flow.back = Half { packets: 1, last_seen_ns: 50 * SECOND_NS, ..Half::default() };
        assert_eq!(left(&flow, 60), 290);
    }
}
