//! Which random numbers are drawn? A key says so, and keys make further keys.
//!
//! Mixing: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014), doi:10.1145/2660193.2660195.

/// What decides all bits of a random draw. A plain value: copying one and drawing twice gives the same numbers twice.
///
/// ```
/// use wengert_core::Key;
/// let key = Key::new(42);
/// let keys = key.split(2);
/// assert_ne!(keys[0], keys[1]);
/// assert_eq!(keys, key.split(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

/// The odd number nearest to 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Keeps the keys of `split` apart from those of `fold`.
const SPLIT: u64 = 0x5350_4C49_545F_4B45;

impl Key {
    /// The key of a seed; different seeds give different keys.
    pub fn new(seed: u64) -> Key {
        Key(mix(seed.wrapping_add(GOLDEN)))
    }

    /// The key for a number, such as a step: different numbers give different keys, unrelated to this one.
    pub fn fold(self, data: u64) -> Key {
        Key(mix(self.0 ^ mix(data.wrapping_add(GOLDEN))))
    }

    /// `n` keys, different from each other and unrelated to this one and to those of [`fold`](Self::fold).
    pub fn split(self, n: usize) -> Vec<Key> {
        let parent = self.fold(SPLIT);
        (0..n as u64).map(|i| parent.fold(i)).collect()
    }

    /// What a kernel reads: 53 bits, so that the reference, which counts in doubles, reads the same.
    pub(crate) fn bits(self) -> u64 {
        self.0 >> 11
    }
}

/// A bijection of 64 bits in which every bit of the result depends on every bit of `v`.
fn mix(mut v: u64) -> u64 {
    v = (v ^ v >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    v = (v ^ v >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    v ^ v >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_first_numbers_of_splitmix_are_the_known_ones() {
        assert_eq!([mix(GOLDEN), mix(GOLDEN.wrapping_mul(2))], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn families_of_keys_do_not_meet() {
        let key = Key::new(0);
        let mut all: Vec<Key> = (0..1000).map(Key::new).collect();
        all.extend((0..1000).map(|i| key.fold(i)));
        all.extend(key.split(1000));
        all.extend(key.fold(1).split(1000));
        all.extend([key.fold(1).fold(2), key.fold(2).fold(1)]);
        let bits: HashSet<u64> = all.iter().map(|k| k.bits()).collect();
        assert_eq!(bits.len(), all.len());
        assert!(bits.iter().all(|&b| b < 1 << 53));
    }

    #[test]
    fn a_longer_split_begins_with_a_shorter_one() {
        let key = Key::new(9);
        assert_eq!(key.split(5)[..2], key.split(2));
    }
}
