//! Do the examples run? Each asserts its own result; here they are called.

#[path = "../examples/04_custom_op.rs"]
mod custom_op;
#[path = "../examples/05_custom_layer.rs"]
mod custom_layer;
#[path = "../examples/07_differentiable_optimizer.rs"]
mod differentiable_optimizer;
#[path = "../examples/03_digits.rs"]
#[allow(dead_code, reason = "its main reads the command line; the tests call what main calls")]
mod digits;
#[path = "../examples/02_fit_a_line.rs"]
mod fit_a_line;
#[path = "../examples/01_gradient.rs"]
mod gradient;
#[path = "../examples/08_kept_program.rs"]
mod kept_program;
#[path = "../examples/06_newton.rs"]
mod newton;
#[path = "../examples/09_profile.rs"]
mod profile;

#[test]
fn a_step_is_profiled() {
    profile::main();
}

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

#[test]
fn a_step_is_kept_and_run_often() {
    kept_program::main();
}

fn settings(args: &[&str]) -> Result<digits::Settings, String> {
    match digits::settings(lexopt::Parser::from_args(args)) {
        Ok(settings) => Ok(settings.expect("not asked for help")),
        Err(why) => Err(why.to_string()),
    }
}

#[test]
fn digits_are_recognised_and_the_model_is_saved() {
    let file = std::env::temp_dir().join(format!("wengert-digits-{}.safetensors", std::process::id()));
    let path = file.to_str().expect("a path of plain characters");
    let outcome = digits::run(&settings(&["--epochs", "6", "--hidden", "48,24", "--seed", "3", "--save", path]).unwrap()).unwrap();
    assert!(outcome.accuracy > 0.93, "{}", outcome.line);
    let words: Vec<&str> = outcome.line.split(' ').collect();
    assert_eq!(
        [words[0], words[1], words[3], words[5], words[6]],
        ["test", "accuracy", "%,", "s,", "gradient/function"],
        "{}",
        outcome.line
    );
    assert!(std::fs::metadata(&file).unwrap().len() > 4 * 64 * 48);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn digits_refuse_bad_settings_in_one_line() {
    for (args, said) in [
        (["--epochs", "0"], "--epochs"),
        (["--batch", "-3"], "-3"),
        (["--hidden", "64,x"], "--hidden"),
        (["--hidden", "0"], "--hidden"),
        (["--lr", "nan"], "--lr"),
        (["--dtype", "f16"], "--dtype"),
        (["--rate", "1"], "--rate"),
    ] {
        let why = settings(&args).err().unwrap_or_else(|| panic!("{args:?} was accepted"));
        assert!(why.contains(said) && !why.contains('\n'), "{args:?}: {why}");
    }
}
