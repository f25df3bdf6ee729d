//! What many runs of the same thing gave: the middle one, and how far they lie apart.

use std::fmt;

use serde::Serialize;

/// The middle of several values, with the least and the most. A mean would follow the one run that was disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        // Of an even number, half-way between the two in the middle.
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    /// `12.3 (11.0–19.8)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.median, self.min, self.max].map(digits);
        write!(f, "{median} ({min}–{max})")
    }
}

/// Three digits, as far as they say anything.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_the_run_that_was_disturbed() {
        assert_eq!(Spread::of(&[12.0, 900.0, 10.0]), Some(Spread { median: 12.0, min: 10.0, max: 900.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of(&[7.0]).map(|spread| spread.median), Some(7.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn values_are_shown_with_the_digits_that_mean_something() {
        assert_eq!(Spread::of(&[2.0, 15.0, 1234.0]).unwrap().to_string(), "15.0 (2.00–1234)");
    }
}
