//! How wrong is a guess among classes?

use wengert::{DType, Tensor};

use super::{Reduction, same_shape};

/// `-ln softmax(logits)[target]`: `[.., classes]`, `i64 [..] -> [..]` before the reduction, as `torch.nn.functional.cross_entropy`
/// with the classes on the last axis. Computed from the logarithm of softmax, so that large logits do not overflow.
///
/// # Panics
/// When the shapes do not fit or the target is not `i64`; a class out of range fails when a value is read.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Reduction, cross_entropy};
/// let tape = Tape::new();
/// let logits = tape.leaf(&Array::from([[0.0, 0.0], [1000.0, 0.0]]));
/// let target = tape.constant(&Array::from([1, 0]));
/// let losses = cross_entropy(logits, target, Reduction::None);
/// assert_eq!(losses.value(), Array::from([2f64.ln(), 0.0]));
/// ```
#[track_caller]
pub fn cross_entropy<'t>(logits: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    reduction.of(picked("cross_entropy", logits, target, |x| x.log_softmax(-1)))
}

/// `-log_probs[target]`: [`cross_entropy`] of what is a logarithm of probabilities already, as `torch.nn.functional.nll_loss` with the
/// classes on the last axis.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn nll_loss<'t>(log_probs: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    reduction.of(picked("nll_loss", log_probs, target, |x| x))
}

#[track_caller]
fn picked<'t>(name: &str, x: Tensor<'t>, target: Tensor<'t>, log_probs: fn(Tensor<'t>) -> Tensor<'t>) -> Tensor<'t> {
    let (outputs, examples) = (x.shape(), target.shape());
    if target.dtype() != DType::I64 || outputs.rank() != examples.rank() + 1 || outputs[..examples.rank()] != examples[..] {
        panic!("{name}: expected outputs [.., classes] and an i64 class for each row [..]\n  {x:?}\n  {target:?}");
    }
    -log_probs(x).gather(-1, target.unsqueeze(-1)).squeeze(-1)
}

/// `-Σ target ln softmax(logits)` along the last axis, for targets that are probabilities: `[.., classes]` twice. Differentiable in
/// both.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn cross_entropy_with_probabilities<'t>(logits: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    same_shape("cross_entropy_with_probabilities", logits, target);
    reduction.of(-(target * logits.log_softmax(-1)).sum_over(&[-1]))
}

/// `-(t ln σ(x) + (1 - t) ln(1 - σ(x)))` for logits `x` and targets `t` between 0 and 1, as the PyTorch function of that name.
///
/// Written as `t softplus(-x) + (1 - t) softplus(x)`, which is exact for logits of any size and has the slope `σ(x) - t` everywhere.
///
/// # Panics
/// When the shapes differ.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Reduction, binary_cross_entropy_with_logits};
/// let tape = Tape::new();
/// let (x, t) = (tape.leaf(&Array::from([0.0, 800.0])), tape.constant(&Array::from([1.0, 1.0])));
/// let loss = binary_cross_entropy_with_logits(x, t, Reduction::Sum);
/// let [g] = loss.grad([x]);
/// assert_eq!((loss.item(), g.value()), (2f64.ln(), Array::from([-0.5, 0.0])));
/// ```
#[track_caller]
pub fn binary_cross_entropy_with_logits<'t>(logits: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    same_shape("binary_cross_entropy_with_logits", logits, target);
    reduction.of(target * (-logits).softplus() + (1.0 - target) * logits.softplus())
}
