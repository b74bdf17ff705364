//! How are units left out at random during training?
//!
//! Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout" (JMLR 2014), <https://jmlr.org/papers/v15/srivastava14a.html>.

use wengert::Tensor;
use wengert_derive::Tree;

use super::Layer;
use crate::Pass;

/// In training sets each element to 0 with probability `p` and multiplies the others by `1 / (1 - p)`, so that means are kept; in
/// evaluation does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Tree)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// With the probability that an element is left out.
    ///
    /// # Panics
    /// Unless `0 <= p < 1`.
    #[track_caller]
    pub fn new(p: f64) -> Self {
        if !(0.0..1.0).contains(&p) {
            panic!("Dropout::new: expected a probability in [0, 1), got {p}");
        }
        Dropout { p }
    }

    /// The probability that an element is left out.
    pub fn p(&self) -> f64 {
        self.p
    }
}

impl<'t> Layer<'t> for Dropout {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        match pass.key() {
            Some(key) if self.p > 0.0 => {
                let keep = x.tape().bernoulli(1.0 - self.p, x.shape(), key);
                keep.select(x * (1.0 / (1.0 - self.p)), 0)
            }
            _ => x,
        }
    }
}
