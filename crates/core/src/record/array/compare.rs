//! When are two arrays the same, or close?

use super::{Array, per_dtype};

/// Same dtype, shape and elements; as for Rust's floats, NaN differs from itself and −0 equals 0.
impl PartialEq for Array {
    fn eq(&self, other: &Array) -> bool {
        self.dtype() == other.dtype()
            && self.shape() == other.shape()
            && per_dtype!(self.dtype(), T => self.as_slice::<T>() == other.as_slice::<T>())
    }
}

impl Array {
    /// Whether the shapes are equal and `|a - b| <= atol + rtol * |b|` for each element `a` and `other`'s `b`.
    ///
    /// Equal infinities are close; NaN is close to nothing. The dtypes may differ.
    pub fn all_close(&self, other: &Array, rtol: f64, atol: f64) -> bool {
        let close = |i| {
            let (a, b) = (self.at(i), other.at(i));
            a == b || (b.is_finite() && (a - b).abs() <= atol + rtol * b.abs())
        };
        self.shape() == other.shape() && (0..self.size()).all(close)
    }
}

/// Element by element, as for doubles; arrays of different shapes are never close.
#[cfg(feature = "approx")]
mod approximately {
    use super::*;
    use approx::{AbsDiffEq, RelativeEq};

    fn each(a: &Array, b: &Array, close: impl Fn(f64, f64) -> bool) -> bool {
        a.shape() == b.shape() && (0..a.size()).all(|i| close(a.at(i), b.at(i)))
    }

    impl AbsDiffEq for Array {
        type Epsilon = f64;
        fn default_epsilon() -> f64 {
            f64::default_epsilon()
        }
        fn abs_diff_eq(&self, other: &Array, epsilon: f64) -> bool {
            each(self, other, |a, b| a.abs_diff_eq(&b, epsilon))
        }
    }

    impl RelativeEq for Array {
        fn default_max_relative() -> f64 {
            f64::default_max_relative()
        }
        fn relative_eq(&self, other: &Array, epsilon: f64, max_relative: f64) -> bool {
            each(self, other, |a, b| a.relative_eq(&b, epsilon, max_relative))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[cfg(feature = "approx")]
    #[test]
    fn approx_compares_element_by_element() {
        let a = Array::from([1.0, 1e6]);
        approx::assert_relative_eq!(a, Array::from([1.0, 1e6 + 0.1]), max_relative = 1e-6);
        approx::assert_abs_diff_ne!(a, Array::from([1.0, 1e6 + 0.1]), epsilon = 0.01);
        approx::assert_relative_ne!(a, a.reshape([2, 1]));
    }

    #[test]
    fn equality_looks_at_dtype_shape_and_elements() {
        let a = Array::from([1.0, 2.0]);
        assert_eq!(a, Array::new([2], [1.0, 2.0]));
        assert_ne!(a, a.cast(DType::F32));
        assert_ne!(a, a.reshape([2, 1]));
        assert_ne!(a, Array::from([1.0, 3.0]));
        assert_ne!(Array::scalar(f64::NAN), Array::scalar(f64::NAN));
    }

    #[test]
    fn closeness_is_relative_to_the_other() {
        let (a, inf) = (Array::from([1.0, 100.0]), f64::INFINITY);
        assert!(a.all_close(&Array::from([1.0f32, 100.5]), 0.01, 0.0));
        assert!(!a.all_close(&Array::from([1.02, 100.0]), 0.01, 0.0));
        assert!(a.all_close(&Array::from([1.5, 100.5]), 0.0, 0.5));
        assert!(!a.all_close(&a.reshape([1, 2]), 1.0, 1.0));
        assert!(Array::scalar(inf).all_close(&Array::scalar(inf), 0.0, 0.0));
        assert!(!Array::scalar(1.0).all_close(&Array::scalar(inf), 1.0, 1.0), "an infinite tolerance is none");
        assert!(!Array::scalar(f64::NAN).all_close(&Array::scalar(f64::NAN), 1.0, 1.0));
    }
}
