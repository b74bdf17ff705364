//! How does an array come from numbers, a rule or bytes?

use super::{Array, ArrayError, per_dtype};
use crate::{DType, Element, IntoShape, MAX_RANK, Shape};

impl Array {
    /// Element after element in row-major order. Panics when their number is not that of the shape.
    ///
    /// ```
    /// use wengert_core::{Array, DType};
    /// let a = Array::new([2, 2], [1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!((a.dtype(), a.get(&[1, 0])), (DType::F64, 3.0));
    /// assert_eq!(Array::new(3, vec![1.0f32; 3]).dtype(), DType::F32);
    /// assert_eq!(Array::new((), [7]).dtype(), DType::I64);
    /// ```
    #[track_caller]
    pub fn new<T: Element>(shape: impl IntoShape, data: impl AsRef<[T]>) -> Array {
        let (shape, data) = (shape.into_shape(), data.as_ref());
        if data.len() != shape.size() {
            panic!("Array::new: shape {shape:?} wants {} elements, got {}", shape.size(), data.len());
        }
        Array::copied(shape, data)
    }

    /// As [`Array::new`], for lengths and elements that come from outside.
    pub fn try_new<T: Element>(dims: &[usize], data: impl AsRef<[T]>) -> Result<Array, ArrayError> {
        let (shape, data) = (fitting(dims)?, data.as_ref());
        if data.len() != shape.size() {
            return Err(ArrayError::Length { shape, expected: shape.size(), found: data.len(), unit: "elements" });
        }
        Ok(Array::copied(shape, data))
    }

    /// From the elements' bytes, lowest first; an error when there are too few or too many, or a bool is neither 0 nor 1.
    pub fn try_from_le_bytes(dtype: DType, dims: &[usize], bytes: &[u8]) -> Result<Array, ArrayError> {
        let shape = fitting(dims)?;
        let expected = shape.size() * dtype.size();
        if bytes.len() != expected {
            return Err(ArrayError::Length { shape, expected, found: bytes.len(), unit: "bytes" });
        }
        Ok(match dtype {
            DType::F32 => Array::build(shape, |i| f32::from_le_bytes(word(bytes, i))),
            DType::F64 => Array::build(shape, |i| f64::from_le_bytes(word(bytes, i))),
            DType::I64 => Array::build(shape, |i| i64::from_le_bytes(word(bytes, i))),
            DType::Bool => {
                if let Some(at) = bytes.iter().position(|&b| b > 1) {
                    return Err(ArrayError::Bool { at, found: bytes[at] });
                }
                Array::build(shape, |i| bytes[i] == 1)
            }
        })
    }

    /// The elements' bytes, lowest first: what [`Array::try_from_le_bytes`] reads.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self.dtype() {
            DType::F32 => self.as_slice::<f32>().iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::F64 => self.as_slice::<f64>().iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::I64 => self.as_slice::<i64>().iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::Bool => self.as_slice::<bool>().iter().map(|&v| u8::from(v)).collect(),
        }
    }

    /// One element, no axes.
    pub fn scalar<T: Element>(v: T) -> Array {
        Array::build(Shape::scalar(), |_| v)
    }

    /// The same element everywhere.
    #[track_caller]
    pub fn full<T: Element>(shape: impl IntoShape, v: T) -> Array {
        Array::build(shape.into_shape(), |_| v)
    }

    /// Zeros (`false` for `Bool`).
    #[track_caller]
    pub fn zeros(dtype: DType, shape: impl IntoShape) -> Array {
        let shape = shape.into_shape();
        per_dtype!(dtype, T => Array::build(shape, |_| T::default()))
    }

    /// Ones (`true` for `Bool`).
    #[track_caller]
    pub fn ones(dtype: DType, shape: impl IntoShape) -> Array {
        let shape = shape.into_shape();
        per_dtype!(dtype, T => Array::build(shape, |_| T::from_f64(1.0)))
    }

    /// The identity matrix, `[n, n]`.
    #[track_caller]
    pub fn eye(dtype: DType, n: usize) -> Array {
        let shape = [n, n].into_shape();
        per_dtype!(dtype, T => Array::build(shape, |i| T::from_f64(f64::from(u8::from(i / n == i % n)))))
    }

    /// `0, 1, …, n - 1`; rounded where the dtype can't hold a number.
    #[track_caller]
    pub fn arange(dtype: DType, n: usize) -> Array {
        let shape = n.into_shape();
        per_dtype!(dtype, T => Array::build(shape, |i| T::from_f64(i as f64)))
    }

    /// The element at each index is `f(index)`, called in row-major order.
    ///
    /// ```
    /// # use wengert_core::Array;
    /// let times = Array::from_fn([3, 4], |i| (i[0] * i[1]) as f64);
    /// assert_eq!(times.get(&[2, 3]), 6.0);
    /// ```
    #[track_caller]
    pub fn from_fn<T: Element>(shape: impl IntoShape, mut f: impl FnMut(&[usize]) -> T) -> Array {
        let shape = shape.into_shape();
        let rank = shape.rank();
        let mut index = [0; MAX_RANK];
        Array::build(shape, |_| {
            let v = f(&index[..rank]);
            for axis in (0..rank).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
            v
        })
    }
}

fn fitting(dims: &[usize]) -> Result<Shape, ArrayError> {
    Shape::new(dims).ok_or_else(|| ArrayError::Shape { dims: dims.to_vec() })
}

/// The bytes of element `i`.
fn word<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    std::array::from_fn(|k| bytes[i * N + k])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_data_that_does_not_fit_is_an_error() {
        let length = |unit, expected, found| ArrayError::Length { shape: Shape::new(&[2, 2]).unwrap(), expected, found, unit };
        assert_eq!(Array::try_new(&[2, 2], [1.0, 2.0]), Err(length("elements", 4, 2)));
        assert_eq!(Array::try_new(&[1; 9], [1.0]), Err(ArrayError::Shape { dims: vec![1; 9] }));
        assert!(matches!(Array::try_new(&[usize::MAX, usize::MAX], [1.0]), Err(ArrayError::Shape { .. })));
        assert_eq!(Array::try_from_le_bytes(DType::F32, &[2, 2], &[0; 15]), Err(length("bytes", 16, 15)));
        assert_eq!(Array::try_from_le_bytes(DType::Bool, &[3], &[0, 1, 2]), Err(ArrayError::Bool { at: 2, found: 2 }));
    }

    #[test]
    fn bytes_come_back() {
        for a in [Array::from([1.5f32, -0.0]), Array::from([f64::MAX]), Array::from([i64::MIN, 7]), Array::from([true, false])] {
            let bytes = a.to_le_bytes();
            assert_eq!(bytes.len(), a.size() * a.dtype().size());
            let b = Array::try_from_le_bytes(a.dtype(), a.shape(), &bytes).unwrap();
            assert_eq!((&a, bytes), (&b, b.to_le_bytes()));
        }
        assert_eq!(Array::from([1.0f32, 258.0]).to_le_bytes(), [0, 0, 128, 63, 0, 0, 129, 67]);
    }

    #[test]
    fn fills() {
        assert_eq!(Array::eye(DType::F32, 2), Array::from([[1.0f32, 0.0], [0.0, 1.0]]));
        assert_eq!(Array::eye(DType::I64, 0).shape(), &[0, 0][..]);
        assert_eq!(Array::arange(DType::I64, 4), Array::from([0, 1, 2, 3]));
        assert_eq!(Array::ones(DType::Bool, [2]), Array::from([true, true]));
        assert_eq!(Array::zeros(DType::F64, ()), Array::scalar(0.0));
        assert_eq!(Array::full([1, 2], 3.0), Array::from([[3.0, 3.0]]));
        assert_eq!(Array::from_fn([2, 1, 2], |i| (100 * i[0] + 10 * i[1] + i[2]) as i64).to_vec::<i64>(), [0, 1, 100, 101]);
    }

    #[test]
    fn a_wrong_number_of_elements_panics_at_the_caller() {
        let e = std::panic::catch_unwind(|| Array::new([2, 2], [1.0, 2.0])).unwrap_err();
        assert_eq!(e.downcast_ref::<String>().unwrap(), "Array::new: shape [2, 2] wants 4 elements, got 2");
    }
}
