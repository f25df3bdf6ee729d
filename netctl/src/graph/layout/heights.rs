//! How high each item stands: near its neighbours, so that wires are short and straight, and clear of the others of its
//! column.

use super::{Item, Segment};

/// How often the heights are looked at from each side; the last look is from the left.
const SWEEPS: usize = 7;

/// The top of each item. The highest is at 0.
pub(super) fn settle(rows: &[Vec<usize>], items: &[Item], segments: &[Segment], gap: i32) -> Vec<i32> {
    let mut tops = vec![0; items.len()];
    for row in rows {
        place(row, &vec![0; row.len()], items, gap, &mut tops);
    }
    for sweep in 0..SWEEPS {
        let from_left = sweep % 2 == 0;
        let order: Vec<&Vec<usize>> =
            if from_left { rows.iter().collect() } else { rows.iter().rev().collect() };
        for row in order {
            let wanted: Vec<i32> = row
                .iter()
                .map(|&item| wanted(item, from_left, segments, &tops).unwrap_or(tops[item]))
                .collect();
            place(row, &wanted, items, gap, &mut tops);
        }
    }
    let highest = tops.iter().copied().min().unwrap_or(0);
    tops.iter_mut().for_each(|top| *top -= highest);
    tops
}

/// Where an item's wires to one side would be straight, in the mean.
fn wanted(item: usize, from_left: bool, segments: &[Segment], tops: &[i32]) -> Option<i32> {
    let sides =
        segments.iter().map(|its| if from_left { (its.right, its.left) } else { (its.left, its.right) });
    let straight = sides.filter(|(own, _)| own.0 == item).map(|(own, other)| tops[other.0] + other.1 - own.1);
    mean(straight)
}

/// Places the items of a column as near as possible to where they want to be, in their order and apart: those that would
/// overlap form a block, which stands in the mean of what its members want (isotonic regression).
fn place(row: &[usize], wanted: &[i32], items: &[Item], gap: i32, tops: &mut [i32]) {
    let mut below = 0;
    let mut blocks: Vec<Vec<Wish>> = Vec::new();
    for (&item, wanted) in row.iter().zip(wanted) {
        let mut block = vec![Wish { item, below, start: wanted - below }];
        while let Some(before) = blocks.pop_if(|before| start(before) > start(&block)) {
            block.extend(before);
        }
        blocks.push(block);
        below += items[item].height + gap;
    }
    for block in blocks {
        let start = start(&block);
        block.into_iter().for_each(|Wish { item, below, .. }| tops[item] = start + below);
    }
}

/// Where an item wants the column to start, if those above it stand on each other as they do at the least.
struct Wish {
    item: usize,
    below: i32,
    start: i32,
}

fn start(block: &[Wish]) -> i32 {
    mean(block.iter().map(|wish| wish.start)).unwrap_or(0)
}

/// The mean, rounded down; `None` of nothing.
fn mean(values: impl Iterator<Item = i32>) -> Option<i32> {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| i32::div_euclid(sum, count))
}
