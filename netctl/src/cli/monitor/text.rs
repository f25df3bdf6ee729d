//! Events as lines for people: the time of day, the place, what it is about, what became of it, and the object.

use std::net::SocketAddr;

use anstyle::Style;
use jiff::tz::TimeZone;
use netctl::{
    model::Place,
    monitor::event::{Event, Flow, Link, Object, Route, What},
    single::{link::State, nat::Tuple},
};

use super::super::{Printer, cells::count, print};

/// How wide the places' column is: it grows with them.
#[derive(Default)]
pub(super) struct Columns {
    place: usize,
}

impl Columns {
    pub(super) fn line(&mut self, event: &Event, printer: &Printer) -> String {
        let place = event.place.as_ref().map(ToString::to_string).unwrap_or_default();
        let named = match &event.object {
            Object::Started(started) => started.places.iter().map(|place| place.to_string().len()).max(),
            _ => None,
        };
        self.place = self.place.max(place.chars().count()).max(named.unwrap_or(0));
        let time = event.time.to_zoned(TimeZone::system()).strftime("%H:%M:%S.%3f").to_string();
        let cell = |style: Style, text: &str, width: usize| {
            let padding = " ".repeat(width.saturating_sub(text.chars().count()) + 2);
            format!("{}{padding}", printer.paint(style, text))
        };
        [
            cell(print::FAINT, &time, 12),
            cell(print::NAME, &place, self.place),
            cell(Style::new(), event.kind.as_str(), 9),
            cell(style(event.what), event.what.as_str(), 11),
            words(event),
        ]
        .concat()
    }
}

fn style(what: What) -> Style {
    match what {
        What::Added | What::New | What::Established | What::Answered | What::Started => print::GOOD,
        What::Changed => print::CHANGED,
        What::Removed | What::Dropped | What::LeftOut | What::Lost => print::BAD,
        What::Logged => Style::new(),
        What::Closed | What::Expired | What::Ended => print::FAINT,
    }
}

fn words(event: &Event) -> String {
    match &event.object {
        Object::Link(link) => match &event.before {
            Some(Object::Link(before)) => changed_link(before, link),
            _ => described_link(link),
        },
        Object::Address(address) => format!("{} at {}", address.address, address.interface),
        Object::Route(route) => match &event.before {
            Some(Object::Route(before)) => {
                format!("{}, was {}", described_route(route), described_route(before))
            }
            _ => described_route(route),
        },
        Object::Neighbour(neighbour) => {
            let (address, interface) = (neighbour.address, &neighbour.interface);
            match &neighbour.mac {
                Some(mac) => format!("{address} at {interface} is {mac}"),
                None => format!("{address} at {interface} does not answer"),
            }
        }
        Object::Flow(flow) => described_flow(flow, event.what),
        Object::Drop(drop) => {
            format!(
                "{} {} at {} {}: {}",
                drop.protocol, drop.packet, drop.interface, drop.direction, drop.text
            )
        }
        Object::LeftOut(more) => format!("{} more: {}", count(more.packets, "packet"), more.text),
        Object::Named(named) => named.name.clone(),
        Object::Lost(lost) => {
            let kinds: Vec<_> = lost.kinds.iter().map(|kind| kind.as_str()).collect();
            let events = lost.events.map_or_else(|| "events".to_owned(), |events| count(events, "event"));
            format!("{events} ({}): {}", kinds.join(", "), lost.why)
        }
        Object::Logged(logged) => logged.text.clone(),
        Object::Started(started) => {
            let to = started.topology.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let gateways = match names(&started.gateways) {
                none if none.is_empty() => String::new(),
                gateways => format!("; flows and drops of {gateways}"),
            };
            format!("{to}{}{gateways}", names(&started.places))
        }
    }
}

fn names(places: &[Place]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn state(link: &Link) -> &'static str {
    match link.state {
        State::Up => "up",
        State::NoCarrier => "no-carrier",
        State::Down => "down",
    }
}

fn described_link(link: &Link) -> String {
    let kind = link.kind.as_ref().map(|kind| format!(" {kind}")).unwrap_or_default();
    let master = link.master.as_ref().map(|master| format!(" in {master}")).unwrap_or_default();
    format!("{}{kind}{master} {} mtu {}", link.name, state(link), link.mtu)
}

/// What is another now than before.
fn changed_link(before: &Link, link: &Link) -> String {
    let master = |link: &Link| link.master.clone().unwrap_or_else(|| "none".to_owned());
    let mac = |link: &Link| link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    let changes = [
        ("", state(before).to_owned(), state(link).to_owned()),
        ("name ", before.name.clone(), link.name.clone()),
        ("mtu ", before.mtu.to_string(), link.mtu.to_string()),
        ("bridge ", master(before), master(link)),
        ("mac ", mac(before), mac(link)),
    ];
    let told = changes.iter().filter(|(_, before, now)| before != now);
    let told: Vec<_> = told.map(|(word, before, now)| format!("{word}{before} -> {now}")).collect();
    format!("{}: {}", link.name, told.join(", "))
}

fn described_route(route: &Route) -> String {
    let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let interface = route.interface.as_ref().map(|interface| format!(" by {interface}")).unwrap_or_default();
    let metric = if route.metric == 0 { String::new() } else { format!(" metric {}", route.metric) };
    format!("{}{via}{interface}{metric}", route.to)
}

fn described_flow(flow: &Flow, what: What) -> String {
    let rule = flow.rule.as_ref().map(|rule| format!(" {}", rule.name)).unwrap_or_default();
    let tail = match (what, flow.why) {
        (_, Some(why)) => format!(": {why}"),
        (What::Closed | What::Expired, None) => {
            let (packets, bytes) = (flow.packets, flow.bytes);
            format!(
                ", {}/{} packets, {}/{} bytes",
                packets.original, packets.reply, bytes.original, bytes.reply
            )
        }
        _ => String::new(),
    };
    let changes = translation(&flow.original, &flow.translated);
    format!("{} {}{changes} ({}{rule}){tail}", flow.protocol, flow.original, flow.kind.as_str())
}

/// What of a tuple is another after translation: ` as SOURCE`, ` to DESTINATION`, ` with id ID`.
fn translation(original: &Tuple, translated: &Tuple) -> String {
    let endpoint = |address, port| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let ends = |its: &Tuple| [(its.source, its.source_port), (its.destination, its.destination_port)];
    let changed = ["as", "to"].into_iter().zip(ends(original)).zip(ends(translated));
    let changed = changed.filter(|((_, before), after)| before != after);
    let mut text: String =
        changed.map(|((word, _), (address, port))| format!(" {word} {}", endpoint(address, port))).collect();
    if let Some(id) = translated.id.filter(|_| original.id != translated.id) {
        text += &format!(" with id {id}");
    }
    text
}

#[cfg(test)]
mod tests {
    use netctl::monitor::event::Kind;

    use super::*;

    fn link() -> Link {
        Link {
            name: "eth0".to_owned(),
            kind: Some("veth".to_owned()),
            state: State::Up,
            mtu: 1500,
            mac: None,
            master: None,
        }
    }

    #[test]
    fn of_a_changed_link_what_has_changed_is_told() {
        let down = Link { state: State::Down, mtu: 1400, ..link() };
        assert_eq!(changed_link(&link(), &down), "eth0: up -> down, mtu 1500 -> 1400");
        let plugged = Link { master: Some("br0".to_owned()), ..link() };
        assert_eq!(changed_link(&link(), &plugged), "eth0: bridge none -> br0");
        assert_eq!(described_link(&plugged), "eth0 veth in br0 up mtu 1500");
    }

    #[test]
    fn a_route_reads_as_one_says_it() {
        let route = Route {
            to: "default".to_owned(),
            via: Some([10, 0, 0, 1].into()),
            interface: Some("eth0".to_owned()),
            metric: 7,
        };
        assert_eq!(described_route(&route), "default via 10.0.0.1 by eth0 metric 7");
        let direct = Route { to: "10.0.0.0/24".to_owned(), via: None, metric: 0, ..route };
        assert_eq!(described_route(&direct), "10.0.0.0/24 by eth0");
        assert_eq!(
            Kind::CHOICE.map(|kind| kind.as_str().len()).into_iter().max(),
            Some(9),
            "the column's width"
        );
    }

    #[test]
    fn of_a_translation_what_has_changed_is_told() {
        let tuple = |source: [u8; 4], source_port, destination: [u8; 4], destination_port| Tuple {
            source: source.into(),
            source_port: Some(source_port),
            destination: destination.into(),
            destination_port: Some(destination_port),
            id: None,
        };
        let (inside, outside, server) = ([10, 0, 0, 1], [198, 51, 100, 1], [203, 0, 113, 2]);
        let original = tuple(inside, 4321, server, 80);
        assert_eq!(translation(&original, &original), "");
        assert_eq!(translation(&original, &tuple(outside, 4321, server, 80)), " as 198.51.100.1:4321");
        assert_eq!(translation(&original, &tuple(inside, 4321, server, 81)), " to 203.0.113.2:81");
        let query = |id| Tuple { source_port: None, destination_port: None, id: Some(id), ..original };
        assert_eq!(translation(&query(1), &query(2)), " with id 2");
    }
}
