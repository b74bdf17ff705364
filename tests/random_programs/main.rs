//! Do planned and fused programs give what their ops mean? Programs drawn at random, from fixed seeds; `fuzz/` draws more of them.

mod choices;
mod judge;
mod listed;
mod recorder;
mod steps;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// The bytes of a program.
fn drawn(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let n = rng.random_range(20..400);
    (0..n).map(|_| rng.random()).collect()
}

/// The seeds are given as `FIRST..LAST`, or a single one, by the environment variable `WENGERT_PROGRAMS`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(given) = std::env::var("WENGERT_PROGRAMS") else { return 0..250 };
    let number = |text: &str| text.parse::<u64>().expect("WENGERT_PROGRAMS: expected a seed, or two with `..` between them");
    match given.split_once("..") {
        Some((first, last)) => number(first)..number(last),
        None => number(&given)..number(&given) + 1,
    }
}

// One test, since the number of threads belongs to the process.
#[test]
fn random_programs_give_what_their_ops_mean() {
    let fails = |seed: &u64| std::panic::catch_unwind(|| judge::judge(&seed.to_string(), &drawn(*seed))).is_err();
    let wrong: Vec<u64> = seeds().filter(fails).collect();
    assert!(wrong.is_empty(), "programs {wrong:?} fail; WENGERT_PROGRAMS={} runs the first alone", wrong[0]);
}
