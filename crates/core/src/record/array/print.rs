//! How is an array written for people?

use super::Array;
use std::fmt;

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "array({:?}, {:?}, {})", self.to_f64_vec(), self.shape(), self.dtype())
    }
}
