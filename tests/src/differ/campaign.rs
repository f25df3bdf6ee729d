//! Many cases in a row.

use std::fmt;

use super::{
    Seed,
    arena::{Arena, Tally},
    draw,
    shrink::shrink,
};

/// What so many cases came to.
#[derive(Debug)]
pub struct Summary {
    /// The first seed and the one after the last.
    pub seeds: (u64, u64),
    /// The sum.
    pub tally: Tally,
}

/// A case in which the sides differ.
#[derive(Debug)]
pub struct Failure {
    /// What it was drawn from.
    pub seed: u64,
    /// It, as small as it could be made.
    pub case: Seed,
}

/// Plays the cases of `seed` and the seeds after it until so many packets have been put in.
///
/// # Errors
/// The first difference that cannot be explained.
pub fn run(packets: u64, seed: u64) -> Result<Summary, Failure> {
    let mut arena = Arena::new();
    let mut next = seed;
    while arena.tally.packets < packets {
        let mut case = draw::case(next);
        if let Err(difference) = arena.play_surely(&case) {
            case.truncate(difference.step + 1);
            let last = case[difference.step].clone();
            let small =
                shrink(case, |case| arena.play_surely(case).is_err_and(|found| case[found.step] == last));
            let about = arena.play(&small).err().map_or(difference.text, |found| found.text);
            return Err(Failure { seed: next, case: Seed { about, steps: small } });
        }
        next += 1;
    }
    Ok(Summary { seeds: (seed, next), tally: arena.tally })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { packets, steps, voted, coincidences, unrepeated, known, .. } = &self.tally;
        let (first, end) = self.seeds;
        write!(
            f,
            "{packets} packets, seeds {first} to {}, {steps} steps, {voted} of them with the model's exact vote, \
             0 differences, {coincidences} cases played again for a coincidence of ports, {} for a difference that did not \
             come again, known divergences:",
            end - 1,
            unrepeated.len()
        )?;
        known.iter().try_for_each(|(known, count)| write!(f, " {count} of no. {}", known.number()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: the sides differ after {} steps:", self.seed, self.case.steps.len())?;
        for step in &self.case.steps {
            writeln!(f, "  {step:?}")?;
        }
        write!(f, "{}", self.case.about)
    }
}
