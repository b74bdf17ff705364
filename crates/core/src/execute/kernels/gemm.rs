//! How is one panel of a matrix product computed in registers, by the widest instructions that the machine has?
//!
//! Rows of `a` are broadcast against vectors of `b`: Goto, van de Geijn, "Anatomy of high-performance matrix multiplication" (2008),
//! doi:10.1145/1356052.1356053. Every element is summed over `k` in ascending order in one register, so that its bits depend on
//! the instruction set and `k` only: never on how the product is cut into panels. A product with a vector whose terms lie side by
//! side in both operands is a set of dot products, with an order of its own.

use crate::Element;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Elements of a dtype that can be multiplied as matrices.
pub trait Product: Element {
    /// The engine for this machine; cheap to ask for.
    fn engine() -> Engine<Self>;
}

/// How panels are computed, and of which size.
#[derive(Clone, Copy)]
pub struct Engine<T> {
    /// Rows of a block of `a`.
    pub rows: usize,
    /// Columns of a panel of `b`.
    pub cols: usize,
    /// Computes a panel.
    ///
    /// # Safety
    /// What the panel describes must lie in memory, and nobody else may use its part of `out` meanwhile.
    pub panel: unsafe fn(&Panel<T>),
    /// Columns of a wide panel of one row.
    pub wide: usize,
    /// Computes a wide panel of one row, all columns of it, with the bits that narrow panels would give.
    ///
    /// # Safety
    /// As for `panel`.
    pub row: unsafe fn(&Panel<T>),
    /// Computes one column, `out[i] = Σ_l a[i, l] * b[l]`, where terms of `a` and of `b` are neighbours. Several partial sums
    /// run side by side and are added in a fixed order that depends on the instruction set and `k` only.
    ///
    /// # Safety
    /// As for `panel`.
    pub dots: unsafe fn(&Panel<T>),
}

/// `out[i, j] (+)= Σ_l a[i, l] * b[l, j]` for at most one panel's columns.
#[derive(Clone, Copy)]
pub struct Panel<T> {
    /// Rows of `a` and `out`.
    pub rows: usize,
    /// Columns of `out`, at most the engine's; `b` has all of the engine's columns, readable even beyond these.
    pub cols: usize,
    /// Terms of each sum.
    pub k: usize,
    /// First element of `a`.
    pub a: *const T,
    /// Elements from one block of `a`, of the engine's rows, to the next.
    pub a_block: isize,
    /// Elements from row to row within a block.
    pub a_row: isize,
    /// Elements from term to term.
    pub a_step: isize,
    /// First element of `b`; its columns are neighbours.
    pub b: *const T,
    /// Elements from term to term.
    pub b_step: isize,
    /// First element of `out`; its columns are neighbours.
    pub out: *mut T,
    /// Elements from row to row.
    pub out_row: isize,
    /// Whether to add to what `out` holds.
    pub accumulate: bool,
}

/// A register of several elements.
trait Vector: Copy {
    type T: Element;
    const LANES: usize;
    unsafe fn load(from: *const Self::T) -> Self;
    unsafe fn store(self, to: *mut Self::T);
    unsafe fn splat(value: Self::T) -> Self;
    /// `a * b + self`.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    fn add_one(a: Self::T, b: Self::T) -> Self::T;
    fn mul_add_one(a: Self::T, b: Self::T, c: Self::T) -> Self::T;
}

/// # Safety
/// As for [`Engine::panel`], on a machine that has the instructions of `V`.
#[inline(always)]
unsafe fn panel<V: Vector, const ROWS: usize>(p: &Panel<V::T>) {
    debug_assert!(p.cols <= 2 * V::LANES);
    for (number, first) in (0..p.rows).step_by(ROWS).enumerate() {
        let a = p.a.wrapping_offset(number as isize * p.a_block);
        let end = p.rows.min(first + ROWS);
        let mut row = first;
        while row < end {
            let a = a.wrapping_offset((row - first) as isize * p.a_row);
            let out = p.out.wrapping_offset(row as isize * p.out_row);
            // SAFETY: rows of the panel, as the caller described them.
            row += unsafe {
                match end - row {
                    n if n >= ROWS => block::<V, ROWS>(p, a, out),
                    n if n >= 4 => block::<V, 4>(p, a, out),
                    n if n >= 2 => block::<V, 2>(p, a, out),
                    _ => block::<V, 1>(p, a, out),
                }
            };
        }
    }
}

#[inline(always)]
unsafe fn block<V: Vector, const ROWS: usize>(p: &Panel<V::T>, a: *const V::T, out: *mut V::T) -> usize {
    // SAFETY: as for the caller.
    unsafe { if p.cols <= V::LANES { sums::<V, ROWS, 1>(p, a, out) } else { sums::<V, ROWS, 2>(p, a, out) } }
    ROWS
}

#[inline(always)]
unsafe fn sums<V: Vector, const ROWS: usize, const WIDTH: usize>(p: &Panel<V::T>, a: *const V::T, out: *mut V::T) {
    // SAFETY: the caller vouches for `ROWS` rows of `a` and `out` and for the columns of `b`.
    unsafe {
        let mut total = [[V::splat(V::T::default()); WIDTH]; ROWS];
        let (mut step, mut b) = (0, p.b);
        for _ in 0..p.k {
            let mut columns = [V::splat(V::T::default()); WIDTH];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = V::load(b.wrapping_add(j * V::LANES));
            }
            for (i, total) in total.iter_mut().enumerate() {
                let x = V::splat(*a.wrapping_offset(i as isize * p.a_row + step));
                for (total, column) in total.iter_mut().zip(columns) {
                    *total = total.mul_add(x, column);
                }
            }
            (step, b) = (step + p.a_step, b.wrapping_offset(p.b_step));
        }
        for (i, &total) in total.iter().enumerate() {
            write(p, total, out.wrapping_offset(i as isize * p.out_row));
        }
    }
}

#[inline(always)]
unsafe fn write<V: Vector, const WIDTH: usize>(p: &Panel<V::T>, total: [V; WIDTH], out: *mut V::T) {
    // SAFETY: the caller vouches for `cols` elements of `out`.
    unsafe {
        if p.cols == WIDTH * V::LANES {
            for (j, mut total) in total.into_iter().enumerate() {
                let out = out.wrapping_add(j * V::LANES);
                if p.accumulate {
                    total = V::load(out).add(total);
                }
                total.store(out);
            }
        } else {
            let lanes = (&raw const total).cast::<V::T>();
            for j in 0..p.cols {
                let (to, value) = (out.wrapping_add(j), *lanes.add(j));
                *to = if p.accumulate { V::add_one(*to, value) } else { value };
            }
        }
    }
}

/// # Safety
/// As for [`Engine::row`], on a machine that has the instructions of `V`.
#[inline(always)]
unsafe fn row<V: Vector>(p: &Panel<V::T>) {
    debug_assert_eq!((p.rows, p.cols), (1, WIDE * V::LANES));
    // SAFETY: as for the caller.
    unsafe { sums::<V, 1, WIDE>(p, p.a, p.out) }
}

/// # Safety
/// As for [`Engine::dots`], on a machine that has the instructions of `V`.
#[inline(always)]
unsafe fn dots<V: Vector>(p: &Panel<V::T>) {
    debug_assert_eq!((p.cols, p.a_step, p.b_step), (1, 1, 1));
    let mut i = 0;
    while i < p.rows {
        let (a, out) = (p.a.wrapping_offset(i as isize * p.a_row), p.out.wrapping_offset(i as isize * p.out_row));
        // SAFETY: rows of the panel.
        i += unsafe { if p.rows - i >= 4 { some_dots::<V, 4>(p, a, out) } else { some_dots::<V, 1>(p, a, out) } };
    }
}

#[inline(always)]
unsafe fn some_dots<V: Vector, const ROWS: usize>(p: &Panel<V::T>, a: *const V::T, out: *mut V::T) -> usize {
    let bulk = p.k / (2 * V::LANES) * (2 * V::LANES);
    // SAFETY: the caller vouches for `ROWS` rows of `k` terms and for `b`.
    unsafe {
        let mut total = [[V::splat(V::T::default()); 2]; ROWS];
        for l in (0..bulk).step_by(2 * V::LANES) {
            let b = [V::load(p.b.wrapping_add(l)), V::load(p.b.wrapping_add(l + V::LANES))];
            for (i, total) in total.iter_mut().enumerate() {
                let a = a.wrapping_offset(i as isize * p.a_row).wrapping_add(l);
                total[0] = total[0].mul_add(V::load(a), b[0]);
                total[1] = total[1].mul_add(V::load(a.wrapping_add(V::LANES)), b[1]);
            }
        }
        for (i, [even, odd]) in total.into_iter().enumerate() {
            let mut lanes = [V::T::default(); 16];
            debug_assert!(V::LANES <= 16 && V::LANES.is_power_of_two());
            even.add(odd).store(lanes.as_mut_ptr());
            let mut half = V::LANES / 2;
            while half > 0 {
                for lane in 0..half {
                    lanes[lane] = V::add_one(lanes[lane], lanes[lane + half]);
                }
                half /= 2;
            }
            let mut sum = lanes[0];
            for l in bulk..p.k {
                sum = V::mul_add_one(*a.wrapping_offset(i as isize * p.a_row).wrapping_add(l), *p.b.wrapping_add(l), sum);
            }
            *out.wrapping_offset(i as isize * p.out_row) = sum;
        }
    }
    ROWS
}

/// Vectors of a wide panel: enough sums side by side to hide how long one addition takes.
const WIDE: usize = 8;

/// Without special instructions.
#[derive(Clone, Copy)]
struct Plain<T, const N: usize>([T; N]);

/// The plain vectors of a type: how to multiply and add, and how to add.
macro_rules! plain_vector {
    ($t:ty, $mul_add:expr, $add:expr) => {
        impl<const N: usize> Vector for Plain<$t, N> {
            type T = $t;
            const LANES: usize = N;
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller vouches for `N` elements.
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: as for `load`.
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn splat(value: $t) -> Self {
                Plain([value; N])
            }
            #[inline(always)]
            unsafe fn mul_add(mut self, a: Self, b: Self) -> Self {
                for ((c, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
                    *c = $mul_add(a, b, *c);
                }
                self
            }
            #[inline(always)]
            unsafe fn add(mut self, other: Self) -> Self {
                for (a, b) in self.0.iter_mut().zip(other.0) {
                    *a = $add(*a, b);
                }
                self
            }
            #[inline(always)]
            fn add_one(a: $t, b: $t) -> $t {
                $add(a, b)
            }
            #[inline(always)]
            fn mul_add_one(a: $t, b: $t, c: $t) -> $t {
                $mul_add(a, b, c)
            }
        }
    };
}
/// Where the baseline has no fused instruction, `mul_add` would be a library call.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
plain_vector!(f32, |a: f32, b: f32, c: f32| if FUSED { a.mul_add(b, c) } else { a * b + c }, |a: f32, b: f32| a + b);
plain_vector!(f64, |a: f64, b: f64, c: f64| if FUSED { a.mul_add(b, c) } else { a * b + c }, |a: f64, b: f64| a + b);
plain_vector!(i64, |a: i64, b: i64, c: i64| c.wrapping_add(a.wrapping_mul(b)), |a: i64, b: i64| a.wrapping_add(b));

/// The vectors of an instruction set: element, register, lanes, the instructions' names, and the panel that uses them.
#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($t:ty, $v:ty, $lanes:literal, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident, $panel:ident, $rows:literal, $features:literal) => {
        impl Vector for $v {
            type T = $t;
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller vouches for the elements, and for the instruction set as in all of these.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: as for `load`.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn splat(value: $t) -> Self {
                // SAFETY: as for `load`.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: as for `load`.
                unsafe { $fma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as for `load`.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            fn add_one(a: $t, b: $t) -> $t {
                a + b
            }
            #[inline(always)]
            fn mul_add_one(a: $t, b: $t, c: $t) -> $t {
                a * b + c
            }
        }
        /// Callable where the machine has these instructions only.
        mod $panel {
            use super::*;
            #[target_feature(enable = $features)]
            unsafe fn panel(p: &Panel<$t>) {
                // SAFETY: as for the caller.
                unsafe { super::panel::<$v, $rows>(p) }
            }
            #[target_feature(enable = $features)]
            unsafe fn row(p: &Panel<$t>) {
                // SAFETY: as for the caller.
                unsafe { super::row::<$v>(p) }
            }
            #[target_feature(enable = $features)]
            unsafe fn dots(p: &Panel<$t>) {
                // SAFETY: as for the caller.
                unsafe { super::dots::<$v>(p) }
            }
            pub const ENGINE: Engine<$t> = Engine { rows: $rows, cols: 2 * $lanes, panel, wide: WIDE * $lanes, row, dots };
        }
    };
}
#[cfg(target_arch = "x86_64")]
vectors!(f32, __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, f32_512, 8, "avx512f");
#[cfg(target_arch = "x86_64")]
vectors!(f64, __m512d, 8, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd, f64_512, 8, "avx512f");
#[cfg(target_arch = "x86_64")]
vectors!(f32, __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, f32_256, 6, "avx2,fma");
#[cfg(target_arch = "x86_64")]
vectors!(f64, __m256d, 4, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd, f64_256, 6, "avx2,fma");

/// The engine of plain vectors, which need no special instructions.
const fn plain<V: Vector>() -> Engine<V::T> {
    Engine { rows: 4, cols: 2 * V::LANES, panel: panel::<V, 4>, wide: WIDE * V::LANES, row: row::<V>, dots: dots::<V> }
}

impl Product for f32 {
    fn engine() -> Engine<f32> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return f32_512::ENGINE;
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return f32_256::ENGINE;
        }
        plain::<Plain<f32, 4>>()
    }
}

impl Product for f64 {
    fn engine() -> Engine<f64> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return f64_512::ENGINE;
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return f64_256::ENGINE;
        }
        plain::<Plain<f64, 2>>()
    }
}

impl Product for i64 {
    fn engine() -> Engine<i64> {
        plain::<Plain<i64, 2>>()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Every engine that this machine can run.
    pub trait All: Product {
        fn engines() -> Vec<Engine<Self>>;
    }
    impl All for f32 {
        fn engines() -> Vec<Engine<f32>> {
            let mut all = vec![f32::engine(), plain::<Plain<f32, 4>>()];
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(f32_256::ENGINE);
            }
            all
        }
    }
    impl All for f64 {
        fn engines() -> Vec<Engine<f64>> {
            let mut all = vec![f64::engine(), plain::<Plain<f64, 2>>()];
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(f64_256::ENGINE);
            }
            all
        }
    }
    impl All for i64 {
        fn engines() -> Vec<Engine<i64>> {
            vec![i64::engine()]
        }
    }
}
