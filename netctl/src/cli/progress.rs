//! A bar on the terminal for what takes longer than a moment.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use netctl::apply::Step;

use super::print::ink::escaped;

/// Nobody wants to see a bar come and go.
const A_MOMENT: Duration = Duration::from_millis(500);

/// The bar of one command, or none.
pub(super) struct Progress {
    start: Instant,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the clock. Where a bar is not `wanted`, there will be none.
    pub(super) fn start(wanted: bool) -> Self {
        Self { start: Instant::now(), wanted, bar: None }
    }

    /// Notes that a step is done, on a bar once this lasts.
    pub(super) fn show(&mut self, step: Step<'_>) {
        if !self.wanted || self.start.elapsed() < A_MOMENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(step.total as u64);
            // The one template is a constant; without it there is a plainer bar.
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_position(step.done as u64);
        bar.set_message(escaped(&step.op.to_string()).into_owned());
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use netctl::{
        model::Place,
        op::{NamespaceChange, Op},
    };

    use super::*;

    #[test]
    fn a_bar_comes_only_when_wanted_and_after_a_moment() {
        let op = Op::new(&Place::Netns("red".parse().unwrap()), NamespaceChange::CreateNamespace);
        let step = Step { done: 1, total: 2, op: &op };
        let long_ago = Instant::now().checked_sub(2 * A_MOMENT).unwrap();
        for (wanted, start, shown) in
            [(true, long_ago, true), (true, Instant::now(), false), (false, long_ago, false)]
        {
            let mut progress = Progress { start, wanted, bar: None };
            progress.show(step);
            assert_eq!(progress.bar.is_some(), shown);
            progress.clear();
            assert!(progress.bar.is_none());
        }
    }
}
