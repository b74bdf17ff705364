use wengert_derive::Tree;

#[derive(Clone, Copy)]
struct Array;

#[derive(Tree)]
union Either<P: Copy = Array> {
    a: P,
    b: u32,
}

fn main() {}
