//! Reading values: the way from a recorded tensor through plan and execution to an array, and back into the tape's table.

mod reference;

use crate::{Array, Tape, Tensor};

pub(crate) struct Reader {}
impl Reader {
    pub fn new() -> Self {
        Reader {}
    }
}
pub(crate) fn configure(_: &Tape) {}

impl<'t> Tensor<'t> {
    /// The value.
    #[track_caller]
    pub fn value(self) -> Array {
        self.reference().to_array(self.dtype())
    }
    /// The one element, as a double.
    #[track_caller]
    pub fn item(self) -> f64 {
        self.value().item()
    }
}
