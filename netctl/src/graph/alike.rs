//! Places that are alike become one box: the `worker-0` to `worker-99` of one `count`, all plugged into one bridge.

use super::{Cable, Graph, Node, Plug, Role};

/// Fewer are drawn one by one.
const ENOUGH: usize = 4;

/// The picture with each row of places that are alike as one node.
pub(super) fn merged(graph: Graph) -> Graph {
    let rows = rows(&graph);
    if rows.iter().all(|row| row.len() == 1) {
        return graph;
    }
    // Where each node goes, unless it is one of several that the first stands for.
    let mut places = vec![0; graph.nodes.len()];
    for (new, row) in rows.iter().enumerate() {
        row.iter().for_each(|&old| places[old] = new);
    }
    let moved = |plug: Plug| Plug { node: places[plug.node], ..plug };
    let mut cables: Vec<Cable> = Vec::new();
    for cable in &graph.cables {
        let mut cable = Cable { inner: moved(cable.inner), outer: moved(cable.outer), ..cable.clone() };
        let is_several = [cable.inner, cable.outer].iter().any(|plug| rows[plug.node].len() > 1);
        match cables.iter_mut().find(|its| is_several && (its.inner, its.outer) == (cable.inner, cable.outer))
        {
            Some(its) => its.state = its.state.max(cable.state),
            None => {
                cable.port = cable.port.filter(|_| !is_several);
                cables.push(cable);
            }
        }
    }
    let mut services = graph.services.clone();
    for service in &mut services {
        service.gateway = places[service.gateway];
        service.server = moved(service.server);
    }
    services.dedup();
    let nodes = rows.iter().map(|row| joined(&graph.nodes[row[0]..=row[row.len() - 1]])).collect();
    Graph { nodes, cables, services, ..graph }
}

/// The nodes, those in a row together that are alike.
fn rows(graph: &Graph) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for index in 0..graph.nodes.len() {
        match rows.last_mut() {
            Some(row) if are_alike(graph, row[0], index) => row.push(index),
            _ => rows.push(vec![index]),
        }
    }
    let split = |row: Vec<usize>| {
        if row.len() < ENOUGH { row.into_iter().map(|index| vec![index]).collect() } else { vec![row] }
    };
    rows.into_iter().flat_map(split).collect()
}

fn are_alike(graph: &Graph, one: usize, other: usize) -> bool {
    let [a, b] = [one, other].map(|index| &graph.nodes[index]);
    let has_name = stem(&a.name).is_some_and(|stem| Some(stem) == self::stem(&b.name));
    let leaves = [a, b].iter().all(|node| node.role == Role::Namespace && node.links.len() == 1);
    has_name && leaves && a.links[0].name == b.links[0].name && peer(graph, one) == peer(graph, other)
}

/// The name without its number.
fn stem(name: &str) -> Option<&str> {
    let (stem, number) = name.rsplit_once('-')?;
    number.parse::<u32>().ok().map(|_| stem)
}

/// What a node's only link leads to.
fn peer(graph: &Graph, node: usize) -> Option<Plug> {
    graph.cables.iter().find_map(|cable| match (cable.inner, cable.outer) {
        (own, other) | (other, own) if own.node == node => Some(other),
        _ => None,
    })
}

/// One node for all of these.
fn joined(nodes: &[Node]) -> Node {
    let ([first, .., last], worst) =
        (nodes, nodes.iter().flat_map(|node| &node.links).map(|link| link.state).max())
    else {
        return nodes[0].clone();
    };
    let mut node = first.clone();
    node.name = format!("{} … {}", first.name, last.name);
    node.count = nodes.len();
    node.missing = nodes.iter().any(|node| node.missing);
    for (link, last) in node.links.iter_mut().zip(&last.links) {
        link.state = worst.unwrap_or(link.state);
        for (address, last) in link.addresses.iter_mut().zip(&last.addresses) {
            *address = format!("{} … {last}", address.split('/').next().unwrap_or_default());
        }
    }
    node
}
