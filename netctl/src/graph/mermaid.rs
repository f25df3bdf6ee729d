//! The picture as Mermaid reads it: a flow chart from inside to outside, for Markdown pages.

use std::fmt::Write as _;

use super::{Graph, Node, Plug, Role, State};

/// The colours of gateways and of what is down, in both of Mermaid's themes.
const STYLES: &str = "  classDef gateway stroke:#8250df,stroke-width:2px\n  classDef gone stroke:#cf222e,stroke-dasharray:5 4\n";

/// Draws the picture.
#[must_use]
pub fn render(graph: &Graph) -> String {
    let mut out = "flowchart LR\n".to_owned();
    // Writing to a string does not fail.
    for (index, node) in graph.nodes.iter().enumerate() {
        let _ = writeln!(out, "  n{index}[\"{}\"]{}", label(node), class(node));
    }
    for cable in &graph.cables {
        let name = |plug: Plug| quoted(&graph.nodes[plug.node].links[plug.link].name);
        let (inner, outer) = (cable.inner, cable.outer);
        let _ = writeln!(out, "  n{} ---|\"{} – {}\"| n{}", inner.node, name(inner), name(outer), outer.node);
    }
    for service in &graph.services {
        let (listen, to) = (quoted(&service.listen), quoted(&service.to));
        let _ = writeln!(out, "  n{} -.->|\"{listen} to {to}\"| n{}", service.gateway, service.server.node);
    }
    for (index, cable) in graph.cables.iter().enumerate() {
        match cable.state {
            State::Unknown => {}
            State::Up => {
                let _ = writeln!(out, "  linkStyle {index} stroke:#1a7f37");
            }
            State::NoCarrier | State::Down | State::Missing => {
                let _ = writeln!(out, "  linkStyle {index} stroke:#cf222e,stroke-dasharray:5 4");
            }
        }
    }
    out.push_str(STYLES);
    out
}

fn label(node: &Node) -> String {
    let mut lines = vec![format!("<b>{}</b>", quoted(&node.name))];
    for link in &node.links {
        let nat = if link.masquerades { " (NAT)" } else { "" };
        let complaint =
            link.state.complaint().map(|complaint| format!(" <b>{complaint}</b>")).unwrap_or_default();
        lines.push(format!(
            "{}{nat}{complaint}: {}",
            quoted(&link.called()),
            quoted(&link.addresses.join(", "))
        ));
    }
    lines.extend(node.masquerades.iter().map(|rule| format!("<i>masquerade {}</i>", quoted(rule))));
    let forwards = node.forwards.iter();
    lines.extend(forwards.map(|(listen, to)| format!("<i>forward {} to {}</i>", quoted(listen), quoted(to))));
    lines.join("<br/>")
}

fn class(node: &Node) -> &'static str {
    match node.role {
        _ if node.missing => ":::gone",
        Role::Gateway => ":::gateway",
        Role::Namespace | Role::Router => "",
    }
}

/// Text between quotes: Mermaid has entities with `#` for `&`.
fn quoted(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}
