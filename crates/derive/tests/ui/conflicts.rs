use wengert_derive::Tree;

struct Array;

#[derive(Tree)]
struct Roles<P = Array> {
    #[tree(state, frozen)]
    w: P,
}

#[derive(Tree)]
struct Names<P = Array> {
    #[tree(flatten)]
    #[tree(rename = "v")]
    w: P,
}

#[derive(Tree)]
struct Dots<P = Array> {
    #[tree(rename = "a.b")]
    w: P,
}

#[derive(Tree)]
struct Twice<P = Array> {
    #[tree(state, state)]
    w: P,
}

#[derive(Tree)]
struct Same<P = Array> {
    bias: P,
    #[tree(rename = "bias")]
    b: P,
}

#[derive(Tree)]
struct NoLeaves<P = Array> {
    w: P,
    #[tree(state)]
    count: u64,
}

#[derive(Tree)]
struct Skipped<P = Array> {
    w: P,
    #[tree(skip)]
    cache: P,
}

fn main() {}
