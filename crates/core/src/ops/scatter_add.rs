//! Elements added along an axis, each at an index of its own: the transpose of `gather`.

use super::{
    Batch, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed,
    gather::{axis_of, equal_but_along, position},
};
use crate::{Array, DType, Index, KernelClass, Tensor};
use smallvec::smallvec;

/// A copy of `x` with `y[..index[..i..]..] += src[..i..]`; operands `x, index, src`. Attributes: the axis.
pub static OP: OpDef = OpDef {
    name: "scatter_add",
    shape: |attrs, x: &[Meta<'_>]| {
        let axis = axis_of(attrs, x)?;
        if x[2].dtype != x[0].dtype {
            return Err(Mismatch::new("two operands of one dtype and an index").hint("src.cast(DType::F32)"));
        }
        if x[1].shape != x[2].shape || !equal_but_along(axis, x[0].shape, x[1].shape) {
            return Err(Mismatch::new(format!("index and source of one shape, as long as the operand but along axis {axis}")));
        }
        Ok(Typed { dtype: x[0].dtype, shape: OutShape::Like(0) })
    },
    kernel: KernelClass::Index(Index::ScatterAdd),
    value: |s, x| {
        let axis = s.attrs[0] as usize;
        let mut y = x[0].clone();
        Dense::from_fn(&x[2].dims, |i| {
            let mut to = i.to_vec();
            to[axis] = position(&x[1], i, axis, x[0].dims[axis]);
            add(y.at_mut(&to), x[2].at(i), s.dtype);
            0.0
        });
        y
    },
    jvp: Rule::By(|cx, t| {
        smallvec![match (t[0], t[2]) {
            (x, Some(src)) => Some(x.unwrap_or_else(|| cx.y().zeros_like()).scatter_add(cx.attrs()[0] as isize, cx.x(1), src)),
            (x, None) => x,
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let picked = g[0].filter(|_| cx.needs(2)).map(|g| g.gather(cx.attrs()[0] as isize, cx.x(1)));
        smallvec![g[0], None, picked]
    }),
    batch: Batch::By(|b| b.x[0].tape.op(&OP, &[b.with_axis(0), b.with_axis(1), b.with_axis(2)], &[b.attrs[0] + 1])),
    samples: || {
        let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, -1.0, 1.0, seed);
        vec![
            Sample::new([u(&[4], 1), Array::from([3i64, 0, 3, 1, 2]), u(&[5], 2)]).attrs([0]),
            Sample::new([u(&[2, 3], 3), Array::from([[2i64, 0], [1, 1]]), u(&[2, 2], 4)]).attrs([1]),
            Sample::new([u(&[2, 3], 5), Array::from([[1i64, 0, 0]]), u(&[1, 3], 6)]).attrs([0]),
            Sample::new([u(&[2, 3, 2], 7), Array::from([[[2i64, 1]], [[0, 2]]]), u(&[2, 1, 2], 8)]).attrs([1]),
            Sample::new([u(&[3], 9), Array::zeros(DType::I64, [0]), u(&[0], 9)]).attrs([0]),
        ]
    },
};

/// `y += v`; of truth values, whether either holds.
pub(super) fn add(y: &mut f64, v: f64, dtype: DType) {
    *y = if dtype == DType::Bool { y.max(v) } else { *y + v };
}

impl<'t> Tensor<'t> {
    /// A copy with the elements of `src` added along an axis: for two axes and axis 1, `y[i, index[i, j]] += src[i, j]`.
    ///
    /// Additions to one element happen in row-major order of `src`, so the bits do not depend on threads. `index` is `i64`, of the
    /// shape of `src`; along the other axes both are as long as this. An index that is negative or too large fails when the value
    /// is read.
    ///
    /// # Panics
    /// When shapes or dtypes do not fit.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let index = tape.constant(&Array::from([2i64, 0, 2]));
    /// let src = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(tape.zeros(DType::F64, 3).scatter_add(0, index, src).value(), Array::from([2.0, 0.0, 4.0]));
    /// ```
    #[track_caller]
    pub fn scatter_add(self, axis: isize, index: Tensor<'t>, src: Tensor<'t>) -> Tensor<'t> {
        let axis = self.axis("scatter_add", axis);
        self.tape.op(&OP, &[self.recorded(), index.recorded(), src.recorded()], &[axis as i64])
    }

    /// For each class number a row of zeros with a 1 at that class: a new last axis of length `classes`.
    ///
    /// A number that is negative or not below `classes` fails when the value is read.
    ///
    /// # Panics
    /// When this is not `i64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let labels = tape.constant(&Array::from([1i64, 0]));
    /// assert_eq!(labels.one_hot(3, DType::F64).value(), Array::from([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]));
    /// ```
    #[track_caller]
    pub fn one_hot(self, classes: usize, dtype: DType) -> Tensor<'t> {
        if self.dtype() != DType::I64 {
            panic!("one_hot: expected i64 class numbers, got {self:?}\n  hint: x.cast(DType::I64)");
        }
        let index = self.unsqueeze(-1);
        let mut dims = self.shape().to_vec();
        dims.push(classes);
        self.tape.zeros(dtype, dims).scatter_add(-1, index, self.tape.ones(dtype, index.shape()))
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
    fn classes_out_of_range_fail_when_read() {
        let tape = Tape::new();
        let label = |v: i64| tape.constant(&Array::scalar(v));
        assert_eq!(label(2).one_hot(3, DType::Bool).value(), Array::from([false, false, true]));
        for bad in [3, -1] {
            let y = label(bad).one_hot(3, DType::F32);
            let (text, _) = check::panic_of(|| y.value());
            assert!(text.contains(&format!("index {bad} at [0] is out of range for axis 0 of length 3")), "{text}");
        }
        let (text, line) = check::panic_of(|| tape.constant(&Array::scalar(1.0)).one_hot(3, DType::F32));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("one_hot: expected i64 class numbers, got %"), "{text}");
    }

    #[test]
    fn what_does_not_fit_panics() {
        let tape = Tape::new();
        let (x, index) = (tape.zeros(DType::F64, [2, 3]), tape.constant(&Array::zeros(DType::I64, [2, 2])));
        let of = |src| check::panic_of(|| x.scatter_add(1, index, src)).0;
        assert!(of(tape.zeros(DType::F32, [2, 2])).contains("of one dtype"));
        assert!(of(tape.zeros(DType::F64, [2, 3])).contains("index and source of one shape"));
    }
}
