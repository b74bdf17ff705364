//! Whole slices added along an axis at a list of indices: the transpose of `index_select`.

use super::{
    Batch, BatchCx, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed,
    gather::{axis_of, equal_but_along, position},
    index_select::spread,
    scatter_add::add,
};
use crate::{Array, DType, Index, KernelClass, Tensor};
use smallvec::smallvec;

/// A copy of `x` with `y[.., index[i], ..] += src[.., i, ..]`; operands `x, index, src`. Attributes: the axis.
pub static OP: OpDef = OpDef {
    name: "index_add",
    shape: |attrs, x: &[Meta<'_>]| {
        let axis = axis_of(attrs, x)?;
        if x[2].dtype != x[0].dtype {
            return Err(Mismatch::new("two operands of one dtype and an index").hint("src.cast(DType::F32)"));
        }
        if x[1].shape.rank() != 1 || !equal_but_along(axis, x[0].shape, x[2].shape) || x[2].shape[axis] != x[1].shape[0] {
            return Err(Mismatch::new(format!("an index of one axis, as long as axis {axis} of a source that else has the operand's shape")));
        }
        Ok(Typed { dtype: x[0].dtype, shape: OutShape::Like(0) })
    },
    kernel: KernelClass::Index(Index::SelectAdd),
    value: |s, x| {
        let axis = s.attrs[0] as usize;
        let mut y = x[0].clone();
        Dense::from_fn(&x[2].dims, |i| {
            let mut to = i.to_vec();
            to[axis] = position(&x[1], &[i[axis]], axis, x[0].dims[axis]);
            add(y.at_mut(&to), x[2].at(i), s.dtype);
            0.0
        });
        y
    },
    jvp: Rule::By(|cx, t| {
        smallvec![match (t[0], t[2]) {
            (x, Some(src)) => Some(x.unwrap_or_else(|| cx.y().zeros_like()).index_add(cx.attrs()[0] as isize, cx.x(1), src)),
            (x, None) => x,
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let picked = g[0].filter(|_| cx.needs(2)).map(|g| g.index_select(cx.attrs()[0] as isize, cx.x(1)));
        smallvec![g[0], None, picked]
    }),
    batch: Batch::By(batch),
    samples: || {
        let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, -1.0, 1.0, seed);
        vec![
            Sample::new([u(&[4], 1), Array::from([3i64, 0, 3]), u(&[3], 2)]).attrs([0]),
            Sample::new([u(&[3, 2], 3), Array::from([2i64, 2, 0, 1]), u(&[4, 2], 4)]).attrs([0]),
            Sample::new([u(&[2, 3, 2], 5), Array::from([1i64, 0]), u(&[2, 2, 2], 6)]).attrs([1]),
            Sample::new([u(&[2, 3], 7), Array::zeros(DType::I64, [0]), u(&[2, 0], 8)]).attrs([1]),
        ]
    },
};

fn batch<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let axis = b.attrs[0] as usize + 1;
    let (x, src) = (b.with_axis(0), b.with_axis(2));
    if b.batched[1] {
        x.scatter_add(axis as isize, spread(b.x[1], axis, &src.shape()), src)
    } else {
        x.index_add(axis as isize, b.x[1], src)
    }
}

impl<'t> Tensor<'t> {
    /// A copy with slices of `src` added along an axis; for axis 0, row `i` of `src` is added to row `index[i]`.
    ///
    /// Additions to one slice happen in ascending order of `i`. `index` is `i64`, of one axis. An index that is negative or too
    /// large fails when the value is read.
    ///
    /// # Panics
    /// When shapes or dtypes do not fit.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let rows = tape.constant(&Array::from([1i64, 1]));
    /// let src = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// assert_eq!(tape.zeros(DType::F64, [2, 2]).index_add(0, rows, src).value(), Array::from([[0.0, 0.0], [4.0, 6.0]]));
    /// ```
    #[track_caller]
    pub fn index_add(self, axis: isize, index: Tensor<'t>, src: Tensor<'t>) -> Tensor<'t> {
        let axis = self.axis("index_add", axis);
        self.tape.op(&OP, &[self.recorded(), index.recorded(), src.recorded()], &[axis as i64])
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
    fn what_does_not_fit_panics_at_the_caller() {
        let tape = Tape::new();
        let (x, index) = (tape.zeros(DType::F64, [2, 3]), tape.constant(&Array::from([0i64, 1])));
        let (text, line) = check::panic_of(|| x.index_add(1, index, x));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("index_add: expected an index of one axis, as long as axis 1 of a source"), "{text}");
        assert!(check::panic_of(|| x.index_add(0, index, x.cast(DType::F32))).0.contains("of one dtype"));
    }
}
