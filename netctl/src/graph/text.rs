//! The picture in characters: boxes and wires for a terminal.

mod canvas;

use self::canvas::Canvas;
use super::{
    Graph, Link, Node, Plug, State,
    layout::{self, Gaps, Port, Size},
};

/// A terminal's columns. A picture that would be wider has its addresses below the interfaces' names instead of beside
/// them.
const WIDTH: i32 = 80;

/// The distances, in characters.
const GAPS: Gaps = Gaps { boxes: 1, margin: 3, tracks: 2 };

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// A name that stands out.
    Name,
    /// What can be passed over.
    Faint,
    /// What is up.
    Good,
    /// What is down.
    Bad,
    /// What has to do with translation.
    Nat,
}

/// A line of text, in pieces.
pub type Line = Vec<(Ink, String)>;

/// Draws the picture, with the rules of the gateways below it.
#[must_use]
pub fn render(graph: &Graph) -> Vec<Line> {
    let mut lines = draw(graph, true)
        .filter(|(width, _)| *width <= WIDTH)
        .or_else(|| draw(graph, false))
        .map(|(_, lines)| lines)
        .unwrap_or_default();
    let gateways =
        graph.nodes.iter().filter(|node| !node.masquerades.is_empty() || !node.forwards.is_empty());
    let columns = gateways.clone().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let rules: Vec<Line> = gateways.flat_map(|node| rules(node, columns)).collect();
    if !rules.is_empty() {
        lines.push(Line::new());
        lines.extend(rules);
    }
    lines
}

/// The picture and its width.
fn draw(graph: &Graph, is_wide: bool) -> Option<(i32, Vec<Line>)> {
    let blocks: Vec<Block> = graph.nodes.iter().map(|node| Block::new(node, is_wide)).collect();
    let sizes: Vec<Size> = blocks.iter().map(Block::size).collect();
    let port = |plug: Plug| -> Port { (plug.node, blocks[plug.node].ports[plug.link]) };
    let wires: Vec<(Port, Port)> =
        graph.cables.iter().map(|cable| (port(cable.inner), port(cable.outer))).collect();
    let layout = layout::lay(&sizes, &wires, GAPS);
    let mut canvas = Canvas::new(layout.size);
    for (block, ((corner, width), size)) in blocks.iter().zip(layout.boxes.iter().zip(&sizes)) {
        canvas.block(block, *corner, Size { width: *width, ..*size });
    }
    // What is up is drawn over what is not, where they share a way.
    let mut order: Vec<usize> = (0..wires.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(graph.cables[index].state));
    for index in order {
        canvas.wire(&layout.wires[index], ink(graph.cables[index].state));
    }
    Some((layout.size.0, canvas.lines()))
}

fn ink(state: State) -> Ink {
    match state {
        State::Unknown => Ink::Plain,
        State::Up => Ink::Good,
        State::NoCarrier | State::Down | State::Missing => Ink::Bad,
    }
}

/// What stands in a box.
struct Block {
    title: (Ink, String),
    lines: Vec<Line>,
    /// The line of each link, below the top.
    ports: Vec<i32>,
}

impl Block {
    fn new(node: &Node, is_wide: bool) -> Self {
        let (mut lines, mut ports): (Vec<Line>, Vec<i32>) = (Vec::new(), Vec::new());
        let widest = node.links.iter().map(|link| link.called().chars().count()).max().unwrap_or(0);
        for link in &node.links {
            if !ports.is_empty() && !is_wide {
                lines.push(Line::new());
            }
            ports.push(i32::try_from(lines.len()).unwrap_or(0) + 1);
            if is_wide { lines.extend(beside(link, widest)) } else { lines.extend(below(link)) }
        }
        if node.missing {
            lines.push(vec![(Ink::Bad, "missing".to_owned())]);
        } else if lines.is_empty() {
            lines.push(vec![(Ink::Faint, "no links".to_owned())]);
        }
        let ink = if node.missing { Ink::Bad } else { Ink::Name };
        Self { title: (ink, node.name.clone()), lines, ports }
    }

    fn size(&self) -> Size {
        let widest = self.lines.iter().map(width).max().unwrap_or(0).max(self.title.1.chars().count() + 2);
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX / 2);
        Size { width: count(widest) + 4, height: count(self.lines.len()) + 2 }
    }
}

fn width(line: &Line) -> usize {
    line.iter().map(|(_, text)| text.chars().count()).sum()
}

/// A link's name, and what is to say of it.
fn name(link: &Link) -> Line {
    let mut line = vec![(if link.bridge { Ink::Name } else { Ink::Plain }, link.called())];
    if link.masquerades {
        line.push((Ink::Nat, " NAT".to_owned()));
    }
    if let Some(complaint) = link.state.complaint() {
        line.push((Ink::Bad, format!(" {complaint}")));
    }
    line
}

/// The addresses below the name.
fn below(link: &Link) -> impl Iterator<Item = Line> {
    let addresses = link.addresses.iter().map(|address| vec![(Ink::Faint, address.clone())]);
    std::iter::once(name(link)).chain(addresses)
}

/// The addresses beside the name, which has so many columns.
fn beside(link: &Link, columns: usize) -> Vec<Line> {
    let head = name(link);
    let indent = columns.max(width(&head)) + 2;
    let mut lines = vec![head];
    for (index, address) in link.addresses.iter().enumerate() {
        if index > 0 {
            lines.push(Line::new());
        }
        if let Some(line) = lines.last_mut() {
            let blank = " ".repeat(indent - width(line));
            line.extend([(Ink::Plain, blank), (Ink::Faint, address.clone())]);
        }
    }
    lines
}

/// A gateway's rules, a line each, behind a name of so many columns.
fn rules(node: &Node, columns: usize) -> Vec<Line> {
    let masquerades = node.masquerades.iter().map(|rule| ("masquerade", rule.clone()));
    let widest = node.forwards.iter().map(|(listen, _)| listen.chars().count()).max().unwrap_or(0);
    let forwards = node.forwards.iter().map(|(listen, to)| ("forward", format!("{listen:widest$}  to {to}")));
    let line = |(index, (kind, rule)): (usize, (&str, String))| {
        let name = if index == 0 { node.name.as_str() } else { "" };
        vec![
            (Ink::Name, format!("{name:columns$}")),
            (Ink::Nat, format!("  {kind:10}")),
            (Ink::Plain, format!("  {rule}")),
        ]
    };
    masquerades.chain(forwards).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::tests::graph, spec::QUICKSTART};

    fn drawn(graph: &Graph) -> Vec<String> {
        let text = |line: Line| line.into_iter().map(|(_, text)| text).collect();
        render(graph).into_iter().map(text).collect()
    }

    #[test]
    fn the_quickstart_fits_a_terminal() {
        let mut graph = graph(QUICKSTART);
        graph.nodes[0].links[0].state = State::Down;
        graph.cables[0].state = State::Down;
        let expected = "\
╭─ red ───────────╮
│ eth0 down       ├╌╌╌╮
│ 192.168.15.1/24 │   ╎
│ fd15::1/64      │   ╎  ╭─ router ───────────╮
╰─────────────────╯   ├──┤ v-net-0            │
                      │  │ 192.168.15.5/24    │
╭─ blue ──────────╮   │  │ fd15::5/64         │
│ eth0            ├───╯  │                    │      ╭─ internet ─────────╮
│ 192.168.15.2/24 │      │ wan0 NAT           ├──────┤ eth0               │
│ fd15::2/64      │      │ 203.0.113.1/24     │      │ 203.0.113.2/24     │
╰─────────────────╯      │ 2001:db8:113::1/64 │      │ 2001:db8:113::2/64 │
                         ╰────────────────────╯      ╰────────────────────╯

router  masquerade  192.168.15.0/24 out wan0
        masquerade  fd15::/64 out wan0
        forward     203.0.113.1:8080/tcp        to 192.168.15.2:80
        forward     [2001:db8:113::1]:8080/tcp  to [fd15::2]:80";
        assert_eq!(drawn(&graph).join("\n"), expected);
    }

    #[test]
    fn addresses_stand_beside_names_where_there_is_room_and_wires_that_cross_do_not_touch() {
        let text = "[namespaces.a]\n[namespaces.b]\n[namespaces.c]\n[namespaces.d]\n\
                    [[cables]]\na = { namespace = 'a', interface = 'x', addresses = ['10.0.0.1/24', 'fd00::1/64'] }\n\
                    b = { namespace = 'd', interface = 'x' }\n\
                    [[cables]]\na = { namespace = 'b', interface = 'x' }\nb = { namespace = 'c', interface = 'x' }\n\
                    [[cables]]\na = { namespace = 'a', interface = 'y' }\nb = { namespace = 'c', interface = 'y' }\n\
                    [[cables]]\na = { namespace = 'b', interface = 'y' }\nb = { namespace = 'd', interface = 'y' }";
        let drawn = drawn(&graph(text)).join("\n");
        assert!(drawn.contains("│ x  10.0.0.1/24 ├─"), "{drawn}");
        assert!(drawn.contains("│    fd00::1/64  │"), "{drawn}");
        assert!(drawn.contains('│') && !drawn.contains('┼'), "{drawn}");
    }
}
