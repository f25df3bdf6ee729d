//! netctl's NAT against the kernel's own, step by step: a share of what `cargo xtask fuzz-nat` does at length.

use std::{fs, path::Path};

use netctl_tests::differ::{Seed, arena::Arena, campaign, mutants};

/// Some ten seconds.
const PACKETS: u64 = 30_000;

#[test]
fn netctl_does_what_netfilter_and_the_model_do_in_drawn_cases() {
    if let Err(failure) = campaign::run(PACKETS, 1) {
        panic!("{failure}");
    }
}

#[test]
fn rows_135_140_damaged_packets_between_real_links_break_no_invariant() {
    let survived = mutants::run(PACKETS / 5, 1).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(survived.passed > survived.packets / 10, "hardly anything passed: {survived:?}");
}

#[test]
fn cases_that_once_showed_a_difference_show_none() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("differ-seeds");
    let mut arena = Arena::new();
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let case = Seed::read(&file).unwrap();
        if let Err(difference) = arena.play(&case.steps) {
            panic!("{}, step {}: {}", file.display(), difference.step, difference.text);
        }
    }
}
