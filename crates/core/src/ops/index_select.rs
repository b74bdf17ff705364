//! Whole slices picked along an axis by a list of indices: the transpose of `index_add`.

use super::{
    Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed,
    def::linear_jvp,
    gather::{axis_of, position},
};
use crate::{Array, DType, Index, KernelClass, Tensor};
use smallvec::smallvec;

/// `y[.., i, ..] = x[.., index[i], ..]`. Attributes: the axis.
pub static OP: OpDef = OpDef {
    name: "index_select",
    shape: |attrs, x: &[Meta<'_>]| {
        let axis = axis_of(attrs, x)?;
        let [count] = **x[1].shape else { return Err(Mismatch::new("an index of one axis").hint("gather, or index.flatten()")) };
        let mut dims = x[0].shape.to_vec();
        dims[axis] = count;
        Typed::new(x[0].dtype, &dims)
    },
    kernel: KernelClass::Index(Index::Select),
    value: |s, x| {
        let axis = s.attrs[0] as usize;
        Dense::from_fn(s.shape, |i| {
            let mut from = i.to_vec();
            from[axis] = position(&x[1], &[i[axis]], axis, x[0].dims[axis]);
            x[0].at(&from)
        })
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| {
        let axis = cx.attrs()[0] as isize;
        smallvec![g[0].map(|g| cx.x(0).zeros_like().index_add(axis, cx.x(1), g)), None]
    }),
    batch: Batch::By(|b| {
        let axis = b.attrs[0] as usize + 1;
        if !b.batched[1] {
            return b.x[0].index_select(axis as isize, b.x[1]);
        }
        let mut dims = vec![b.size];
        dims.extend_from_slice(&b.shape);
        b.with_axis(0).gather(axis as isize, spread(b.x[1], axis, &dims))
    }),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 34);
        vec![
            Sample::new([u(&[4]), Array::from([3i64, 0, 3])]).attrs([0]),
            Sample::new([u(&[3, 2]), Array::from([2i64, 2, 0, 1])]).attrs([0]),
            Sample::new([u(&[2, 3, 2]), Array::from([1i64, 0])]).attrs([1]),
            Sample::new([u(&[2, 3]), Array::zeros(DType::I64, [0])]).attrs([1]),
            Sample::new([u(&[0, 3]), Array::from([1i64])]).attrs([1]),
        ]
    },
};

/// One list of indices for each element of a batch, repeated along all axes of `dims` but the first and `axis`.
pub(super) fn spread<'t>(index: Tensor<'t>, axis: usize, dims: &[usize]) -> Tensor<'t> {
    let lengths: Vec<usize> = (0..dims.len()).map(|a| if a == 0 || a == axis { dims[a] } else { 1 }).collect();
    index.reshape(lengths).broadcast_to(dims)
}

impl<'t> Tensor<'t> {
    /// Slices picked along an axis by an `i64` index of one axis; for axis 0, the rows `index[0]`, `index[1]`, ….
    ///
    /// Each cotangent is added to the slice it came from. An index that is negative or too large fails when the value is read.
    ///
    /// # Panics
    /// When there is no such axis, or the index has more axes than one or is not `i64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// let rows = tape.constant(&Array::from([1i64, 1, 0]));
    /// assert_eq!(x.index_select(0, rows).value(), Array::from([[3.0, 4.0], [3.0, 4.0], [1.0, 2.0]]));
    /// ```
    #[track_caller]
    pub fn index_select(self, axis: isize, index: Tensor<'t>) -> Tensor<'t> {
        let axis = self.axis("index_select", axis);
        self.tape.op(&OP, &[self.recorded(), index.recorded()], &[axis as i64])
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
    fn picks_columns_and_refuses_what_does_not_fit() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
        let index = tape.constant(&Array::from([1i64, 1]));
        assert_eq!(x.index_select(-1, index).value(), Array::from([[2.0, 2.0], [4.0, 4.0]]));
        let (text, line) = check::panic_of(|| x.index_select(0, index.unsqueeze(0)));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("index_select: expected an index of one axis"), "{text}");
        assert!(check::panic_of(|| x.index_select(0, x)).0.contains("an i64 index"));
        let far = x.index_select(0, tape.constant(&Array::from([0i64, 2])));
        assert!(check::panic_of(|| far.value()).0.contains("index 2 at [1] is out of range for axis 0 of length 2"));
    }
}
