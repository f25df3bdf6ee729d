//! What many runs of the same thing took: the middle one, and how far they lie apart.

use std::{fmt, time::Duration};

use serde::Serialize;

/// The middle of several times, with the least and the most. A mean would follow the one run that was disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) median: Duration,
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Spread {
    /// Of at least one time.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut times = times.to_vec();
        times.sort_unstable();
        let (min, max) = (*times.first()?, *times.last()?);
        // Of an even number, half-way between the two in the middle.
        let median = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2;
        Some(Self { median, min, max })
    }

    /// How many times as long as `other` it took, in the middle.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        self.median.as_secs_f64() / other.median.as_secs_f64()
    }
}

impl fmt::Display for Spread {
    /// `12.3 ms (11.0–19.8)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.median, self.min, self.max].map(milliseconds);
        write!(f, "{median} ms ({min}–{max})")
    }
}

/// Three digits, as far as they say anything.
pub(super) fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    let decimals = match milliseconds {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{milliseconds:.decimals$}")
}

impl Serialize for Spread {
    /// In milliseconds.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut spread = serializer.serialize_struct("Spread", 3)?;
        for (name, time) in [("median", self.median), ("min", self.min), ("max", self.max)] {
            spread.serialize_field(name, &(time.as_secs_f64() * 1000.0))?;
        }
        spread.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(milliseconds: &[u64]) -> Option<Spread> {
        Spread::of(&milliseconds.iter().copied().map(Duration::from_millis).collect::<Vec<_>>())
    }

    #[test]
    fn the_median_ignores_the_run_that_was_disturbed() {
        let Spread { median, min, max } = spread(&[12, 900, 10]).unwrap();
        assert_eq!([median, min, max].map(|time| time.as_millis()), [12, 10, 900]);
        assert_eq!(spread(&[4, 1, 3, 2]).unwrap().median, Duration::from_micros(2500));
        assert_eq!(spread(&[7]).unwrap().median, Duration::from_millis(7));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_ratio_is_of_the_medians() {
        let (slow, fast) = (spread(&[100, 120, 500]).unwrap(), spread(&[9, 10, 11]).unwrap());
        assert!((slow.ratio(&fast) - 12.0).abs() < 1e-9);
    }

    #[test]
    fn times_are_shown_with_the_digits_that_mean_something() {
        assert_eq!(spread(&[2, 15, 1234]).unwrap().to_string(), "15.0 ms (2.00–1234)");
    }
}
