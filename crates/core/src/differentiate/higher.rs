//! What is the derivative of a derivative? Products with the Hessian, whole Jacobians and Hessians.
//!
//! Forward over reverse for products with the Hessian: B. A. Pearlmutter (1994), doi:10.1162/neco.1994.6.1.147.

use super::{
    Targets,
    batch::batch,
    jvp::{pairs, push},
    vjp::pull,
};
use crate::{Array, MAX_RANK, Tensor, record::Walk};
use smallvec::SmallVec;
use std::time::Duration;

impl<'t> Tensor<'t> {
    /// The Hessian of this scalar times vectors: `Σ_j ∂²y/∂xᵢ∂xⱼ vⱼ` for each target, without forming the Hessian.
    ///
    /// One walk back and one forward; zeros for targets on which the gradient does not depend.
    ///
    /// # Panics
    /// At the caller: when this is no float scalar, and when the vectors do not match the targets in number, dtype and shape.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (x, v) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from([1.0, -1.0])));
    /// assert_eq!((x * x * x).sum().hvp(x, v).value(), Array::from([6.0, -12.0]));
    /// ```
    #[track_caller]
    pub fn hvp<X: Targets<'t>, V: Targets<'t>>(self, targets: X, vectors: V) -> X::Gradients {
        let seed = self.seed("hvp");
        let wrt = targets.targets();
        let seeds = pairs("hvp", "vector", &wrt, &vectors.targets());
        let gradients = pull(&[(self, seed)], &wrt);
        let reached: SmallVec<[Tensor<'t>; 4]> = gradients.iter().flatten().copied().collect();
        let mut pushed = push(&reached, &seeds).into_iter();
        let product = |(g, x): (&Option<Tensor<'t>>, &Tensor<'t>)| g.and_then(|_| pushed.next()?).unwrap_or_else(|| x.zeros_like());
        let products = gradients.iter().zip(&wrt).map(product).collect();
        targets.gradients(products)
    }

    /// All partial derivatives of this tensor with respect to another: `[self.shape.., x.shape..]`.
    ///
    /// One walk, batched over the elements of the smaller of the two. Zeros where this does not depend on `x`.
    ///
    /// # Panics
    /// At the caller: when one of them is no float tensor, and when both together have more than [`MAX_RANK`] axes.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!((x * x).jacobian(x).value(), Array::from([[2.0, 0.0], [0.0, 4.0]]));
    /// ```
    #[track_caller]
    pub fn jacobian(self, x: Tensor<'t>) -> Tensor<'t> {
        if !self.dtype().is_float() || !x.dtype().is_float() {
            panic!("jacobian: expected float tensors, got {self:?} and {x:?}");
        }
        if self.rank() + x.rank() > MAX_RANK {
            panic!("jacobian: expected at most {MAX_RANK} axes in both together, got {self:?} and {x:?}");
        }
        let (ys, xs) = (self.shape(), x.shape());
        let dims: Vec<usize> = ys.iter().chain(xs.iter()).copied().collect();
        let begin = self.tape.len();
        let filled = if dims.contains(&0) {
            None
        } else if self.size() < x.size() {
            self.rows(x)
        } else {
            self.columns(x)
        };
        let all = match filled {
            Some(all) => all.reshape(dims),
            None => self.tape.zeros(self.dtype(), dims),
        };
        // The batched nodes are derivatives too: where they are constant, a derivative of theirs is truly zero.
        let nodes = begin..self.tape.len();
        if let Some(result) = self.id.as_node() {
            self.tape.record.borrow_mut().walks.push(Walk { nodes, result, time: Duration::ZERO, origins: [].into() });
        }
        all
    }

    /// The Jacobian as `[self.size(), x.shape..]`, one cotangent for each element of this; `None` if it is all zero.
    fn rows(self, x: Tensor<'t>) -> Option<Tensor<'t>> {
        let any = self.zeros_like();
        let row = pull(&[(self, any)], &[x])[0]?;
        Some(batch(&[(any, self.units())], &[row], self.size())[0])
    }

    /// The Jacobian as `[self.shape.., x.size()]`, one tangent for each element of `x`; `None` if it is all zero.
    fn columns(self, x: Tensor<'t>) -> Option<Tensor<'t>> {
        let any = x.zeros_like();
        let column = push(&[self], &[(x, any)])[0]?;
        let columns = batch(&[(any, x.units())], &[column], x.size())[0];
        let axes: SmallVec<[isize; 8]> = (1..columns.rank() as isize).chain([0]).collect();
        Some(columns.permute(&axes))
    }

    /// `[size, shape..]`: for each element, the tensor of this shape that is 1 there and 0 elsewhere.
    fn units(self) -> Tensor<'t> {
        let mut dims = vec![self.size()];
        dims.extend_from_slice(&self.shape());
        self.tape.constant(&Array::eye(self.dtype(), self.size())).reshape(dims)
    }

    /// All second derivatives of this scalar: `[x.shape.., x.shape..]`; zeros where the gradient is constant.
    ///
    /// # Panics
    /// At the caller: when this is no float scalar, and when `x` has more than four axes.
    #[track_caller]
    pub fn hessian(self, x: Tensor<'t>) -> Tensor<'t> {
        let seed = self.seed("hessian");
        self.pull_or_zero(seed, x).jacobian(x)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Array, DType, Tape, Tensor};

    fn quartic<'t>(x: Tensor<'t>) -> Tensor<'t> {
        (x * x * x * x).sum()
    }

    #[test]
    fn hvp_agrees_with_reverse_over_reverse_for_several_targets() {
        let tape = Tape::new();
        let at = |seed| tape.leaf(&Array::uniform(DType::F64, [2, 3], -1.0, 1.0, seed));
        let (a, b, va, vb) = (at(1), at(2), at(3), at(4));
        let y = (a * b * b).tanh().sum();
        let [ha, hb] = y.hvp([a, b], [va, vb]);
        let [ga, gb] = y.grad([a, b]);
        let [ra, rb] = ((ga * va).sum() + (gb * vb).sum()).grad([a, b]);
        assert!(ha.value().all_close(&ra.value(), 1e-12, 1e-14) && hb.value().all_close(&rb.value(), 1e-12, 1e-14));
        let c = at(5);
        let [hc, ha] = (y + c.sum()).hvp([c, a], [vb, va]);
        assert_eq!(hc.value(), Array::zeros(DType::F64, [2, 3]), "linear in c");
        assert!(ha.value().to_vec::<f64>().iter().all(|v| *v != 0.0));
    }

    #[test]
    fn a_jacobian_is_the_same_by_rows_and_by_columns() {
        let tape = Tape::new();
        let a = tape.leaf(&Array::uniform(DType::F64, [2, 3], -1.0, 1.0, 1));
        let x = tape.leaf(&Array::uniform(DType::F64, [3], -1.0, 1.0, 2));
        let y = a.matmul(x).tanh();
        let slope = (1.0 - y * y).value().to_vec::<f64>();
        let expected = Array::from_fn([2, 3], |i| slope[i[0]] * a.value().get(i));
        assert!(y.jacobian(x).value().all_close(&expected, 1e-14, 0.0), "rows");
        let z = x.broadcast_to([2, 3]) * a;
        let expected = Array::from_fn([2, 3, 3], |i| if i[1] == i[2] { a.value().get(&i[..2]) } else { 0.0 });
        assert_eq!(z.jacobian(x).value(), expected, "columns");
    }

    #[test]
    fn hessians() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0]));
        assert_eq!(quartic(x).hessian(x).value(), Array::from([[12.0, 0.0], [0.0, 48.0]]));
        assert_eq!((3.0 * x).sum().hessian(x).value(), Array::zeros(DType::F64, [2, 2]), "of a linear function");
        assert_eq!(x.sum().hessian(tape.leaf(&Array::from([1.0]))).value(), Array::zeros(DType::F64, [1, 1]), "independent");
        let m = tape.leaf(&Array::uniform(DType::F64, [2, 2], -1.0, 1.0, 3));
        assert_eq!(m.matmul(m).sum().hessian(m).shape(), [2, 2, 2, 2]);
        let empty = tape.leaf(&Array::zeros(DType::F64, [0]));
        assert_eq!(quartic(empty).hessian(empty).shape(), [0, 0]);
        let square = (x * x).jacobian(x).jacobian(x);
        assert_eq!(square.sum().grad(x).value(), Array::from([0.0, 0.0]), "third derivatives of squares");
        // Third order: the Hessian is a tensor like any other.
        assert_eq!(quartic(x).hessian(x).sum().grad(x).value(), Array::from([24.0, 48.0]));
    }
}
