use wengert_derive::Tree;

struct Array;

#[derive(Tree)]
#[tree(leef = P)]
struct OnType<P = Array> {
    w: P,
}

#[derive(Tree)]
struct OnField<P = Array> {
    #[tree(buffer)]
    mean: P,
}

#[derive(Tree)]
enum OnVariant<P = Array> {
    #[tree(frozen)]
    A(P),
}

fn main() {}
