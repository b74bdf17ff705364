//! How is one operation applied to all values of a model, an optimizer's state, or any nest of them?
//!
//! A model is generic over its leaf: `Linear<Array>` is a model at rest, `Linear<Tensor<'t>>` the same model on a tape.
//! [`Tree`] is the walk from one to the other. It is implemented for a leaf itself, tuples, arrays, `Vec` and `Option`,
//! so `(loss, model, state)` is a tree too; `#[derive(Tree)]` writes it for structs and enums.

mod containers;
mod path;
mod zip;

pub use path::{Path, Role};
pub use zip::PathMismatch;

use crate::{Array, Tensor};

/// What a [`Tree`] may hold at its ends: a value that has no further parts for a walk.
///
/// A type of your own becomes one by `impl Leaf for Mine {}`; intermediate results of a computation over a model (a
/// parameter next to its moments, say) are best carried in such a type.
pub trait Leaf: Clone {}

impl Leaf for Array {}
impl Leaf for Tensor<'_> {}

/// A value made of leaves of type `L` at named places.
///
/// Derive it. By hand, an implementation writes the three walks (`map_at`, `visit_at`, `visit_mut_at`) so that all of them
/// meet the same leaves in the same order under the same paths; users of a tree call the provided methods.
///
/// ```
/// use wengert_core::{Leaf, Tree};
/// #[derive(Clone, Debug, PartialEq)]
/// struct Real(f64);
/// impl Leaf for Real {}
///
/// let tree = (Real(1.0), vec![Real(2.0), Real(3.0)], None::<Real>);
/// assert_eq!(tree.paths(), ["0", "1.0", "1.1"]);
/// let doubled = tree.map(|x: &Real| Real(2.0 * x.0));
/// assert_eq!(doubled.1, [Real(4.0), Real(6.0)]);
/// ```
pub trait Tree<L: Leaf>: Sized {
    /// The same structure with leaves of another type. Going there and back gives this very type.
    type With<Q: Leaf>: Tree<Q, With<L> = Self> + Tree<Q, With<Q> = Self::With<Q>>;

    /// The same structure with `f(path, role, leaf)` in place of each leaf; `at` and `role` are those of `self`.
    fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q>;

    /// Calls `f(path, role, leaf)` for each leaf; `at` and `role` are those of `self`.
    fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a;

    /// As [`visit_at`](Tree::visit_at), with each leaf open to change.
    fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a;

    /// The same structure with `f(leaf)` in place of each leaf.
    ///
    /// An `Option` and an array have a `map` of Rust's own, which is called instead; for these take
    /// [`map_with`](Tree::map_with), or `Tree::map(&x, f)`.
    fn map<Q: Leaf>(&self, mut f: impl FnMut(&L) -> Q) -> Self::With<Q> {
        self.map_at(&Path::ROOT, Role::Param, &mut |_, _, leaf| f(leaf))
    }

    /// The same structure with `f(path, role, leaf)` in place of each leaf.
    fn map_with<Q: Leaf>(&self, mut f: impl FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q> {
        self.map_at(&Path::ROOT, Role::Param, &mut f)
    }

    /// Calls `f(path, role, leaf)` for each leaf.
    fn visit<'a>(&'a self, mut f: impl FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
        self.visit_at(&Path::ROOT, Role::Param, &mut f);
    }

    /// Calls `f(path, role, leaf)` for each leaf, which it may change in place.
    fn visit_mut<'a>(&'a mut self, mut f: impl FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
        self.visit_mut_at(&Path::ROOT, Role::Param, &mut f);
    }

    /// All leaves, in the order of the walk.
    fn leaves(&self) -> Vec<&L> {
        let mut leaves = Vec::new();
        self.visit(|_, _, leaf| leaves.push(leaf));
        leaves
    }

    /// All leaves, in the order of the walk, open to change.
    fn leaves_mut(&mut self) -> Vec<&mut L> {
        let mut leaves = Vec::new();
        self.visit_mut(|_, _, leaf| leaves.push(leaf));
        leaves
    }

    /// Where the leaves are, in the order of the walk: `["hidden.weight", "hidden.bias", …]`.
    fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.visit(|path, _, _| paths.push(path.to_string()));
        paths
    }

    /// How many leaves there are.
    fn leaf_count(&self) -> usize {
        let mut count = 0;
        self.visit(|_, _, _| count += 1);
        count
    }

    /// The same structure with these leaves, given in the order of [`leaves`](Tree::leaves).
    ///
    /// Panics if there are fewer or more of them than this tree has.
    #[track_caller]
    fn with_leaves<Q: Leaf>(&self, leaves: impl IntoIterator<Item = Q>) -> Self::With<Q> {
        zip::rebuild(self, leaves)
    }

    /// The same structure with `f(path, role, leaf, partner)` in place of each leaf, where the partner sits under the same
    /// path in `other`. The two may be of different types: a model and the moments that an optimizer keeps of it.
    ///
    /// Panics if the paths differ, naming the first that does.
    #[track_caller]
    fn zip_with<R: Leaf, O: Tree<R>, Q: Leaf>(&self, other: &O, f: impl FnMut(&Path<'_>, Role, &L, &R) -> Q) -> Self::With<Q> {
        match self.try_zip_with(other, f) {
            Ok(tree) => tree,
            Err(mismatch) => panic!("zip_with: {mismatch}"),
        }
    }

    /// As [`zip_with`](Tree::zip_with), but trees whose paths differ are an error; `f` is then not called at all.
    fn try_zip_with<R: Leaf, O: Tree<R>, Q: Leaf>(
        &self,
        other: &O,
        f: impl FnMut(&Path<'_>, Role, &L, &R) -> Q,
    ) -> Result<Self::With<Q>, PathMismatch> {
        zip::zip(self, other, f)
    }
}
