//! How does a layer remember what it has seen of a sequence?
//!
//! Hochreiter and Schmidhuber, "Long short-term memory" (1997), doi:10.1162/neco.1997.9.8.1735.

use wengert::{Array, DType, Tensor, stack};
use wengert_derive::Tree;

use super::Layer;
use crate::{Init, Pass};

/// Long short-term memory, `[time, batch, in] -> [time, batch, hidden]`, as `torch.nn.LSTM` of one layer: in each step the gates
/// `i, f, g, o` are linear in the input and the output before, then `c = σ(f) c + σ(i) tanh(g)` and `h = σ(o) tanh(c)`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, DType, Tape, Tree};
/// use wengert_nn::{Bind, Lstm};
/// let lstm = Lstm::new(3, 4, 1);
/// assert_eq!(lstm.paths(), ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]);
/// let tape = Tape::new();
/// let x = tape.constant(&Array::normal(DType::F32, [6, 2, 3], 0.0, 1.0, 2));
/// let m = lstm.on(&tape);
/// let (all, _) = m.run(x, None);
/// let (first, state) = m.run(x.narrow(0, 0, 4), None);
/// let (rest, _) = m.run(x.narrow(0, 4, 2), Some(state));
/// assert_eq!((all.shape().to_vec(), first.shape()[0]), (vec![6, 2, 4], 4));
/// assert!(all.narrow(0, 4, 2).value().all_close(&rest.value(), 1e-6, 1e-6));
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Lstm<P = Array> {
    /// `[4 hidden, in]`: of the gates `i, f, g, o`.
    #[tree(rename = "weight_ih_l0")]
    pub weight_ih: P,
    /// `[4 hidden, hidden]`.
    #[tree(rename = "weight_hh_l0")]
    pub weight_hh: P,
    /// `[4 hidden]`.
    #[tree(rename = "bias_ih_l0")]
    pub bias_ih: P,
    /// A second one, which is there so that models can be exchanged with others.
    #[tree(rename = "bias_hh_l0")]
    pub bias_hh: Option<P>,
}

impl Lstm {
    /// With everything drawn uniformly within `±1/√hidden`, as PyTorch does; `f32`.
    ///
    /// # Panics
    /// When the sizes are too large for a shape.
    #[track_caller]
    pub fn new(inputs: usize, hidden: usize, seed: u64) -> Self {
        let bound = if hidden == 0 { 0.0 } else { 1.0 / (hidden as f64).sqrt() };
        let draw = |shape: &[usize], i: u64| Init::Uniform { low: -bound, high: bound }.array(DType::F32, shape, seed ^ i << 32);
        Lstm {
            weight_ih: draw(&[4 * hidden, inputs], 0),
            weight_hh: draw(&[4 * hidden, hidden], 1),
            bias_ih: draw(&[4 * hidden], 2),
            bias_hh: Some(draw(&[4 * hidden], 3)),
        }
    }

    /// With the first bias alone.
    pub fn with_one_bias(self) -> Self {
        Lstm { bias_hh: None, ..self }
    }
}

impl<'t> Lstm<Tensor<'t>> {
    /// The outputs of all steps and the state `(h, c)` after the last, from a state `[batch, hidden]` each; `None` is zeros.
    ///
    /// # Panics
    /// When this is no sequence `[time, batch, in]` of at least one step.
    #[track_caller]
    pub fn run(&self, x: Tensor<'t>, state: Option<(Tensor<'t>, Tensor<'t>)>) -> (Tensor<'t>, (Tensor<'t>, Tensor<'t>)) {
        let (shape, hidden) = (x.shape(), self.weight_hh.shape()[1]);
        let [time @ 1..=usize::MAX, batch, _] = shape[..] else { panic!("Lstm: expected a sequence [time, batch, in], got {x:?}") };
        let bias = self.bias_hh.map_or(self.bias_ih, |more| self.bias_ih + more);
        // All inputs at once: one long product instead of many short ones.
        let inputs = x.matmul(self.weight_ih.t()) + bias;
        let (mut h, mut c) = state.unwrap_or_else(|| {
            let zeros = x.tape().zeros(x.dtype(), [batch, hidden]);
            (zeros, zeros)
        });
        let mut outputs = Vec::with_capacity(time);
        for t in 0..time {
            let gates = inputs.at(t as isize) + h.matmul(self.weight_hh.t());
            let gate = |i: usize| gates.narrow(-1, i * hidden, hidden);
            c = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
            h = gate(3).sigmoid() * c.tanh();
            outputs.push(h);
        }
        (stack(&outputs, 0), (h, c))
    }
}

impl<'t> Layer<'t> for Lstm<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        self.run(x, None).0
    }
}
