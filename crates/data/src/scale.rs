//! How are columns brought to mean 0 and deviation 1?

use crate::DataError;
use wengert_core::{Array, DType, Element};

/// Mean and standard deviation of each column of one array, to be applied to others of the same columns.
///
/// Fit it on the training part only: what is known of the test part must not reach the model.
///
/// ```
/// use wengert_core::Array;
/// use wengert_data::Standardize;
/// let scale = Standardize::fit(&Array::from([[1.0, 7.0], [3.0, 7.0]]))?;
/// assert_eq!((scale.mean(), scale.scale()), (&[2.0, 7.0][..], &[1.0, 1.0][..]));
/// assert_eq!(scale.transform(&Array::from([[5.0, 8.0]]))?, Array::from([[3.0, 1.0]]));
/// # Ok::<(), wengert_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Standardize {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardize {
    /// Of `[rows, columns]`, dtype `F32` or `F64`, in double precision. The variance divides by the number of rows.
    ///
    /// A constant column gets scale 1. An error without rows, for numbers that are not finite, and when a deviation overflows.
    pub fn fit(x: &Array) -> Result<Standardize, DataError> {
        let (rows, columns) = table(x)?;
        if rows == 0 {
            return Err(DataError::Rows { expected: 1, found: 0 });
        }
        let values = x.to_f64_vec();
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(DataError::NotFinite { row: at / columns, column: at % columns, found: values[at] });
        }
        let (mut mean, mut scale) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
        for column in 0..columns {
            let (m, s) = moments(|| values.iter().skip(column).step_by(columns).copied(), rows);
            if !(m.is_finite() && s.is_finite()) {
                return Err(DataError::Overflow { column });
            }
            mean.push(m);
            scale.push(s);
        }
        Ok(Standardize { mean, scale })
    }

    /// Mean of each column.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// What each column is divided by: its deviation, or 1 for a constant column.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// `(x - mean) / scale` in each column; same shape and dtype.
    pub fn transform(&self, x: &Array) -> Result<Array, DataError> {
        self.each(x, |v, mean, scale| (v - mean) / scale)
    }

    /// `x * scale + mean` in each column: undoes [`Standardize::transform`] up to rounding.
    pub fn inverse(&self, x: &Array) -> Result<Array, DataError> {
        self.each(x, |v, mean, scale| v * scale + mean)
    }

    fn each(&self, x: &Array, f: impl Fn(f64, f64, f64) -> f64) -> Result<Array, DataError> {
        let (_, columns) = table(x)?;
        if columns != self.mean.len() {
            let expected = format!("[rows, {}] as in the array it was fitted to", self.mean.len());
            return Err(DataError::Shape { what: "x", expected, found: x.shape().to_vec() });
        }
        Ok(match x.dtype() {
            DType::F32 => self.map::<f32>(x, f),
            _ => self.map::<f64>(x, f),
        })
    }

    fn map<T: Element>(&self, x: &Array, f: impl Fn(f64, f64, f64) -> f64) -> Array {
        let mut y = x.clone();
        if !self.mean.is_empty() {
            for row in y.as_mut_slice::<T>().chunks_exact_mut(self.mean.len()) {
                for ((v, &mean), &scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                    *v = T::from_f64(f(v.to_f64(), mean, scale));
                }
            }
        }
        y
    }
}

/// Mean and deviation of a column with at least one row; 1 for the deviation of a constant column.
fn moments<I: Iterator<Item = f64>>(column: impl Fn() -> I, rows: usize) -> (f64, f64) {
    let (least, largest) = column().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if least == largest {
        // The sum of many equal numbers is rounded, and would leave a deviation that is nothing but that.
        return (least, 1.0);
    }
    let n = rows as f64;
    let mean = column().sum::<f64>() / n;
    // In units of the range, so that the squares neither overflow nor vanish.
    let range = largest - least;
    let deviation = range * (column().map(|v| ((v - mean) / range).powi(2)).sum::<f64>() / n).sqrt();
    // A deviation below the least double is taken for a constant column, since nothing can be divided by it.
    (mean, if deviation == 0.0 { 1.0 } else { deviation })
}

/// Rows and columns of an array of floats.
fn table(x: &Array) -> Result<(usize, usize), DataError> {
    if !x.dtype().is_float() {
        return Err(DataError::DType { what: "x", expected: "f32 or f64", found: x.dtype() });
    }
    match **x.shape() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(DataError::Shape { what: "x", expected: "[rows, columns]".into(), found: x.shape().to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_mean_0_and_deviation_1() {
        let x = Array::normal(DType::F64, [200, 3], 5.0, 3.0, 1);
        let y = Standardize::fit(&x).unwrap().transform(&x).unwrap();
        let again = Standardize::fit(&y).unwrap();
        assert!(again.mean().iter().all(|m| m.abs() < 1e-14), "{again:?}");
        assert!(again.scale().iter().all(|s| (s - 1.0).abs() < 1e-14), "{again:?}");
    }

    #[test]
    fn the_inverse_undoes() {
        let x = Array::normal(DType::F32, [50, 4], -2.0, 10.0, 2);
        let scale = Standardize::fit(&x).unwrap();
        let back = scale.inverse(&scale.transform(&x).unwrap()).unwrap();
        assert!(back.all_close(&x, 1e-6, 1e-6));
        assert_eq!(back.dtype(), DType::F32);
    }

    #[test]
    fn constant_columns_become_zero() {
        let x = Array::from_fn([1000, 2], |i| if i[1] == 0 { 0.1 } else { i[0] as f64 });
        let scale = Standardize::fit(&x).unwrap();
        assert_eq!((scale.mean()[0], scale.scale()[0]), (0.1, 1.0));
        assert!(scale.transform(&x).unwrap().to_f64_vec().iter().step_by(2).all(|&v| v == 0.0));
        let one_row = Array::from([[3.0, 4.0]]);
        assert_eq!(Standardize::fit(&one_row).unwrap().transform(&one_row).unwrap(), Array::from([[0.0, 0.0]]));
    }

    #[test]
    fn extreme_numbers_are_scaled_or_refused() {
        for size in [1e-320, 1e200] {
            let x = Array::from([[size], [3.0 * size]]);
            let y = Standardize::fit(&x).unwrap().transform(&x).unwrap();
            assert!(y.all_close(&Array::from([[-1.0], [1.0]]), 1e-2, 0.0), "{size} {y}");
        }
        let tiny = Array::from_fn([10_000, 1], |i| if i[0] == 0 { 5e-324 } else { 0.0 });
        assert_eq!(Standardize::fit(&tiny).unwrap().scale(), [1.0]);
        let x = Array::from([[0.0, f64::MAX], [1.0, -f64::MAX]]);
        assert!(matches!(Standardize::fit(&x), Err(DataError::Overflow { column: 1 })));
    }

    #[test]
    fn what_has_no_columns_of_numbers_is_an_error() {
        assert!(matches!(Standardize::fit(&Array::zeros(DType::F32, [0, 3])), Err(DataError::Rows { expected: 1, found: 0 })));
        assert!(matches!(Standardize::fit(&Array::from([1.0, 2.0])), Err(DataError::Shape { .. })));
        assert!(matches!(Standardize::fit(&Array::from([[1, 2]])), Err(DataError::DType { .. })));
        let nan = Array::from([[1.0, 2.0], [3.0, f64::NAN]]);
        assert!(matches!(Standardize::fit(&nan), Err(DataError::NotFinite { row: 1, column: 1, .. })));
        assert!(Standardize::fit(&Array::zeros(DType::F32, [3, 0])).unwrap().mean().is_empty());
        let scale = Standardize::fit(&Array::from([[1.0, 2.0]])).unwrap();
        assert!(matches!(scale.transform(&Array::from([[1.0]])), Err(DataError::Shape { .. })));
        assert_eq!(scale.transform(&Array::zeros(DType::F32, [0, 2])).unwrap().size(), 0);
    }
}
