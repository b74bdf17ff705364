use wengert_derive::Tree;

#[derive(Clone, Copy)]
struct Array;

#[derive(Tree)]
struct Bound<P: Copy = Array> {
    w: P,
}

#[derive(Tree)]
struct Clause<M>
where
    M: Clone,
{
    inner: M,
}

fn main() {}
