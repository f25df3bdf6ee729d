//! What the test harness prints, test by test, and what tests say themselves when the kernel cannot run them.

use std::{collections::BTreeMap, fmt};

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// It could not be run here, for this reason.
    Skipped(String),
}

/// All suites' so far.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By the test's own name, without the modules that it is in.
    tests: BTreeMap<String, Outcome>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests that the harness counts as passed and that were not run, with their reasons.
    skipped: Vec<(String, String)>,
}

impl Results {
    /// Takes a line of the harness's: a test's (`test a::b ... ok`) or a suite's (`test result: ok. 3 passed; 0 failed;
    /// 1 ignored; …`); ignores any other.
    pub(crate) fn add_line(&mut self, line: &str) {
        if let Some((_, result)) = line.split_once("test result: ") {
            if let (Some(passed), Some(failed)) =
                (number_before(result, " passed"), number_before(result, " failed"))
            {
                self.passed += passed;
                self.failed += failed;
            }
        } else if let Some((path, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            let outcome = match result {
                _ if result.contains("FAILED") => Outcome::Failed,
                _ if result.contains("ok") => Outcome::Passed,
                _ => return,
            };
            self.tests.insert(own_name(path).to_owned(), outcome);
        }
    }

    /// Takes what the tests have written down, a line each: the test's path, a tabulator, the reason. A test that has
    /// failed all the same stays so.
    pub(crate) fn take_skips(&mut self, text: &str) {
        for (path, why) in text.lines().filter_map(|line| line.split_once('\t')) {
            if let Some(outcome @ Outcome::Passed) = self.tests.get_mut(own_name(path)) {
                *outcome = Outcome::Skipped(why.to_owned());
                self.skipped.push((path.to_owned(), why.to_owned()));
            }
        }
    }

    /// Adds those of another run: a test that failed in either has failed.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        for (name, outcome) in other.tests {
            if outcome == Outcome::Failed || !self.tests.contains_key(&name) {
                self.tests.insert(name, outcome);
            }
        }
    }

    /// The names of the tests that were run.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tests.keys().map(String::as_str)
    }

    /// The names of those that failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter(|(_, outcome)| **outcome == Outcome::Failed).map(|(name, _)| name.as_str())
    }

    /// How the test of that name ended; `None` if it was not run.
    pub(crate) fn of(&self, name: &str) -> Option<&Outcome> {
        self.tests.get(name)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, why) in &self.skipped {
            writeln!(f, "skipped {path}: {why}")?;
        }
        let skipped = self.skipped.len() as u64;
        write!(f, "{} passed, {} failed", self.passed - skipped, self.failed)?;
        if skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

fn own_name(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

fn number_before(text: &str, word: &str) -> Option<u64> {
    let (before, _) = text.split_once(word)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(lines: &[&str]) -> Results {
        let mut results = Results::default();
        for line in lines {
            results.add_line(line);
        }
        results
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
        assert_eq!(results(&lines).to_string(), "13 passed, 2 failed");
    }

    #[test]
    fn what_failed_in_one_of_two_runs_has_failed() {
        let (well, ill) = (["test a ... ok", "test result: ok. 1 passed; 0 failed;"], ["test a ... FAILED"]);
        for (first, then) in [(&well[..], &ill[..]), (&ill, &well)] {
            let mut both = results(first);
            both.add(results(then));
            assert_eq!((both.of("a"), both.passed), (Some(&Outcome::Failed), 1));
        }
    }

    #[test]
    fn colours_do_not_matter() {
        let results = results(&[
            "test a::b ... \x1b[31mFAILED\x1b(B\x1b[m",
            "test result: \x1b[32mok\x1b(B\x1b[m. 7 passed; 0 failed; 0 ignored;",
        ]);
        assert_eq!(results.to_string(), "7 passed, 0 failed");
        assert_eq!(results.of("b"), Some(&Outcome::Failed));
    }

    #[test]
    fn a_suite_without_a_harness_counts_nothing() {
        assert_eq!(
            results(&["", "hello", "test result: who knows", "5 passed; 5 failed"]).to_string(),
            "0 passed, 0 failed"
        );
    }

    #[test]
    fn a_test_that_was_skipped_has_not_passed() {
        let mut results = results(&[
            "test here::a ... ok",
            "test b - should panic ... ok",
            "test c ... ignored",
            "test d ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored;",
        ]);
        results.take_skips("here::a\tkernel: no tun\nd\tkernel: no wings\n");
        assert_eq!(results.to_string(), "skipped here::a: kernel: no tun\n1 passed, 1 failed, 1 skipped");
        assert_eq!(results.of("a"), Some(&Outcome::Skipped("kernel: no tun".to_owned())));
        assert_eq!((results.of("c"), results.of("d")), (None, Some(&Outcome::Failed)));
    }
}
