//! How are random numbers drawn on the host, for initial weights and test data?
//!
//! The polar method for normal numbers: G. Marsaglia and T. A. Bray (1964), doi:10.1137/1006063.

use super::Array;
use crate::{DType, IntoShape};
use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

impl Array {
    /// Independent numbers between `low` and `high`, each equally likely; `F32` or `F64`.
    ///
    /// They are drawn in double precision from `ChaCha8Rng` of the `rand` crate, a generator whose stream is fixed by its name,
    /// then rounded: the same seed gives the same array. Panics for another dtype and unless `low <= high`, both finite.
    ///
    /// ```
    /// use wengert_core::{Array, DType};
    /// let a = Array::uniform(DType::F32, [2, 3], -1.0, 1.0, 7);
    /// assert_eq!(a, Array::uniform(DType::F32, [2, 3], -1.0, 1.0, 7));
    /// ```
    #[track_caller]
    pub fn uniform(dtype: DType, shape: impl IntoShape, low: f64, high: f64, seed: u64) -> Array {
        if !(low <= high && (high - low).is_finite()) {
            panic!("uniform: expected finite bounds, the lower first, got {low} and {high}");
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape = shape.into_shape();
        let mut draw = || low + (high - low) * unit(&mut rng);
        match dtype {
            DType::F32 => Array::build(shape, |_| draw() as f32),
            DType::F64 => Array::build(shape, |_| draw()),
            other => panic!("uniform: expected f32 or f64, got {other}"),
        }
    }

    /// Independent normal numbers of the given mean and standard deviation; `F32` or `F64`.
    ///
    /// Drawn as for [`Array::uniform`]. Panics for another dtype and unless both are finite and `std >= 0`.
    #[track_caller]
    pub fn normal(dtype: DType, shape: impl IntoShape, mean: f64, std: f64, seed: u64) -> Array {
        if !(mean.is_finite() && std.is_finite() && std >= 0.0) {
            panic!("normal: expected a finite mean and a deviation of at least 0, got {mean} and {std}");
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape = shape.into_shape();
        let mut second = None;
        let mut draw = || mean + std * second.take().unwrap_or_else(|| normal_pair(&mut rng, &mut second));
        match dtype {
            DType::F32 => Array::build(shape, |_| draw() as f32),
            DType::F64 => Array::build(shape, |_| draw()),
            other => panic!("normal: expected f32 or f64, got {other}"),
        }
    }
}

/// Uniform in `[0, 1)`: the 53 highest bits, so that every value is exact.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (0.5 / (1u64 << 52) as f64)
}

/// Two standard normal numbers: one returned, one left in `second`.
fn normal_pair(rng: &mut ChaCha8Rng, second: &mut Option<f64>) -> f64 {
    loop {
        let (u, v) = (2.0 * unit(rng) - 1.0, 2.0 * unit(rng) - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            let scale = (-2.0 * s.ln() / s).sqrt();
            *second = Some(v * scale);
            return u * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(a: &Array) -> (f64, f64) {
        let v = a.to_f64_vec();
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64)
    }

    #[test]
    fn the_seed_decides_all_bits() {
        let a = Array::normal(DType::F64, [4, 5], 0.0, 1.0, 1);
        assert_eq!(a, Array::normal(DType::F64, [20], 0.0, 1.0, 1).reshape([4, 5]));
        assert_ne!(a, Array::normal(DType::F64, [4, 5], 0.0, 1.0, 2));
        assert_eq!(a.cast(DType::F32), Array::normal(DType::F32, [4, 5], 0.0, 1.0, 1));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // 100 000 draws: the bounds are five standard errors.
        let u = Array::uniform(DType::F64, 100_000, -1.0, 3.0, 3);
        let (mean, var) = moments(&u);
        assert!((mean - 1.0).abs() < 0.019 && (var - 16.0 / 12.0).abs() < 0.019, "{mean} {var}");
        assert!(u.as_slice::<f64>().iter().all(|v| (-1.0..=3.0).contains(v)));
        let (mean, var) = moments(&Array::normal(DType::F64, 100_000, 2.0, 3.0, 4));
        assert!((mean - 2.0).abs() < 0.048 && (var - 9.0).abs() < 0.21, "{mean} {var}");
    }

    #[test]
    fn bounds_that_make_no_sense_panic() {
        for (low, high) in [(1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-f64::MAX, f64::MAX)] {
            assert!(std::panic::catch_unwind(|| Array::uniform(DType::F32, 1, low, high, 0)).is_err(), "{low} {high}");
        }
        assert!(std::panic::catch_unwind(|| Array::normal(DType::F64, 1, 0.0, -1.0, 0)).is_err());
        assert!(std::panic::catch_unwind(|| Array::uniform(DType::I64, 1, 0.0, 1.0, 0)).is_err());
    }
}
