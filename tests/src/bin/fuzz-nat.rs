//! What `cargo xtask fuzz-nat` runs: cases until so many packets have been put in, or one case from a file.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

use std::{env, path::Path, process::ExitCode, time::Instant};

use netctl_tests::differ::{Seed, arena::Arena, campaign, mutants};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().ok();
    match words[..] {
        ["replay", file] => replay(Path::new(file)),
        [packets, seed] => match (number(packets), number(seed)) {
            (Some(packets), Some(seed)) => fuzz(packets, seed),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: fuzz-nat PACKETS SEED | fuzz-nat replay FILE");
    ExitCode::from(2)
}

fn fuzz(packets: u64, seed: u64) -> ExitCode {
    let started = Instant::now();
    // One damaged packet for every nine whole ones.
    let damaged = match mutants::run(packets / 10, seed) {
        Ok(survived) => survived,
        Err(error) => {
            eprintln!("damaged packets of seed {seed}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match campaign::run(packets - packets / 10, seed) {
        Ok(summary) => {
            for difference in &summary.tally.unrepeated {
                eprintln!("not seen again: {difference}");
            }
            let mutants::Survived { packets, passed } = damaged;
            println!(
                "{summary}; {packets} damaged packets, {passed} frames of them, no invariant broken; {} seconds",
                started.elapsed().as_secs()
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let file = env::temp_dir().join(format!("netctl-differ-{}.json", failure.seed));
            let kept = failure
                .case
                .write(&file)
                .map_or_else(|error| error.to_string(), |()| file.display().to_string());
            eprintln!("{failure}\nkept: {kept}");
            ExitCode::FAILURE
        }
    }
}

fn replay(file: &Path) -> ExitCode {
    let case = match Seed::read(file) {
        Ok(case) => case,
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match Arena::new().play(&case.steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(difference) => {
            eprintln!("step {}: {}", difference.step, difference.text);
            ExitCode::FAILURE
        }
    }
}
