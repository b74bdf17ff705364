//! A constant taken from the data that cancels out of the result, such as the maximum that a softmax subtracts.

use super::{Batch, Dense, Meta, OpDef, Rule, Sample, Typed};
use crate::{Array, DType, KernelClass, Tensor};

const WHY: &str = "a shift that cancels out of the result";

/// A copy that counts as a constant, like `stop_gradient`, with the claim that what is computed with it does not depend on it.
///
/// Because of that claim derivatives through it are still the derivatives of the function, and
/// [`gradcheck`](crate::check::gradcheck) compares them with differences; it leaves out what passes `stop_gradient`.
pub static OP: OpDef = OpDef {
    name: "shift",
    shape: |_, x: &[Meta<'_>]| Typed::like(0, x),
    kernel: KernelClass::Pointwise(|p| p.x(0).copy()),
    value: |s, x| Dense::map(s, x, |v| v[0]),
    jvp: Rule::Stop(WHY),
    vjp: Rule::Stop(WHY),
    batch: Batch::Pointwise,
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 37);
        vec![Sample::new([u(&[2, 3])]), Sample::new([u(&[])]), Sample::new([u(&[0, 3])])]
    },
};

impl<'t> Tensor<'t> {
    /// The same values, claimed to cancel out of what they are used for.
    #[track_caller]
    pub(crate) fn shift(self) -> Tensor<'t> {
        self.tape.op(&OP, &[self.recorded()], &[])
    }
}
