//! Does recording and differentiating work end to end?

use wengert_core::{Array, Tape};

#[test]
fn gradients_nest() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0]));
    let [g] = (x * x * x).sum().grad([x]);
    let [h] = g.sum().grad([x]);
    assert_eq!((g.value(), h.value()), (Array::from([3.0, 12.0]), Array::from([6.0, 12.0])));
}

#[test]
#[should_panic(expected = "matmul: expected [.., m, k] @ [.., k, n], got f64[2, 3] and f64[2, 3]")]
fn shape_errors_name_the_op_and_where_the_operands_were_made() {
    let tape = Tape::new();
    let a = tape.leaf(&Array::full([2, 3], 1.0));
    a.matmul(a);
}

#[test]
fn an_unreached_target_is_reported_with_what_cut_it() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, -2.0]));
    let y = (x.sign() * 2.0).sum();
    let line = line!() - 1;
    let error = y.try_grad([x]).unwrap_err().to_string();
    assert!(error.contains("cut by sign at") && error.contains(&format!(":{line}:")), "{error}");
    let [zero] = y.grad_or_zero([x]);
    assert_eq!(zero.value(), Array::from([0.0, 0.0]));
    let z = tape.leaf(&Array::from([1.0]));
    let error = z.sum().try_grad([x]).unwrap_err().to_string();
    assert!(error.contains("was not computed from it"), "{error}");
}

#[test]
fn second_derivatives_of_linear_functions_are_zero_without_complaint() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, -2.0]));
    let [g] = (3.0 * x).sum().grad([x]);
    let [h] = g.sum().grad([x]);
    assert_eq!(h.value(), Array::from([0.0, 0.0]));
    let [g] = x.relu().sum().grad([x]);
    let [h] = g.sum().grad([x]);
    assert_eq!(h.value(), Array::from([0.0, 0.0]));
}
