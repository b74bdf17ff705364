use wengert_derive::Tree;

struct Array;

#[derive(Tree)]
struct Borrows<'a, P = Array> {
    w: &'a P,
    many: Vec<&'a [P]>,
}

#[derive(Tree)]
struct Calls<P = Array> {
    w: P,
    activation: fn(P) -> P,
    raw: Option<*const P>,
}

fn main() {}
