//! What is a value that came from outside?

use super::Array;
use crate::{
    KernelClass,
    ops::{Batch, Mismatch, OpDef, Rule},
};
use std::panic::Location;

/// A value bound to the tape.
pub(crate) struct Leaf {
    pub array: Array,
    pub kind: LeafKind,
    /// Its node.
    pub node: u32,
    /// Where an update took the buffer away, if one did.
    pub donated: Option<&'static Location<'static>>,
}

/// Whether `backward` gives a gradient for a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeafKind {
    Param,
    Constant,
}

/// The op of leaf nodes. It has no inputs to differentiate and is made by `Tape::leaf` alone, so it is not in the registry.
pub(crate) static LEAF: OpDef = OpDef {
    name: "leaf",
    shape: |_, _| Err(Mismatch::new("a leaf to be made by Tape::leaf")),
    kernel: KernelClass::Leaf,
    value: |_, _| panic!("a leaf has a value, it is not computed"),
    jvp: Rule::Zero("a leaf depends on nothing"),
    vjp: Rule::Zero("a leaf depends on nothing"),
    batch: Batch::Pointwise,
    samples: Vec::new,
};
