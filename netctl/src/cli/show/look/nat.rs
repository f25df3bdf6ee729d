//! A gateway's translation, in words.

use std::fmt::Display;

use netctl::{
    model::Backend,
    show::{ShownNat, ShownRule},
};

use super::super::{
    super::{
        cells::{Row, count, faint, plain},
        nat::flows::both,
        print,
    },
    page::Line,
};

/// Rules with their counters, then what the gateway has counted as a whole.
pub(super) fn lines(nat: &ShownNat) -> Vec<Line> {
    let mut lines = Vec::new();
    if nat.backend != Backend::Ebpf {
        let state = if nat.in_force {
            plain(format!("by {}", nat.backend))
        } else {
            (print::BAD, format!("not as {} was told", nat.backend))
        };
        lines.push(Line::new("nat", vec![faint("nat"), state]));
    }
    lines.extend(nat.masquerades.iter().flat_map(|rule| self::rule("masquerade", rule)));
    lines.extend(nat.forwards.iter().flat_map(|rule| self::rule("forward", rule)));
    if let (Some(table), Some(paths)) = (nat.table, &nat.paths) {
        let words = format!(
            "{} of {} flows; packets: {} by shortcut, {} through the kernel",
            table.flows, table.max, paths.shortcut, paths.kernel
        );
        lines.push(Line::new("nat", vec![faint("nat"), plain(words)]));
    }
    for watched in nat.paths.iter().flat_map(|paths| &paths.watched) {
        let words = format!("{} went through the kernel: {}", count(watched.packets, "packet"), watched.text);
        lines.push(Line::new(format!("watched {}", watched.by), vec![faint("watched"), plain(words)]));
    }
    for drop in &nat.drops {
        let words = format!("{}: {}", count(drop.packets, "packet"), drop.text);
        let cells = vec![(print::BAD, "dropped".to_owned()), plain(words)];
        lines.push(Line::new(format!("dropped {}", drop.reason), cells));
    }
    for filter in &nat.filters {
        let exception = if filter.has_rules { " unless a rule accepts it" } else { "" };
        let words = format!("{filter} drops what is forwarded{exception}");
        lines.push(Line::of(vec![(print::BAD, "filter".to_owned()), plain(words)]));
    }
    lines
}

/// A rule and, once it has been used, its counters.
fn rule<R: Display>(kind: &str, rule: &ShownRule<R>) -> Vec<Line> {
    let text = rule.rule.to_string();
    let mut first: Row = vec![faint(kind), plain(&*text)];
    let mut lines = Vec::new();
    match rule.counters {
        Some(counters) if counters.live + counters.ended > 0 => {
            let words = format!(
                "{} live and {} ended flows, {} packets, {} bytes",
                counters.live,
                counters.ended,
                both(counters.packets),
                both(counters.bytes)
            );
            let cells = vec![plain(""), plain(words)];
            lines.push(Line::new(format!("{kind} {text} counters"), cells));
        }
        Some(_) => first.push(faint("no flows")),
        None => {}
    }
    lines.insert(0, Line::new(format!("{kind} {text}"), first));
    lines
}
