//! In which order do the rows come? The shuffle of R. Durstenfeld (1964), doi:10.1145/364520.364540.

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

/// The generator of a seed; each stream of it is independent of the others.
pub(crate) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Every order equally likely. Written out here so that the order depends on the generator's stream only.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last as u64 + 1, rng) as usize);
    }
}

/// Uniform below `n`; draws from the incomplete last interval are thrown away.
fn below(n: u64, rng: &mut ChaCha8Rng) -> u64 {
    let whole = u64::MAX - u64::MAX % n;
    loop {
        let v = rng.next_u64();
        if v < whole {
            return v % n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_orders_are_equally_likely() {
        let mut rng = generator(1, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut rng);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        // A thousand each: within five standard deviations.
        assert!(counts.values().all(|&n: &i32| (n - 1000).abs() < 155), "{counts:?}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let order = |seed, stream| {
            let mut items: Vec<u32> = (0..50).collect();
            shuffle(&mut items, &mut generator(seed, stream));
            items
        };
        assert_eq!(order(3, 1), order(3, 1));
        assert_ne!(order(3, 1), order(3, 2));
        assert_ne!(order(3, 1), order(4, 1));
    }
}
