//! What do the tests of this package share? Reference numbers, and how values and messages are compared.
#![allow(dead_code)] // each test binary uses some of it

use std::panic::{AssertUnwindSafe, catch_unwind};
use wengert::Array;

/// A line `name [dims] values` of `tests/reference/worked/worked.txt`.
pub fn number(name: &str) -> Array {
    let text = include_str!("../../../../tests/reference/worked/worked.txt");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" [")).unwrap_or_else(|| panic!("no number {name}"));
    let (dims, values) = line.split_once("] ").expect("dims, then values");
    let dims: Vec<usize> = dims.split(',').filter(|d| !d.is_empty()).map(|d| d.parse().expect("a length")).collect();
    let values: Vec<f64> = values.split(' ').map(|v| v.parse().expect("a number")).collect();
    Array::try_new(&dims, values).expect("as many values as the dims say")
}

/// Same shape, and each element within `tolerance` of the other's, absolutely and relatively.
#[track_caller]
pub fn assert_close(a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in a.to_f64_vec().into_iter().zip(b.to_f64_vec()) {
        assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{a}\ndiffers from\n{b}\nby {:e}", (x - y).abs());
    }
}

/// What `f` panics with.
#[track_caller]
pub fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("expected a panic"),
        Err(payload) => payload,
    };
    payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).expect("a message")
}
