//! What stands in a box, and where, from its left, upper corner.

use std::collections::BTreeMap;

use super::super::{
    Graph, Link, Node,
    layout::{Point, Size},
};

/// Left and right of all text.
pub(super) const PAD: i32 = 16;
/// A line of text.
const LINE: i32 = 18;
/// From a line's top to its text's foot.
const FOOT: i32 = 13;
/// What the name takes.
const HEAD: i32 = 40;
/// Between two links.
const GAP: i32 = 10;

/// A piece of text.
pub(super) struct Text {
    pub(super) class: &'static str,
    /// The left end of its foot.
    pub(super) at: Point,
    pub(super) text: String,
}

/// A box's inside.
#[derive(Default)]
pub(super) struct Card {
    pub(super) size: Size,
    pub(super) texts: Vec<Text>,
    /// The top and the height of each bridge's background.
    pub(super) bands: Vec<(i32, i32)>,
    /// The line above the rules.
    pub(super) rule: Option<i32>,
    /// How far below the top the wires of links, of forwards and of services leave, the last by their index.
    pub(super) links: Vec<i32>,
    pub(super) forwards: Vec<i32>,
    pub(super) services: BTreeMap<usize, i32>,
}

impl Card {
    pub(super) fn new(graph: &Graph, index: usize) -> Self {
        let node = &graph.nodes[index];
        let mut card = Self { size: Size { width: 0, height: HEAD }, ..Self::default() };
        card.head(node);
        let names = node.links.iter().map(|link| label(link).chars().count()).max().unwrap_or(0);
        node.links.iter().for_each(|link| card.link(link, PAD + width(names + 2)));
        let services = graph.services.iter().enumerate().filter(|(_, service)| service.server.node == index);
        for (number, service) in services {
            card.size.height -= GAP / 2;
            let port = card.line("nat", PAD, format!("serves port {} as {}", service.to, service.listen));
            card.services.insert(number, port);
            card.size.height += GAP;
        }
        if !node.masquerades.is_empty() || !node.forwards.is_empty() {
            card.rule = Some(card.size.height);
            card.size.height += GAP;
        }
        for rule in &node.masquerades {
            card.line("nat", PAD, format!("masquerade {rule}"));
        }
        for (listen, to) in &node.forwards {
            let port = card.line("nat", PAD, format!("forward {listen} to {to}"));
            card.forwards.push(port);
        }
        card.size.height += 6;
        card
    }

    fn head(&mut self, node: &Node) {
        let role = node.title().map_or(0, |title| title.chars().count() + 3);
        // The name's letters are a little wider than the others.
        self.widen(2 * PAD + width(node.name.chars().count()) * 9 / 8 + width(role));
        self.text(if node.missing { "name down" } else { "name" }, (PAD, 25), node.name.clone());
    }

    fn link(&mut self, link: &Link, addresses: i32) {
        let top = self.size.height;
        let height = i32::try_from(link.addresses.len().max(1)).unwrap_or(1) * LINE;
        if link.bridge {
            self.bands.push((top - 4, height + 8));
        }
        let name = link.called();
        self.text("link", (PAD, top + FOOT), name.clone());
        let after = |text: &str| PAD + width(text.chars().count() + 1);
        if link.masquerades {
            self.text("nat", (after(&name), top + FOOT), "NAT".to_owned());
        }
        if let Some(complaint) = link.state.complaint() {
            let before = if link.masquerades { format!("{name} NAT") } else { name };
            self.text("down", (after(&before), top + FOOT), complaint.to_owned());
        }
        for (address, foot) in link.addresses.iter().zip((top + FOOT..).step_by(LINE as usize)) {
            self.text("faint", (addresses, foot), address.clone());
        }
        self.links.push(top + LINE / 2);
        self.size.height = top + height + GAP;
    }

    /// A line of its own; returns its middle.
    fn line(&mut self, class: &'static str, x: i32, text: String) -> i32 {
        let top = self.size.height;
        self.text(class, (x, top + FOOT), text);
        self.size.height += LINE;
        top + LINE / 2
    }

    fn text(&mut self, class: &'static str, at: Point, text: String) {
        self.widen(at.0 + width(text.chars().count()) + PAD);
        self.texts.push(Text { class, at, text });
    }

    fn widen(&mut self, width: i32) {
        self.size.width = self.size.width.max(width);
    }
}

/// What stands before the addresses.
fn label(link: &Link) -> String {
    let nat = if link.masquerades { " NAT" } else { "" };
    let complaint = link.state.complaint().map(|complaint| format!(" {complaint}")).unwrap_or_default();
    format!("{}{nat}{complaint}", link.called())
}

/// So many characters of 12 pixels.
fn width(characters: usize) -> i32 {
    i32::try_from(characters * 29 / 4).unwrap_or(0)
}
