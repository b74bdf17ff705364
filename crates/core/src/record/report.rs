//! How is a mistake worded?

use super::{list::Record, node::Operand};
use crate::ops::{Mismatch, OpDef};
use std::fmt::Write;

/// `matmul: expected …, got …`, a line per operand with where it was made, and the hint.
pub(crate) fn mismatch(op: &OpDef, m: &Mismatch, operands: &[Operand], record: &Record) -> String {
    let got: Vec<String> = operands.iter().map(|&x| describe(x, record)).collect();
    let mut text = format!("{}: expected {}, got {}", op.name, m.expected, got.join(" and "));
    for (&x, got) in operands.iter().zip(&got) {
        if let Some(id) = x.as_node() {
            write!(text, "\n  {got} made by {} at {}", record.nodes[id].op.0.name, record.locations[id]).expect("writing to a string");
        }
    }
    if let Some(hint) = &m.hint {
        write!(text, "\n  hint: {hint}").expect("writing to a string");
    }
    text
}

/// `f32[2, 3]`, or `a scalar f32`.
pub(crate) fn describe(x: Operand, record: &Record) -> String {
    let dtype = record.meta(x).0;
    match x.as_slot() {
        Some(_) => format!("a scalar {dtype}"),
        None => format!("{dtype}{:?}", record.shape(x)),
    }
}

/// `mul at src/main.rs:3:5`.
pub(crate) fn made(id: usize, record: &Record) -> String {
    format!("{} at {}", record.nodes[id].op.0.name, record.locations[id])
}
