//! How do arrays come from and go to the `ndarray` crate?

use super::{Array, ArrayError};
use crate::{Element, Shape};
use ndarray::{ArrayBase, ArrayD, ArrayRef, Data, Dimension, IxDyn};

impl Array {
    /// A copy of an `ndarray` array or view of any layout; an error above [`MAX_RANK`](crate::MAX_RANK) axes.
    pub fn try_from_ndarray<T: Element, D: Dimension>(from: &ArrayRef<T, D>) -> Result<Array, ArrayError> {
        let dims = from.shape();
        let shape = Shape::new(dims).ok_or_else(|| ArrayError::Shape { dims: dims.to_vec() })?;
        if let Some(dense) = from.as_slice() {
            return Ok(Array::copied(shape, dense));
        }
        let mut elements = from.iter();
        // An iterator over an array gives each of its elements once, in row-major order.
        Ok(Array::build(shape, |_| elements.next().copied().unwrap_or_default()))
    }
}

/// A copy of an array or view of any layout; an error above [`MAX_RANK`](crate::MAX_RANK) axes.
impl<T: Element, S: Data<Elem = T>, D: Dimension> TryFrom<&ArrayBase<S, D>> for Array {
    type Error = ArrayError;
    fn try_from(from: &ArrayBase<S, D>) -> Result<Array, ArrayError> {
        Array::try_from_ndarray(from)
    }
}

/// A copy; an error if the elements are not of type `T`.
impl<T: Element> TryFrom<&Array> for ArrayD<T> {
    type Error = ArrayError;
    fn try_from(from: &Array) -> Result<ArrayD<T>, ArrayError> {
        let elements = from.try_as_slice::<T>()?.to_vec();
        ArrayD::from_shape_vec(IxDyn(from.shape()), elements).map_err(|_| ArrayError::Shape { dims: from.shape().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use ndarray::{Array2, Axis, arr0, s};

    #[test]
    fn any_layout_comes_over() {
        let dense = Array2::from_shape_fn((3, 4), |(i, j)| (10 * i + j) as f64);
        assert_eq!(Array::try_from(&dense).unwrap(), Array::from_fn([3, 4], |i| (10 * i[0] + i[1]) as f64));
        assert_eq!(Array::try_from(&dense.t()).unwrap(), Array::from_fn([4, 3], |i| (10 * i[1] + i[0]) as f64));
        let steps = dense.slice(s![..;-2, 1..;2]);
        assert_eq!(Array::try_from(&steps).unwrap(), Array::from([[21.0, 23.0], [1.0, 3.0]]));
        let column = dense.column(0);
        let wide = column.broadcast((2, 3)).unwrap();
        assert_eq!(Array::try_from(&wide).unwrap(), Array::from([[0.0, 10.0, 20.0], [0.0, 10.0, 20.0]]));
        assert_eq!(Array::try_from(&arr0(true)).unwrap(), Array::scalar(true));
        assert_eq!(Array::try_from(&dense.slice(s![1..1, ..])).unwrap().shape(), &[0, 4]);
    }

    #[test]
    fn and_goes_back() {
        let a = Array::new([2, 1, 3], [1i64, 2, 3, 4, 5, 6]);
        let b = ArrayD::<i64>::try_from(&a).unwrap();
        assert_eq!((b.shape(), b.sum_axis(Axis(0)).into_raw_vec_and_offset().0), (&[2, 1, 3][..], vec![5, 7, 9]));
        assert_eq!(Array::try_from(&b).unwrap(), a);
        assert_eq!(ArrayD::<f32>::try_from(&a).unwrap_err(), ArrayError::DType { expected: DType::F32, found: DType::I64 });
    }

    #[test]
    fn too_many_axes_are_an_error() {
        let deep = ArrayD::<f32>::zeros(vec![1; 9]);
        assert_eq!(Array::try_from(&deep), Err(ArrayError::Shape { dims: vec![1; 9] }));
    }
}
