//! A terminal, drawn: the first session that the README shows. A test of the suite types that session and compares what is
//! printed, so that what is drawn is what one sees.

use std::fmt::Write as _;

const CHARACTER: f32 = 8.0;
const LINE: usize = 19;
const MARGIN: usize = 18;
const BAR: usize = 34;

/// The first `console` block of a page as an SVG picture; `None` if it has none.
pub(super) fn draw(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("\n```console\n")?;
    let (session, _) = rest.split_once("\n```")?;
    let lines: Vec<_> = session.lines().collect();
    let columns = lines.iter().map(|line| line.chars().count()).max()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a line is short")]
    #[expect(clippy::cast_precision_loss, reason = "likewise")]
    let width = 2 * MARGIN + (columns as f32 * CHARACTER) as usize;
    let height = BAR + 2 * MARGIN + lines.len() * LINE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>netctl in a terminal</title>\n{STYLE}\n\
         <rect class=\"screen\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    for (number, color) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let _ = writeln!(svg, "<circle cx=\"{}\" cy=\"20\" r=\"6\" fill=\"{color}\"/>", 22 + 20 * number);
    }
    for (number, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + number * LINE + 4;
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{}</text>", words(line));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

const STYLE: &str = "<style>\n\
    .screen { fill: #0d1117; stroke: #30363d }\n\
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #c9d1d9 }\n\
    .prompt { fill: #3fb950 }\n\
    .typed { fill: #ffffff; font-weight: 600 }\n\
    .comment { fill: #8b949e }\n\
    </style>";

/// A line, what is typed told from what is printed.
fn words(line: &str) -> String {
    let Some(typed) = line.strip_prefix("$ ") else { return escaped(line) };
    let (typed, comment) = typed.find("  # ").map_or((typed, ""), |at| typed.split_at(at));
    let span = |class: &str, text: &str| format!("<tspan class=\"{class}\">{}</tspan>", escaped(text));
    let comment = if comment.is_empty() { String::new() } else { span("comment", comment) };
    format!("{}{}{comment}", span("prompt", "$ "), span("typed", typed))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_session_that_the_readme_shows() {
        let drawn = draw(include_str!("../../../README.md"));
        let shown = include_str!("../../../docs/images/session.svg");
        assert!(drawn.as_deref() == Some(shown), "docs/images/session.svg is old: `cargo xtask pictures`");
    }

    #[test]
    fn what_is_typed_stands_out_and_cannot_break_out() {
        let svg = draw("# Page\n```console\n$ a <b> &   # why\nprinted\n```\n").unwrap_or_default();
        let typed = "<tspan class=\"prompt\">$ </tspan><tspan class=\"typed\">a &lt;b&gt; &amp; </tspan>\
                     <tspan class=\"comment\">  # why</tspan></text>";
        assert!(svg.contains(typed) && svg.contains(">printed</text>"), "{svg}");
        assert_eq!(draw("# Page\n"), None);
    }
}
