//! `netctl nat stats`, for people.

use std::io;

use netctl::single::nat::{Counted, Stats};

use super::{
    super::{Printer, cells, print},
    flows::both,
};

/// A paragraph a gateway.
pub(super) fn tell(stats: &[Stats], printer: &mut Printer) -> io::Result<()> {
    if stats.is_empty() {
        return printer.line("no gateway translates addresses");
    }
    for (index, gateway) in stats.iter().enumerate() {
        if index > 0 {
            printer.line("")?;
        }
        let name = printer.paint(print::NAME, &gateway.gateway.to_string());
        let (table, paths) = (gateway.table, &gateway.paths);
        let flows = format!("{} of {} flows", table.flows, table.max);
        let packets = format!("packets: {} by shortcut, {} through the kernel", paths.shortcut, paths.kernel);
        printer.line(&format!("{name}  {flows}, {packets}"))?;
        let titles = ["#", "KIND", "RULE", "LIVE", "ENDED", "PACKETS", "BYTES"];
        let mut rows = vec![titles.iter().map(|title| cells::faint(*title)).collect::<cells::Row>()];
        rows.extend(gateway.rules.iter().map(row));
        printer.table("  ", &rows)?;
        let watched = paths.watched.iter().map(|its| {
            let words =
                format!("{} went through the kernel: {}", cells::count(its.packets, "packet"), its.text);
            vec![cells::faint("watched"), cells::plain(words)]
        });
        printer.table("  ", &watched.collect::<Vec<_>>())?;
        let drops = gateway.drops.iter().map(|drop| {
            let words = format!("{}: {}", cells::count(drop.packets, "packet"), drop.text);
            vec![(print::BAD, "dropped".to_owned()), cells::plain(words)]
        });
        printer.table("  ", &drops.collect::<Vec<_>>())?;
    }
    Ok(())
}

fn row(its: &Counted) -> cells::Row {
    vec![
        cells::plain(its.rule.number.to_string()),
        cells::plain(its.rule.kind.as_str()),
        cells::plain(&*its.rule.text),
        cells::plain(its.counters.live.to_string()),
        cells::plain(its.counters.ended.to_string()),
        cells::plain(both(its.counters.packets)),
        cells::plain(both(its.counters.bytes)),
    ]
}
