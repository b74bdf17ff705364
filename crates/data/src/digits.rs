//! Which data set can be had without a download?

use crate::{Csv, Dataset};
use wengert_core::DType;

const FILE: &[u8] = include_bytes!("../data/digits.csv");

/// 1,797 handwritten digits: `x` of shape `[1797, 64]` and dtype `F32`, an 8×8 image each, row by row, grey levels 0 to 16;
/// `y` of shape `[1797]` and dtype `I64`, the digit.
///
/// The test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository,
/// doi:10.24432/C50P49, CC BY 4.0.
///
/// ```
/// let digits = wengert_data::digits();
/// assert_eq!(&**digits.x.shape(), [1797, 64]);
/// assert_eq!(digits.y.as_slice::<i64>()[..3], [0, 1, 2]);
/// ```
pub fn digits() -> Dataset {
    let table = Csv::default().parse(FILE).expect("the file that the crate ships is a table");
    Dataset::from_table(&table, 64, DType::F32).expect("the labels that the crate ships are whole numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_whole() {
        let data = digits();
        let (x, y) = (data.x.as_slice::<f32>(), data.y.as_slice::<i64>());
        assert_eq!((x.len(), y.len()), (1797 * 64, 1797));
        assert!(x.iter().all(|v| (0.0..=16.0).contains(v) && v.fract() == 0.0));
        let mut counts = [0; 10];
        y.iter().for_each(|&v| counts[v as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(x.iter().map(|&v| f64::from(v)).sum::<f64>(), 561_718.0);
    }
}
