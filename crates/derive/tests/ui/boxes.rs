use std::collections::BTreeMap;
use wengert_derive::Tree;

struct Array;

#[derive(Tree)]
struct Net<P = Array> {
    layers: BTreeMap<String, Box<P>>,
}

fn main() {}
