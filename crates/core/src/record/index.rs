//! What does `x.at((.., 0..3, -1))` mean? Python's indexing, written with Rust's ranges.

use super::Tensor;
use crate::{MAX_RANK, ops::slice::Stretch};
use smallvec::SmallVec;
use std::ops::{Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// What is taken along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// One position, from the end when negative; the axis is dropped.
    At(i64),
    /// Positions from `start` to `end`, each from the end when negative, cut to the axis.
    Along {
        /// The first; `None` for the end that the step leads away from.
        start: Option<i64>,
        /// The last, or the one behind it.
        end: Bound<i64>,
        /// From one to the next, backwards when negative.
        step: i64,
    },
    /// A new axis of length 1.
    NewAxis,
    /// All axes that are not named.
    Ellipsis,
}

/// A new axis of length 1, among the indices of [`Tensor::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAxis;

/// As many whole axes as the other indices of [`Tensor::at`] leave: Python's `...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ellipsis;

/// One index: an integer, a range of integers, such a range [`By`] a step, [`NewAxis`] or [`Ellipsis`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no index",
    note = "an index is an integer (i32, i64, isize, usize), a range of integers, `(a..b).by(step)`, `NewAxis` or `Ellipsis`"
)]
pub trait IntoIndex {
    /// What it takes along its axis.
    fn into_index(self) -> Pick;
}

/// One index, or a tuple of up to eight: what [`Tensor::at`] accepts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no index",
    note = "an index is an integer (i32, i64, isize, usize), a range of integers, `(a..b).by(step)`, `NewAxis`, `Ellipsis`, or a tuple of them"
)]
pub trait Indices {
    /// What is taken along each axis.
    fn into_indices(self) -> SmallVec<[Pick; 8]>;
}

/// A range with a step.
pub trait By: IntoIndex + Sized {
    /// Every `step`-th position of the range, beginning at its start; backwards for a negative step, so that `(..).by(-1)` reverses
    /// an axis and `(3..0).by(-1)` gives positions 3, 2, 1.
    ///
    /// # Panics
    /// For a step of 0.
    #[track_caller]
    fn by(self, step: isize) -> Pick {
        match self.into_index() {
            _ if step == 0 => panic!("by: expected a step other than 0"),
            Pick::Along { start, end, .. } => Pick::Along { start, end, step: step as i64 },
            other => other,
        }
    }
}

impl IntoIndex for Pick {
    fn into_index(self) -> Pick {
        self
    }
}
impl IntoIndex for NewAxis {
    fn into_index(self) -> Pick {
        Pick::NewAxis
    }
}
impl IntoIndex for Ellipsis {
    fn into_index(self) -> Pick {
        Pick::Ellipsis
    }
}
impl IntoIndex for RangeFull {
    fn into_index(self) -> Pick {
        Pick::Along { start: None, end: Bound::Unbounded, step: 1 }
    }
}
impl By for RangeFull {}

/// One line per integer type, and one per kind of range.
macro_rules! indices {
    (integers: $($t:ty),*; ranges: $ranges:tt) => {
        $(impl IntoIndex for $t {
            fn into_index(self) -> Pick { Pick::At(i64::try_from(self).unwrap_or(i64::MAX)) }
        }
        indices!(@ranges $t, $ranges);)*
    };
    (@ranges $t:ty, [$($range:ident),*]) => {
        $(impl IntoIndex for $range<$t> {
            fn into_index(self) -> Pick {
                // No axis is as long as the largest i64, so that a larger position may stand for it.
                let number = |v: &$t| i64::try_from(*v).unwrap_or(i64::MAX);
                let start = match self.start_bound() {
                    Bound::Included(v) | Bound::Excluded(v) => Some(number(v)),
                    Bound::Unbounded => None,
                };
                Pick::Along { start, end: self.end_bound().map(number), step: 1 }
            }
        }
        impl By for $range<$t> {})*
    };
}
indices! { integers: i32, i64, isize, usize; ranges: [Range, RangeInclusive, RangeFrom, RangeTo, RangeToInclusive] }

impl<I: IntoIndex> Indices for I {
    fn into_indices(self) -> SmallVec<[Pick; 8]> {
        SmallVec::from_slice(&[self.into_index()])
    }
}
impl Indices for () {
    fn into_indices(self) -> SmallVec<[Pick; 8]> {
        SmallVec::new()
    }
}

/// Tuples.
macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: IntoIndex),*> Indices for ($($name,)*) {
            fn into_indices(self) -> SmallVec<[Pick; 8]> {
                #[expect(non_snake_case, reason = "the type's name serves for its value")]
                let ($($name,)*) = self;
                SmallVec::from_slice(&[$($name.into_index()),*])
            }
        }
    };
}
tuples! { A }
tuples! { A B }
tuples! { A B C }
tuples! { A B C D }
tuples! { A B C D E }
tuples! { A B C D E F }
tuples! { A B C D E F G }
tuples! { A B C D E F G H }

/// The positions that a range takes of an axis, as Python's slices do: ends outside are moved to the nearest inside.
fn along(start: Option<i64>, end: Bound<i64>, step: i64, len: usize) -> Stretch {
    let n = len as i64;
    let forward = step > 0;
    let (low, high) = if forward { (0, n) } else { (-1, n - 1) };
    let from_end = |v: i64| if v < 0 { v + n } else { v };
    let first = start.map_or(if forward { low } else { high }, |v| from_end(v).clamp(low, high));
    let stop = match end {
        Bound::Unbounded if forward => high,
        Bound::Unbounded => low,
        Bound::Excluded(v) => from_end(v).clamp(low, high),
        Bound::Included(v) => from_end(v).saturating_add(step.signum()).clamp(low, high),
    };
    let reach = if forward { stop - first } else { first - stop };
    let count = if reach > 0 { (reach as u64).div_ceil(step.unsigned_abs()) as usize } else { 0 };
    match count {
        0 => Stretch::part(0, 0),
        // A single element has no neighbour, however long the step.
        1 => Stretch::part(first as usize, 1),
        _ => Stretch { start: first, step, len: count },
    }
}

impl<'t> Tensor<'t> {
    /// Part of the tensor, by one index for each axis in turn; axes without one are taken whole. Copies nothing.
    ///
    /// - An integer takes one position and drops the axis; negative ones count from the end.
    /// - A range takes the positions between its ends, which may be negative too; what lies outside the axis is left out, as in
    ///   Python. `..` takes the whole axis, `(a..b).by(step)` every `step`-th position, backwards if negative.
    /// - [`NewAxis`] inserts an axis of length 1; [`Ellipsis`] stands for all axes that are not named.
    ///
    /// The cotangent goes to the elements that were taken; all others receive zeros. For positions given by a tensor see
    /// [`gather`](Self::gather) and [`index_select`](Self::index_select).
    ///
    /// Clippy takes `1..-2` for an empty range, since it does not know of ends that count from the end: a crate that writes such
    /// ranges allows `clippy::reversed_empty_ranges`.
    ///
    /// # Panics
    /// When an integer lies outside its axis, when there are more indices than axes, or more than one [`Ellipsis`].
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// use wengert::{Array, By, Ellipsis, NewAxis, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    /// assert_eq!(x.at(0).value(), Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.at((.., -1)).value(), Array::from([3.0, 6.0]));
    /// assert_eq!(x.at((1, ..2)).value(), Array::from([4.0, 5.0]));
    /// assert_eq!(x.at((Ellipsis, (..).by(-2))).value(), Array::from([[3.0, 1.0], [6.0, 4.0]]));
    /// assert_eq!(x.at((NewAxis, 0)).shape(), [1, 3]);
    /// ```
    #[track_caller]
    pub fn at(self, indices: impl Indices) -> Tensor<'t> {
        let shape = self.shape();
        let mut picks = indices.into_indices();
        let named = picks.iter().filter(|p| matches!(p, Pick::At(_) | Pick::Along { .. })).count();
        if named > shape.rank() {
            panic!("at: expected at most {} indices, one for each axis, got {named} for {self:?}", shape.rank());
        }
        match picks.iter().filter(|&&p| p == Pick::Ellipsis).count() {
            0 => picks.push(Pick::Ellipsis),
            1 => {}
            n => panic!("at: expected at most one Ellipsis, got {n} for {self:?}"),
        }
        let mut taken: SmallVec<[Stretch; 8]> = SmallVec::new();
        let mut dims: SmallVec<[usize; MAX_RANK]> = SmallVec::new();
        for pick in picks {
            let axis = taken.len();
            match pick {
                Pick::At(v) => taken.push(self.position(v, axis)),
                Pick::Along { start, end, step } => {
                    let stretch = along(start, end, step, shape[axis]);
                    taken.push(stretch);
                    dims.push(stretch.len);
                }
                Pick::NewAxis => dims.push(1),
                Pick::Ellipsis => {
                    let rest = &shape[axis..axis + shape.rank() - named];
                    taken.extend(rest.iter().map(|&d| Stretch::whole(d)));
                    dims.extend_from_slice(rest);
                }
            }
        }
        self.strided(&taken).reshape(&dims[..])
    }

    /// The one position `v` of an axis.
    #[track_caller]
    fn position(self, v: i64, axis: usize) -> Stretch {
        let n = self.shape()[axis] as i64;
        if !(-n..n).contains(&v) {
            panic!("at: expected an index from -{n} to below {n} for axis {axis} of length {n}, got {v} for {self:?}");
        }
        Stretch::part(v.rem_euclid(n) as usize, 1)
    }
}

#[cfg(test)]
mod tests;
