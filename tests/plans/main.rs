//! What do the plans of known programs look like? A dozen of them, as text beside this file.
//!
//! A change of the planner changes them: `WENGERT_BLESS=1 cargo test --test plans` writes them anew, and the difference is read like code.

mod programs;

use std::{fs, path::PathBuf};
use wengert::{Tape, Tensor};

/// A program: what to read.
type Program = for<'t> fn(&'t Tape) -> Vec<Tensor<'t>>;

#[test]
fn plans_are_as_they_were() {
    let bless = std::env::var_os("WENGERT_BLESS").is_some_and(|v| v == "1");
    let mut wrong = Vec::new();
    for (name, program) in programs::ALL {
        let tape = Tape::new();
        let plan = tape.plan(&program(&tape)).to_string();
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/plans/shown").join(format!("{name}.txt"));
        if bless {
            fs::write(&path, &plan).expect("the folder can be written to");
        } else if fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n") != plan {
            wrong.push(format!("{}: now\n{plan}", path.display()));
        }
    }
    let all = wrong.join("\n");
    assert!(wrong.is_empty(), "{} plans differ; if they are meant to, run with WENGERT_BLESS=1\n{all}", wrong.len());
}

#[test]
fn a_plan_tells_ops_lines_and_costs() {
    let tape = Tape::new();
    let x = tape.leaf(&wengert::Array::full([8, 4], 0.5f32));
    let line = line!() + 1;
    let y = x.tanh().matmul(x.t());
    let plan = tape.plan(&y);
    assert_eq!(plan.kernels().len(), 2, "{plan}");
    assert_eq!(plan.kernels()[0].ops, ["tanh"]);
    assert!(plan.kernels()[1].lines[0].ends_with(&format!("plans/main.rs:{line}")), "{plan}");
    let product = plan.kernels()[1].cost;
    assert_eq!((product.flops, product.read, product.written), (2 * 8 * 8 * 4, 2 * 8 * 4 * 4, 8 * 8 * 4));
    assert_eq!(plan.cost().bytes(), product.bytes() + 2 * 8 * 4 * 4);
}
