//! Which Rust values are arrays already?

use super::Array;
use crate::{Element, IntoShape, Shape};

impl<T: Element> From<T> for Array {
    fn from(v: T) -> Array {
        Array::scalar(v)
    }
}

impl<T: Element> From<Vec<T>> for Array {
    fn from(v: Vec<T>) -> Array {
        Array::from(v.as_slice())
    }
}

impl<T: Element> From<&[T]> for Array {
    fn from(v: &[T]) -> Array {
        // A slice of elements in memory always has a length that is a shape.
        Array::copied(v.len().into_shape(), v)
    }
}

impl<T: Element, const A: usize> From<[T; A]> for Array {
    fn from(v: [T; A]) -> Array {
        Array::from(v.as_slice())
    }
}

/// Nested literals: all inner arrays have one length by their type.
fn nested<T: Element, const N: usize>(dims: [usize; N], elements: &[T]) -> Array {
    let shape: Shape = dims.into_shape();
    Array::copied(shape, elements)
}

impl<T: Element, const A: usize, const B: usize> From<[[T; B]; A]> for Array {
    fn from(v: [[T; B]; A]) -> Array {
        nested([A, B], v.as_flattened())
    }
}

impl<T: Element, const A: usize, const B: usize, const C: usize> From<[[[T; C]; B]; A]> for Array {
    fn from(v: [[[T; C]; B]; A]) -> Array {
        nested([A, B, C], v.as_flattened().as_flattened())
    }
}

impl<T: Element, const A: usize, const B: usize, const C: usize, const D: usize> From<[[[[T; D]; C]; B]; A]> for Array {
    fn from(v: [[[[T; D]; C]; B]; A]) -> Array {
        nested([A, B, C, D], v.as_flattened().as_flattened().as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn literals_nest_and_bare_ones_are_doubles() {
        let a = Array::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        assert_eq!((a.dtype(), &**a.shape(), a.get(&[2, 1])), (DType::F64, &[3, 2][..], 6.0));
        assert_eq!(**Array::from([[[[1.0f32; 4]; 3]; 2]; 1]).shape(), [1, 2, 3, 4]);
        assert_eq!(**Array::from([[[true; 3]; 2]; 1]).shape(), [1, 2, 3]);
        assert_eq!(Array::from([1, 2]).dtype(), DType::I64);
        assert_eq!(Array::from(2.0).rank(), 0);
        assert_eq!(Array::from(vec![1.0, 2.0]), Array::from(&[1.0, 2.0][..]));
        assert_eq!(**Array::from([[0.0; 0]; 2]).shape(), [2, 0]);
    }
}
