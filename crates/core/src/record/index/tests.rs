//! Does indexing take what Python's takes?

use super::*;
use crate::{Array, DType, Tape, ops::check};

/// `[0, 1, 2, 3, 4][start:end:step]` as Python gives it, for all combinations of these ends and steps.
const ENDS: [Option<i64>; 8] = [None, Some(-7), Some(-5), Some(-2), Some(0), Some(3), Some(5), Some(9)];
const STEPS: [i64; 4] = [1, 2, -1, -3];
#[rustfmt::skip]
const PYTHON: [[[&str; 4]; 8]; 8] = [
    [
        ["01234", "024", "43210", "41"],
        ["", "", "43210", "41"],
        ["", "", "4321", "41"],
        ["012", "02", "4", "4"],
        ["", "", "4321", "41"],
        ["012", "02", "4", "4"],
        ["01234", "024", "", ""],
        ["01234", "024", "", ""],
    ],
    [
        ["01234", "024", "", ""],
        ["", "", "", ""],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["01234", "024", "", ""],
        ["01234", "024", "", ""],
    ],
    [
        ["01234", "024", "0", "0"],
        ["", "", "0", "0"],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["01234", "024", "", ""],
        ["01234", "024", "", ""],
    ],
    [
        ["34", "3", "3210", "30"],
        ["", "", "3210", "30"],
        ["", "", "321", "3"],
        ["", "", "", ""],
        ["", "", "321", "3"],
        ["", "", "", ""],
        ["34", "3", "", ""],
        ["34", "3", "", ""],
    ],
    [
        ["01234", "024", "0", "0"],
        ["", "", "0", "0"],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["", "", "", ""],
        ["012", "02", "", ""],
        ["01234", "024", "", ""],
        ["01234", "024", "", ""],
    ],
    [
        ["34", "3", "3210", "30"],
        ["", "", "3210", "30"],
        ["", "", "321", "3"],
        ["", "", "", ""],
        ["", "", "321", "3"],
        ["", "", "", ""],
        ["34", "3", "", ""],
        ["34", "3", "", ""],
    ],
    [
        ["", "", "43210", "41"],
        ["", "", "43210", "41"],
        ["", "", "4321", "41"],
        ["", "", "4", "4"],
        ["", "", "4321", "41"],
        ["", "", "4", "4"],
        ["", "", "", ""],
        ["", "", "", ""],
    ],
    [
        ["", "", "43210", "41"],
        ["", "", "43210", "41"],
        ["", "", "4321", "41"],
        ["", "", "4", "4"],
        ["", "", "4321", "41"],
        ["", "", "4", "4"],
        ["", "", "", ""],
        ["", "", "", ""],
    ],
];

#[test]
fn ranges_are_those_of_python() {
    for (start, rows) in ENDS.iter().zip(PYTHON) {
        for (end, row) in ENDS.iter().zip(rows) {
            for (&step, expected) in STEPS.iter().zip(row) {
                let s = along(*start, end.map_or(Bound::Unbounded, Bound::Excluded), step, 5);
                let got: String = (0..s.len as i64).map(|i| (s.start + s.step * i).to_string()).collect();
                assert_eq!(got, expected, "{start:?}:{end:?}:{step}");
                assert!(s.fits(5));
            }
        }
    }
}

#[test]
fn extreme_ends_and_steps_are_cut() {
    let all = Bound::Unbounded;
    for (start, end, step, len, expected) in [
        (None, all, i64::MAX, 5, Stretch::part(0, 1)),
        (None, all, i64::MIN, 5, Stretch::part(4, 1)),
        (Some(i64::MIN), Bound::Excluded(i64::MAX), 1, 5, Stretch::whole(5)),
        (Some(i64::MIN), Bound::Included(i64::MAX), 2, 5, Stretch { start: 0, step: 2, len: 3 }),
        (Some(i64::MAX), Bound::Included(i64::MIN), -1, 2, Stretch { start: 1, step: -1, len: 2 }),
        (None, all, -1, 0, Stretch::part(0, 0)),
        (Some(1), Bound::Included(-1), 1, 4, Stretch::part(1, 3)),
        (Some(3), Bound::Included(0), -1, 4, Stretch { start: 3, step: -1, len: 4 }),
        (None, Bound::Included(-9), 1, 4, Stretch::part(0, 0)),
    ] {
        assert_eq!(along(start, end, step, len), expected, "{start:?} {end:?} {step} of {len}");
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "ends count from the end, and steps go backwards")]
fn every_kind_of_index() {
    let tape = Tape::new();
    let x = tape.iota(DType::I64, 6, 0);
    let got = |y: Tensor<'_>| y.value().to_vec::<i64>();
    let (k, narrow) = (2usize, -2i32);
    assert_eq!(got(x.at(k)), [2]);
    assert_eq!(got(x.at(narrow)), [4]);
    assert_eq!(got(x.at(-1i64)), [5]);
    assert_eq!(got(x.at(k..)), [2, 3, 4, 5]);
    assert_eq!(got(x.at(..k)), [0, 1]);
    assert_eq!(got(x.at(..=k)), [0, 1, 2]);
    assert_eq!(got(x.at(1..=-2)), [1, 2, 3, 4]);
    assert_eq!(got(x.at(-2..)), [4, 5]);
    assert_eq!(got(x.at(..-4isize)), [0, 1]);
    assert_eq!(got(x.at((0..10).by(2))), [0, 2, 4]);
    assert_eq!(got(x.at((..).by(-1))), [5, 4, 3, 2, 1, 0]);
    assert_eq!(got(x.at((4..1).by(-2))), [4, 2]);
    assert_eq!(got(x.at((..=3).by(-1))), [5, 4, 3]);
    assert_eq!(got(x.at(4..2)), []);
    assert_eq!(x.at(..).id, x.id, "the whole is no node of its own");
    assert_eq!(x.at(()).id, x.id);
}

#[test]
fn axes_are_dropped_inserted_and_skipped() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::arange(DType::F64, 24).reshape([2, 3, 4]));
    assert_eq!(x.at((1, 2, 3)).shape(), []);
    assert_eq!(x.at((1, 2, 3)).item(), 23.0);
    assert_eq!(x.at((.., 0..2, -1)).value(), Array::from([[3.0, 7.0], [15.0, 19.0]]));
    assert_eq!(x.at((Ellipsis, 0)).value(), Array::from([[0.0, 4.0, 8.0], [12.0, 16.0, 20.0]]));
    assert_eq!(x.at((1, Ellipsis, 0)).value(), Array::from([12.0, 16.0, 20.0]));
    assert_eq!(x.at((0, 0, Ellipsis, 1)).item(), 1.0);
    assert_eq!(x.at((NewAxis, Ellipsis, NewAxis)).shape(), [1, 2, 3, 4, 1]);
    assert_eq!(x.at((0, NewAxis, 1..)).shape(), [1, 2, 4]);
    assert_eq!(x.at((1.., 1..1)).shape(), [1, 0, 4]);
    assert_eq!(x.at(((..).by(-1), 0, (..).by(3))).value(), Array::from([[12.0, 15.0], [0.0, 3.0]]));
    assert_eq!(tape.scalar(DType::F64, 3).at(NewAxis).value(), Array::from([3.0]));
}

#[test]
fn cotangents_go_where_elements_came_from() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::arange(DType::F64, 6).reshape([2, 3]));
    let y = x.at((1, (..).by(-2)));
    let [g] = (y * y * y).sum().grad([x]);
    assert_eq!(g.value(), Array::from([[0.0, 0.0, 0.0], [27.0, 0.0, 75.0]]));
    let [h] = g.sum().grad([x]);
    assert_eq!(h.value(), Array::from([[0.0, 0.0, 0.0], [18.0, 0.0, 30.0]]));
    let [g] = x.at((0, 1)).grad([x]);
    assert_eq!(g.value(), Array::from([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]));
}

#[test]
fn mistakes_panic_at_the_caller() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::full([2, 3], 1.0));
    let first = line!() + 2;
    let texts = [
        check::panic_of(|| x.at((0, 3))),
        check::panic_of(|| x.at(-3)),
        check::panic_of(|| x.at(usize::MAX)),
        check::panic_of(|| x.at((0, 0, 0))),
        check::panic_of(|| x.at((Ellipsis, Ellipsis))),
        check::panic_of(|| x.at((..).by(0))),
    ];
    let expected = [
        "at: expected an index from -3 to below 3 for axis 1 of length 3, got 3 for %0 leaf f64[2, 3] made at ",
        "at: expected an index from -2 to below 2 for axis 0 of length 2, got -3 for %0",
        "at: expected an index from -2 to below 2 for axis 0 of length 2, got 9223372036854775807 for %0",
        "at: expected at most 2 indices, one for each axis, got 3 for %0",
        "at: expected at most one Ellipsis, got 2 for %0",
        "by: expected a step other than 0",
    ];
    for (i, ((text, line), expected)) in texts.iter().zip(expected).enumerate() {
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(*line, first + i as u32, "{text}");
    }
}
