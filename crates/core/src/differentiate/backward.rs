//! What did the parameters of a model receive? `backward` gives the gradient of every one of them, in one walk.

use super::{Unreached, unreached, vjp::pull};
use crate::{
    Tensor,
    record::{LeafKind, node::Operand},
};

/// The gradients of a scalar with respect to every parameter that was on the tape before it.
///
/// A parameter that was not reached is remembered as such, which is not the same as a gradient of zero. The gradients are tensors
/// on the same tape. For intermediate results and constants, name them: [`Tensor::grad`].
#[derive(Clone)]
pub struct Gradients<'t> {
    result: Tensor<'t>,
    /// By ascending node number.
    each: Vec<(Tensor<'t>, Option<Tensor<'t>>)>,
}

impl<'t> Tensor<'t> {
    /// Gradients of this scalar with respect to every float leaf made by [`Tape::leaf`](crate::Tape::leaf) before it, in one walk.
    ///
    /// # Panics
    /// At the caller when this is no float scalar.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (w, b) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from(3.0)));
    /// let x = tape.constant(&Array::from([0.5, -1.0]));
    /// let grads = ((w * x).sum() + b).backward();
    /// assert_eq!(grads.get(w).value(), Array::from([0.5, -1.0]));
    /// assert_eq!(grads.get(b).item(), 1.0);
    /// ```
    #[track_caller]
    pub fn backward(self) -> Gradients<'t> {
        let seed = self.seed("backward");
        let params = self.parameters();
        let pulled = pull(&[(self, seed)], &params);
        Gradients { result: self, each: params.into_iter().zip(pulled).collect() }
    }

    /// The float parameters recorded before this tensor, and itself if it is one.
    fn parameters(self) -> Vec<Tensor<'t>> {
        let r = self.tape.record();
        let last = self.id.as_node().map_or(0, |id| id + 1);
        let params = r.leaves.iter().filter(|l| l.kind == LeafKind::Param && (l.node as usize) < last);
        let ids = params.map(|l| l.node as usize).filter(|&id| r.nodes[id].dtype.is_float());
        ids.map(|id| Tensor { tape: self.tape, id: Operand::node(id) }).collect()
    }
}

impl<'t> Gradients<'t> {
    /// The gradient with respect to a parameter.
    ///
    /// # Panics
    /// At the caller: when the result does not reach `x`, naming the op and line that cut it, and when `x` is no parameter.
    #[track_caller]
    pub fn get(&self, x: Tensor<'t>) -> Tensor<'t> {
        match self.try_get(x) {
            Ok(g) => g,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`get`](Self::get), with an error that says what cut the path when the result does not reach `x`.
    #[track_caller]
    pub fn try_get(&self, x: Tensor<'t>) -> Result<Tensor<'t>, Unreached> {
        match self.find(x) {
            Some(g) => Ok(g),
            None => unreached::explain(self.result, x).map(|()| x.zeros_like()),
        }
    }

    /// As [`get`](Self::get), with zeros when the result does not reach `x`.
    #[track_caller]
    pub fn get_or_zero(&self, x: Tensor<'t>) -> Tensor<'t> {
        match self.find(x) {
            Some(g) => g,
            None => x.zeros_like(),
        }
    }

    /// Each parameter that was reached with its gradient, in the order in which they were put onto the tape.
    pub fn iter(&self) -> impl Iterator<Item = (Tensor<'t>, Tensor<'t>)> + '_ {
        self.each.iter().filter_map(|&(x, g)| Some((x, g?)))
    }

    /// Each parameter that was not reached, with what stood in the way.
    pub fn unreached(&self) -> impl Iterator<Item = (Tensor<'t>, Unreached)> + '_ {
        let missing = self.each.iter().filter(|(_, g)| g.is_none());
        missing.filter_map(|&(x, _)| Some((x, unreached::explain(self.result, x).err()?)))
    }

    #[track_caller]
    fn find(&self, x: Tensor<'t>) -> Option<Tensor<'t>> {
        if !std::ptr::eq(x.tape, self.result.tape) {
            panic!("backward: {x:?} is on another tape than the result");
        }
        if let Ok(at) = self.each.binary_search_by_key(&x.id.as_node(), |(x, _)| x.id.as_node()) {
            return self.each[at].1;
        }
        let later = x.parameters().last().is_some_and(|p| p.id == x.id);
        if !later {
            panic!("backward: expected a float parameter (made by Tape::leaf), got {x:?}\n  hint: name it, result.grad([x])");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::{Array, Tape};

    #[test]
    fn every_parameter_is_known_reached_or_not() {
        let tape = Tape::new();
        let (w, unused) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from([0.0])));
        let (stepped, data) = (tape.leaf(&Array::from([0.5])), tape.constant(&Array::from([3.0, 4.0])));
        let loss = (w * data).sum() + (stepped.floor() * 2.0).sum();
        let late = tape.leaf(&Array::from([1.0]));
        let grads = loss.backward();
        assert_eq!(grads.get(w).value(), Array::from([3.0, 4.0]));
        assert_eq!(grads.iter().count(), 1);
        let why: Vec<String> = grads.unreached().map(|(_, why)| why.to_string()).collect();
        assert!(why.len() == 2 && why[0].contains("was not computed from it") && why[1].contains("cut by floor at"), "{why:?}");
        assert!(grads.try_get(unused).is_err() && grads.try_get(late).is_err());
        assert_eq!(grads.get_or_zero(unused).value(), Array::from([0.0]));
    }

    #[test]
    #[should_panic(expected = "backward: expected a float parameter")]
    fn data_is_no_parameter() {
        let tape = Tape::new();
        let (w, data) = (tape.leaf(&Array::from([1.0])), tape.constant(&Array::from([3.0])));
        (w * data).sum().backward().get(data);
    }

    #[test]
    fn gradients_differentiate_again() {
        let tape = Tape::new();
        let (w, lr) = (tape.leaf(&Array::from([2.0])), tape.leaf(&Array::scalar(0.1)));
        let next = w - lr * (w * w * w).sum().backward().get(w);
        // next = w - 3 lr w², d(next²)/d(lr) = 2 next (-3 w²)
        let d = (next * next).sum().backward().get(lr).item();
        assert!((d - 2.0 * (2.0 - 1.2) * -12.0).abs() < 1e-12, "{d}");
    }
}
