//! Which column each box is in, and in which order they stand there.

use std::collections::BTreeSet;

use super::{Item, Port, Segment};

/// How often the order is looked at from each side.
const SWEEPS: usize = 8;

/// The column of each box: as far right as the longest way to it, but no further left of its right neighbours than it has
/// to be. Wires that would go in a circle count the other way round.
pub(super) fn columns(boxes: usize, wires: &[(Port, Port)]) -> Vec<usize> {
    let mut right: Vec<Vec<usize>> = vec![Vec::new(); boxes];
    for &((one, _), (other, _)) in wires {
        right[one].push(other);
    }
    let order = from_left(&mut right);
    let mut columns = vec![0; boxes];
    for &node in &order {
        for &next in &right[node] {
            columns[next] = columns[next].max(columns[node] + 1);
        }
    }
    for &node in order.iter().rev() {
        if let Some(nearest) = right[node].iter().map(|&next| columns[next]).min() {
            columns[node] = nearest - 1;
        }
    }
    columns
}

/// The boxes in an order in which all wires go forward, after those that went in a circle have been turned round.
fn from_left(right: &mut [Vec<usize>]) -> Vec<usize> {
    let mut walk = Walk { marks: vec![Mark::New; right.len()], order: Vec::new(), back: BTreeSet::new() };
    (0..right.len()).for_each(|node| walk.visit(node, right));
    for (from, to) in walk.back {
        right[from].retain(|&next| next != to);
        right[to].push(from);
    }
    walk.order.reverse();
    walk.order
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// A walk along the wires, depth first.
struct Walk {
    marks: Vec<Mark>,
    /// The boxes that have been left, in this order.
    order: Vec<usize>,
    /// Wires to a box that the walk is still in.
    back: BTreeSet<(usize, usize)>,
}

impl Walk {
    fn visit(&mut self, node: usize, right: &[Vec<usize>]) {
        if self.marks[node] != Mark::New {
            return;
        }
        self.marks[node] = Mark::Open;
        for &to in &right[node] {
            if self.marks[to] == Mark::Open {
                self.back.insert((node, to));
            }
            self.visit(to, right);
        }
        self.marks[node] = Mark::Done;
        self.order.push(node);
    }
}

/// The items of each column, from top to bottom. Each goes near the mean of its neighbours, by turns of those on its left
/// and on its right; the order with the fewest crossings is taken.
pub(super) fn rows(items: &[Item], segments: &[Segment]) -> Vec<Vec<usize>> {
    let columns = items.iter().map(|item| item.column + 1).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); columns];
    for (index, item) in items.iter().enumerate() {
        rows[item.column].push(index);
    }
    let mut best = (crossings(&rows, items, segments), rows.clone());
    for sweep in 0..SWEEPS {
        let to_right = sweep % 2 == 0;
        let order: Vec<usize> = if to_right { (0..columns).collect() } else { (0..columns).rev().collect() };
        for column in order {
            sort(column, to_right, &mut rows, items, segments);
        }
        let count = crossings(&rows, items, segments);
        if count < best.0 {
            best = (count, rows.clone());
        }
    }
    best.1
}

/// Sorts a column by the mean of the neighbours on one side; an item without any keeps its place.
fn sort(column: usize, on_left: bool, rows: &mut [Vec<usize>], items: &[Item], segments: &[Segment]) {
    let places = places(rows);
    let place =
        |(item, offset): Port| places[item] + f64::from(offset) / f64::from(items[item].height.max(1) + 1);
    let mean = |item: usize| {
        let sides =
            segments.iter().map(|its| if on_left { (its.right, its.left) } else { (its.left, its.right) });
        let neighbours: Vec<f64> =
            sides.filter(|(own, _)| own.0 == item).map(|(_, other)| place(other)).collect();
        (!neighbours.is_empty()).then(|| neighbours.iter().sum::<f64>() / neighbours.len() as f64)
    };
    let mut means: Vec<(f64, usize)> =
        rows[column].iter().filter_map(|&item| mean(item).map(|mean| (mean, item))).collect();
    let movable: BTreeSet<usize> = means.iter().map(|(_, item)| *item).collect();
    means.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut sorted = means.into_iter().map(|(_, item)| item);
    for item in rows[column].iter_mut().filter(|item| movable.contains(item)) {
        *item = sorted.next().unwrap_or(*item);
    }
}

/// The place of each item in its column.
fn places(rows: &[Vec<usize>]) -> Vec<f64> {
    let mut places = vec![0.0; rows.iter().map(Vec::len).sum()];
    for row in rows {
        for (place, &item) in row.iter().enumerate() {
            places[item] = place as f64;
        }
    }
    places
}

/// How many pairs of wires cross.
fn crossings(rows: &[Vec<usize>], items: &[Item], segments: &[Segment]) -> usize {
    let places = places(rows);
    let ends = |its: &Segment| [its.left, its.right].map(|(item, offset)| (places[item], offset));
    let cross = |one: &Segment, other: &Segment| {
        let ([a, b], [c, d]) = (ends(one), ends(other));
        (a < c && b > d) || (a > c && b < d)
    };
    let column = |its: &Segment| items[its.left.0].column;
    let mut count = 0;
    for (index, one) in segments.iter().enumerate() {
        let others = segments[..index].iter().filter(|other| column(other) == column(one));
        count += others.filter(|other| cross(one, other)).count();
    }
    count
}
