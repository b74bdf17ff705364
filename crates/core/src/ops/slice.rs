//! Equally spaced elements along each axis: the transpose of `place`.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed, def::linear_jvp};
use crate::{Array, DType, KernelClass, Tensor, View};
use smallvec::{SmallVec, smallvec};

/// Attributes: `start, step` for every axis, then the lengths of the output.
pub static OP: OpDef = OpDef {
    name: "slice",
    shape,
    kernel: KernelClass::View(View::Slice),
    value: |s, x| {
        let along = Stretch::list(s.attrs, s.shape);
        Dense::from_fn(s.shape, |i| x[0].at(&Stretch::positions(&along, i)))
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| {
        let (attrs, to) = (cx.attrs(), cx.x(0).shape());
        smallvec![g[0].map(|g| g.broadcast_to(cx.y().shape()).placed(&attrs[..2 * to.rank()], &to))]
    }),
    batch: Batch::By(|b| {
        let mut attrs: SmallVec<[i64; 16]> = smallvec![0, 1];
        attrs.extend_from_slice(&b.attrs[..2 * b.shape.rank()]);
        attrs.push(b.size as i64);
        attrs.extend(b.shape.iter().map(|&d| d as i64));
        b.x[0].tape.op(&OP, &[b.x[0]], &attrs)
    }),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 31);
        vec![
            Sample::new([u(&[5])]).attrs([4, -2, 3]),
            Sample::new([u(&[4, 3])]).attrs([1, 2, 2, -1, 2, 3]),
            Sample::new([u(&[3, 2, 4])]).attrs([1, 1, 1, 1, 3, -2, 2, 1, 2]),
            Sample::new([u(&[3, 2])]).attrs([2, 1, 0, 1, 0, 2]),
            Sample::new([u(&[0, 3])]).attrs([0, 1, 2, -1, 0, 3]),
            Sample::new([u(&[])]),
        ]
    },
};

/// Equally spaced positions along an axis: `start, start + step, …`, so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub start: i64,
    pub step: i64,
    pub len: usize,
}

impl Stretch {
    /// All of an axis.
    pub fn whole(len: usize) -> Stretch {
        Stretch { start: 0, step: 1, len }
    }

    /// A part of an axis without gaps.
    pub fn part(start: usize, len: usize) -> Stretch {
        Stretch { start: start as i64, step: 1, len }
    }

    /// From `start, step` for each axis, and lengths.
    pub fn list(pairs: &[i64], dims: &[usize]) -> SmallVec<[Stretch; 8]> {
        pairs.chunks_exact(2).zip(dims).map(|(p, &len)| Stretch { start: p[0], step: p[1], len }).collect()
    }

    /// Where the element at `index` lies.
    pub fn positions(along: &[Stretch], index: &[usize]) -> Vec<usize> {
        along.iter().zip(index).map(|(s, &i)| (s.start + s.step * i as i64) as usize).collect()
    }

    /// Whether all positions lie within an axis of length `axis`.
    pub fn fits(self, axis: usize) -> bool {
        let inside = |at: i64| (0..axis as i64).contains(&at);
        let last = || self.step.checked_mul(i64::try_from(self.len).ok()? - 1)?.checked_add(self.start);
        self.step != 0 && (self.len == 0 || inside(self.start) && last().is_some_and(inside))
    }
}

fn shape(attrs: &[i64], x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let rank = x[0].shape.rank();
    if attrs.len() != 3 * rank {
        return Err(Mismatch::new(format!("a start, a step and a length for each axis, not {attrs:?}")));
    }
    let dims: SmallVec<[usize; 8]> = attrs[2 * rank..].iter().map(|&d| d as usize).collect();
    let along = Stretch::list(attrs, &dims);
    if !along.iter().zip(x[0].shape.iter()).all(|(s, &d)| s.fits(d)) {
        return Err(Mismatch::new(format!("starts, steps and lengths {attrs:?} that stay within the operand")));
    }
    Typed::new(x[0].dtype, &dims)
}

impl<'t> Tensor<'t> {
    /// The elements at these positions, one stretch for each axis.
    #[track_caller]
    pub(crate) fn strided(self, along: &[Stretch]) -> Tensor<'t> {
        if along.iter().zip(self.shape().iter()).all(|(&s, &d)| s == Stretch::whole(d)) {
            return self;
        }
        let pairs = along.iter().flat_map(|s| [s.start, s.step]);
        let attrs: SmallVec<[i64; 16]> = pairs.chain(along.iter().map(|s| s.len as i64)).collect();
        self.tape.op(&OP, &[self.recorded()], &attrs)
    }

    /// As [`strided`](Self::strided) along one axis, all of the others.
    #[track_caller]
    pub(crate) fn strided_along(self, axis: usize, stretch: Stretch) -> Tensor<'t> {
        let mut along: SmallVec<[Stretch; 8]> = self.shape().iter().map(|&d| Stretch::whole(d)).collect();
        along[axis] = stretch;
        self.strided(&along)
    }

    /// `len` elements from `start` on along an axis. Copies nothing. [`at`](Self::at) is the general form.
    ///
    /// # Panics
    /// When there is no such axis, or it is shorter than `start + len`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0, 4.0]));
    /// assert_eq!(x.narrow(0, 1, 2).value(), Array::from([2.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn narrow(self, axis: isize, start: usize, len: usize) -> Tensor<'t> {
        let axis = self.axis("narrow", axis);
        let length = self.shape()[axis];
        if start.checked_add(len).is_none_or(|end| end > length) {
            panic!("narrow: expected a part of axis {axis} of length {length}, got {len} elements from {start} on of {self:?}");
        }
        self.strided_along(axis, Stretch::part(start, len))
    }

    /// The elements in opposite order along some axes. Copies nothing.
    ///
    /// # Panics
    /// When an axis does not exist.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0]]));
    /// assert_eq!(x.flip(&[1]).value(), Array::from([[3.0, 2.0, 1.0]]));
    /// ```
    #[track_caller]
    pub fn flip(self, axes: &[isize]) -> Tensor<'t> {
        let mut along: SmallVec<[Stretch; 8]> = self.shape().iter().map(|&d| Stretch::whole(d)).collect();
        for &axis in axes {
            let s = &mut along[self.axis("flip", axis)];
            if s.len > 0 {
                *s = Stretch { start: s.len as i64 - 1, step: -1, len: s.len };
            }
        }
        self.strided(&along)
    }

    /// Consecutive parts of an axis, of the given lengths.
    ///
    /// # Panics
    /// When the lengths do not add up to that of the axis.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let parts = tape.leaf(&Array::from([1.0, 2.0, 3.0])).split(&[1, 2], 0);
    /// assert_eq!(parts[1].value(), Array::from([2.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn split(self, lengths: &[usize], axis: isize) -> Vec<Tensor<'t>> {
        let axis = self.axis("split", axis);
        let length = self.shape()[axis];
        if lengths.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(length) {
            panic!("split: expected lengths that add up to {length}, got {lengths:?} for axis {axis} of {self:?}");
        }
        let mut parts = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for &len in lengths {
            parts.push(self.strided_along(axis, Stretch::part(start, len)));
            start += len;
        }
        parts
    }

    /// At most `n` consecutive parts of an axis, of equal length but for the last, which may be shorter.
    ///
    /// # Panics
    /// When `n` is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let parts = tape.leaf(&Array::from([1.0, 2.0, 3.0])).chunk(2, 0);
    /// assert_eq!((parts[0].size(), parts[1].size()), (2, 1));
    /// ```
    #[track_caller]
    pub fn chunk(self, n: usize, axis: isize) -> Vec<Tensor<'t>> {
        if n == 0 {
            panic!("chunk: expected at least one part, got 0 for {self:?}");
        }
        let length = self.shape()[self.axis("chunk", axis)];
        let each = length.div_ceil(n).max(1);
        let lengths: Vec<usize> = (0..length).step_by(each).map(|start| each.min(length - start)).collect();
        self.split(if length == 0 { &[0] } else { &lengths }, axis)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::Tape;

    #[test]
    fn rules_agree_with_the_reference() {
        check::op(&OP);
    }

    #[test]
    fn parts_flips_and_chunks() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
        assert_eq!(x.narrow(-1, 1, 2).value(), Array::from([[2.0, 3.0], [5.0, 6.0]]));
        assert_eq!(x.flip(&[0, -1]).value(), Array::from([[6.0, 5.0, 4.0], [3.0, 2.0, 1.0]]));
        let lengths = |n: usize| tape.arange(DType::F64, 7).chunk(n, 0).iter().map(|p| p.size()).collect::<Vec<_>>();
        assert_eq!((lengths(3), lengths(4), lengths(9)), (vec![3, 3, 1], vec![2, 2, 2, 1], vec![1; 7]));
        assert_eq!(tape.zeros(DType::F64, [0, 2]).chunk(2, 0)[0].shape(), [0, 2]);
        assert_eq!(x.narrow(0, 0, 2).id, x.id, "the whole is no node of its own");
    }

    #[test]
    fn parts_outside_panic_at_the_caller() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
        let line = line!() + 1;
        let (text, at) = check::panic_of(|| x.narrow(0, 2, 2));
        assert_eq!(at, line);
        assert!(text.starts_with("narrow: expected a part of axis 0 of length 3, got 2 elements from 2 on"), "{text}");
        let (text, at) = check::panic_of(|| x.split(&[1, 1], 0));
        assert_eq!(at, line + 3);
        assert!(text.starts_with("split: expected lengths that add up to 3, got [1, 1] for axis 0"), "{text}");
        assert!(check::panic_of(|| x.narrow(0, usize::MAX, 2)).0.starts_with("narrow"));
        for attrs in [[0, 1, 4], [0, 0, 1], [3, 1, 1], [0, -1, 2], [i64::MAX, i64::MAX, i64::MAX], [0, 1, -1], [0, 1, i64::MIN]] {
            let (text, _) = check::panic_of(|| x.op(&OP, [], &attrs));
            assert!(text.starts_with("slice: expected"), "{text}");
        }
    }
}
