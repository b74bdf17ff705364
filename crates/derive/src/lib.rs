//! What does `#[derive(Tree)]` write?
//!
//! `wengert::Tree` walks the leaves of a model: it binds one to a tape, names its parameters, pairs it with its gradients.
//! The derive writes that walk for structs and enums. Which leaves there are is told by the type parameters:
//!
//! * **A leaf parameter**, the one with the default `Array` or named by `#[tree(leaf = P)]`: the struct is a model of leaves
//!   of that type, `Linear<Array>` at rest and `Linear<Tensor<'t>>` on a tape.
//! * **Subtree parameters**, all others that stand in the type of a field that is walked: whole models, as in
//!   `Residual<M> { inner: M }`.
//! * **No such parameter**: no leaves, as in `Relu` or `Dropout { p: f64 }`.
//!
//! ```
//! # extern crate wengert_core as wengert;
//! use wengert::{Array, Leaf, Role, Tree};
//! use wengert_derive::Tree;
//!
//! #[derive(Clone, Tree)]
//! struct Linear<P = Array> {
//!     weight: P,
//!     bias: Option<P>,
//! }
//!
//! #[derive(Clone, Tree)]
//! struct Norm<P = Array> {
//!     scale: P,
//!     #[tree(state)]
//!     mean: P,
//!     momentum: f64, // mentions no parameter: copied
//! }
//!
//! #[derive(Clone, Tree)]
//! struct Residual<M> {
//!     #[tree(flatten)]
//!     inner: M,
//! }
//!
//! # #[derive(Clone)] struct Real(f64);
//! # impl Leaf for Real {}
//! # let linear = || Linear { weight: Real(1.0), bias: Some(Real(0.0)) };
//! # let norm = Norm { scale: Real(1.0), mean: Real(0.0), momentum: 0.9 };
//! let net = (linear(), Residual { inner: (norm, linear()) }); // of leaves `Real`, which implements `Leaf`
//! assert_eq!(net.paths(), ["0.weight", "0.bias", "1.0.scale", "1.0.mean", "1.1.weight", "1.1.bias"]);
//! net.visit(|path, role, _| assert_eq!(role == Role::State, path == "1.0.mean"));
//! ```
//!
//! # Fields
//!
//! A field whose type mentions a parameter (or `Self`, which has them all) is walked, each other is copied by `Clone`. `PhantomData` is made
//! anew. `Box` is understood where it stands alone or in `Option`, `Vec`, arrays and tuples. References, pointers, functions
//! and `dyn` types of a parameter can't be walked. Parameters carry no bounds in the definition, as nothing is known of
//! the next leaf type; put them on the `impl` blocks that need them.
//!
//! The path of a leaf is made of field names and, in tuples, the index; the variants of an enum add nothing to it.
//!
//! | attribute | on | meaning |
//! |---|---|---|
//! | `#[tree(state)]` | field | leaves under it have `Role::State` |
//! | `#[tree(frozen)]` | field | leaves under it have `Role::Frozen`, but for those that are state |
//! | `#[tree(skip)]` | field | copied, although its type mentions a parameter, which is then neither leaf nor subtree |
//! | `#[tree(tree)]` | field | walked, although its type mentions no parameter |
//! | `#[tree(rename = "w")]` | field | the name in paths |
//! | `#[tree(flatten)]` | field | adds no name to paths |
//! | `#[tree(leaf = P)]` | type | `P` is the leaf parameter |
//! | `#[tree(crate = path)]` | type | where `Tree`, `Leaf`, `Path` and `Role` are; `::wengert` unless given |
//!
//! A package that depends on `wengert-core` alone says `extern crate wengert_core as wengert;` at its root, once.

mod ast;
mod attr;
mod expand;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `wengert::Tree`; the [crate](self) documentation has the rules.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let written = ast::Input::of(&input).and_then(|input| valid::check(&input).map(|()| expand::expand(&input)));
    written.unwrap_or_else(|error| error.to_compile_error()).into()
}
