//! How is an op's meaning written down plainly? Dense `f64` arrays and loops over indices: the oracle of the tests.

use crate::{Array, Attrs, DType, Shape};

/// A dense array of doubles; truth values are 0 and 1, integers are exact up to 2^53.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Lengths of the axes.
    pub dims: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f64>,
}

/// What the reference of an op knows besides its inputs.
pub struct Spec<'a> {
    /// Attributes.
    pub attrs: &'a Attrs,
    /// Shape of the output.
    pub shape: &'a Shape,
    /// Dtype of the output.
    pub dtype: DType,
    /// Dtypes of the inputs.
    pub inputs: &'a [DType],
}

impl Dense {
    /// From a function of the index.
    pub fn from_fn(dims: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Dense {
        let mut index = vec![0; dims.len()];
        let mut data = Vec::with_capacity(dims.iter().product());
        for _ in 0..dims.iter().product::<usize>() {
            data.push(f(&index));
            for axis in (0..dims.len()).rev() {
                index[axis] += 1;
                if index[axis] < dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Dense { dims: dims.to_vec(), data }
    }

    fn position(&self, index: &[usize]) -> usize {
        assert_eq!(index.len(), self.dims.len(), "index {index:?} of shape {:?}", self.dims);
        self.dims.iter().zip(index).fold(0, |at, (d, i)| at * d + i)
    }

    /// The element at an index; a scalar gives its one element at any index.
    pub fn at(&self, index: &[usize]) -> f64 {
        if self.dims.is_empty() { self.data[0] } else { self.data[self.position(index)] }
    }

    /// The element at an index, to be changed.
    pub fn at_mut(&mut self, index: &[usize]) -> &mut f64 {
        let at = self.position(index);
        &mut self.data[at]
    }

    /// `f` of all inputs' elements at each index of the output.
    pub fn map(spec: &Spec<'_>, x: &[Dense], f: impl Fn(&[f64]) -> f64) -> Dense {
        Dense::from_fn(spec.shape, |i| {
            let v: Vec<f64> = x.iter().map(|x| x.at(i)).collect();
            f(&v)
        })
    }

    /// From an array.
    pub fn of(a: &Array) -> Dense {
        Dense { dims: a.shape().to_vec(), data: a.to_f64_vec() }
    }

    /// As an array of a dtype.
    pub fn to_array(&self, dtype: DType) -> Array {
        Array::new(self.dims.as_slice(), self.data.as_slice()).cast(dtype)
    }
}
