//! Which examples are kept aside to test a model?

use crate::{
    DataError, Dataset,
    shuffle::{generator, shuffle},
};
use std::collections::BTreeMap;
use wengert_core::DType;

/// Whether a split looks at the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stratify {
    /// Every row is equally likely to be in the test part.
    No,
    /// Each label keeps its share: its rows in the test part are its number times the fraction, rounded up or down.
    /// The labels have dtype `I64` and one axis.
    ByLabel,
}

/// A training part and a test part of `test_fraction` of the rows, to the nearest whole number but never empty. Rows keep their order.
///
/// The same seed gives the same split. An error for a fraction outside `(0, 1)` and for fewer than two rows.
///
/// ```
/// use wengert_data::{Stratify, digits, train_test_split};
/// let (train, test) = train_test_split(&digits(), 0.25, 1, Stratify::ByLabel)?;
/// assert_eq!((train.len(), test.len()), (1348, 449));
/// # Ok::<(), wengert_data::DataError>(())
/// ```
pub fn train_test_split(data: &Dataset, test_fraction: f64, seed: u64, stratify: Stratify) -> Result<(Dataset, Dataset), DataError> {
    if !(test_fraction > 0.0 && test_fraction < 1.0) {
        return Err(DataError::Fraction(test_fraction));
    }
    let rows = data.rows()?;
    if rows < 2 {
        return Err(DataError::Rows { expected: 2, found: rows });
    }
    let mut groups = match stratify {
        Stratify::No => vec![(0..rows).collect()],
        Stratify::ByLabel => by_label(data)?,
    };
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let mut rng = generator(seed, 0);
    let mut in_test = vec![false; rows];
    for (group, quota) in groups.iter_mut().zip(quotas(&sizes, rows, test_fraction)) {
        shuffle(group, &mut rng);
        group[..quota].iter().for_each(|&row| in_test[row] = true);
    }
    let part = |test| data.select(&(0..rows).filter(|&row| in_test[row] == test).collect::<Vec<_>>());
    Ok((part(false), part(true)))
}

/// The rows of each label, labels ascending.
fn by_label(data: &Dataset) -> Result<Vec<Vec<usize>>, DataError> {
    if data.y.dtype() != DType::I64 {
        return Err(DataError::DType { what: "labels", expected: "i64", found: data.y.dtype() });
    }
    if data.y.rank() != 1 {
        return Err(DataError::Shape { what: "labels", expected: "[rows]".into(), found: data.y.shape().to_vec() });
    }
    let mut groups = BTreeMap::<i64, Vec<usize>>::new();
    for (row, &label) in data.y.as_slice::<i64>().iter().enumerate() {
        groups.entry(label).or_default().push(row);
    }
    Ok(groups.into_values().collect())
}

/// How many rows of each group are tested: its share rounded down, then one more for those that lost most until the total is right.
fn quotas(sizes: &[usize], rows: usize, fraction: f64) -> Vec<usize> {
    let total = ((rows as f64 * fraction).round() as usize).clamp(1, rows - 1);
    let share = |i: usize| sizes[i] as f64 * fraction;
    let mut quotas: Vec<usize> = (0..sizes.len()).map(|i| share(i) as usize).collect();
    let mut by_loss: Vec<usize> = (0..sizes.len()).collect();
    by_loss.sort_by(|&a, &b| share(b).fract().total_cmp(&share(a).fract()));
    let missing = total.saturating_sub(quotas.iter().sum());
    by_loss.iter().take(missing).for_each(|&i| quotas[i] += 1);
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use wengert_core::Array;

    /// Labels with row `i` holding `x = i`.
    fn labelled(y: Vec<i64>) -> Dataset {
        Dataset::new(Array::from_fn([y.len(), 1], |i| i[0] as f32), Array::from(y)).unwrap()
    }

    #[test]
    fn every_label_keeps_its_share() {
        let mut rng = generator(9, 0);
        for round in 0..300 {
            let rows = 2 + rng.next_u64() as usize % 200;
            let data = labelled((0..rows).map(|_| (rng.next_u64() % 7 * (rng.next_u64() % 3)) as i64 - 3).collect());
            let fraction = (rng.next_u64() % 999 + 1) as f64 / 1000.0;
            let (train, test) = train_test_split(&data, fraction, round, Stratify::ByLabel).unwrap();
            assert_eq!(train.len() + test.len(), rows);
            assert!(!train.is_empty() && !test.is_empty());
            assert!((test.len() as f64 - rows as f64 * fraction).abs() < 1.0);
            let count = |d: &Dataset, label| d.y.as_slice::<i64>().iter().filter(|&&v| v == label).count() as f64;
            for label in -3..10 {
                assert!((count(&test, label) - count(&data, label) * fraction).abs() < 1.0, "label {label}, fraction {fraction}");
            }
        }
    }

    #[test]
    fn each_row_is_in_one_part_with_its_label() {
        let data = labelled((0..50).map(|i| i * i).collect());
        for stratify in [Stratify::No, Stratify::ByLabel] {
            let (train, test) = train_test_split(&data, 0.3, 4, stratify).unwrap();
            let mut rows: Vec<f32> = [train.x.to_vec::<f32>(), test.x.to_vec()].concat();
            rows.sort_by(f32::total_cmp);
            assert_eq!(rows, data.x.to_vec::<f32>());
            assert!(test.x.to_f64_vec().iter().zip(test.y.to_f64_vec()).all(|(x, y)| x * x == y));
            assert_eq!(test.len(), 15);
        }
    }

    #[test]
    fn the_seed_decides_the_split() {
        let data = labelled((0..100).map(|i| i % 4).collect());
        let split = |seed| train_test_split(&data, 0.5, seed, Stratify::ByLabel).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        let data = labelled(vec![0, 1, 0]);
        for fraction in [0.0, 1.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            let e = train_test_split(&data, fraction, 0, Stratify::No);
            assert!(matches!(e, Err(DataError::Fraction(f)) if f.to_bits() == fraction.to_bits()));
        }
        for rows in [0, 1] {
            let e = train_test_split(&labelled(vec![0; rows]), 0.5, 0, Stratify::ByLabel);
            assert!(matches!(e, Err(DataError::Rows { expected: 2, found }) if found == rows));
        }
        let broken = Dataset { x: data.x.clone(), y: Array::from([1, 2]) };
        assert!(matches!(train_test_split(&broken, 0.5, 0, Stratify::No), Err(DataError::Shape { .. })));
        let floats = Dataset { x: data.x.clone(), y: Array::from([1.0, 2.0, 3.0]) };
        assert!(matches!(train_test_split(&floats, 0.5, 0, Stratify::ByLabel), Err(DataError::DType { .. })));
        assert!(train_test_split(&floats, 0.5, 0, Stratify::No).is_ok());
    }
}
