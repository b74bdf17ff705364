//! Elements picked along an axis, each by an index of its own: the transpose of `scatter_add`.

use super::{Batch, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed, def::linear_jvp, slice::Stretch};
use crate::{Array, DType, Index, KernelClass, Shape, Tensor};
use smallvec::{SmallVec, smallvec};

/// `y[..i..] = x[..index[..i..]..]`. Attributes: the axis.
pub static OP: OpDef = OpDef {
    name: "gather",
    shape: |attrs, x: &[Meta<'_>]| {
        let axis = axis_of(attrs, x)?;
        if !equal_but_along(axis, x[0].shape, x[1].shape) {
            return Err(Mismatch::new(format!("an index as long as the operand but along axis {axis}")));
        }
        Ok(Typed { dtype: x[0].dtype, shape: OutShape::Like(1) })
    },
    kernel: KernelClass::Index(Index::Gather),
    value: |s, x| {
        let axis = s.attrs[0] as usize;
        Dense::from_fn(s.shape, |i| {
            let mut from = i.to_vec();
            from[axis] = position(&x[1], i, axis, x[0].dims[axis]);
            x[0].at(&from)
        })
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| {
        let axis = cx.attrs()[0] as isize;
        smallvec![g[0].map(|g| cx.x(0).zeros_like().scatter_add(axis, cx.x(1), g)), None]
    }),
    batch: Batch::By(|b| b.x[0].tape.op(&OP, &[b.with_axis(0), b.with_axis(1)], &[b.attrs[0] + 1])),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 33);
        vec![
            Sample::new([u(&[4]), Array::from([3i64, 0, 3, 1, 2])]).attrs([0]),
            Sample::new([u(&[2, 3]), Array::from([[2i64, 0], [1, 1]])]).attrs([1]),
            Sample::new([u(&[2, 3]), Array::from([[1i64, 0, 0]])]).attrs([0]),
            Sample::new([u(&[2, 3, 2]), Array::from([[[2i64, 1]], [[0, 2]]])]).attrs([1]),
            Sample::new([u(&[3]), Array::zeros(DType::I64, [0])]).attrs([0]),
            Sample::new([u(&[2, 0]), Array::zeros(DType::I64, [5, 0])]).attrs([0]),
        ]
    },
};

/// The axis that the attributes name, once operand 1 is an index.
pub(super) fn axis_of(attrs: &[i64], x: &[Meta<'_>]) -> Result<usize, Mismatch> {
    if x[1].dtype != DType::I64 {
        return Err(Mismatch::new("an i64 index").hint("index.cast(DType::I64)"));
    }
    match attrs {
        [axis] if *axis >= 0 && (*axis as usize) < x[0].shape.rank() => Ok(*axis as usize),
        _ => Err(Mismatch::new(format!("an axis of the operand, not {attrs:?}"))),
    }
}

/// Whether two shapes differ along one axis at most.
pub(super) fn equal_but_along(axis: usize, a: &Shape, b: &Shape) -> bool {
    a.rank() == b.rank() && a.iter().zip(b.iter()).enumerate().all(|(i, (a, b))| i == axis || a == b)
}

/// The index at a place, as a position along an axis of length `len`.
pub(super) fn position(index: &Dense, place: &[usize], axis: usize, len: usize) -> usize {
    let at = index.at(place);
    if !(0.0..len as f64).contains(&at) {
        panic!("index {at} at {place:?} is out of range for axis {axis} of length {len}");
    }
    at as usize
}

impl<'t> Tensor<'t> {
    /// Elements picked along an axis: for two axes and axis 1, `y[i, j] = x[i, index[i, j]]`. The result has the shape of `index`,
    /// which is `i64`, and along the other axes no longer than this (a longer tensor is cut).
    ///
    /// Each cotangent is added where its element came from. An index that is negative or too large fails when the value is read.
    ///
    /// # Panics
    /// When shapes do not fit or the index is not `i64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// let index = tape.constant(&Array::from([[1i64], [0]]));
    /// assert_eq!(x.gather(1, index).value(), Array::from([[2.0], [3.0]]));
    /// ```
    #[track_caller]
    pub fn gather(self, axis: isize, index: Tensor<'t>) -> Tensor<'t> {
        let axis = self.axis("gather", axis);
        let (from, to) = (self.shape(), index.shape());
        let mut x = self.recorded();
        if to.rank() == from.rank() && to != from {
            let keep = |(a, (&d, &n)): (usize, (&usize, &usize))| Stretch::whole(if a == axis { d } else { n.min(d) });
            let along: SmallVec<[Stretch; 8]> = from.iter().zip(to.iter()).enumerate().map(keep).collect();
            x = x.strided(&along);
        }
        self.tape.op(&OP, &[x, index.recorded()], &[axis as i64])
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
    fn picks_along_an_axis() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
        let index = tape.constant(&Array::from([[2i64, 2, 0], [0, 1, 2]]));
        assert_eq!(x.gather(-1, index).value(), Array::from([[3.0, 3.0, 1.0], [4.0, 5.0, 6.0]]));
        let short = tape.constant(&Array::from([[2i64]]));
        assert_eq!(x.gather(1, short).value(), Array::from([[3.0]]));
        let [g] = x.gather(1, index).sum().grad([x]);
        assert_eq!(g.value(), Array::from([[1.0, 0.0, 2.0], [1.0, 1.0, 1.0]]));
    }

    #[test]
    fn what_does_not_fit_panics_at_the_caller() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::full([2, 3], 1.0));
        let (text, line) = check::panic_of(|| x.gather(1, x));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("gather: expected an i64 index, got f64[2, 3] and f64[2, 3]"), "{text}");
        assert!(text.contains("hint: index.cast(DType::I64)"), "{text}");
        let long = tape.constant(&Array::zeros(DType::I64, [3, 1]));
        assert!(check::panic_of(|| x.gather(1, long)).0.contains("as long as the operand but along axis 1"));
        assert!(check::panic_of(|| x.gather(2, long)).0.starts_with("gather: expected an axis within 2 axes, got axis 2"));
    }

    #[test]
    fn an_index_out_of_range_fails_when_read() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::full([2, 3], 1.0));
        for bad in [-1, 3, i64::MAX] {
            let index = tape.constant(&Array::from([[0, 0, 0], [0, bad, 0]]));
            let y = x.gather(1, index);
            let (text, _) = check::panic_of(|| y.value());
            assert!(text.contains("at [1, 1] is out of range for axis 1 of length 3"), "{text}");
        }
    }
}
