//! The tracks of one channel: where each net goes up and down.

use std::collections::BTreeMap;

use super::{Port, Segment};

/// Two wires on one line could be taken for one: worse than any crossing.
const OVERLAP: usize = 100;

/// The ports of one net, as heights.
#[derive(Debug, Default)]
struct Net {
    left: Vec<i32>,
    right: Vec<i32>,
}

impl Net {
    fn all(&self) -> impl Iterator<Item = i32> {
        self.left.iter().chain(&self.right).copied()
    }

    fn is_straight(&self) -> bool {
        let mut all = self.all();
        let first = all.next();
        all.all(|height| Some(height) == first)
    }

    fn spans(&self, height: i32) -> bool {
        self.all().min() <= Some(height) && Some(height) <= self.all().max()
    }
}

/// The track of each segment, and how many tracks there are. A net that goes straight through needs none.
pub(super) fn tracks(segments: &[Segment], tops: &[i32]) -> (Vec<i32>, i32) {
    let numbers = nets(segments);
    let mut nets: BTreeMap<usize, Net> = BTreeMap::new();
    for (segment, number) in segments.iter().zip(&numbers) {
        let height = |(item, offset): Port| tops[item] + offset;
        let net = nets.entry(*number).or_default();
        net.left.push(height(segment.left));
        net.right.push(height(segment.right));
    }
    let mut order: Vec<usize> =
        nets.iter().filter(|(_, net)| !net.is_straight()).map(|(number, _)| *number).collect();
    improve(&mut order, &nets);
    let track = |number: &usize| order.iter().position(|its| its == number).unwrap_or(0);
    let tracks = numbers.iter().map(|number| i32::try_from(track(number)).unwrap_or(0)).collect();
    (tracks, i32::try_from(order.len()).unwrap_or(0))
}

/// The number of each segment's net: segments that share a port are of one.
fn nets(segments: &[Segment]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..segments.len()).collect();
    for (index, one) in segments.iter().enumerate() {
        for (before, other) in segments[..index].iter().enumerate() {
            if one.left == other.left || one.right == other.right {
                let (from, to) = (numbers[index], numbers[before]);
                numbers.iter_mut().filter(|number| **number == from).for_each(|number| *number = to);
            }
        }
    }
    numbers
}

/// Swaps neighbouring tracks for as long as that leaves fewer crossings.
fn improve(order: &mut [usize], nets: &BTreeMap<usize, Net>) {
    for _ in 0..order.len() {
        let mut is_better = false;
        for index in 1..order.len() {
            let (one, other) = (&nets[&order[index - 1]], &nets[&order[index]]);
            if crossings(other, one) < crossings(one, other) {
                order.swap(index - 1, index);
                is_better = true;
            }
        }
        if !is_better {
            return;
        }
    }
}

/// How bad it is if one net has its track left of another's.
fn crossings(one: &Net, other: &Net) -> usize {
    let crossed = |net: &Net, heights: &[i32]| heights.iter().filter(|height| net.spans(**height)).count();
    let on_one_line = one.right.iter().filter(|height| other.left.contains(height)).count();
    crossed(other, &one.right) + crossed(one, &other.left) + OVERLAP * on_one_line
}
