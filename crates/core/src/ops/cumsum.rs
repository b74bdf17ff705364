//! Running totals along an axis.

use super::{Batch, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed, def::linear_jvp};
use crate::{Array, DType, KernelClass, Scan, Tensor};
use smallvec::smallvec;

/// Attributes: the axis, and whether (1) or not (0) the totals run from the end to the beginning.
pub static OP: OpDef = OpDef {
    name: "cumsum",
    shape: |attrs, x: &[Meta<'_>]| match attrs {
        _ if x[0].dtype == DType::Bool => Err(Mismatch::new("numbers").hint("x.cast(DType::I64) counts truth values")),
        [axis, 0 | 1] if *axis >= 0 && (*axis as usize) < x[0].shape.rank() => Ok(Typed { dtype: x[0].dtype, shape: OutShape::Like(0) }),
        _ => Err(Mismatch::new(format!("an axis of the operand and a direction, not {attrs:?}"))),
    },
    kernel: KernelClass::Scan(Scan::Sum),
    value: |s, x| {
        let (axis, reversed) = (s.attrs[0] as usize, s.attrs[1] == 1);
        Dense::from_fn(s.shape, |i| {
            let mut at = i.to_vec();
            let range = if reversed { i[axis]..s.shape[axis] } else { 0..i[axis] + 1 };
            let element = |j: usize| {
                at[axis] = j;
                x[0].at(&at)
            };
            range.map(element).sum()
        })
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| {
        let attrs = cx.attrs();
        smallvec![g[0].map(|g| g.tape.op(&OP, &[g], &[attrs[0], 1 - attrs[1]]))]
    }),
    batch: Batch::By(|b| b.x[0].tape.op(&OP, &[b.x[0]], &[b.attrs[0] + 1, b.attrs[1]])),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 35);
        vec![
            Sample::new([u(&[5])]).attrs([0, 0]),
            Sample::new([u(&[5])]).attrs([0, 1]),
            Sample::new([u(&[2, 3])]).attrs([0, 0]),
            Sample::new([u(&[2, 3, 2])]).attrs([1, 1]),
            Sample::new([u(&[0, 3])]).attrs([0, 0]),
        ]
    },
};

impl<'t> Tensor<'t> {
    /// Sum of each element and all before it along an axis. Integers wrap; truth values are counted as `i64`.
    ///
    /// # Panics
    /// When there is no such axis.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.cumsum(0).value(), Array::from([1.0, 3.0, 6.0]));
    /// ```
    #[track_caller]
    pub fn cumsum(self, axis: isize) -> Tensor<'t> {
        let axis = self.axis("cumsum", axis);
        let x = if self.dtype() == DType::Bool { self.cast(DType::I64) } else { self };
        self.tape.op(&OP, &[x], &[axis as i64, 0])
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
    fn totals_along_any_axis() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1i64, 2], [3, 4]]));
        assert_eq!(x.cumsum(-1).value(), Array::from([[1i64, 3], [3, 7]]));
        assert_eq!(x.cumsum(0).value(), Array::from([[1i64, 2], [4, 6]]));
        assert_eq!(x.gt(1).cumsum(1).value(), Array::from([[0i64, 1], [1, 2]]));
        let (text, line) = check::panic_of(|| x.sum().cumsum(0));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("cumsum: expected an axis within 0 axes, got axis 0"), "{text}");
    }
}
