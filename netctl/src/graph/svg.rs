//! The picture for browsers: self-contained, with its own colours for light and dark. Drawn here, by no library.

mod card;

use std::fmt::Write as _;

use self::card::Card;
use super::{
    Graph, Plug, Role, State,
    layout::{self, Gaps, Layout, Point, Port, Size},
};

/// The distances, in pixels.
const GAPS: Gaps = Gaps { boxes: 22, margin: 26, tracks: 14 };
/// What is left free around the picture.
const BORDER: i32 = 24;
/// What the title takes.
const HEAD: i32 = 34;
/// How round the corners of wires are.
const ROUND: i32 = 9;

/// Draws the picture.
#[must_use]
pub fn render(graph: &Graph) -> String {
    let cards: Vec<Card> = (0..graph.nodes.len()).map(|node| Card::new(graph, node)).collect();
    let layout =
        layout::lay(&cards.iter().map(|card| card.size).collect::<Vec<Size>>(), &wires(graph, &cards), GAPS);
    let mut svg = Svg::begin(graph, &layout);
    for (index, ((corner, width), card)) in layout.boxes.iter().zip(&cards).enumerate() {
        svg.card(graph, index, card, *corner, *width);
    }
    let (cables, services) = layout.wires.split_at(graph.cables.len());
    // What is up is drawn over what is not, where they share a way.
    let mut order: Vec<usize> = (0..cables.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(graph.cables[index].state));
    order.into_iter().for_each(|index| svg.cable(&cables[index], graph.cables[index].state));
    for (service, wire) in graph.services.iter().zip(services) {
        let is_left = layout.boxes[service.server.node].0.0 < layout.boxes[service.gateway].0.0;
        svg.service(wire, is_left);
    }
    svg.end()
}

/// The cables, then the services.
fn wires(graph: &Graph, cards: &[Card]) -> Vec<(Port, Port)> {
    let plug = |plug: Plug| (plug.node, cards[plug.node].links[plug.link]);
    let cables = graph.cables.iter().map(|cable| (plug(cable.inner), plug(cable.outer)));
    let services = graph.services.iter().enumerate().map(|(index, service)| {
        let server = (service.server.node, cards[service.server.node].services[&index]);
        (server, (service.gateway, cards[service.gateway].forwards[service.rule]))
    });
    cables.chain(services).collect()
}

/// A drawing in the making.
struct Svg(String);

impl Svg {
    fn begin(graph: &Graph, layout: &Layout) -> Self {
        let (width, height) = (layout.size.0 + 2 * BORDER, layout.size.1 + 2 * BORDER + HEAD);
        let name = escaped(&graph.name);
        let style = include_str!("svg/style.css");
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"topology {name}\">\n\
             <style>\n{style}</style>\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\"><path class=\"nat\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
             <rect class=\"sheet\" width=\"{width}\" height=\"{height}\" rx=\"12\"/>\n\
             <text class=\"title\" x=\"{BORDER}\" y=\"{}\">{name}</text>\n\
             <g transform=\"translate({BORDER} {})\">\n",
            BORDER + 12,
            BORDER + HEAD,
        ))
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{element}");
    }

    fn card(&mut self, graph: &Graph, index: usize, card: &Card, (x, y): Point, width: i32) {
        let node = &graph.nodes[index];
        let class = match node.role {
            _ if node.missing => "card gone",
            Role::Gateway => "card gateway",
            _ => "card",
        };
        self.add(format_args!("<g transform=\"translate({x} {y})\">"));
        if node.count > 1 {
            let (back, height) = (width - 8, card.size.height);
            self.add(format_args!(
                "<rect class=\"{class}\" x=\"4\" y=\"6\" width=\"{back}\" height=\"{height}\" rx=\"10\"/>"
            ));
        }
        let height = card.size.height;
        self.add(format_args!("<rect class=\"{class}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"));
        for (top, height) in &card.bands {
            let band = width - 12;
            self.add(format_args!(
                "<rect class=\"bridge\" x=\"6\" y=\"{top}\" width=\"{band}\" height=\"{height}\" rx=\"6\"/>"
            ));
        }
        if let Some(y) = card.rule {
            self.add(format_args!("<path class=\"rule\" d=\"M12 {y}H{}\"/>", width - 12));
        }
        if let Some(role) = node.title() {
            let x = width - card::PAD;
            self.add(format_args!("<text class=\"role\" x=\"{x}\" y=\"24\">{}</text>", escaped(&role)));
        }
        for text in &card.texts {
            let (class, x, y) = (text.class, text.at.0, text.at.1);
            self.add(format_args!(
                "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>",
                escaped(&text.text)
            ));
        }
        self.add(format_args!("</g>"));
    }

    fn cable(&mut self, wire: &[Point], state: State) {
        let class = class(state);
        self.add(format_args!("<path class=\"wire{class}\" d=\"{}\"/>", path(wire)));
        for (x, y) in wire.first().into_iter().chain(wire.last()) {
            self.add(format_args!("<circle class=\"plug{class}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>"));
        }
    }

    /// An arrow to the server.
    fn service(&mut self, wire: &[Point], is_left: bool) {
        let marker = if is_left { "marker-start" } else { "marker-end" };
        if !wire.is_empty() {
            self.add(format_args!(
                "<path class=\"wire nat\" {marker}=\"url(#arrow)\" d=\"{}\"/>",
                path(wire)
            ));
        }
    }

    fn end(mut self) -> String {
        self.0.push_str("</g>\n</svg>\n");
        self.0
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Unknown => "",
        State::Up => " up",
        State::NoCarrier | State::Down | State::Missing => " down",
    }
}

/// A line through the points, with rounded corners.
fn path(points: &[Point]) -> String {
    let (Some((x, y)), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let mut path = format!("M{x} {y}");
    for corner in points.windows(3) {
        let (before, after) = (near(corner[1], corner[0]), near(corner[1], corner[2]));
        let _ = write!(
            path,
            "L{} {}Q{} {} {} {}",
            before.0, before.1, corner[1].0, corner[1].1, after.0, after.1
        );
    }
    let _ = write!(path, "L{} {}", last.0, last.1);
    path
}

/// The point on the way from one to another where the corner at the first ends.
fn near(corner: Point, other: Point) -> Point {
    let step = |from: i32, to: i32| from + (to - from).signum() * ROUND.min((to - from).abs() / 2);
    (step(corner.0, other.0), step(corner.1, other.1))
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::tests::graph, spec::QUICKSTART};

    #[test]
    fn the_docs_show_what_is_drawn() {
        let shown = include_str!("../../../docs/images/quickstart.svg");
        assert_eq!(render(&graph(QUICKSTART)), shown, "`cargo xtask pictures`");
    }

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        let mut graph = graph(QUICKSTART);
        graph.name = "<a & \"b\">".to_owned();
        graph.nodes[0].name = "</text>".to_owned();
        let svg = render(&graph);
        assert!(
            svg.contains("&lt;a &amp; &quot;b&quot;&gt;</text>") && svg.contains(">&lt;/text&gt;<"),
            "{svg}"
        );
    }

    #[test]
    fn what_is_down_is_drawn_as_such() {
        let mut graph = graph(QUICKSTART);
        assert!(!render(&graph).contains("wire up") && !render(&graph).contains("wire down"));
        graph.cables.iter_mut().for_each(|cable| cable.state = State::Up);
        graph.cables[1].state = State::NoCarrier;
        let svg = render(&graph);
        assert_eq!(
            ["wire up", "wire down"].map(|class| svg.matches(&format!("class=\"{class}")).count()),
            [2, 1]
        );
    }
}
