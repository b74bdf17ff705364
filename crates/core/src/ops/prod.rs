//! The product over some axes, with derivatives that hold at zeros too.

use super::{Batch, Cx, Meta, OpDef, Rule, Sample, permute, reduce, reshape};
use crate::{Array, DType, Fold, KernelClass, Tensor};
use smallvec::{SmallVec, smallvec};

/// Attributes: the folded axes, ascending.
pub static OP: OpDef = OpDef {
    name: "prod",
    shape: |attrs, x: &[Meta<'_>]| reduce::shape(Fold::Prod, attrs, x),
    kernel: KernelClass::Reduce(Fold::Prod),
    value: |s, x| reduce::value(s, &x[0], |v| v.iter().product()),
    jvp: Rule::By(|cx, t| {
        let axes: SmallVec<[isize; 8]> = cx.attrs().iter().map(|&a| a as isize).collect();
        smallvec![t[0].map(|t| (t * others(cx)).sum_over(&axes))]
    }),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| reduce::unfold(g, cx) * others(cx))]),
    batch: Batch::By(|b| reduce::batch(b, &OP)),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, 0.5, 1.5, 16);
        vec![
            Sample::new([u(&[2, 3])]).attrs([1]),
            Sample::new([u(&[3, 2])]).attrs([0]),
            Sample::new([u(&[2, 2, 3])]).attrs([0, 2]),
            Sample::new([Array::from([[2.0, 0.0, 3.0, -1.0, 0.5], [0.0, 2.0, 0.0, 1.5, -1.0]])]).attrs([1]),
            Sample::new([Array::from([0.0, 0.0, 0.0, 2.0])]).attrs([0]),
            Sample::new([u(&[1])]).attrs([0]),
            Sample::new([u(&[0, 3])]).attrs([0]),
            Sample::new([u(&[3])]),
            Sample::new([u(&[])]),
        ]
    },
};

/// For each element, the product of all others with which it is folded: the derivative of the product.
///
/// Dividing the product by the element fails at zeros. Here the elements are multiplied again, half by half, and that tree is pulled
/// back: products alone, so the derivatives of any order are as exact as the product.
fn others<'t>(cx: &Cx<'t>) -> Tensor<'t> {
    let (x, attrs, shape) = (cx.x(0), cx.attrs(), cx.x(0).shape());
    if attrs.is_empty() || x.size() == 0 {
        return x.ones_like();
    }
    let mut axes: SmallVec<[i64; 8]> = (0..shape.rank() as i64).filter(|a| !attrs.contains(a)).collect();
    let mut dims: SmallVec<[i64; 8]> = axes.iter().map(|&a| shape[a as usize] as i64).collect();
    axes.extend_from_slice(&attrs);
    dims.push(attrs.iter().map(|&a| shape[a as usize] as i64).product());
    let lined = x.op(&permute::OP, [], &axes);
    // A node of its own, so that the walk stays within what is recorded here.
    let row = lined.op(&reshape::OP, [], &dims);
    let product = tree(row);
    let [slopes] = product.vjp(product.ones_like(), [row]);
    let mut back: SmallVec<[isize; 8]> = smallvec![0; axes.len()];
    for (to, &from) in axes.iter().enumerate() {
        back[from as usize] = to as isize;
    }
    slopes.reshape(lined.shape()).permute(&back)
}

/// The product along the last axis, which keeps length 1, half by half.
fn tree(mut x: Tensor<'_>) -> Tensor<'_> {
    let mut odd: Option<Tensor<'_>> = None;
    loop {
        let len = x.shape()[x.rank() - 1];
        if len % 2 == 1 {
            let last = x.narrow(-1, len - 1, 1);
            let all = odd.map_or(last, |odd| odd * last);
            if len == 1 {
                return all;
            }
            odd = Some(all);
        }
        x = x.narrow(-1, 0, len / 2) * x.narrow(-1, len / 2, len / 2);
    }
}

impl<'t> Tensor<'t> {
    /// Product of all elements, a 0-d tensor; 1 for none. Truth values are multiplied as `i64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([2.0, 0.0, 5.0]));
    /// let y = x.prod();
    /// let [g] = y.grad([x]);
    /// assert_eq!((y.item(), g.value()), (0.0, Array::from([0.0, 10.0, 0.0])));
    /// ```
    #[track_caller]
    pub fn prod(self) -> Tensor<'t> {
        let all: SmallVec<[isize; 8]> = (0..self.rank() as isize).collect();
        self.prod_over(&all)
    }

    /// Product over some axes, which are dropped; negative ones count from the end. No axis: unchanged.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    #[track_caller]
    pub fn prod_over(self, axes: &[isize]) -> Tensor<'t> {
        let x = if self.dtype() == DType::Bool { self.cast(DType::I64) } else { self };
        reduce::record(&OP, x, axes)
    }

    /// As [`prod_over`](Self::prod_over); the axes stay, with length 1.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0]]));
    /// assert_eq!(x.prod_over(&[1]).value(), Array::from([6.0]));
    /// assert_eq!(x.prod_keep(&[1]).value(), Array::from([[6.0]]));
    /// ```
    #[track_caller]
    pub fn prod_keep(self, axes: &[isize]) -> Tensor<'t> {
        reduce::keep(self, axes, self.prod_over(axes))
    }
}
