//! How much does one distribution differ from another?
//!
//! Kullback and Leibler, "On information and sufficiency" (1951), doi:10.1214/aoms/1177729694.

use wengert::Tensor;

use super::{Reduction, same_shape};

/// `target (ln target - input)` for an input that is a logarithm of probabilities and a target of probabilities, element by element
/// before the reduction, as `torch.nn.functional.kl_div`. [`Reduction::BatchMean`] gives the divergence of Kullback and Leibler.
///
/// Where the target is 0 the term and its derivatives are 0, whatever the input.
///
/// # Panics
/// When the shapes differ.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Reduction, kl_div};
/// let tape = Tape::new();
/// let q = tape.leaf(&Array::from([[0.5, 0.5]]));
/// let p = tape.constant(&Array::from([[1.0, 0.0]]));
/// assert_eq!(kl_div(q.ln(), p, Reduction::BatchMean).item(), 2f64.ln());
/// ```
#[track_caller]
pub fn kl_div<'t>(input: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    same_shape("kl_div", input, target);
    let none = target.eq(0);
    // Chosen before they are combined: zero times an infinite logarithm would be NaN in the derivatives.
    let (log_target, log_input) = (none.select(1, target).ln(), none.select(0, input));
    reduction.of(target * (log_target - log_input))
}
