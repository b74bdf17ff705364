//! Which values depend on a position only? Counts, and random numbers by a counter-based generator.
//!
//! Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), doi:10.1145/2063384.2063405.
//! Normal values: Box, Muller, "A note on the generation of random normal deviates" (1958), doi:10.1214/aoms/1177706645.

use super::strided::{BLOCK, dense};
use crate::{
    DType, Element, Generator,
    execute::{frame::Frame, threads},
    plan::kernel::GenerateKernel,
};
use std::f64::consts::{LN_2, TAU};

/// Writes every element from its row-major position and the operands.
pub fn run(kernel: &GenerateKernel, frame: &Frame) {
    match kernel.dtype {
        DType::F32 => on::<f32>(kernel, frame),
        DType::F64 => on::<f64>(kernel, frame),
        DType::I64 => count::<i64>(kernel, frame),
        DType::Bool => panic!("generated values are numbers, found bool"),
    }
}

/// Four random words for a key and a counter.
#[cfg(test)]
pub fn philox(key: u64, counter: u64) -> [u32; 4] {
    philox_lanes::<1>(key, counter).map(|[word]| word)
}

/// The words of `N` counters from `first` on: word by word, so that the counters advance side by side.
fn philox_lanes<const N: usize>(key: u64, first: u64) -> [[u32; N]; 4] {
    let counter: [u64; N] = std::array::from_fn(|i| first + i as u64);
    let counters = [counter.map(|c| c as u32), counter.map(|c| (c >> 32) as u32), [0; N], [0; N]];
    rounds([key as u32, (key >> 32) as u32], counters)
}

fn rounds<const N: usize>(mut key: [u32; 2], mut c: [[u32; N]; 4]) -> [[u32; N]; 4] {
    for _ in 0..10 {
        let [w, x, y, z] = &mut c;
        for (((w, x), y), z) in w.iter_mut().zip(x).zip(y).zip(z) {
            let (a, b) = (u64::from(*w) * 0xD251_1F53, u64::from(*y) * 0xCD9E_8D57);
            (*w, *x) = ((b >> 32) as u32 ^ *x ^ key[0], b as u32);
            (*y, *z) = ((a >> 32) as u32 ^ *z ^ key[1], a as u32);
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// How the words of one counter become numbers.
trait Random: Element {
    /// As many numbers as four words give.
    type Lanes: AsRef<[Self]>;
    /// In `[0, 1)`, on a grid as fine as the mantissa.
    fn uniform(words: [u32; 4]) -> Self::Lanes;
    /// Standard normal.
    fn normal(words: [u32; 4]) -> Self::Lanes;
}

impl Random for f32 {
    type Lanes = [f32; 4];
    fn uniform(words: [u32; 4]) -> [f32; 4] {
        words.map(|w| (w >> 8) as f32 * (1.0 / (1u64 << 24) as f32))
    }
    fn normal(words: [u32; 4]) -> [f32; 4] {
        let [u, v, w, z] = words.map(|w| u64::from(w) << 32);
        let ([a, b], [c, d]) = (box_muller(u, v), box_muller(w, z));
        [a as f32, b as f32, c as f32, d as f32]
    }
}

impl Random for f64 {
    type Lanes = [f64; 2];
    fn uniform(words: [u32; 4]) -> [f64; 2] {
        pairs(words).map(|bits| (bits >> 11) as f64 / (1u64 << 53) as f64)
    }
    fn normal(words: [u32; 4]) -> [f64; 2] {
        let [u, v] = pairs(words);
        box_muller(u, v)
    }
}

fn pairs([a, b, c, d]: [u32; 4]) -> [u64; 2] {
    [[a, b], [c, d]].map(|[low, high]| u64::from(high) << 32 | u64::from(low))
}

/// Two normal values from two fractions of 2^64; the logarithm is of `1 - u`, which is never 0.
///
/// Logarithm and sine are series in plain arithmetic, so that these bits are the same on every machine.
fn box_muller(u: u64, v: u64) -> [f64; 2] {
    let radius = (-2.0 * ln(1.0 - (u >> 11) as f64 / (1u64 << 53) as f64)).sqrt();
    let [sin, cos] = sin_cos_turn(v);
    [radius * cos, radius * sin]
}

/// Natural logarithm of a normal positive number, within 2 ULP: `x = 2^e m`, `ln m = 2 artanh((m - 1) / (m + 1))`.
fn ln(x: f64) -> f64 {
    // Adding this to the exponent's field moves the cut between powers of two to √½.
    const CUT: u64 = 0x3FE6_A09E_667F_3BCD;
    let shifted = x.to_bits().wrapping_sub(CUT);
    let m = f64::from_bits((shifted & ((1 << 52) - 1)) + CUT);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..10).rev().fold(1.0 / 21.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    (shifted as i64 >> 52) as f64 * LN_2 + 2.0 * s * series
}

/// Sine and cosine of `turn / 2^64` turns: series about the nearest quarter.
fn sin_cos_turn(turn: u64) -> [f64; 2] {
    let quarter = ((turn >> 61) + 1) >> 1;
    let t = turn.wrapping_sub(quarter << 62) as i64 as f64 * (TAU / 18_446_744_073_709_551_616.0);
    let square = -t * t;
    // 1 + x/(a b) (1 + x/(c d) (…)) with the factors of the factorial.
    let series =
        |first: u32| (0..8).rev().fold(1.0, |sum, i| 1.0 + sum * square * (1.0 / f64::from((first + 2 * i) * (first + 2 * i + 1))));
    let (sin, cos) = (t * series(2), series(1));
    let [sin, cos] = if quarter & 1 == 1 { [cos, -sin] } else { [sin, cos] };
    if quarter & 2 == 2 { [-sin, -cos] } else { [sin, cos] }
}

fn on<T: Random>(kernel: &GenerateKernel, frame: &Frame) {
    match kernel.kind {
        Generator::Iota => count::<T>(kernel, frame),
        Generator::Uniform => random::<T>(kernel, frame, T::uniform),
        Generator::Normal => random::<T>(kernel, frame, T::normal),
    }
}

fn random<T: Random>(kernel: &GenerateKernel, frame: &Frame, numbers: impl Fn([u32; 4]) -> T::Lanes + Sync) {
    let key = frame.scalar(kernel.args[0].0);
    const COUNTERS: usize = 8;
    let lanes = 16 / size_of::<T>();
    in_blocks(kernel, frame, 1 << 12, |start, block: &mut [T]| {
        debug_assert_eq!(start % lanes, 0, "a block begins with a counter");
        for (i, out) in block.chunks_mut(lanes * COUNTERS).enumerate() {
            let words = philox_lanes::<COUNTERS>(key, (start / lanes + i * COUNTERS) as u64);
            for (j, out) in out.chunks_mut(lanes).enumerate() {
                let values = numbers(words.map(|word| word[j]));
                out.copy_from_slice(&values.as_ref()[..out.len()]);
            }
        }
    });
}

fn count<T: Element>(kernel: &GenerateKernel, frame: &Frame) {
    let Generator::Iota = kernel.kind else { panic!("random numbers are floats, found {}", kernel.dtype) };
    let operand = |i: usize| (frame.scalar(kernel.args[i].0), kernel.args[i].1);
    let [start, step] = [operand(0), operand(1)];
    let inner: usize = kernel.shape[kernel.axis + 1..].iter().product();
    let len = kernel.shape[kernel.axis];
    let value: &(dyn Fn(usize) -> u64 + Sync) = match T::DTYPE {
        DType::I64 => {
            let [start, step] =
                [start, step].map(|(bits, dtype)| if dtype == DType::I64 { bits as i64 } else { dtype.number(bits) as i64 });
            &move |i| start.wrapping_add(step.wrapping_mul(i as i64)) as u64
        }
        dtype => {
            let [start, step] = [start, step].map(|(bits, dtype)| dtype.number(bits));
            &move |i| dtype.bits(start + step * i as f64)
        }
    };
    in_blocks(kernel, frame, BLOCK, |first, block: &mut [T]| {
        let mut at = 0;
        while at < block.len() {
            let position = first + at;
            let run = (inner - position % inner).min(block.len() - at);
            let bits = value(position / inner % len);
            // SAFETY: the low bytes of the bits are an element of the dtype of `T`.
            block[at..at + run].fill(unsafe { std::mem::transmute_copy(&bits.to_le()) });
            at += run;
        }
    });
}

/// Calls `write` with the first position and the elements of every block of the output.
fn in_blocks<T: Element>(kernel: &GenerateKernel, frame: &Frame, block: usize, write: impl Fn(usize, &mut [T]) + Sync) {
    let size = kernel.shape.size();
    let out = dense::<T>(frame, kernel.out, size);
    threads::run(size.div_ceil(block), &|task| {
        let start = task * block;
        // SAFETY: the output holds `size` elements; each task has a block of its own.
        write(start, unsafe { std::slice::from_raw_parts_mut(out.at(start as isize), block.min(size - start)) });
    });
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::Memory, *};
    use crate::{Shape, execute::threads::set_threads, plan::kernel::ScalarSource::Literal};

    fn generate<T: Element>(kind: Generator, dims: &[usize], axis: usize, args: &[(u64, DType)]) -> Vec<T> {
        let mut memory = Memory::new();
        let shape = Shape::new(dims).unwrap();
        let out = memory.add(&vec![T::default(); shape.size()]);
        let args = args.iter().map(|&(bits, dtype)| (Literal(bits), dtype)).collect();
        run(&GenerateKernel { kind, dtype: T::DTYPE, args, shape, axis, out }, &memory.frame());
        memory.read(out)
    }

    #[test]
    fn philox_gives_the_known_answers() {
        let philox_wide = |key, counter: [u32; 4]| rounds(key, counter.map(|c| [c])).map(|[word]| word);
        let ones = u32::MAX;
        assert_eq!(philox(0, 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox_wide([ones; 2], [ones; 4]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = philox_wide([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]);
        assert_eq!(pi, [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }

    #[test]
    fn an_element_depends_on_key_and_position_only() {
        let key = [(42, DType::I64)];
        for kind in [Generator::Uniform, Generator::Normal] {
            let long = generate::<f32>(kind, &[20_001], 0, &key);
            assert_eq!(generate::<f32>(kind, &[3, 7], 0, &key), long[..21]);
            set_threads(1);
            assert_eq!(generate::<f32>(kind, &[20_001], 0, &key), long);
            set_threads(2);
            assert_ne!(generate::<f32>(kind, &[21], 0, &[(43, DType::I64)]), long[..21]);
            assert_eq!(generate::<f64>(kind, &[0, 4], 0, &key), []);
            assert_eq!(generate::<f64>(kind, &[], 0, &key), generate::<f64>(kind, &[9], 0, &key)[..1]);
        }
    }

    #[test]
    fn moments_and_ranges_are_those_of_the_distributions() {
        let n = 200_000;
        let check = |values: Vec<f64>, mean: f64, variance: f64| {
            let m = values.iter().sum::<f64>() / n as f64;
            let v = values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n as f64;
            assert!((m - mean).abs() < 0.01 && (v - variance).abs() < 0.02, "mean {m}, variance {v}");
        };
        let key = [(7, DType::I64)];
        let single = generate::<f32>(Generator::Uniform, &[n], 0, &key);
        assert!(single.iter().all(|u| (0.0..1.0).contains(u)));
        check(single.into_iter().map(f64::from).collect(), 0.5, 1.0 / 12.0);
        check(generate::<f64>(Generator::Uniform, &[n], 0, &key), 0.5, 1.0 / 12.0);
        check(generate::<f32>(Generator::Normal, &[n], 0, &key).into_iter().map(f64::from).collect(), 0.0, 1.0);
        check(generate::<f64>(Generator::Normal, &[n], 0, &key), 0.0, 1.0);
    }

    #[test]
    fn the_extreme_words_stay_finite_and_below_one() {
        for word in [0, u32::MAX] {
            assert!(f32::normal([word; 4]).iter().all(|z| z.is_finite()));
            assert!(f64::normal([word; 4]).iter().all(|z| z.is_finite()));
            assert!(f32::uniform([word; 4]).iter().all(|u| (0.0..1.0).contains(u)));
            assert!(f64::uniform([word; 4]).iter().all(|u| (0.0..1.0).contains(u)));
        }
    }

    #[test]
    fn the_series_are_exact_to_a_few_units() {
        for i in 0..100_000u64 {
            let turn = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let x = 1.0 - (turn >> 11) as f64 / (1u64 << 53) as f64;
            assert!((ln(x) - x.ln()).abs() <= 4.0 * f64::EPSILON * x.ln().abs(), "ln {x}");
            let (sin, cos) = (TAU * (turn as f64 / 2f64.powi(64))).sin_cos();
            let [s, c] = sin_cos_turn(turn);
            assert!((s - sin).abs() < 2e-15 && (c - cos).abs() < 2e-15, "turn {turn}");
        }
        assert_eq!([ln(1.0), ln(2f64.powi(-53))], [0.0, -53.0 * LN_2]);
        assert_eq!([0, 1, 2, 3].map(|q| sin_cos_turn(q << 62)), [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]]);
    }

    #[test]
    fn counting_is_exact_along_the_axis() {
        let ints = generate::<i64>(Generator::Iota, &[2, 3, 2], 1, &[((1i64 << 60) as u64 + 1, DType::I64), (-2i64 as u64, DType::I64)]);
        let b = (1i64 << 60) + 1;
        assert_eq!(ints, [b, b, b - 2, b - 2, b - 4, b - 4, b, b, b - 2, b - 2, b - 4, b - 4]);
        let floats =
            generate::<f32>(Generator::Iota, &[100_000], 0, &[(DType::F32.bits(0.5), DType::F32), (DType::F32.bits(2.0), DType::F32)]);
        assert!(floats.iter().enumerate().all(|(i, &v)| v == 0.5 + 2.0 * i as f32));
        assert_eq!(
            generate::<f64>(Generator::Iota, &[3], 0, &[(DType::F64.bits(1.0), DType::F64), (DType::F64.bits(-0.25), DType::F64)]),
            [1.0, 0.75, 0.5]
        );
    }
}
