//! Another dtype for the same values.

use super::{Batch, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed};
use crate::{Array, DType, KernelClass, Tensor};
use smallvec::smallvec;

/// Dtypes by the number that stands in the attributes.
pub(crate) const DTYPES: [DType; 4] = [DType::F32, DType::F64, DType::I64, DType::Bool];

/// The number that stands for a dtype in attributes.
pub(crate) fn number(dtype: DType) -> i64 {
    DTYPES.iter().position(|&d| d == dtype).expect("every dtype is listed") as i64
}

/// The dtype with a number.
pub(crate) fn dtype(number: i64) -> DType {
    DTYPES[number as usize]
}

/// Conversion as Rust's `as`: truncation towards zero, saturation, NaN to 0; to `bool`, whether not zero. Attributes: the dtype.
pub static OP: OpDef = OpDef {
    name: "cast",
    shape: |attrs, _: &[Meta<'_>]| match attrs {
        [to] if (0..4).contains(to) => Ok(Typed { dtype: dtype(*to), shape: OutShape::Like(0) }),
        _ => Err(Mismatch::new("a dtype as attribute")),
    },
    kernel: KernelClass::Pointwise(|p| p.x(0).cast(p.output())),
    value: |s, x| {
        Dense::map(s, x, |v| match s.dtype {
            DType::F32 => f64::from(v[0] as f32),
            DType::F64 => v[0],
            DType::I64 => v[0] as i64 as f64,
            DType::Bool => f64::from(u8::from(v[0] != 0.0)),
        })
    },
    jvp: Rule::By(|cx, t| smallvec![t[0].filter(|_| cx.y().dtype().is_float()).map(|t| t.cast(cx.y().dtype()))]),
    vjp: Rule::By(|cx, g| smallvec![g[0].filter(|_| cx.x(0).dtype().is_float()).map(|g| g.cast(cx.x(0).dtype()))]),
    batch: Batch::Pointwise,
    samples: || {
        let x = Array::from([[-1.5, 0.0, 2.25], [3.0, -0.5, 100.0]]);
        vec![Sample::new([x.clone()]).attrs([1]), Sample::new([Array::from([1i64, -7, 0])]).attrs([1]), Sample::new([Array::from([true, false])]).attrs([2])]
    },
};

impl<'t> Tensor<'t> {
    /// The same values in another dtype, converted as Rust's `as` does. Between floats the derivative passes; to integers and truth
    /// values it does not.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.7, -1.7, 0.0]));
    /// assert_eq!(x.cast(DType::I64).value(), Array::from([1i64, -1, 0]));
    /// assert_eq!(x.cast(DType::Bool).value(), Array::from([true, true, false]));
    /// ```
    #[track_caller]
    pub fn cast(self, dtype: DType) -> Tensor<'t> {
        if self.dtype() == dtype {
            return self;
        }
        self.tape.op(&OP, &[self], &[number(dtype)])
    }
}
