//! Is every operation right? The registry checks itself: what is not listed does not exist, and what is listed is checked here.

use wengert::{
    check::{self, OpFault},
    ops,
};

/// Fails with every fault, not just the first.
fn none(faults: Vec<OpFault>) {
    let text: Vec<String> = faults.iter().map(OpFault::to_string).collect();
    assert!(text.is_empty(), "{} faults:\n{}", text.len(), text.join("\n"));
}

#[test]
fn every_op_is_right_at_every_sample() {
    none(ops::all().filter_map(|op| check::check_op(op).err()).collect());
}

#[test]
fn every_composed_function_is_right_at_every_sample() {
    let mut faults = Vec::new();
    for function in ops::composed::all() {
        let samples = (function.samples)();
        assert!(!samples.is_empty(), "{}: expected a sample", function.name);
        let numbered = samples.iter().enumerate();
        faults.extend(numbered.filter_map(|(i, s)| Some(OpFault { sample: i, ..check::composed(function, s).err()? })));
    }
    none(faults);
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = ops::all().map(|op| op.name).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|w| w[0] == w[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
