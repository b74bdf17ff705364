//! In which portions do the examples reach a model?

use crate::{
    DataError, Dataset,
    dataset::rows_of,
    shuffle::{generator, shuffle},
};
use wengert_core::Array;

/// What happens to the rows at the end of an epoch that do not fill a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// They are a smaller batch.
    Keep,
    /// They are left out in this epoch.
    Drop,
}

/// Mini-batches in a new order each epoch. The order is decided by the seed and the epoch's number alone, so that training can resume.
///
/// ```
/// use wengert_core::Array;
/// use wengert_data::{Batches, Dataset, Last};
/// let data = Dataset::new(Array::from([[0.0], [1.0], [2.0]]), Array::from([0, 1, 2]))?;
/// let mut batches = Batches::new(&data, 2, Last::Keep, 42)?;
/// let sizes: Vec<usize> = batches.epoch(0).map(|(x, _)| x.shape()[0]).collect();
/// assert_eq!(sizes, [2, 1]);
/// # Ok::<(), wengert_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    data: Dataset, // shares the caller's memory
    size: usize,
    last: Last,
    seed: u64,
    order: Vec<usize>,
}

impl Batches {
    /// Batches of `size` rows. An error for a data set without rows and for a size of 0.
    pub fn new(data: &Dataset, size: usize, last: Last, seed: u64) -> Result<Batches, DataError> {
        let rows = data.rows()?;
        if rows == 0 {
            return Err(DataError::Rows { expected: 1, found: 0 });
        }
        if size == 0 {
            return Err(DataError::BatchSize);
        }
        Ok(Batches { data: data.clone(), size, last, seed, order: vec![0; rows] })
    }

    /// Number of batches in an epoch.
    pub fn len(&self) -> usize {
        match self.last {
            Last::Keep => self.order.len().div_ceil(self.size),
            Last::Drop => self.order.len() / self.size,
        }
    }

    /// Whether an epoch has no batches: the size is larger than the data set, and the last batch is dropped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches `(x, y)` of one epoch. Each is copied when it is asked for.
    pub fn epoch(&mut self, epoch: u64) -> Epoch<'_> {
        self.order.iter_mut().enumerate().for_each(|(i, place)| *place = i);
        shuffle(&mut self.order, &mut generator(self.seed, epoch));
        let taken = self.len().saturating_mul(self.size).min(self.order.len());
        Epoch { data: &self.data, places: self.order[..taken].chunks(self.size) }
    }
}

/// The batches of one epoch, see [`Batches::epoch`].
#[derive(Clone, Debug)]
pub struct Epoch<'a> {
    data: &'a Dataset,
    places: std::slice::Chunks<'a, usize>,
}

impl Iterator for Epoch<'_> {
    type Item = (Array, Array);
    fn next(&mut self) -> Option<(Array, Array)> {
        let places = self.places.next()?;
        Some((rows_of(&self.data.x, places), rows_of(&self.data.y, places)))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for Epoch<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use wengert_core::DType;

    fn numbered(rows: usize) -> Dataset {
        Dataset::new(Array::from_fn([rows, 2], |i| (10 * i[0] + i[1]) as f32), Array::arange(DType::I64, rows)).unwrap()
    }

    /// The labels in the order in which an epoch brings them.
    fn order(batches: &mut Batches, epoch: u64) -> Vec<i64> {
        batches.epoch(epoch).flat_map(|(_, y)| y.to_vec::<i64>()).collect()
    }

    #[test]
    fn an_epoch_brings_every_row_once_with_its_label() {
        for (rows, size) in [(10, 3), (9, 3), (1, 1), (4, 100), (5, usize::MAX)] {
            let mut batches = Batches::new(&numbered(rows), size, Last::Keep, 1).unwrap();
            assert_eq!(batches.epoch(0).len(), batches.len());
            let mut seen = order(&mut batches, 0);
            for (x, y) in batches.epoch(0) {
                assert!(x.shape()[0] <= size);
                assert!(x.to_f64_vec().chunks(2).zip(y.to_f64_vec()).all(|(x, y)| x == [10.0 * y, 10.0 * y + 1.0]));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..rows as i64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn seed_and_epoch_decide_the_order() {
        let mut a = Batches::new(&numbered(40), 7, Last::Keep, 5).unwrap();
        let (first, second) = (order(&mut a, 0), order(&mut a, 1));
        assert_ne!(first, second);
        assert_eq!(order(&mut a, 0), first, "whatever epochs were asked for before");
        assert_eq!(order(&mut Batches::new(&numbered(40), 3, Last::Keep, 5).unwrap(), 1), second, "whatever the size");
        assert_ne!(order(&mut Batches::new(&numbered(40), 7, Last::Keep, 6).unwrap(), 0), first);
    }

    #[test]
    fn a_last_smaller_batch_can_be_dropped() {
        let mut batches = Batches::new(&numbered(10), 4, Last::Drop, 0).unwrap();
        assert_eq!(batches.len(), 2);
        assert!(batches.epoch(3).all(|(x, _)| x.shape()[0] == 4));
        let mut none = Batches::new(&numbered(3), 4, Last::Drop, 0).unwrap();
        assert!(none.is_empty() && none.epoch(0).next().is_none());
    }

    #[test]
    fn no_rows_and_no_size_are_errors() {
        assert!(matches!(Batches::new(&numbered(0), 4, Last::Keep, 0), Err(DataError::Rows { .. })));
        assert!(matches!(Batches::new(&numbered(4), 0, Last::Keep, 0), Err(DataError::BatchSize)));
        let broken = Dataset { x: Array::from([1.0]), y: Array::from([1, 2]) };
        assert!(matches!(Batches::new(&broken, 1, Last::Keep, 0), Err(DataError::Shape { .. })));
    }
}
