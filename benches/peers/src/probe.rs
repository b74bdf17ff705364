//! What can this machine do? Multiply-adds a second, and bytes moved a second by copies that stay in each level of its memory.

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

/// Rates on one thread and on two.
pub struct Machine {
    pub name: String,
    pub cores: usize,
    /// f32 operations a second, a multiply-add being two.
    pub flops: [f64; 2],
    /// Bytes a second, read and written, by the bytes that a copy touches on one thread: within L2, within L3, beyond.
    pub bytes: [(usize, [f64; 2]); 3],
}

impl Machine {
    /// Bytes a second on two threads for a working set of so many bytes.
    pub fn bandwidth(&self, working_set: f64) -> f64 {
        let level = self.bytes.iter().find(|(size, _)| working_set <= 2.0 * *size as f64);
        level.unwrap_or(&self.bytes[2]).1[1]
    }
}

pub fn machine() -> Machine {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let both = |work: &(dyn Fn() -> f64 + Sync)| [rate(1, work), rate(2, work)];
    let copies = [400 << 10, 8 << 20, 96 << 20].map(|size| (size, both(&|| copy(size))));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Machine { name: name.to_string(), cores, flops: both(&multiply_add), bytes: copies }
}

/// The best of some tries: the rates of `work` on each of some threads at once, added up.
fn rate(threads: usize, work: &(dyn Fn() -> f64 + Sync)) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        work(); // the clock goes up, and the other thread gets going
        barrier.wait();
        work()
    };
    let once = || {
        thread::scope(|s| {
            let all: Vec<_> = (0..threads).map(|_| s.spawn(one)).collect();
            all.into_iter().map(|t| t.join().expect("a probe does not panic")).sum()
        })
    };
    (0..4).map(|_| once()).fold(0.0, f64::max)
}

/// Bytes a second of copying half of `size` bytes to the other half.
fn copy(size: usize) -> f64 {
    let (a, mut b) = (vec![1u64; size / 16], vec![2u64; size / 16]);
    let times = ((192 << 20) / size).max(2);
    let start = Instant::now();
    for _ in 0..times {
        black_box(&mut b[..]).copy_from_slice(black_box(&a));
    }
    (times * size) as f64 / start.elapsed().as_secs_f64()
}

const ROUNDS: usize = 4_000_000;

/// f32 operations a second.
fn multiply_add() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { avx512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { avx2() };
        }
    }
    let (a, b) = (black_box([0.999_f32; 4]), black_box([0.001_f32; 4]));
    chains(4, [1.0; 4], |x: [f32; 4]| std::array::from_fn(|i| x[i] * a[i] + b[i]))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512() -> f64 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    chains(16, _mm512_set1_ps(1.0), |x| _mm512_fmadd_ps(x, a, b))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2() -> f64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    chains(8, _mm256_set1_ps(1.0), |x| _mm256_fmadd_ps(x, a, b))
}

/// Twelve chains of multiply-adds in vectors of `lanes`: enough to hide the latency, few enough for the registers.
#[inline(always)]
fn chains<V: Copy>(lanes: usize, one: V, step: impl Fn(V) -> V) -> f64 {
    let mut all = [one; 12];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for x in &mut all {
            *x = step(*x);
        }
    }
    black_box(all);
    (2 * 12 * lanes * ROUNDS) as f64 / start.elapsed().as_secs_f64()
}
