//! What has to hold before a change goes in? `cargo xtask check` runs all of it, in the order in which it fails fastest.

use std::process::{Command, ExitCode};

/// A step: what it is called, what cargo is told, and a variable of its environment.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: Option<(&'static str, &'static str)>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", arguments: &["fmt", "--all", "--check"], environment: None },
    Step { name: "clippy", arguments: &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], environment: None },
    Step { name: "doc", arguments: &["doc", "--workspace", "--no-deps", "--quiet"], environment: Some(("RUSTDOCFLAGS", "-Dwarnings")) },
    Step { name: "test", arguments: &["test", "--workspace"], environment: None },
];

fn run(step: &Step) -> bool {
    println!("\n== {}: cargo {}", step.name, step.arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(step.arguments).envs(step.environment).status();
    match status {
        Ok(status) => status.success(),
        Err(why) => {
            eprintln!("cargo does not start: {why}");
            false
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
    let wanted: Vec<&Step> = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => STEPS.iter().collect(),
        [one] if names.contains(&one) => STEPS.iter().filter(|s| s.name == one).collect(),
        _ => {
            eprintln!("usage: cargo xtask check\n   or one step of it: cargo xtask {}", names.join("|"));
            return ExitCode::from(2);
        }
    };
    for step in wanted {
        if !run(step) {
            eprintln!("\n{} failed", step.name);
            return ExitCode::FAILURE;
        }
    }
    println!("\nall is well");
    ExitCode::SUCCESS
}
