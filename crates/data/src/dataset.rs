//! What is a data set?

use crate::DataError;
use wengert_core::{Array, DType, Element};

/// Examples and what is to be predicted of them: row `i` of `y` belongs to row `i` of `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The examples, `[rows, ..]`.
    pub x: Array,
    /// The labels or targets, `[rows, ..]`.
    pub y: Array,
}

impl Dataset {
    /// Both have at least one axis, of equal length.
    pub fn new(x: Array, y: Array) -> Result<Dataset, DataError> {
        let data = Dataset { x, y };
        data.rows()?;
        Ok(data)
    }

    /// Splits a table `[rows, columns]` into the labels (`I64`) in one column and the rest, of dtype `F32` or `F64`.
    ///
    /// ```
    /// use wengert_core::{Array, DType};
    /// let table = Array::from([[0.5, 1.0], [2.5, 0.0]]);
    /// let data = wengert_data::Dataset::from_table(&table, 1, DType::F32)?;
    /// assert_eq!((data.x, data.y), (Array::from([[0.5f32], [2.5]]), Array::from([1, 0])));
    /// # Ok::<(), wengert_data::DataError>(())
    /// ```
    pub fn from_table(table: &Array, label: usize, dtype: DType) -> Result<Dataset, DataError> {
        let &[rows, columns] = &**table.shape() else {
            return Err(DataError::Shape { what: "table", expected: "[rows, columns]".into(), found: table.shape().to_vec() });
        };
        if label >= columns {
            return Err(DataError::Column { column: label, columns });
        }
        let cell = |i: usize, j: usize| table.get(&[i, j]);
        for row in 0..rows {
            let found = cell(row, label);
            if found.fract() != 0.0 || found.abs() > (1u64 << 53) as f64 {
                return Err(DataError::Label { row, found });
            }
        }
        let feature = |i: &[usize]| cell(i[0], if i[1] < label { i[1] } else { i[1] + 1 });
        let x = match dtype {
            DType::F32 => Array::from_fn([rows, columns - 1], |i| feature(i) as f32),
            DType::F64 => Array::from_fn([rows, columns - 1], feature),
            found => return Err(DataError::DType { what: "features", expected: "f32 or f64", found }),
        };
        Dataset::new(x, Array::from_fn(rows, |i| cell(i[0], label) as i64))
    }

    /// Number of rows; 0 when there is no first axis.
    pub fn len(&self) -> usize {
        self.x.shape().first().copied().unwrap_or(0)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same labels with other examples.
    pub fn with_x(&self, x: Array) -> Result<Dataset, DataError> {
        Dataset::new(x, self.y.clone())
    }

    /// The rows at these places, in this order. Panics when a place is not below [`Dataset::len`].
    #[track_caller]
    pub fn select(&self, places: &[usize]) -> Dataset {
        match self.rows() {
            Ok(rows) if places.iter().all(|&i| i < rows) => {}
            Ok(rows) => panic!("select: expected places below {rows}, got {:?}", places.iter().max()),
            Err(e) => panic!("select: {e}"),
        }
        Dataset { x: rows_of(&self.x, places), y: rows_of(&self.y, places) }
    }

    /// Number of rows, if both parts agree on it.
    pub(crate) fn rows(&self) -> Result<usize, DataError> {
        let wrong = |what, expected: String, a: &Array| DataError::Shape { what, expected, found: a.shape().to_vec() };
        let Some(&rows) = self.x.shape().first() else { return Err(wrong("x", "[rows, ..]".into(), &self.x)) };
        if self.y.shape().first() != Some(&rows) {
            return Err(wrong("y", format!("[{rows}, ..] as x has"), &self.y));
        }
        Ok(rows)
    }
}

/// Rows of an array, copied; one allocation.
pub(crate) fn rows_of(from: &Array, places: &[usize]) -> Array {
    fn copy<T: Element>(from: &Array, places: &[usize], to: &mut Array) {
        let width = from.shape()[1..].iter().product::<usize>();
        if width == 0 {
            return;
        }
        let from = from.as_slice::<T>();
        for (row, &i) in to.as_mut_slice::<T>().chunks_exact_mut(width).zip(places) {
            row.copy_from_slice(&from[i * width..(i + 1) * width]);
        }
    }
    let mut dims = from.shape().to_vec();
    dims[0] = places.len();
    let mut to = Array::zeros(from.dtype(), dims);
    match from.dtype() {
        DType::F32 => copy::<f32>(from, places, &mut to),
        DType::F64 => copy::<f64>(from, places, &mut to),
        DType::I64 => copy::<i64>(from, places, &mut to),
        DType::Bool => copy::<bool>(from, places, &mut to),
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let (x, y) = (Array::from([[1.0], [2.0]]), Array::from([0, 1]));
        assert!(matches!(Dataset::new(x.clone(), Array::from([0, 1, 2])), Err(DataError::Shape { what: "y", .. })));
        assert!(matches!(Dataset::new(Array::scalar(1.0), y.clone()), Err(DataError::Shape { what: "x", .. })));
        assert!(matches!(Dataset::new(x.clone(), Array::scalar(1)), Err(DataError::Shape { what: "y", .. })));
        assert_eq!(Dataset::new(x, y).unwrap().len(), 2);
    }

    #[test]
    fn tables_with_strange_labels_are_refused() {
        let table = |v: f64| Array::from([[1.0, 2.0], [v, 3.0]]);
        for v in [0.5, f64::NAN, f64::INFINITY, 1e300] {
            assert!(matches!(Dataset::from_table(&table(v), 0, DType::F32), Err(DataError::Label { row: 1, .. })), "{v}");
        }
        assert!(matches!(Dataset::from_table(&table(1.0), 2, DType::F32), Err(DataError::Column { column: 2, columns: 2 })));
        assert!(matches!(Dataset::from_table(&table(1.0), 0, DType::I64), Err(DataError::DType { .. })));
        assert!(matches!(Dataset::from_table(&Array::from([1.0]), 0, DType::F32), Err(DataError::Shape { .. })));
        assert!(Dataset::from_table(&Array::zeros(DType::F64, [0, 3]), 0, DType::F64).unwrap().is_empty());
    }

    #[test]
    fn selected_rows_stay_together() {
        let data = Dataset::new(Array::from([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]), Array::from([true, false, true])).unwrap();
        let some = data.select(&[2, 1, 2]);
        assert_eq!(some.x, Array::from([[5.0f32, 6.0], [3.0, 4.0], [5.0, 6.0]]));
        assert_eq!(some.y, Array::from([true, false, true]));
        assert!(data.select(&[]).is_empty());
        assert!(std::panic::catch_unwind(|| data.select(&[3])).is_err());
    }
}
