//! The picture as Graphviz reads it: `dot -Tsvg`, `-Tpdf`, `-Tpng`.

use std::fmt::Write as _;

use super::{Graph, Link, Node, Plug, Role, State};

/// Draws the picture.
#[must_use]
pub fn render(graph: &Graph) -> String {
    let mut out = format!("graph \"{}\" {{\n", escaped(&graph.name));
    out.push_str("  graph [rankdir=LR, ranksep=0.9, nodesep=0.35, fontname=\"Helvetica\"]\n");
    out.push_str("  node [shape=plain, fontname=\"Helvetica\", fontsize=11]\n");
    out.push_str("  edge [color=\"#818b98\", penwidth=1.5, fontname=\"Helvetica\", fontsize=9]\n");
    // Writing to a string does not fail.
    for (index, node) in graph.nodes.iter().enumerate() {
        let _ = writeln!(out, "  n{index} [label=<{}>]", label(node));
    }
    for cable in &graph.cables {
        let (inner, outer, style) = (east(cable.inner), west(cable.outer), style(cable.state));
        let _ = writeln!(out, "  {inner} -- {outer}{style}");
    }
    for service in &graph.services {
        let (server, listen, to) = (east(service.server), escaped(&service.listen), escaped(&service.to));
        let _ = writeln!(
            out,
            "  {server} -- n{}:f{}:w [dir=back, style=dashed, color=\"#8250df\", fontcolor=\"#8250df\", \
             constraint=false, label=\"{listen} to {to}\"]",
            service.gateway, service.rule,
        );
    }
    out.push_str("}\n");
    out
}

/// Where a wire leaves outwards: the cell of the addresses.
fn east(plug: Plug) -> String {
    format!("n{}:a{}:e", plug.node, plug.link)
}

/// Where a wire comes in from inside: the cell of the name.
fn west(plug: Plug) -> String {
    format!("n{}:l{}:w", plug.node, plug.link)
}

fn style(state: State) -> &'static str {
    match state {
        State::Unknown => "",
        State::Up => " [color=\"#1a7f37\"]",
        State::NoCarrier | State::Down | State::Missing => " [color=\"#cf222e\", style=dashed]",
    }
}

/// A table: the name, a row for each link, one for each rule.
fn label(node: &Node) -> String {
    let border = match node.role {
        _ if node.missing => "#cf222e",
        Role::Gateway => "#8250df",
        Role::Namespace | Role::Router => "#818b98",
    };
    let mut rows = format!("<tr><td colspan=\"2\"><b>{}</b></td></tr>", escaped(&node.name));
    for (index, link) in node.links.iter().enumerate() {
        rows.push_str(&row(index, link));
    }
    let masquerades = node.masquerades.iter().map(|rule| (String::new(), format!("masquerade {rule}")));
    let forward = |(index, (listen, to)): (usize, &(String, String))| {
        (format!(" port=\"f{index}\""), format!("forward {listen} to {to}"))
    };
    for (port, rule) in masquerades.chain(node.forwards.iter().enumerate().map(forward)) {
        let rule = escaped(&rule);
        let _ = write!(
            rows,
            "<tr><td colspan=\"2\" align=\"left\"{port}><font color=\"#8250df\">{rule}</font></td></tr>"
        );
    }
    format!(
        "<table border=\"1\" style=\"rounded\" cellborder=\"0\" cellspacing=\"2\" cellpadding=\"3\" color=\"{border}\">{rows}</table>"
    )
}

fn row(index: usize, link: &Link) -> String {
    let mut name = escaped(&link.called());
    if link.bridge {
        name = format!("<b>{name}</b>");
    }
    if link.masquerades {
        name.push_str(" <font color=\"#8250df\">NAT</font>");
    }
    if let Some(complaint) = link.state.complaint() {
        let _ = write!(name, " <font color=\"#cf222e\">{complaint}</font>");
    }
    let addresses: Vec<String> = link.addresses.iter().map(|address| escaped(address)).collect();
    let addresses = addresses.join("<br align=\"left\"/>");
    format!(
        "<tr><td port=\"l{index}\" align=\"left\" valign=\"top\">{name}</td>\
         <td port=\"a{index}\" align=\"left\"><font color=\"#59636e\">{addresses}<br align=\"left\"/></font></td></tr>"
    )
}

/// Text as Graphviz' labels have it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
