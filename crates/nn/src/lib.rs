//! Neurons, layers, losses and optimizers as differentiable functions on Wengert tensors.
//!
//! A model is a tree of arrays. [`Bind::on`] puts it onto a tape, layers and losses record what they compute, [`grads`] gives
//! gradients in the shape of the model, an optimizer's `step` gives the next model and the next state: all of them tensors on
//! one tape, so anything can be differentiated with respect to anything, learning rates included.
//!
//! ```
//! # extern crate wengert_core as wengert;
//! use wengert::{Array, DType, Tape};
//! use wengert_nn::{Bind, Layer, Linear, Pass, Reduction, Sgd, Tanh, grads, mse_loss};
//!
//! let mut model = (Linear::new(1, 8, 1), Tanh, Linear::new(8, 1, 2)).cast(DType::F64);
//! let sgd = Sgd::new(0.1);
//! let mut state = sgd.init(&model);
//! let x = Array::from([[-1.0], [0.0], [1.0]]);
//! let mut losses = vec![];
//! for _ in 0..20 {
//!     let tape = Tape::new();
//!     let (m, s) = (model.on(&tape), state.on(&tape));
//!     let x = tape.constant(&x);
//!     let loss = mse_loss(m.forward(x, &Pass::eval()), x * x, Reduction::Mean);
//!     let next = sgd.step(&m, &grads(loss, &m), &s);
//!     losses.push(tape.eval_and_update(&loss, (&mut model, &mut state), next).item());
//! }
//! assert!(losses[19] < 0.5 * losses[0]);
//! ```

extern crate wengert_core as wengert;

mod bind;
mod init;
mod layers;
mod loss;
mod metrics;
mod optim;
mod pass;
mod save;

pub use bind::{Bind, OnTape, UnreachedParam, grads, grads_or_zero, try_grads};
pub use init::{Fan, Init};
pub use layers::Activation::{self, Elu, Gelu, Identity, LeakyRelu, Relu, Sigmoid, Softmax, Softplus, Step, Tanh};
pub use layers::{
    Apply, AvgPool2d, Conv2d, Dropout, Embedding, Flatten, Layer, LayerNorm, Linear, Lstm, MaxPool2d, MultiHeadAttention, Neuron, Residual,
    TransformerBlock,
};
pub use loss::{
    Reduction, binary_cross_entropy_with_logits, cross_entropy, cross_entropy_with_probabilities, huber_loss, kl_div, l1_loss, mse_loss,
    nll_loss, smooth_l1_loss,
};
pub use metrics::{accuracy, predictions};
pub use optim::{Adam, AdamState, AdamW, Hyper, Schedule, Sgd, SgdState, clip_by_norm, global_norm};
pub use pass::Pass;
pub use save::{Difference, HEADER_LIMIT, SaveError, from_bytes, load, save, to_bytes};
