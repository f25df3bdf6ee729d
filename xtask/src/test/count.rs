//! Adding up what the test harness prints at the end of each suite.

use std::fmt;

/// Tests over all suites so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Adds the numbers of a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`; ignores any other.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        if let (Some(passed), Some(failed)) =
            (number_before(result, " passed"), number_before(result, " failed"))
        {
            self.passed += passed;
            self.failed += failed;
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn number_before(text: &str, word: &str) -> Option<u64> {
    let (before, _) = text.split_once(word)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str]) -> String {
        let mut count = Count::default();
        for line in lines {
            count.add_line(line);
        }
        count.to_string()
    }

    #[test]
    fn suites_add_up() {
        let lines = [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.20s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ];
        assert_eq!(count(&lines), "13 passed, 2 failed");
    }

    #[test]
    fn colours_do_not_matter() {
        assert_eq!(
            count(&["test result: \x1b[32mok\x1b(B\x1b[m. 7 passed; 0 failed; 0 ignored;"]),
            "7 passed, 0 failed"
        );
    }

    #[test]
    fn a_suite_without_a_harness_counts_nothing() {
        assert_eq!(
            count(&["", "hello", "test result: who knows", "5 passed; 5 failed"]),
            "0 passed, 0 failed"
        );
    }
}
