//! `netctl nat flows`, for people.

use std::io;

use netctl::single::nat::{Both, Kind, Listed, State};

use super::super::{Printer, cells, print};

/// A line a connection; `everywhere` says which gateway's it is.
pub(super) fn tell(listed: &[Listed], everywhere: bool, printer: &mut Printer) -> io::Result<()> {
    let titles =
        ["GATEWAY", "PROTO", "STATE", "KIND", "RULE", "ORIGINAL", "TRANSLATED", "LEFT", "PACKETS", "BYTES"];
    let hidden = usize::from(!everywhere);
    let rows = listed.iter().map(|its| row(its).split_off(hidden));
    cells::table(&titles[hidden..], rows, "there are no flows", printer)
}

fn row(its: &Listed) -> cells::Row {
    let state = match its.state {
        State::Established | State::Answered => print::GOOD,
        State::Opening | State::Unanswered => print::CHANGED,
        State::Closing => print::FAINT,
    };
    vec![
        cells::name(its.gateway.to_string()),
        cells::plain(its.protocol.to_string()),
        (state, its.state.as_str().to_owned()),
        cells::plain(its.kind.as_str()),
        cells::or_dash(its.rule.as_ref().map(|rule| &rule.name)),
        cells::plain(its.original.to_string()),
        cells::or_dash((its.kind != Kind::Routed).then_some(its.translated)),
        cells::plain(format!("{}s", its.seconds_left)),
        cells::plain(both(its.packets)),
        cells::plain(both(its.bytes)),
    ]
}

/// There and back.
pub(in crate::cli) fn both(counted: Both) -> String {
    format!("{}/{}", counted.original, counted.reply)
}
