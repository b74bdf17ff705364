//! Are derived trees walked as their definitions say?

extern crate wengert_core as wengert;

use std::marker::PhantomData;
use wengert::{Leaf, Path, Role, Tree};
use wengert_derive::Tree;

#[derive(Clone, Debug, PartialEq)]
struct Array(f64);
impl Leaf for Array {}

#[derive(Clone, Debug, PartialEq)]
struct Text(String);
impl Leaf for Text {}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Linear<P = Array> {
    weight: P,
    bias: Option<P>,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Norm<P = Array> {
    #[tree(rename = "weight")]
    scale: P,
    #[tree(state)]
    running: (P, P),
    eps: f64,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Relu;

#[derive(Clone, Debug, PartialEq, Tree)]
struct Dropout {
    p: f64,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Residual<M> {
    #[tree(flatten)]
    inner: M,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Adam<M> {
    m: M,
    v: M,
    step: u64,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Pair<P = Array>(P, #[tree(frozen)] Linear<P>);

#[derive(Clone, Debug, PartialEq, Tree)]
struct Chain<P = Array> {
    w: P,
    next: Vec<Chain<P>>,
}

#[derive(Clone, Debug, PartialEq, Tree)]
enum Step<P = Array> {
    Linear(Linear<P>),
    Scale { by: P, offset: f64 },
    Both(P, Box<Step<P>>),
    Relu,
}

fn linear(w: f64) -> Linear {
    Linear { weight: Array(w), bias: Some(Array(w + 0.5)) }
}

fn norm() -> Norm {
    Norm { scale: Array(7.0), running: (Array(8.0), Array(9.0)), eps: 1e-5 }
}

/// All that must hold of any tree: three walks that agree, and a map that goes there and back. Gives paths and roles.
fn walk<T: Tree<Array> + Clone + PartialEq + std::fmt::Debug>(tree: &T) -> Vec<(String, Role)> {
    let mut mapped = Vec::new();
    let text = tree.map_with(|path, role, x| {
        mapped.push((path.to_string(), role));
        Text(format!("{}", x.0))
    });
    let mut visited = Vec::new();
    tree.visit(|path, role, _| visited.push((path.to_string(), role)));
    assert_eq!(mapped, visited);

    let mut changed = tree.clone();
    let mut visited = Vec::new();
    changed.visit_mut(|path, role, x| {
        visited.push((path.to_string(), role));
        x.0 += 1.0;
    });
    assert_eq!(mapped, visited);
    for (after, before) in changed.leaves().iter().zip(tree.leaves()) {
        assert_eq!(after.0, before.0 + 1.0);
    }

    assert_eq!(text.map(|t| Array(t.0.parse().unwrap())), *tree);
    assert_eq!(text.zip_with(tree, |_, _, t, x| Array(t.0.parse::<f64>().unwrap() - x.0)).leaves(), vec![&Array(0.0); mapped.len()]);
    mapped
}

fn paths<T: Tree<Array> + Clone + PartialEq + std::fmt::Debug>(tree: &T) -> Vec<String> {
    walk(tree).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn nested_models_have_dotted_paths() {
    let net = (linear(1.0), Relu, Residual { inner: (norm(), vec![linear(2.0), linear(3.0)]) }, Dropout { p: 0.5 });
    let expected =
        ["0.weight", "0.bias", "2.0.weight", "2.0.running.0", "2.0.running.1", "2.1.0.weight", "2.1.0.bias", "2.1.1.weight", "2.1.1.bias"];
    assert_eq!(paths(&net), expected);
    let opt = Adam { m: linear(1.0), v: linear(2.0), step: 3 };
    assert_eq!(paths(&opt), ["m.weight", "m.bias", "v.weight", "v.bias"]);
    assert_eq!(paths(&Pair(Array(1.0), linear(2.0))), ["0", "1.weight", "1.bias"]);
    assert_eq!(opt.map(|x: &Array| Text(x.0.to_string())).step, 3);
}

#[test]
fn models_without_leaves_are_copied() {
    let dropout = Dropout { p: 0.25 };
    assert_eq!(Tree::<Array>::map(&dropout, |x| x.clone()), dropout);
    assert_eq!(walk(&(Relu, dropout)), []);
}

#[test]
fn recursive_models_are_walked_in_depth() {
    let leaf = |w| Chain { w: Array(w), next: vec![] };
    let chain = Chain { w: Array(0.0), next: vec![Chain { w: Array(1.0), next: vec![leaf(2.0)] }, leaf(3.0)] };
    assert_eq!(paths(&chain), ["w", "next.0.w", "next.0.next.0.w", "next.1.w"]);
}

#[test]
fn variants_add_no_name() {
    let steps = vec![
        Step::Linear(linear(1.0)),
        Step::Scale { by: Array(2.0), offset: 0.5 },
        Step::Relu,
        Step::Both(Array(3.0), Box::new(Step::Both(Array(4.0), Box::new(Step::Relu)))),
    ];
    assert_eq!(paths(&steps), ["0.0.weight", "0.0.bias", "1.by", "3.0", "3.1.0"]);

    #[derive(Clone, Debug, PartialEq, Tree)]
    enum Never {}
    assert_eq!(walk(&Vec::<Never>::new()), []);
}

#[test]
fn roles_hold_for_what_is_under_a_field() {
    use Role::*;
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct Net<P = Array> {
        head: Norm<P>,
        #[tree(frozen)]
        body: Norm<P>,
        #[tree(state)]
        ema: Pair<P>,
    }
    let net = Net { head: norm(), body: norm(), ema: Pair(Array(1.0), linear(2.0)) };
    let roles: Vec<_> = walk(&net).into_iter().map(|(_, role)| role).collect();
    assert_eq!(roles, [Param, State, State, Frozen, State, State, State, State, State]);
    let roles: Vec<_> = walk(&Pair(Array(1.0), linear(2.0))).into_iter().map(|(_, role)| role).collect();
    assert_eq!(roles, [Param, Frozen, Frozen]);
}

#[test]
fn zip_names_the_path_that_differs() {
    let full = Residual { inner: vec![linear(1.0), linear(2.0)] };
    let mut bare = full.clone();
    bare.inner[0].bias = None;
    let first = |_: &Path<'_>, _: Role, x: &Array, _: &Array| x.clone();
    let text = full.try_zip_with(&bare, first).unwrap_err().to_string();
    assert_eq!(text, "the trees differ: the first has a leaf `0.bias` where the second has a leaf `1.weight`");
    let text = Step::Linear(linear(1.0)).try_zip_with(&Step::<Array>::Relu, first).unwrap_err().to_string();
    assert_eq!(text, "the trees differ: the first has a leaf `0.weight` where the second has no more leaves");
    // An optimizer's moments have the paths of the model, whatever holds them.
    let opt = Adam { m: full.map(|_: &Array| Array(0.0)), v: full.clone(), step: 0 };
    let difference = full.zip_with(&opt.v, |_, _, x, v: &Array| Array(x.0 - v.0));
    assert_eq!(difference, opt.m);
}

#[test]
fn a_number_as_a_name_is_the_same_path_as_an_index() {
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct Named<P = Array> {
        #[tree(rename = "0")]
        x: P,
    }
    let sum = (Array(1.0),).zip_with(&Named { x: Array(2.0) }, |_, _, a, b: &Array| Array(a.0 + b.0));
    assert_eq!(sum, (Array(3.0),));
}

#[test]
fn boxes_are_taken_apart() {
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct List<P = Array> {
        value: P,
        next: Option<Box<List<P>>>,
    }
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct Boxes<P = Array> {
        one: Box<P>,
        rows: Vec<Vec<Box<P>>>,
        grid: [[Box<P>; 2]; 2],
        #[tree(state)]
        mixed: (Box<P>, P, Option<Box<P>>),
        pair: (P, Box<P>),
        hidden: Vec<Option<P>>,
    }
    let a = |x: f64| Box::new(Array(x));
    /// The definition may say `Self`.
    #[derive(Clone, Debug, PartialEq, Tree)]
    enum Expr<P = Array> {
        Leaf(P),
        Sum(Vec<Self>),
        Neg(Box<Self>),
    }
    let expr = Expr::Sum(vec![Expr::Leaf(Array(1.0)), Expr::Neg(Box::new(Expr::Leaf(Array(2.0))))]);
    assert_eq!(paths(&expr), ["0.0.0", "0.1.0.0"]);

    let list = List { value: Array(1.0), next: Some(Box::new(List { value: Array(2.0), next: None })) };
    assert_eq!(paths(&list), ["value", "next.value"]);
    let boxes = Boxes {
        one: a(0.0),
        rows: vec![vec![a(1.0)], vec![a(2.0), a(3.0)]],
        grid: [[a(4.0), a(5.0)], [a(6.0), a(7.0)]],
        mixed: (a(8.0), Array(9.0), Some(a(10.0))),
        pair: (Array(11.0), a(12.0)),
        hidden: vec![None, Some(Array(13.0))],
    };
    let grid = ["grid.0.0", "grid.0.1", "grid.1.0", "grid.1.1"];
    let expected =
        [&["one", "rows.0.0", "rows.1.0", "rows.1.1"][..], &grid, &["mixed.0", "mixed.1", "mixed.2", "pair.0", "pair.1", "hidden.1"]];
    assert_eq!(paths(&boxes), expected.concat());
    assert_eq!(boxes.leaves().iter().map(|x: &&Array| x.0).collect::<Vec<_>>(), (0..14).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn generics_of_every_kind() {
    #[derive(Clone, Debug, PartialEq, Tree)]
    #[tree(leaf = T)]
    struct Named<T> {
        r#type: T,
        parts: [T; 2],
    }
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct Mixed<'a, M, F, U, P = Array, const N: usize = 2>
    where
        F: Copy,
    {
        name: &'a str,
        model: M,
        #[tree(skip)]
        activation: F,
        unit: PhantomData<U>,
        ghost: PhantomData<fn(P) -> M>,
        leaves: [P; N],
        #[tree(tree)]
        relu: Relu,
    }
    /// No default: the parameter is a subtree, of which a leaf is the smallest.
    #[derive(Clone, Debug, PartialEq, Tree)]
    struct Plain<P> {
        w: P,
        next: Vec<Plain<P>>,
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Unit;

    let named = Named { r#type: Array(1.0), parts: [Array(2.0), Array(3.0)] };
    assert_eq!(paths(&named), ["type", "parts.0", "parts.1"]);
    let mixed = Mixed {
        name: "mixed",
        model: linear(1.0),
        activation: 'r',
        unit: PhantomData::<Unit>,
        ghost: PhantomData,
        leaves: [Array(4.0)],
        relu: Relu,
    };
    assert_eq!(paths(&mixed), ["model.weight", "model.bias", "leaves.0"]);
    let plain = Plain { w: Array(1.0), next: vec![Plain { w: Array(2.0), next: vec![] }] };
    assert_eq!(paths(&plain), ["w", "next.0.w"]);
}

#[test]
fn the_crate_path_can_be_given() {
    mod renamed {
        pub use wengert::*;
    }
    #[derive(Tree)]
    #[tree(crate = renamed)]
    struct Own<P = Array>(P);
    assert_eq!(Own(Array(1.0)).paths(), ["0"]);
}
