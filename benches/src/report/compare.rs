//! What has become slower, beyond noise and beyond what the machine itself has. Pure.
//!
//! A machine is not as fast today as it was yesterday, most of all a virtual one. The contenders that have not changed tell
//! by how much: what they took more in a case is taken off netctl's own figures there. What is left counts as slower if
//! every run of the two is on its side of the other's.

use std::fmt;

use crate::{record::Record, spread::Spread};

/// So much more is not worth a word, however sure it is.
const NEGLIGIBLE: f64 = 1.03;

/// A figure of netctl's that has become worse.
#[derive(Debug, PartialEq)]
pub(super) struct Slower {
    what: String,
    /// How many times as bad, the machine's own part taken off.
    times: f64,
}

impl fmt::Display for Slower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ×{:.2}", self.what, self.times)
    }
}

/// Those of netctl's figures in both that have.
pub(super) fn slower(base: &[Record], now: &[Record]) -> Vec<Slower> {
    let own = now.iter().filter(|record| is_own(record));
    own.filter_map(|record| {
        let before = counterpart(base, record)?;
        let drift = drift(base, now, record);
        let (old, new) = (costs(before)?, costs(record)?);
        let times = new.median / drift / old.median;
        let is_sure = new.min / drift > old.max;
        let what = format!("{}: {}: {}", record.suite, record.contender, record.case);
        (is_sure && times > NEGLIGIBLE).then_some(Slower { what, times })
    })
    .collect()
}

fn is_own(record: &Record) -> bool {
    record.contender.starts_with("netctl")
}

fn counterpart<'a>(base: &'a [Record], record: &Record) -> Option<&'a Record> {
    let key = |record: &Record| (record.suite.clone(), record.case.clone(), record.contender.clone());
    base.iter().find(|other| key(other) == key(record) && other.unit == record.unit)
}

/// How many times as much the others of a case take now, in the middle.
fn drift(base: &[Record], now: &[Record], of: &Record) -> f64 {
    let others =
        now.iter().filter(|record| record.suite == of.suite && record.case == of.case && !is_own(record));
    let ratio = |record: &Record| Some(costs(record)?.median / costs(counterpart(base, record)?)?.median);
    let ratios: Vec<f64> = others.filter_map(ratio).collect();
    Spread::of(&ratios).map_or(1.0, |spread| spread.median)
}

/// The values, of which less is better; of a rate, their reciprocals.
fn costs(record: &Record) -> Option<Spread> {
    let cost = |&value: &f64| if record.unit.is_rate() { 1.0 / value } else { value };
    Spread::of(&record.values.iter().map(cost).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Unit;

    fn record(contender: &str, unit: Unit, values: &[f64]) -> Record {
        let [suite, case, contender] = ["suite", "case", contender].map(str::to_owned);
        Record { suite, case, contender, unit, values: values.to_vec() }
    }

    fn ns(contender: &str, values: &[f64]) -> Record {
        record(contender, Unit::NanosecondsPerPacket, values)
    }

    #[test]
    fn what_is_slower_than_any_run_before_is_told() {
        let slower = slower(&[ns("netctl", &[100.0, 104.0])], &[ns("netctl", &[120.0, 126.0])]);
        assert_eq!(slower.len(), 1);
        assert_eq!(slower[0].to_string(), "suite: netctl: case ×1.21");
    }

    #[test]
    fn noise_and_others_are_not() {
        let base = [ns("netctl", &[100.0, 130.0]), ns("routing", &[100.0])];
        assert_eq!(slower(&base, &[ns("netctl", &[120.0, 150.0]), ns("routing", &[100.0])]), []);
        assert_eq!(slower(&base[1..], &[ns("routing", &[400.0])]), []);
        assert_eq!(slower(&[], &[ns("netctl", &[400.0])]), []);
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_netctl() {
        let base = [ns("netctl", &[100.0]), ns("routing", &[200.0]), ns("nftables", &[300.0])];
        let now = [ns("netctl", &[150.0]), ns("routing", &[300.0]), ns("nftables", &[450.0])];
        assert_eq!(slower(&base, &now), []);
        let now = [ns("netctl", &[150.0]), ns("routing", &[200.0]), ns("nftables", &[300.0])];
        assert_eq!(slower(&base, &now).len(), 1);
    }

    #[test]
    fn of_a_rate_less_is_slower() {
        let rate = |value| [record("netctl", Unit::PerSecond, &[value])];
        assert_eq!(slower(&rate(100.0), &rate(200.0)), []);
        assert_eq!(slower(&rate(200.0), &rate(100.0))[0].to_string(), "suite: netctl: case ×2.00");
    }
}
