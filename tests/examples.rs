//! Do the examples run? Each asserts its own result; here they are called.

#[path = "../examples/04_custom_op.rs"]
mod custom_op;
#[path = "../examples/05_custom_layer.rs"]
mod custom_layer;
#[path = "../examples/07_differentiable_optimizer.rs"]
mod differentiable_optimizer;
#[path = "../examples/02_fit_a_line.rs"]
mod fit_a_line;
#[path = "../examples/01_gradient.rs"]
mod gradient;
#[path = "../examples/06_newton.rs"]
mod newton;

#[test]
fn gradients_of_a_formula() {
    gradient::main();
}

#[test]
fn a_line_is_fitted() {
    fit_a_line::main();
}

#[test]
fn ops_of_a_user_are_checked_and_used() {
    custom_op::main();
}

#[test]
fn a_layer_of_a_user_is_trained() {
    custom_layer::main();
}

#[test]
fn newtons_method_finds_the_lowest_point() {
    newton::main();
}

#[test]
fn a_learning_rate_is_learned() {
    differentiable_optimizer::main();
}
