use wengert_derive::Tree;

struct Array;
trait Layer<P> {}

#[derive(Tree)]
struct Net<P = Array> {
    w: P,
    layers: Vec<Box<dyn Layer<P>>>,
}

fn main() {}
