//! How are elements folded into one, with the same bits on any number of threads?
//!
//! What is folded is cut by shape alone. Inside a block the elements of a row go round-robin into lanes that are combined by
//! a fixed tree; blocks, and then chunks, are combined in order, sums of singles in double.

use super::{
    isa::{Isa, for_each_isa},
    maths::Real,
};
use crate::{DType, Fold};
use std::{cmp::Ordering, hint::black_box, marker::PhantomData, mem::MaybeUninit, slice};

/// What is known of a fold so far.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct State {
    /// The value: a double or an integer for sums and products, else an element.
    bits: u64,
    /// Its position, for the folds that want one; −1 before the first element.
    index: i64,
}

/// `(src, n, position, state)`: folds `n` elements, of which the first has that position.
type RowFn = unsafe fn(src: *const u8, n: usize, position: i64, state: *mut State);
/// `(src, rows, length, out)`: folds each of `rows` short rows on its own and writes the results.
type RowsFn = unsafe fn(src: *const u8, rows: usize, length: usize, out: *mut u8);
/// `(src, n, columns, position, into)`: folds element `j` into accumulator `j`; rows of `columns` elements follow one another,
/// the first has that position.
type ColumnFn = unsafe fn(src: *const u8, n: usize, columns: usize, position: i64, into: Accumulators);
/// `(from, n)`: moves what the narrow accumulators hold into the wide ones.
type FlushFn = unsafe fn(from: Accumulators, n: usize);
/// `(from, n, columns, states)`: of accumulators that hold rows of `columns` side by side, one state for each column.
type CollectFn = unsafe fn(from: Accumulators, n: usize, columns: usize, states: *mut State);

/// Memory for the accumulators of a block of columns: 8 bytes for each column in each.
#[derive(Clone, Copy)]
pub struct Accumulators {
    /// Of the element's type.
    pub narrow: *mut u8,
    /// Of the wider type.
    pub wide: *mut u8,
    /// Positions.
    pub index: *mut i64,
}

/// The loops of one fold of one dtype.
#[derive(Clone, Copy)]
pub struct FoldLoops {
    /// Before the first element.
    pub start: State,
    /// Long rows, a block at a time.
    pub row: RowFn,
    /// Short rows, many at a time.
    pub rows: RowsFn,
    /// Prepares accumulators.
    pub reset: unsafe fn(Accumulators, n: usize),
    /// Columns: one accumulator for each.
    pub column: ColumnFn,
    /// To be called after at most [`FLUSH`] calls of `column`, and before `collect`.
    pub flush: FlushFn,
    /// Ends a block of columns.
    pub collect: CollectFn,
    /// Adds a later part to an earlier one.
    pub merge: fn(&mut State, State),
    /// Writes `n` results.
    pub finish: unsafe fn(*const State, n: usize, out: *mut u8),
}

/// So many elements are added in the element's own precision before they move on to a wider sum.
pub const FLUSH: usize = 16;
/// Independent accumulators of a row.
const LANES: usize = 32;

/// The loops of a fold.
///
/// # Panics
/// When the dtype has no such fold (sums and products of truth values).
pub fn loops(isa: Isa, fold: Fold, of: DType) -> FoldLoops {
    use Fold::*;
    match (fold, of) {
        (Sum, DType::F32) => build::<Total<Plus<f32>>>(isa),
        (Sum, DType::F64) => build::<Total<Plus<f64>>>(isa),
        (Sum, DType::I64) => build::<Total<Plus<i64>>>(isa),
        (Prod, DType::F32) => build::<Total<Times<f32>>>(isa),
        (Prod, DType::F64) => build::<Total<Times<f64>>>(isa),
        (Prod, DType::I64) => build::<Total<Times<i64>>>(isa),
        (Max, DType::F32) => build::<Total<Largest<f32>>>(isa),
        (Max, DType::F64) => build::<Total<Largest<f64>>>(isa),
        (Max, DType::I64) => build::<Total<Largest<i64>>>(isa),
        (Max, DType::Bool) => build::<Total<Largest<u8>>>(isa),
        (Min, DType::F32) => build::<Total<Smallest<f32>>>(isa),
        (Min, DType::F64) => build::<Total<Smallest<f64>>>(isa),
        (Min, DType::I64) => build::<Total<Smallest<i64>>>(isa),
        (Min, DType::Bool) => build::<Total<Smallest<u8>>>(isa),
        (ArgMax, DType::F32) => build::<Place<f32, true>>(isa),
        (ArgMax, DType::F64) => build::<Place<f64, true>>(isa),
        (ArgMax, DType::I64) => build::<Place<i64, true>>(isa),
        (ArgMax, DType::Bool) => build::<Place<u8, true>>(isa),
        (ArgMin, DType::F32) => build::<Place<f32, false>>(isa),
        (ArgMin, DType::F64) => build::<Place<f64, false>>(isa),
        (ArgMin, DType::I64) => build::<Place<i64, false>>(isa),
        (ArgMin, DType::Bool) => build::<Place<u8, false>>(isa),
        (Sum | Prod, DType::Bool) => panic!("{fold:?} of bool: there is no such fold; cast to a number first"),
    }
}

fn build<L: FoldLoop>(isa: Isa) -> FoldLoops {
    FoldLoops {
        start: L::start(),
        row: row::<L>(isa),
        rows: rows::<L>(isa),
        reset: L::reset,
        column: column::<L>(isa),
        flush: flush::<L>(isa),
        collect: L::collect,
        merge: L::merge,
        finish: L::finish_all,
    }
}

/// The loops of a fold, written once.
///
/// # Safety
/// Of the loops: sources must hold `n` (or `rows * length`) elements, accumulators and states as many; all aligned, and
/// none of them overlapping.
trait FoldLoop {
    fn start() -> State;
    fn merge(state: &mut State, later: State);
    unsafe fn finish(state: State, out: *mut u8, at: usize);
    unsafe fn row<const FMA: bool>(src: *const u8, n: usize, position: i64, state: *mut State);
    unsafe fn rows<const FMA: bool>(src: *const u8, rows: usize, length: usize, out: *mut u8);
    unsafe fn reset(acc: Accumulators, n: usize);
    unsafe fn column<const FMA: bool>(src: *const u8, n: usize, columns: usize, position: i64, into: Accumulators);
    unsafe fn flush<const FMA: bool>(from: Accumulators, n: usize);
    /// What accumulator `j` holds.
    unsafe fn held(acc: Accumulators, j: usize) -> State;

    unsafe fn collect(acc: Accumulators, n: usize, columns: usize, states: *mut State) {
        for j in 0..columns.min(n) {
            // SAFETY: `j` and `k` are below `n`, and there is room for a state of each column.
            unsafe {
                let mut state = Self::held(acc, j);
                for k in (j + columns..n).step_by(columns) {
                    Self::merge(&mut state, Self::held(acc, k));
                }
                states.add(j).write(state);
            }
        }
    }
    unsafe fn finish_all(states: *const State, n: usize, out: *mut u8) {
        for j in 0..n {
            // SAFETY: the caller gives `n` states and room for `n` results.
            unsafe { Self::finish(*states.add(j), out, j) };
        }
    }
}

for_each_isa! {
    /// Long rows for one instruction set.
    fn row<L: FoldLoop>(src: *const u8, n: usize, position: i64, state: *mut State) as RowFn => row
}
for_each_isa! {
    /// Short rows for one instruction set.
    fn rows<L: FoldLoop>(src: *const u8, rows: usize, length: usize, out: *mut u8) as RowsFn => rows
}
for_each_isa! {
    /// Columns for one instruction set.
    fn column<L: FoldLoop>(src: *const u8, n: usize, columns: usize, position: i64, into: Accumulators) as ColumnFn => column
}
for_each_isa! {
    /// Flushing for one instruction set.
    fn flush<L: FoldLoop>(from: Accumulators, n: usize) as FlushFn => flush
}

/// An element that can be kept in a state's 64 bits.
trait Bits: Copy + PartialOrd {
    fn to_bits64(self) -> u64;
    fn from_bits64(bits: u64) -> Self;
    /// NaN.
    fn is_none(self) -> bool;
}

/// An associative combination with a neutral element, and a wider type in which parts are combined.
trait Combine {
    type T: Bits;
    type Wide: Bits;
    fn neutral() -> Self::T;
    fn widen(x: Self::T) -> Self::Wide;
    fn narrow(x: Self::Wide) -> Self::T;
    fn combine(a: Self::T, b: Self::T) -> Self::T;
    fn combine_wide(a: Self::Wide, b: Self::Wide) -> Self::Wide;
}

struct Plus<T>(PhantomData<T>);
struct Times<T>(PhantomData<T>);
struct Largest<T>(PhantomData<T>);
struct Smallest<T>(PhantomData<T>);

/// One line for each way to combine: type, wide type, neutral element, combination, the same on wide values.
macro_rules! combinations {
    ($($name:ident<$t:ty, $wide:ty>: $neutral:expr, |$a:ident, $b:ident| $narrow:expr, $wider:expr;)*) => {$(
        impl Combine for $name<$t> {
            type T = $t;
            type Wide = $wide;
            #[inline(always)]
            fn neutral() -> $t { $neutral }
            #[inline(always)]
            fn widen(x: $t) -> $wide { x as $wide }
            #[inline(always)]
            fn narrow(x: $wide) -> $t { x as $t }
            #[inline(always)]
            fn combine($a: $t, $b: $t) -> $t { $narrow }
            #[inline(always)]
            fn combine_wide($a: $wide, $b: $wide) -> $wide { $wider }
        }
    )*};
}
combinations! {
    Plus<f32, f64>: 0.0, |a, b| a + b, a + b;
    Plus<f64, f64>: 0.0, |a, b| a + b, a + b;
    Plus<i64, i64>: 0, |a, b| a.wrapping_add(b), a.wrapping_add(b);
    Times<f32, f64>: 1.0, |a, b| a * b, a * b;
    Times<f64, f64>: 1.0, |a, b| a * b, a * b;
    Times<i64, i64>: 1, |a, b| a.wrapping_mul(b), a.wrapping_mul(b);
    Largest<f32, f32>: f32::NEG_INFINITY, |a, b| a.larger(b), a.larger(b);
    Largest<f64, f64>: f64::NEG_INFINITY, |a, b| a.larger(b), a.larger(b);
    Largest<i64, i64>: i64::MIN, |a, b| a.max(b), a.max(b);
    Largest<u8, u8>: 0, |a, b| a | b, a | b;
    Smallest<f32, f32>: f32::INFINITY, |a, b| a.smaller(b), a.smaller(b);
    Smallest<f64, f64>: f64::INFINITY, |a, b| a.smaller(b), a.smaller(b);
    Smallest<i64, i64>: i64::MAX, |a, b| a.min(b), a.min(b);
    Smallest<u8, u8>: 1, |a, b| a & b, a & b;
}

/// Declares [`Bits`].
macro_rules! bits {
    ($($t:ty: $x:ident => $to:expr, $bits:ident => $from:expr, $none:expr;)*) => {$(
        impl Bits for $t {
            #[inline(always)]
            fn to_bits64(self) -> u64 { let $x = self; $to }
            #[inline(always)]
            fn from_bits64($bits: u64) -> $t { $from }
            #[inline(always)]
            fn is_none(self) -> bool { let $x = self; $none }
        }
    )*};
}
bits! {
    f32: x => u64::from(x.to_bits()), b => f32::from_bits(b as u32), x.is_nan();
    f64: x => x.to_bits(), b => f64::from_bits(b), x.is_nan();
    i64: x => x as u64, b => b as i64, { _ = x; false };
    u8: x => u64::from(x), b => b as u8, { _ = x; false };
}

/// Elements of a row combined: round-robin into lanes, these by a fixed tree.
#[inline(always)]
fn combine_row<C: Combine>(x: &[C::T]) -> C::T {
    if x.len() < LANES {
        return x.iter().fold(C::neutral(), |a, &b| C::combine(a, b));
    }
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = chunks[0];
    for chunk in &chunks[1..] {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = C::combine(*lane, v);
        }
    }
    // Stored side by side, so that the loop above is compiled to the widest vectors, whatever becomes of the lanes.
    let mut lanes = black_box(lanes);
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = C::combine(*lane, v);
    }
    let [all] = halve::<C, 2, 1>(halve::<C, 4, 2>(halve::<C, 8, 4>(halve::<C, 16, 8>(halve::<C, LANES, 16>(lanes)))));
    all
}

/// Each element of the first half combined with its partner in the second. The lengths are constants, so that all stays in registers.
#[inline(always)]
fn halve<C: Combine, const N: usize, const HALF: usize>(x: [C::T; N]) -> [C::T; HALF] {
    std::array::from_fn(|j| C::combine(x[j], x[j + HALF]))
}

/// Sum, product, largest, smallest.
struct Total<C>(PhantomData<C>);

impl<C: Combine> FoldLoop for Total<C> {
    fn start() -> State {
        State { bits: C::widen(C::neutral()).to_bits64(), index: -1 }
    }
    #[inline(always)]
    fn merge(state: &mut State, later: State) {
        state.bits = C::combine_wide(C::Wide::from_bits64(state.bits), C::Wide::from_bits64(later.bits)).to_bits64();
    }
    #[inline(always)]
    unsafe fn finish(state: State, out: *mut u8, at: usize) {
        // SAFETY: the caller gives room for it.
        unsafe { out.cast::<C::T>().add(at).write(C::narrow(C::Wide::from_bits64(state.bits))) }
    }
    #[inline(always)]
    unsafe fn row<const FMA: bool>(src: *const u8, n: usize, _position: i64, state: *mut State) {
        // SAFETY: as the trait says.
        let (x, state) = unsafe { (slice::from_raw_parts(src.cast::<C::T>(), n), &mut *state) };
        Self::merge(state, State { bits: C::widen(combine_row::<C>(x)).to_bits64(), index: -1 });
    }
    #[inline(always)]
    unsafe fn rows<const FMA: bool>(src: *const u8, rows: usize, length: usize, out: *mut u8) {
        // SAFETY: as the trait says.
        let x = unsafe { slice::from_raw_parts(src.cast::<C::T>(), rows * length) };
        for (i, row) in x.chunks_exact(length).enumerate() {
            // SAFETY: there is room for one result of each row.
            unsafe { out.cast::<C::T>().add(i).write(combine_row::<C>(row)) };
        }
    }
    unsafe fn reset(acc: Accumulators, n: usize) {
        // SAFETY: the caller gives `n` accumulators.
        unsafe {
            slice::from_raw_parts_mut(acc.narrow.cast::<MaybeUninit<C::T>>(), n).fill(MaybeUninit::new(C::neutral()));
            slice::from_raw_parts_mut(acc.wide.cast::<MaybeUninit<C::Wide>>(), n).fill(MaybeUninit::new(C::widen(C::neutral())));
        }
    }
    unsafe fn collect(acc: Accumulators, n: usize, columns: usize, states: *mut State) {
        // SAFETY: the caller gives `n` accumulators.
        let wide = unsafe { slice::from_raw_parts_mut(acc.wide.cast::<C::Wide>(), n) };
        let (first, rows) = wide.split_at_mut(columns.min(n));
        for row in rows.chunks(columns.max(1)) {
            for (sum, &v) in first.iter_mut().zip(row) {
                *sum = C::combine_wide(*sum, v);
            }
        }
        for (j, sum) in first.iter().enumerate() {
            // SAFETY: there is room for a state of each column.
            unsafe { states.add(j).write(State { bits: sum.to_bits64(), index: -1 }) };
        }
    }
    #[inline(always)]
    unsafe fn column<const FMA: bool>(src: *const u8, n: usize, _columns: usize, _position: i64, into: Accumulators) {
        // SAFETY: as the trait says.
        let (x, sums) = unsafe { (slice::from_raw_parts(src.cast::<C::T>(), n), slice::from_raw_parts_mut(into.narrow.cast::<C::T>(), n)) };
        combine_each::<C>(sums, x);
    }
    #[inline(always)]
    unsafe fn flush<const FMA: bool>(from: Accumulators, n: usize) {
        // SAFETY: as the trait says.
        let (sums, wide) = unsafe {
            (slice::from_raw_parts_mut(from.narrow.cast::<C::T>(), n), slice::from_raw_parts_mut(from.wide.cast::<C::Wide>(), n))
        };
        flush_each::<C>(sums, wide);
    }
    #[inline(always)]
    unsafe fn held(acc: Accumulators, j: usize) -> State {
        // SAFETY: the caller has that many.
        State { bits: unsafe { *acc.wide.cast::<C::Wide>().add(j) }.to_bits64(), index: -1 }
    }
}

/// With references, which tell the compiler that nothing overlaps.
#[inline(always)]
fn combine_each<C: Combine>(sums: &mut [C::T], x: &[C::T]) {
    for (sum, &v) in sums.iter_mut().zip(x) {
        *sum = C::combine(*sum, v);
    }
}

#[inline(always)]
fn flush_each<C: Combine>(sums: &mut [C::T], wide: &mut [C::Wide]) {
    for (sum, wide) in sums.iter_mut().zip(wide) {
        *wide = C::combine_wide(*wide, C::widen(*sum));
        *sum = C::neutral();
    }
}

/// Position of the first largest (or smallest); NaN beats all.
struct Place<T, const LARGEST: bool>(PhantomData<T>);

impl<T: Bits, const LARGEST: bool> Place<T, LARGEST> {
    /// Whether `a`, found later, takes the place of `b`.
    #[inline(always)]
    fn beats(a: T, b: T) -> bool {
        let better = if LARGEST { a > b } else { a < b };
        (better | a.is_none()) & !b.is_none()
    }
    /// The best value of a row, its position left open: branch-free, so that it runs in vectors.
    #[inline(always)]
    fn best(x: &[T]) -> T {
        let better = |a: T, b: T| if Self::beats(b, a) { b } else { a };
        let (chunks, rest) = x.as_chunks::<LANES>();
        let Some((first, chunks)) = chunks.split_first() else {
            return rest[1..].iter().fold(rest[0], |a, &b| better(a, b));
        };
        let mut lanes = *first;
        for chunk in chunks {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                *lane = better(*lane, v);
            }
        }
        rest.iter().chain(&lanes[1..]).fold(lanes[0], |a, &b| better(a, b))
    }
}

impl<T: Bits, const LARGEST: bool> FoldLoop for Place<T, LARGEST> {
    fn start() -> State {
        State { bits: 0, index: -1 }
    }
    fn merge(state: &mut State, later: State) {
        let (value, old) = (T::from_bits64(later.bits), T::from_bits64(state.bits));
        // Columns meet out of order: of equals the lower position wins.
        let tie = later.index < state.index && !Self::beats(old, value) && !Self::beats(value, old);
        if later.index >= 0 && (state.index < 0 || Self::beats(value, old) || tie) {
            *state = later;
        }
    }
    #[inline(always)]
    unsafe fn finish(state: State, out: *mut u8, at: usize) {
        // SAFETY: the caller gives room for it. 0 stands for "none" when there was nothing to choose from.
        unsafe { out.cast::<i64>().add(at).write(state.index.max(0)) }
    }
    #[inline(always)]
    unsafe fn row<const FMA: bool>(src: *const u8, n: usize, position: i64, state: *mut State) {
        // SAFETY: as the trait says.
        let (x, state) = unsafe { (slice::from_raw_parts(src.cast::<T>(), n), &mut *state) };
        if x.is_empty() {
            return;
        }
        let best = Self::best(x);
        if state.index < 0 || Self::beats(best, T::from_bits64(state.bits)) {
            let same = |v: &T| v.partial_cmp(&best) == Some(Ordering::Equal) || (v.is_none() && best.is_none());
            let at = x.iter().position(same).expect("the best element is one of them");
            *state = State { bits: best.to_bits64(), index: position + at as i64 };
        }
    }
    #[inline(always)]
    unsafe fn rows<const FMA: bool>(src: *const u8, rows: usize, length: usize, out: *mut u8) {
        for i in 0..rows {
            let mut state = Self::start();
            // SAFETY: as the trait says; row `i` begins `i * length` elements on, result `i` is the `i`-th position.
            unsafe {
                Self::row::<FMA>(src.add(i * length * size_of::<T>()), length, 0, &mut state);
                Self::finish(state, out, i);
            }
        }
    }
    unsafe fn reset(acc: Accumulators, n: usize) {
        for j in 0..n {
            // SAFETY: the caller gives `n` accumulators.
            unsafe {
                acc.wide.cast::<T>().add(j).write(T::from_bits64(0));
                acc.index.add(j).write(-1);
            }
        }
    }
    #[inline(always)]
    unsafe fn column<const FMA: bool>(src: *const u8, n: usize, columns: usize, position: i64, into: Accumulators) {
        // SAFETY: as the trait says.
        let (x, best, index) = unsafe {
            (
                slice::from_raw_parts(src.cast::<T>(), n),
                slice::from_raw_parts_mut(into.wide.cast::<T>(), n),
                slice::from_raw_parts_mut(into.index, n),
            )
        };
        let rows = x.chunks(columns).zip(best.chunks_mut(columns)).zip(index.chunks_mut(columns));
        for (row, ((x, best), index)) in rows.enumerate() {
            Self::offer_each(x, position + row as i64, best, index);
        }
    }
    #[inline(always)]
    unsafe fn flush<const FMA: bool>(_from: Accumulators, _n: usize) {}
    #[inline(always)]
    unsafe fn held(acc: Accumulators, j: usize) -> State {
        // SAFETY: the caller has that many.
        unsafe { State { bits: (*acc.wide.cast::<T>().add(j)).to_bits64(), index: *acc.index.add(j) } }
    }
}

impl<T: Bits, const LARGEST: bool> Place<T, LARGEST> {
    /// Each element to its own accumulator, branch-free.
    #[inline(always)]
    fn offer_each(x: &[T], position: i64, best: &mut [T], index: &mut [i64]) {
        for ((&v, best), index) in x.iter().zip(best).zip(index) {
            let takes = (*index < 0) | Self::beats(v, *best);
            *best = if takes { v } else { *best };
            *index = if takes { position } else { *index };
        }
    }
}
