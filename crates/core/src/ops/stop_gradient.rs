//! The same values, through which no derivative passes.

use super::{Batch, Dense, Meta, OpDef, Rule, Sample, Typed};
use crate::{Array, DType, KernelClass, Tensor};

/// A copy that counts as a constant.
pub static OP: OpDef = OpDef {
    name: "stop_gradient",
    shape: |_, x: &[Meta<'_>]| Typed::like(0, x),
    kernel: KernelClass::Pointwise(|p| p.x(0).copy()),
    value: |s, x| Dense::map(s, x, |v| v[0]),
    jvp: Rule::Stop("it is meant to let no derivative pass"),
    vjp: Rule::Stop("it is meant to let no derivative pass"),
    batch: Batch::Pointwise,
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 36);
        vec![Sample::new([u(&[4])]), Sample::new([u(&[2, 3])]), Sample::new([u(&[2, 1, 2])]), Sample::new([u(&[])]), Sample::new([u(&[0, 3])])]
    },
};

impl<'t> Tensor<'t> {
    /// The same values as a constant: no derivative passes, in either direction and at any order.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([2.0, 3.0]));
    /// let [g] = (x * x.stop_gradient()).sum().grad([x]);
    /// assert_eq!(g.value(), Array::from([2.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn stop_gradient(self) -> Tensor<'t> {
        if self.id.as_slot().is_some() { self } else { self.tape.op(&OP, &[self], &[]) }
    }

    /// As [`stop_gradient`](Self::stop_gradient): PyTorch's name.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from(3.0));
    /// assert_eq!((x * x.detach()).grad(x).item(), 3.0);
    /// ```
    #[track_caller]
    pub fn detach(self) -> Tensor<'t> {
        self.stop_gradient()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    #[test]
    fn a_cut_is_named() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([2.0, 3.0]));
        let y = x.stop_gradient();
        let error = y.sum().try_grad([x]).unwrap_err().to_string();
        assert_eq!(y.value(), x.value());
        assert!(error.contains("cut by stop_gradient at"), "{error}");
    }
}
