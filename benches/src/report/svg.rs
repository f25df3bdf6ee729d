//! Bars, by hand: a group for each case, a bar for each contender, a line from the least to the most. Pure.

use std::fmt::Write as _;

use crate::{
    spread::{Spread, digits},
    table::escape,
};

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest may be; behind it there is room for its value.
const LEFT: f64 = 120.0;
const LONGEST: f64 = 560.0;
const HEADING: f64 = 22.0;
const STEP: f64 = 16.0;
const BAR: f64 = 12.0;
const GAP: f64 = 12.0;

/// What is compared: its bars share a scale of their own.
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<(String, Spread)>,
}

/// One picture of all of them, one below the other.
pub(super) fn bars(groups: &[Group]) -> String {
    let height: f64 = groups.iter().map(|group| HEADING + STEP * group.bars.len() as f64 + GAP).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    // Writing to a string cannot fail.
    let mut y = 0.0;
    for group in groups {
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{}\" font-weight=\"bold\">{}</text>",
            y + 15.0,
            escape(&group.title)
        );
        y += HEADING;
        let most = group.bars.iter().map(|(_, spread)| spread.max).fold(0.0, f64::max);
        for (name, spread) in &group.bars {
            bar(&mut svg, y, name, spread, if most > 0.0 { LONGEST / most } else { 0.0 });
            y += STEP;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, y: f64, name: &str, spread: &Spread, scale: f64) {
    let colour = if name.starts_with("netctl") { "#d9480f" } else { "#74808c" };
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| value.max(0.0) * scale);
    let (text, middle, name) = (y + 10.0, y + BAR / 2.0, escape(name));
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{median:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#222\"/><text x=\"{:.1}\" y=\"{text}\">{}</text>",
        LEFT - 6.0,
        LEFT + min,
        LEFT + max,
        LEFT + max + 6.0,
        digits(spread.median)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_ends_where_the_room_does() {
        let bar =
            |name: &str, value: f64| (name.to_owned(), Spread { median: value, min: value, max: value });
        let group = Group { title: "a < b".into(), bars: vec![bar("netctl", 50.0), bar("routing", 100.0)] };
        let svg = bars(&[group]);
        assert!(svg.contains(">a &lt; b</text>"));
        assert!(svg.contains("width=\"280.0\" height=\"12\" fill=\"#d9480f\""));
        assert!(svg.contains("width=\"560.0\" height=\"12\" fill=\"#74808c\""));
    }

    #[test]
    fn nothing_is_no_reason_to_divide_by_it() {
        let none = Spread { median: 0.0, min: 0.0, max: 0.0 };
        let svg = bars(&[Group { title: String::new(), bars: vec![("netctl".into(), none)] }]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
