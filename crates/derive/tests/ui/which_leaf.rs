use wengert_derive::Tree;

struct Array;

#[derive(Tree)]
struct Two<P = Array, Q = Array> {
    p: P,
    q: Q,
}

#[derive(Tree)]
#[tree(leaf = R)]
struct Missing<P = Array> {
    p: P,
}

#[derive(Tree)]
struct Unused<P = Array> {
    p: std::marker::PhantomData<P>,
}

fn main() {}
