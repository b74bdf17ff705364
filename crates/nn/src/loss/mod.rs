//! How far is an output from what it should be? Each loss is an ordinary differentiable function of tensors.

mod classes;
mod distance;
mod divergence;

use wengert::Tensor;

pub use classes::{binary_cross_entropy_with_logits, cross_entropy, cross_entropy_with_probabilities, nll_loss};
pub use distance::{huber_loss, l1_loss, mse_loss, smooth_l1_loss};
pub use divergence::kl_div;

/// What becomes of the losses of single elements or examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// Their sum, divided by the length of the first axis.
    BatchMean,
    /// They are given as they are.
    None,
}

impl Reduction {
    fn of(self, losses: Tensor<'_>) -> Tensor<'_> {
        match self {
            Reduction::Mean => losses.mean(),
            Reduction::Sum => losses.sum(),
            Reduction::BatchMean => losses.sum() / losses.shape().first().map_or(1.0, |&n| n as f64),
            Reduction::None => losses,
        }
    }
}

/// Refuses operands of two shapes: broadcasting a target of `[n]` against an output of `[n, 1]` is a mistake that would train.
#[track_caller]
fn same_shape(name: &str, y: Tensor<'_>, target: Tensor<'_>) {
    if y.shape() != target.shape() {
        panic!(
            "{name}: expected output and target of one shape\n  {y:?}\n  {target:?}\n  hint: reshape or broadcast_to, whichever is meant"
        );
    }
}
