//! Where do examples come from, and in which portions do they reach a model? Data sets, splits, scaling and mini-batches.
//!
//! ```
//! use wengert_data::{Batches, Last, Standardize, Stratify, digits, train_test_split};
//! # fn main() -> Result<(), wengert_data::DataError> {
//! let (train, test) = train_test_split(&digits(), 0.2, 7, Stratify::ByLabel)?;
//! let scale = Standardize::fit(&train.x)?;
//! let (train, test) = (train.with_x(scale.transform(&train.x)?)?, test.with_x(scale.transform(&test.x)?)?);
//! assert_eq!((train.len(), test.len()), (1438, 359));
//!
//! let mut batches = Batches::new(&train, 32, Last::Drop, 7)?;
//! for epoch in 0..2 {
//!     for (x, y) in batches.epoch(epoch) {
//!         assert_eq!((&**x.shape(), &**y.shape()), (&[32, 64][..], &[32][..]));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod batches;
mod csv;
mod dataset;
mod digits;
mod error;
mod idx;
mod scale;
mod shuffle;
mod split;

pub use batches::{Batches, Epoch, Last};
pub use csv::Csv;
pub use dataset::Dataset;
pub use digits::digits;
pub use error::DataError;
pub use idx::Idx;
pub use scale::Standardize;
pub use split::{Stratify, train_test_split};
