//! What is a tensor's value off the tape?

mod build;
mod compare;
#[cfg(feature = "ndarray")]
mod interop;
mod literal;
mod print;
mod random;

use crate::{DType, Element, IntoShape, Shape, memory::Buffer};

/// A value: dense, row-major, always contiguous, of any [`Shape`] and [`DType`].
///
/// Cloning shares the memory; writing to a shared array copies it first.
///
/// ```
/// use wengert_core::Array;
/// let a = Array::new([2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// let mut b = a.clone();
/// b.as_mut_slice::<f64>()[0] = 10.0;
/// assert_eq!((a.get(&[0, 0]), b.get(&[0, 0])), (1.0, 10.0));
/// ```
#[derive(Clone)]
pub struct Array {
    buffer: Buffer,
    shape: Shape,
    dtype: DType,
}

/// Why outside data did not become an array, or an array not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The number of elements or bytes is not what the shape says.
    #[error("shape {shape:?} wants {expected} {unit}, got {found}")]
    Length {
        /// The shape asked for.
        shape: Shape,
        /// How many it wants.
        expected: usize,
        /// How many came.
        found: usize,
        /// What is counted: `"elements"` or `"bytes"`.
        unit: &'static str,
    },
    /// No array can have this shape.
    #[error("shape {dims:?}: expected at most {max} axes and a number of elements that fits in memory", max = crate::MAX_RANK)]
    Shape {
        /// The lengths asked for.
        dims: Vec<usize>,
    },
    /// The elements are of another type.
    #[error("expected an array of {expected}, got one of {found}")]
    DType {
        /// What was asked for.
        expected: DType,
        /// What the array has.
        found: DType,
    },
    /// A byte that should be a truth value is neither 0 nor 1.
    #[error("byte {at} of bool data is {found}, expected 0 or 1")]
    Bool {
        /// Its position.
        at: usize,
        /// The byte.
        found: u8,
    },
}

/// Evaluates an expression with the Rust type of a run-time dtype under a chosen name.
macro_rules! per_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::DType::Bool => {
                type $t = bool;
                $body
            }
        }
    };
}
use per_dtype;

impl Array {
    /// Memory that holds the elements of a dense row-major array.
    ///
    /// Its first `shape.size() * dtype.size()` bytes must be written before anything reads them; for `Bool` with 0 and 1 only.
    pub(crate) fn from_buffer(buffer: Buffer, dtype: DType, shape: Shape) -> Array {
        let bytes = shape.size() * dtype.size();
        assert!(buffer.len() >= bytes, "an array of {dtype} {shape:?} wants {bytes} bytes, got a buffer of {}", buffer.len());
        debug_assert!(bytes == 0 || (buffer.ptr() as usize).is_multiple_of(dtype.size()), "the buffer is aligned");
        Array { buffer, shape, dtype }
    }

    /// An array whose elements are yet to be written: the contents are unspecified.
    pub(crate) fn uninit(dtype: DType, shape: Shape) -> Array {
        Array::from_buffer(Buffer::new(shape.size() * dtype.size()), dtype, shape)
    }

    /// Element `i` in row-major order is `f(i)`.
    fn build<T: Element>(shape: Shape, mut f: impl FnMut(usize) -> T) -> Array {
        let array = Array::uninit(T::DTYPE, shape);
        let to = array.buffer.ptr().cast::<T>();
        for i in 0..shape.size() {
            // SAFETY: `uninit` made room for `size` elements of this type, aligned, and nobody else has the memory yet.
            unsafe { to.add(i).write(f(i)) };
        }
        array
    }

    /// The elements of a slice of exactly `shape.size()` elements.
    fn copied<T: Element>(shape: Shape, data: &[T]) -> Array {
        assert_eq!(data.len(), shape.size(), "as many elements as the shape has");
        let array = Array::uninit(T::DTYPE, shape);
        // SAFETY: `uninit` made room for `size` elements of this type in memory of its own.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), array.buffer.ptr().cast::<T>(), data.len()) };
        array
    }

    /// The memory.
    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The same in memory of its own.
    pub(crate) fn copied_whole(&self) -> Array {
        Array { buffer: self.buffer.copy_part(0, self.size() * self.dtype.size()), ..*self }
    }

    /// The raw bits of the first element, low bytes first.
    pub(crate) fn bits(&self) -> u64 {
        match self.dtype {
            DType::F32 => u64::from(self.as_slice::<f32>()[0].to_bits()),
            DType::F64 => self.as_slice::<f64>()[0].to_bits(),
            DType::I64 => self.as_slice::<i64>()[0] as u64,
            DType::Bool => u64::from(self.as_slice::<bool>()[0]),
        }
    }

    /// A 0-d array of the element that raw bits stand for.
    pub(crate) fn of_bits(dtype: DType, bits: u64) -> Array {
        match dtype {
            DType::F32 => Array::scalar(f32::from_bits(bits as u32)),
            DType::F64 => Array::scalar(f64::from_bits(bits)),
            DType::I64 => Array::scalar(bits as i64),
            DType::Bool => Array::scalar(bits & 1 == 1),
        }
    }

    /// Lengths along each axis.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.shape.size()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The elements in row-major order; an error if they are not of type `T`.
    pub fn try_as_slice<T: Element>(&self) -> Result<&[T], ArrayError> {
        if T::DTYPE != self.dtype {
            return Err(ArrayError::DType { expected: T::DTYPE, found: self.dtype });
        }
        if self.size() == 0 {
            return Ok(&[]);
        }
        // SAFETY: the buffer holds `size` written elements of exactly this type (`from_buffer`), and nobody writes to memory that
        // an array holds but `as_mut_slice`, which wants the array alone and unshared.
        Ok(unsafe { std::slice::from_raw_parts(self.buffer.ptr() as *const T, self.size()) })
    }

    /// The elements in row-major order. Panics if they are not of type `T`.
    #[track_caller]
    pub fn as_slice<T: Element>(&self) -> &[T] {
        match self.try_as_slice() {
            Ok(s) => s,
            Err(e) => panic!("as_slice::<{}>: {e}; `cast` converts", T::DTYPE),
        }
    }

    /// The elements in row-major order, to be changed; copies them first when another array shares them.
    /// Panics if they are not of type `T`.
    #[track_caller]
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        if T::DTYPE != self.dtype {
            panic!("as_mut_slice::<{}>: expected an array of {0}, got one of {}; `cast` converts", T::DTYPE, self.dtype);
        }
        if self.size() == 0 {
            return &mut [];
        }
        if !self.buffer.is_unique() {
            *self = Array::copied(self.shape, self.as_slice::<T>());
        }
        // SAFETY: the buffer holds `size` written elements of this type, no other array shares it, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.ptr().cast::<T>(), self.size()) }
    }

    /// The elements in row-major order, copied out. Panics if they are not of type `T`.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        self.as_slice::<T>().to_vec()
    }

    /// The elements in row-major order as doubles; integers beyond 2^53 are rounded.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        per_dtype!(self.dtype, T => self.as_slice::<T>().iter().map(|v| v.to_f64()).collect())
    }

    /// The element at a row-major position below `size`.
    pub(crate) fn at(&self, position: usize) -> f64 {
        per_dtype!(self.dtype, T => self.as_slice::<T>()[position].to_f64())
    }

    /// The only element. Panics when there is not exactly one.
    #[track_caller]
    pub fn item(&self) -> f64 {
        if self.size() != 1 {
            panic!("item: expected an array of one element, got shape {:?}; `get` reads one of many", self.shape);
        }
        self.at(0)
    }

    /// The element at an index. Panics when the index has another number of axes than the array or lies outside.
    #[track_caller]
    pub fn get(&self, index: &[usize]) -> f64 {
        if index.len() != self.rank() || index.iter().zip(&*self.shape).any(|(i, d)| i >= d) {
            panic!("get: index {index:?} lies outside shape {:?}", self.shape);
        }
        self.at(index.iter().zip(&*self.shape).fold(0, |at, (i, d)| at * d + i))
    }

    /// The elements converted as `as` converts (to `Bool`: whether not zero); shares the memory if the dtype is the same.
    pub fn cast(&self, dtype: DType) -> Array {
        if dtype == self.dtype {
            return self.clone();
        }
        if (self.dtype, dtype) == (DType::I64, DType::F32) {
            // Through a double the value would be rounded twice.
            let from = self.as_slice::<i64>();
            return Array::build(self.shape, |i| from[i] as f32);
        }
        per_dtype!(self.dtype, From => {
            let from = self.as_slice::<From>();
            per_dtype!(dtype, To => Array::build(self.shape, |i| To::from_f64(from[i].to_f64())))
        })
    }

    /// The same elements under another shape; shares the memory. Panics when the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl IntoShape) -> Array {
        let shape = shape.into_shape();
        if shape.size() != self.size() {
            panic!("reshape: shape {:?} has {} elements, shape {shape:?} has {}", self.shape, self.size(), shape.size());
        }
        Array { buffer: self.buffer.clone(), shape, dtype: self.dtype }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send_sync<T: Send + Sync>() {}

    #[test]
    fn arrays_cross_threads() {
        assert_send_sync::<Array>();
        assert_send_sync::<ArrayError>();
    }

    #[test]
    fn writing_copies_what_is_shared() {
        let mut a = Array::new([3], [1.0f32, 2.0, 3.0]);
        let b = a.reshape([3, 1]);
        assert_eq!(a.as_slice::<f32>().as_ptr(), b.as_slice::<f32>().as_ptr(), "a reshape shares");
        a.as_mut_slice::<f32>()[1] = 9.0;
        assert_eq!((a.get(&[1]), b.get(&[1, 0])), (9.0, 2.0));
        let at = a.as_slice::<f32>().as_ptr();
        a.as_mut_slice::<f32>()[1] = 8.0;
        assert_eq!(a.as_slice::<f32>().as_ptr(), at, "alone it is written in place");
    }

    #[test]
    fn casts_are_those_of_as() {
        let a = Array::from([f64::NAN, 1e300, -1e300, -2.7, 0.0, 0.3]);
        assert_eq!(a.cast(DType::I64).to_vec::<i64>(), [0, i64::MAX, i64::MIN, -2, 0, 0]);
        assert_eq!(a.cast(DType::Bool).to_vec::<bool>(), [true, true, true, true, false, true]);
        assert_eq!(a.cast(DType::F32).get(&[1]), f64::INFINITY);
        let v = (1i64 << 54) + (1 << 30) + 1; // through a double it would fall on a tie and round down
        assert_eq!(Array::scalar(v).cast(DType::F32).as_slice::<f32>(), [v as f32]);
        assert_eq!(Array::from([true, false]).cast(DType::F64).to_vec::<f64>(), [1.0, 0.0]);
    }

    #[test]
    fn another_type_is_an_error_and_a_panic() {
        let a = Array::from([1.0, 2.0]);
        assert_eq!(a.try_as_slice::<f32>(), Err(ArrayError::DType { expected: DType::F32, found: DType::F64 }));
        let e = std::panic::catch_unwind(|| a.to_vec::<i64>()).unwrap_err();
        assert!(e.downcast_ref::<String>().unwrap().contains("expected an array of i64, got one of f64"));
    }

    #[test]
    fn reading_one_element() {
        let a = Array::new([2, 3], vec![0i64, 1, 2, 3, 4, 5]);
        assert_eq!(a.get(&[1, 2]), 5.0);
        assert_eq!(Array::scalar(true).item(), 1.0);
        for wrong in [&[2, 0][..], &[0, 3], &[0], &[0, 0, 0]] {
            assert!(std::panic::catch_unwind(|| a.get(wrong)).is_err(), "{wrong:?}");
        }
        assert!(std::panic::catch_unwind(|| a.item()).is_err());
    }

    #[test]
    fn empty_arrays_are_arrays() {
        let mut a = Array::zeros(DType::F64, [2, 0, 3]);
        assert_eq!((a.size(), a.as_slice::<f64>().len(), a.as_mut_slice::<f64>().len()), (0, 0, 0));
        assert_eq!(a.reshape([0]).cast(DType::I64).to_f64_vec(), []);
    }
}
