//! What the verifier makes of the programs: it gives up after a million instructions.

use netctl_tests::prog::Nat;

#[test]
fn the_verifier_accepts_every_program_within_a_tenth_of_its_patience() {
    let counts = Nat::new().verified();
    println!("instructions processed: {counts:?}");
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|&count| count < 100_000), "{counts:?}");
}
