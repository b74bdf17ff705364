//! Equally spaced numbers along an axis.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed};
use crate::{Array, DType, Generator, IntoShape, KernelClass, Tape, Tensor};
use smallvec::SmallVec;

/// `start + step * i` along one axis; operands `start, step` are scalars of the output's dtype. Attributes: the axis, the lengths.
pub static OP: OpDef = OpDef {
    name: "iota",
    shape: |attrs, x: &[Meta<'_>]| {
        if x.iter().any(|v| !v.is_scalar || v.dtype != x[0].dtype || v.dtype == DType::Bool) {
            return Err(Mismatch::new("two scalar numbers of one dtype"));
        }
        match attrs {
            [axis, dims @ ..] if *axis >= 0 && (*axis as usize) < dims.len() => {
                let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| d as usize).collect();
                Typed::new(x[0].dtype, &dims)
            }
            _ => Err(Mismatch::new(format!("an axis, then lengths, not {attrs:?}"))),
        }
    },
    kernel: KernelClass::Generate(Generator::Iota),
    value: |s, x| Dense::from_fn(s.shape, |i| x[0].data[0] + x[1].data[0] * i[s.attrs[0] as usize] as f64),
    jvp: Rule::Zero("its operands are numbers"),
    vjp: Rule::Zero("its operands are numbers"),
    batch: Batch::By(|b| {
        let mut dims = vec![b.size];
        dims.extend_from_slice(&b.shape);
        b.x[0].tape.op(&OP, &b.x, &b.attrs).broadcast_to(dims)
    }),
    samples: || {
        let from = |start: f64, step: f64| Sample::new([Array::scalar(start), Array::scalar(step)]).scalar(0).scalar(1);
        vec![
            from(0.0, 1.0).attrs([0, 5]),
            from(0.5, -0.25).attrs([1, 2, 3]),
            from(-1.0, 2.0).attrs([1, 2, 3, 2]),
            from(0.0, 1.0).attrs([0, 0, 2]),
        ]
    },
};

impl Tape {
    /// `0, 1, …, n - 1`.
    ///
    /// # Panics
    /// For `Bool`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// assert_eq!(Tape::new().arange(DType::F64, 3).value(), Array::from([0.0, 1.0, 2.0]));
    /// ```
    #[track_caller]
    pub fn arange(&self, dtype: DType, n: usize) -> Tensor<'_> {
        self.iota(dtype, n, 0)
    }

    /// Each element's position along one axis (which counts from the end when negative). It occupies no memory of its own where a fused
    /// loop uses it.
    ///
    /// # Panics
    /// When there is no such axis, and for `Bool`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// assert_eq!(tape.iota(DType::I64, [2, 3], 1).value(), Array::from([[0i64, 1, 2], [0, 1, 2]]));
    /// ```
    #[track_caller]
    pub fn iota(&self, dtype: DType, shape: impl IntoShape, axis: isize) -> Tensor<'_> {
        let shape = shape.into_shape();
        let Some(axis) = shape.axis(axis) else { panic!("iota: expected an axis within {} axes, got axis {axis}", shape.rank()) };
        let attrs: SmallVec<[i64; 8]> = std::iter::once(axis).chain(shape.iter().copied()).map(|d| d as i64).collect();
        self.op(&OP, &[self.scalar(dtype, 0), self.scalar(dtype, 1)], &attrs)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn the_kernel_counts_as_the_reference_does() {
        (OP.samples)().iter().enumerate().for_each(|(n, sample)| check::computed(&OP, sample, n));
    }

    #[test]
    fn counts_along_an_axis() {
        let tape = Tape::new();
        assert_eq!(tape.iota(DType::I64, [2, 3], -1).value(), Array::from([[0i64, 1, 2], [0, 1, 2]]));
        assert_eq!(tape.iota(DType::F32, [2, 3], 0).value(), Array::from([[0.0f32; 3], [1.0; 3]]));
        assert_eq!(tape.op(&OP, &[tape.scalar(DType::F64, 1), tape.scalar(DType::F64, 0.5)], &[0, 3]).value(), Array::from([1.0, 1.5, 2.0]));
        assert_eq!(tape.arange(DType::F64, 0).shape(), [0]);
    }

    #[test]
    fn what_makes_no_sense_panics_at_the_caller() {
        let tape = Tape::new();
        let (text, line) = check::panic_of(|| tape.arange(DType::Bool, 2));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("iota: expected two scalar numbers of one dtype"), "{text}");
        assert!(check::panic_of(|| tape.iota(DType::I64, (), 0)).0.starts_with("iota: expected an axis within 0 axes"));
    }
}
