//! What is a kernel of matrix products, and into how many parts is it worth cutting?

use super::kernel::{Place, ScalarSource};
use crate::DType;
use smallvec::SmallVec;

/// Terms whose sum is begun anew, and added to the sum before: the library's choice, which keeps its panels in the cache.
pub const DEPTH: usize = 512;

/// Multiplications of a part of a product: each packs operands for itself, so that two parts are all that smaller products are cut into.
const PART: usize = 1 << 20;
/// So many parts are enough, if they are alike.
pub const ENOUGH: usize = 8;
/// Elements of a right operand that every core has in its cache beside other things.
const SMALL: usize = 1 << 16;

/// Into how many parts a product of so many multiplications is worth cutting.
pub fn worthy_parts(work: usize) -> usize {
    (work / PART).clamp(2, ENOUGH)
}

/// `out = add + Σ_t alpha_t * a_t @ b_t` over batch axes that all of them share.
///
/// `out` may be `add`, element by element, if [`adds_once`](Contract::adds_once).
#[derive(Clone)]
pub struct Contract {
    /// The products, at least one, all of one dtype.
    pub terms: SmallVec<[Term; 1]>,
    /// What they are added to, `[batch.., m, n]`, any strides.
    pub add: Option<Place>,
    /// `[batch.., m, n]`; neighbouring columns are neighbours in memory.
    pub out: Place,
}

/// `alpha * a @ b`: `alpha * Σ_l a[b.., i, l] * b[b.., l, j]`.
#[derive(Clone)]
pub struct Term {
    /// `[batch.., m, k]`, any strides.
    pub a: Place,
    /// `[batch.., k, n]`, any strides.
    pub b: Place,
    /// What each sum is multiplied by.
    pub alpha: ScalarSource,
}

impl Contract {
    /// Of the operands and the result.
    pub fn dtype(&self) -> DType {
        self.terms[0].a.dtype
    }

    /// Whether there is one sum of each element, which is added to `add` in either order.
    pub fn adds_once(&self) -> bool {
        let a = &self.terms[0].a;
        self.terms.len() == 1 && a.dims[a.dims.len() - 1] <= DEPTH
    }

    /// The terms of an element's sum, in all products together.
    pub fn depth(&self) -> usize {
        self.terms.iter().map(|t| t.a.dims[t.a.dims.len() - 1]).sum()
    }

    /// Whether the right operands are small and lie row by row, so that the library needs no copy of them.
    pub fn has_small_right(&self) -> bool {
        let last = self.out.dims.len() - 1;
        self.depth() * self.out.dims[last] <= SMALL && self.terms.iter().all(|t| t.b.strides[last] == 1)
    }

    /// All operands.
    pub fn operands(&self) -> impl Iterator<Item = &Place> {
        self.terms.iter().flat_map(|t| [&t.a, &t.b]).chain(&self.add)
    }
}
