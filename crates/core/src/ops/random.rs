//! Random numbers from a key and a position: uniform and normal.
//!
//! Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), doi:10.1145/2063384.2063405.
//! Normal values: Box, Muller, "A note on the generation of random normal deviates" (1958), doi:10.1214/aoms/1177706645.

use super::{Batch, BatchCx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Spec, Typed, cast::DTYPES};
use crate::{Array, DType, Generator, IntoShape, KernelClass, Key, Tape, Tensor};
use smallvec::SmallVec;
use std::f64::consts::TAU;

/// Uniform in `[0, 1)`. Operand: the key, a scalar `I64`. Attributes: the dtype's number, then the lengths.
pub static UNIFORM: OpDef = OpDef {
    name: "uniform",
    shape,
    kernel: KernelClass::Generate(Generator::Uniform),
    value: |s, x| value(s, x, |w| w.map(|w| f64::from(w >> 8) / f64::from(1 << 24)), wide_uniform),
    jvp: Rule::Zero("its operand is a key"),
    vjp: Rule::Zero("its operand is a key"),
    batch: Batch::By(|b| batch(b, &UNIFORM)),
    samples,
};

/// Normal, of mean 0 and variance 1. Operand and attributes as for [`UNIFORM`].
pub static NORMAL: OpDef = OpDef {
    name: "normal",
    shape,
    kernel: KernelClass::Generate(Generator::Normal),
    value: |s, x| {
        let narrow = |w: [u32; 4]| {
            let u = w.map(|w| f64::from(w) / 2f64.powi(32));
            let ([a, b], [c, d]) = (box_muller([u[0], u[1]]), box_muller([u[2], u[3]]));
            [a, b, c, d].map(|v| f64::from(v as f32))
        };
        value(s, x, narrow, |w| box_muller(wide_uniform(w)))
    },
    jvp: Rule::Zero("its operand is a key"),
    vjp: Rule::Zero("its operand is a key"),
    batch: Batch::By(|b| batch(b, &NORMAL)),
    samples,
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&UNIFORM, &NORMAL];

fn shape(attrs: &[i64], x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if !x[0].is_scalar || x[0].dtype != DType::I64 {
        return Err(Mismatch::new("a key: a scalar i64"));
    }
    let [number, dims @ ..] = attrs else { return Err(Mismatch::new("a dtype and lengths as attributes")) };
    match DTYPES.get(*number as usize) {
        Some(&dtype) if dtype.is_float() => {
            let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| d as usize).collect();
            Typed::new(dtype, &dims)
        }
        Some(dtype) => Err(Mismatch::new(format!("a float dtype, not {dtype}")).hint("draw DType::F32, then cast")),
        None => Err(Mismatch::new("a dtype and lengths as attributes")),
    }
}

/// Four words make four singles or two doubles.
fn value(s: &Spec<'_>, x: &[Dense], narrow: fn([u32; 4]) -> [f64; 4], wide: fn([u32; 4]) -> [f64; 2]) -> Dense {
    let key = x[0].data[0] as u64;
    let number = |i: usize| match s.dtype {
        DType::F32 => narrow(philox(key, i as u64 / 4))[i % 4],
        _ => wide(philox(key, i as u64 / 2))[i % 2],
    };
    Dense { dims: s.shape.to_vec(), data: (0..s.shape.size()).map(number).collect() }
}

/// Ten rounds of two wide products, as the paper writes them.
fn philox(key: u64, counter: u64) -> [u32; 4] {
    let split = |v: u64| ((v >> 32) as u32, v as u32);
    let ((mut k1, mut k0), (c1, c0)) = (split(key), split(counter));
    let [mut l0, mut r0, mut l1, mut r1] = [c0, c1, 0, 0];
    for _ in 0..10 {
        let (high0, low0) = split(u64::from(l0) * 0xD251_1F53);
        let (high1, low1) = split(u64::from(l1) * 0xCD9E_8D57);
        (l0, r0, l1, r1) = (high1 ^ r0 ^ k0, low1, high0 ^ r1 ^ k1, low0);
        (k0, k1) = (k0.wrapping_add(0x9E37_79B9), k1.wrapping_add(0xBB67_AE85));
    }
    [l0, r0, l1, r1]
}

/// Two doubles in `[0, 1)`, of 53 bits each.
fn wide_uniform(w: [u32; 4]) -> [f64; 2] {
    [[w[0], w[1]], [w[2], w[3]]].map(|[low, high]| ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 / 2f64.powi(53))
}

/// The logarithm is of `1 - u`, which is never 0.
fn box_muller([u, v]: [f64; 2]) -> [f64; 2] {
    let (radius, (sin, cos)) = ((-2.0 * (1.0 - u).ln()).sqrt(), (TAU * v).sin_cos());
    [radius * cos, radius * sin]
}

/// A key is one number, so every element of a batch sees the same draws.
fn batch<'t>(b: &BatchCx<'t>, op: &'static OpDef) -> Tensor<'t> {
    let mut dims = vec![b.size];
    dims.extend_from_slice(&b.shape);
    b.x[0].tape.op(op, &b.x, &b.attrs).broadcast_to(dims)
}

fn samples() -> Vec<Sample> {
    let with = |key: i64| Sample::new([Array::scalar(key)]).scalar(0);
    vec![
        with(7).attrs([0, 9]),
        with(1 << 40).attrs([1, 2, 3]),
        with((1 << 53) - 1).attrs([0, 2, 1, 3]),
        with(3).attrs([1]),
        with(3).attrs([0, 0, 2]),
    ]
}

/// What random numbers are drawn by: a [`Key`], or one that [`Tape::key`] has put onto the tape.
pub trait IntoKey<'t> {
    /// The key as a scalar operand.
    fn on(self, tape: &'t Tape) -> Tensor<'t>;
}

impl<'t> IntoKey<'t> for Key {
    fn on(self, tape: &'t Tape) -> Tensor<'t> {
        tape.key(self)
    }
}
impl<'t> IntoKey<'t> for Tensor<'t> {
    fn on(self, _: &'t Tape) -> Tensor<'t> {
        self
    }
}

impl Tape {
    /// A key as a scalar operand, so that a [`Program`](crate::Program) can take it as an input; [`Array::key`] is what it is given then.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Key, Tape};
    /// let tape = Tape::new();
    /// let key = tape.key(Key::new(1));
    /// let noise = tape.compile(&key, &tape.normal(DType::F32, 4, key));
    /// let (a, b) = (noise.run(&Array::key(Key::new(7))), noise.run(&Array::key(Key::new(8))));
    /// assert_eq!(a, Tape::new().normal(DType::F32, 4, Key::new(7)).value());
    /// assert_ne!(a, b);
    /// ```
    pub fn key(&self, key: Key) -> Tensor<'_> {
        self.slot(key.bits(), DType::I64)
    }
}

impl Array {
    /// A key as an input of a [`Program`](crate::Program): see [`Tape::key`].
    pub fn key(key: Key) -> Array {
        Array::scalar(key.bits() as i64)
    }
}

impl Tape {
    /// Independent numbers in `[0, 1)`, each equally likely: 24 bits of `F32`, 53 of `F64`.
    ///
    /// The bits depend on the key, the dtype and the row-major position alone, not on threads or on what is fused. The key's value is
    /// no part of a plan, so a new key every step costs nothing. Use a key once: the same key gives the same numbers.
    ///
    /// # Panics
    /// For another dtype.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{DType, Key, Tape};
    /// let tape = Tape::new();
    /// let key = Key::new(7);
    /// let (a, b) = (tape.uniform(DType::F32, 4, key.fold(0)), tape.uniform(DType::F32, 4, key.fold(1)));
    /// assert_ne!(a.value(), b.value());
    /// assert_eq!(a.value(), tape.uniform(DType::F32, 4, key.fold(0)).value());
    /// ```
    #[track_caller]
    pub fn uniform<'t>(&'t self, dtype: DType, shape: impl IntoShape, key: impl IntoKey<'t>) -> Tensor<'t> {
        self.random(&UNIFORM, dtype, shape, key)
    }

    /// Independent normal numbers of mean 0 and variance 1; else as [`uniform`](Self::uniform).
    ///
    /// # Panics
    /// For another dtype than `F32` and `F64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{DType, Key, Tape};
    /// let tape = Tape::new();
    /// let draws = tape.normal(DType::F64, 1000, Key::new(1));
    /// assert!(draws.mean().item().abs() < 0.1 && (draws.std(&[0], 0).item() - 1.0).abs() < 0.1);
    /// ```
    #[track_caller]
    pub fn normal<'t>(&'t self, dtype: DType, shape: impl IntoShape, key: impl IntoKey<'t>) -> Tensor<'t> {
        self.random(&NORMAL, dtype, shape, key)
    }

    /// Independent truth values, true with probability `p` (to 24 bits); else as [`uniform`](Self::uniform).
    ///
    /// # Panics
    /// Unless `0 <= p <= 1`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Key, Tape};
    /// let tape = Tape::new();
    /// assert_eq!(tape.bernoulli(1.0, 3, Key::new(1)).value(), Array::from([true; 3]));
    /// ```
    #[track_caller]
    pub fn bernoulli<'t>(&'t self, p: f64, shape: impl IntoShape, key: impl IntoKey<'t>) -> Tensor<'t> {
        if !(0.0..=1.0).contains(&p) {
            panic!("bernoulli: expected a probability between 0 and 1, got {p}");
        }
        self.uniform(DType::F32, shape, key).lt(p)
    }

    #[track_caller]
    fn random<'t>(&'t self, op: &'static OpDef, dtype: DType, shape: impl IntoShape, key: impl IntoKey<'t>) -> Tensor<'t> {
        let number = DTYPES.iter().position(|&d| d == dtype).expect("every dtype is listed");
        let attrs: SmallVec<[i64; 8]> = std::iter::once(number).chain(shape.into_shape().iter().copied()).map(|d| d as i64).collect();
        self.op(op, &[key.on(self)], &attrs)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn philox_gives_the_known_answer() {
        assert_eq!(philox(0, 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    }

    #[test]
    fn kernels_draw_what_the_reference_draws() {
        for op in ALL {
            samples().iter().enumerate().for_each(|(n, sample)| check::computed(op, sample, n));
        }
        let tape = Tape::new();
        for dtype in [DType::F32, DType::F64] {
            let x = tape.uniform(dtype, [37, 5], Key::new(5));
            assert_eq!(x.value().to_f64_vec(), x.reference().data, "bit for bit");
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // 10 000 draws: the bounds are five standard errors.
        let tape = Tape::new();
        let check = |x: Tensor<'_>, mean: f64, variance: f64, fourth: f64| {
            let v = x.value().to_f64_vec();
            let n = v.len() as f64;
            let m = v.iter().sum::<f64>() / n;
            let s = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            assert!((m - mean).abs() < 5.0 * (variance / n).sqrt(), "mean {m} for {x:?}");
            assert!((s - variance).abs() < 5.0 * ((fourth - variance * variance) / n).sqrt(), "variance {s} for {x:?}");
        };
        for dtype in [DType::F32, DType::F64] {
            check(tape.uniform(dtype, [100, 100], Key::new(1)), 0.5, 1.0 / 12.0, 1.0 / 80.0);
            check(tape.normal(dtype, [100, 100], Key::new(2)), 0.0, 1.0, 3.0);
        }
        let third = tape.bernoulli(0.3, 10_000, Key::new(3));
        assert_eq!(third.dtype(), DType::Bool);
        let share = third.value().to_f64_vec().iter().sum::<f64>() / 1e4;
        assert!((share - 0.3).abs() < 5.0 * (0.21f64 / 1e4).sqrt(), "{share}");
    }

    #[test]
    fn certain_and_impossible() {
        let tape = Tape::new();
        assert!(tape.bernoulli(1.0, 500, Key::new(4)).value().to_vec::<bool>().iter().all(|&v| v));
        assert!(!tape.bernoulli(0.0, 500, Key::new(4)).value().to_vec::<bool>().iter().any(|&v| v));
        let (text, line) = check::panic_of(|| tape.bernoulli(f64::NAN, 2, Key::new(4)));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("bernoulli: expected a probability"), "{text}");
        let (text, line) = check::panic_of(|| tape.normal(DType::I64, 2, Key::new(4)));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("normal: expected a float dtype, not i64"), "{text}");
    }
}
