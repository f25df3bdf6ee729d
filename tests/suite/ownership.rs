//! Nothing but its own, all of it or none, in random cases.
//!
//! `NETCTL_ROUNDS` is how many rounds to play, `NETCTL_SEED` where to begin. For a look at what holds and what does not:
//! `NETCTL_CLASSES` and `NETCTL_EDITS` name what to draw from (`none`: nothing), `NETCTL_GO_ON` counts the kinds of
//! differences instead of stopping at the first.

use std::{env, fmt::Debug, time::SystemTime};

use netctl_tests::ownership::{CLASSES, Campaign, EDITS, Weights, can_fail};

/// Seeds of cases that have not held once.
const KEPT: &[u64] = &[1883326636883986, 1883327937118328, 1883327981158468];

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Only those that the variable names, if it is set.
fn named<T: Debug + Copy>(variable: &str, all: &[(T, usize)]) -> Vec<(T, usize)> {
    let Ok(names) = env::var(variable) else { return all.to_vec() };
    let is_named = |one: &T| names.split(',').any(|name| name == format!("{one:?}"));
    all.iter().filter(|(one, _)| is_named(one)).map(|(one, weight)| (*one, (*weight).max(1))).collect()
}

#[test]
fn whatever_others_do_and_whatever_fails_netctl_changes_nothing_but_its_own() {
    let drawn = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() << 20;
    let replayed = number("NETCTL_SEED");
    let seed = replayed.unwrap_or(drawn);
    if !can_fail() {
        println!("this netctl has no NETCTL_FAIL_AT: its `up`s fail where the kernel refuses a sysctl");
    }
    let campaign = Campaign {
        kept: if replayed.is_some() { &[] } else { KEPT },
        seed,
        rounds: number("NETCTL_ROUNDS").unwrap_or(2000) as usize,
        labs: number("NETCTL_LABS").unwrap_or(4) as usize,
        weights: Weights {
            classes: named("NETCTL_CLASSES", &CLASSES),
            edits: named("NETCTL_EDITS", &EDITS),
            failing: number("NETCTL_FAILING").unwrap_or(25) as usize,
            killed: number("NETCTL_KILLED").unwrap_or(15) as usize,
        },
        goes_on: env::var_os("NETCTL_GO_ON").is_some(),
    };
    println!("ownership: seed {seed}");
    let outcome = campaign.play();
    for (kind, differences) in &outcome.differences {
        let seeds: Vec<_> =
            differences.iter().take(5).map(|difference| difference.seed.to_string()).collect();
        println!("{:4} × {kind} (seeds {})", differences.len(), seeds.join(", "));
    }
    println!("{outcome}");
    let has_kills = outcome.kills > 0 || campaign.weights.killed == 0 || outcome.rounds < 500;
    assert!(has_kills, "no kill in {} rounds: was netctl built with `fault-injection`?", outcome.rounds);
    if let Some((kind, differences)) = outcome.differences.iter().next() {
        panic!("{kind}\n{}", differences[0].told);
    }
}
