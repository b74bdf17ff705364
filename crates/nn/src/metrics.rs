//! How often is a classifier right?

use wengert::Tensor;

/// The class of the largest output: `[.., classes] -> i64 [..]`; the first of several.
#[track_caller]
pub fn predictions(outputs: Tensor<'_>) -> Tensor<'_> {
    outputs.argmax_axis(-1)
}

/// The share of rows whose largest output is at the class of `labels`: `[.., classes]`, `i64 [..] -> f32 []`.
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// let tape = Tape::new();
/// let outputs = tape.constant(&Array::from([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4], [0.6, 0.4]]));
/// let labels = tape.constant(&Array::from([1, 0, 1, 1]));
/// assert_eq!(wengert_nn::accuracy(outputs, labels).item(), 0.75);
/// ```
#[track_caller]
pub fn accuracy<'t>(outputs: Tensor<'t>, labels: Tensor<'t>) -> Tensor<'t> {
    let guesses = predictions(outputs);
    if guesses.shape() != labels.shape() {
        panic!("accuracy: expected a label for each row\n  {outputs:?}\n  {labels:?}");
    }
    guesses.eq(labels).mean()
}
