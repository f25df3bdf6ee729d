//! Where boxes and wires go: columns of boxes from left to right, wires in the channels between them, at right angles.
//! Pure, and in any unit: characters or pixels.
//!
//! The steps are those of layered drawing (Sugiyama, Tagawa, Toda 1981): columns by the longest way from the left, an
//! order within each that has few crossings, heights near those of the neighbours, and a track for every net of a channel.
//! Wires that share a port are one net: they run together, as on a bus.

mod channel;
mod heights;
mod order;

/// What a box takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: i32,
    pub(super) height: i32,
}

/// An end of a wire: a box, and how far below its top.
pub(super) type Port = (usize, i32);

/// What distances are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gaps {
    /// Between boxes that stand on each other.
    pub(super) boxes: i32,
    /// Between a box and the next track of its channel.
    pub(super) margin: i32,
    /// Between tracks.
    pub(super) tracks: i32,
}

/// A corner or an end of a wire.
pub(super) type Point = (i32, i32);

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) size: (i32, i32),
    /// The left, upper corner and the width of each box, in the order given. Boxes of a column are as wide as the widest.
    pub(super) boxes: Vec<(Point, i32)>,
    /// The corners of each wire, in the order given, from its left end to its right one.
    pub(super) wires: Vec<Vec<Point>>,
}

/// What stands in a column: a box, or a wire that passes through.
#[derive(Debug, Clone, Copy)]
struct Item {
    column: usize,
    height: i32,
}

/// A wire's way through one channel, from an item to one of the next column: items and how far below their tops.
#[derive(Debug, Clone, Copy)]
struct Segment {
    wire: usize,
    left: Port,
    right: Port,
}

/// Lays boxes and wires out. The first end of a wire is left of the second where that is possible.
pub(super) fn lay(sizes: &[Size], wires: &[(Port, Port)], gaps: Gaps) -> Layout {
    let columns = order::columns(sizes.len(), wires);
    let mut items: Vec<Item> =
        sizes.iter().zip(&columns).map(|(size, &column)| Item { column, height: size.height }).collect();
    let segments = segments(wires, &mut items);
    let rows = order::rows(&items, &segments);
    let tops = heights::settle(&rows, &items, &segments, gaps.boxes);
    let count = rows.len();
    let widths: Vec<i32> = (0..count)
        .map(|column| {
            sizes
                .iter()
                .zip(&columns)
                .filter(|(_, its)| **its == column)
                .map(|(size, _)| size.width)
                .max()
                .unwrap_or(0)
        })
        .collect();

    let mut layout = Layout { wires: vec![Vec::new(); wires.len()], ..Layout::default() };
    let (mut x, mut lefts) = (0, Vec::new());
    for (column, width) in widths.iter().enumerate() {
        lefts.push(x);
        x += width;
        if column + 1 < count {
            let its: Vec<Segment> =
                segments.iter().filter(|its| items[its.left.0].column == column).copied().collect();
            let (tracks, count) = channel::tracks(&its, &tops);
            for (segment, track) in its.iter().zip(tracks) {
                let (from, to) =
                    (tops[segment.left.0] + segment.left.1, tops[segment.right.0] + segment.right.1);
                let middle = x + gaps.margin + track * gaps.tracks;
                let end = x + 2 * gaps.margin + (count - 1).max(0) * gaps.tracks;
                layout.wires[segment.wire].extend([(x, from), (middle, from), (middle, to), (end, to)]);
            }
            x += 2 * gaps.margin + (count - 1).max(0) * gaps.tracks;
        }
    }
    layout.boxes =
        columns.iter().zip(&tops).map(|(&column, &top)| ((lefts[column], top), widths[column])).collect();
    let bottoms = items.iter().zip(&tops).map(|(item, top)| top + item.height);
    layout.size = (x, bottoms.max().unwrap_or(0));
    layout.wires.iter_mut().for_each(straighten);
    layout
}

/// Cuts the wires into their ways through the channels; one that passes through a column becomes an item of it.
fn segments(wires: &[(Port, Port)], items: &mut Vec<Item>) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (wire, &(one, other)) in wires.iter().enumerate() {
        let (mut left, right) =
            if items[one.0].column <= items[other.0].column { (one, other) } else { (other, one) };
        for column in items[left.0].column + 1..items[right.0].column {
            items.push(Item { column, height: 1 });
            let bend = (items.len() - 1, 0);
            segments.push(Segment { wire, left, right: bend });
            left = bend;
        }
        if items[left.0].column < items[right.0].column {
            segments.push(Segment { wire, left, right });
        }
    }
    segments
}

/// Leaves out the points where nothing bends.
fn straighten(wire: &mut Vec<Point>) {
    wire.dedup();
    let mut index = 1;
    while index + 1 < wire.len() {
        let [a, b, c] = [wire[index - 1], wire[index], wire[index + 1]];
        let is_straight = (a.0 == b.0 && b.0 == c.0) || (a.1 == b.1 && b.1 == c.1);
        if is_straight {
            wire.remove(index);
        } else {
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAPS: Gaps = Gaps { boxes: 1, margin: 3, tracks: 2 };

    /// A box's left, top, right and bottom.
    fn edges(layout: &Layout, sizes: &[Size], index: usize) -> [i32; 4] {
        let ((x, y), width) = layout.boxes[index];
        [x, y, x + width, y + sizes[index].height]
    }

    #[test]
    fn what_shares_a_port_runs_together_and_what_can_be_straight_is() {
        let sizes = [Size { width: 10, height: 5 }; 4];
        let layout = lay(&sizes, &[((0, 1), (2, 1)), ((1, 1), (2, 1)), ((2, 3), (3, 1))], GAPS);
        let corners: Vec<Point> = layout.boxes.iter().map(|(corner, _)| *corner).collect();
        assert_eq!(corners, [(0, 0), (0, 6), (16, 3), (32, 5)]);
        assert_eq!(layout.wires[0], [(10, 1), (13, 1), (13, 4), (16, 4)]);
        assert_eq!(layout.wires[1], [(10, 7), (13, 7), (13, 4), (16, 4)]);
        assert_eq!(layout.wires[2], [(26, 6), (32, 6)]);
        assert_eq!(layout.size, (42, 11));
    }

    #[test]
    fn nothing_is_laid_out_as_nothing_and_a_circle_as_a_row() {
        assert_eq!(lay(&[], &[], GAPS).size, (0, 0));
        let sizes = [Size { width: 4, height: 4 }; 3];
        let layout = lay(&sizes, &[((0, 1), (1, 1)), ((1, 2), (2, 1)), ((2, 2), (0, 2))], GAPS);
        let lefts: Vec<i32> = layout.boxes.iter().map(|((x, _), _)| *x).collect();
        assert!(lefts[0] < lefts[1] && lefts[1] < lefts[2], "{lefts:?}");
    }

    /// Boxes with a port on each of their lines, and wires between different ones.
    fn pictures() -> impl Strategy<Value = (Vec<Size>, Vec<(Port, Port)>)> {
        let size = (3..20, 3..9).prop_map(|(width, height)| Size { width, height });
        let wire = (0..100usize, 1..100usize, 0..100, 0..100);
        (prop::collection::vec(size, 2..9), prop::collection::vec(wire, 0..12)).prop_map(|(sizes, wires)| {
            let port = |node: usize, at: i32| (node, 1 + at % (sizes[node].height - 2));
            let wire = |(one, step, a, b): (usize, usize, i32, i32)| {
                let one = one % sizes.len();
                let other = (one + 1 + step % (sizes.len() - 1)) % sizes.len();
                (port(one, a), port(other, b))
            };
            (sizes.clone(), wires.into_iter().map(wire).collect())
        })
    }

    proptest! {
        #[test]
        fn boxes_stand_clear_and_wires_go_around_them((sizes, wires) in pictures()) {
            let layout = lay(&sizes, &wires, GAPS);
            for one in 0..sizes.len() {
                let [left, top, right, bottom] = edges(&layout, &sizes, one);
                prop_assert!(left >= 0 && top >= 0 && right <= layout.size.0 && bottom <= layout.size.1);
                prop_assert!(right - left >= sizes[one].width);
                for other in 0..one {
                    let [l, t, r, b] = edges(&layout, &sizes, other);
                    prop_assert!(right <= l || r <= left || bottom < t || b < top, "{one} and {other} overlap");
                }
                for line in layout.wires.iter().flat_map(|wire| wire.windows(2)) {
                    let [(a, b), (c, d)] = [line[0], line[1]];
                    prop_assert!(a == c || b == d, "{line:?} is not at right angles");
                    let clear = a.max(c) <= left || a.min(c) >= right || b.max(d) < top || b.min(d) >= bottom;
                    prop_assert!(clear, "{line:?} goes through {one}");
                }
            }
            for (wire, &(one, other)) in layout.wires.iter().zip(&wires) {
                let port = |(node, below): Port| {
                    let [left, top, right, _] = edges(&layout, &sizes, node);
                    (left, right, top + below)
                };
                let (one, other) = (port(one), port(other));
                let (left, right) = if one.0 < other.0 { (one, other) } else { (other, one) };
                prop_assert_eq!(wire.first(), Some(&(left.1, left.2)));
                prop_assert_eq!(wire.last(), Some(&(right.0, right.2)));
            }
        }
    }
}
