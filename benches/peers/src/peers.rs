//! Who is there to be timed? Each peer is a program that lists what it offers; one that is missing is skipped by name.

use crate::options::Options;
use serde_json::Value;
use std::{path::PathBuf, process::Command};

pub struct Peer {
    pub name: String,
    pub version: String,
    /// Workloads that it cannot express, with the reason.
    pub missing: Vec<(String, String)>,
    offers: Vec<(String, String)>,
    program: Vec<String>,
}

impl Peer {
    /// One that offers nothing.
    #[cfg(test)]
    pub fn of_program(name: &str, program: &[&str]) -> Peer {
        let program = program.iter().map(|part| part.to_string()).collect();
        Peer { name: name.into(), version: String::new(), missing: Vec::new(), offers: Vec::new(), program }
    }

    /// The ways in which it writes a workload.
    pub fn variants(&self, workload: &str) -> impl Iterator<Item = &str> {
        self.offers.iter().filter(move |o| o.0 == workload).map(|o| o.1.as_str())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command
    }
}

/// Variants that take most of a minute to compile, and are not the fastest: left out of a quick run.
pub fn is_slow_to_start(workload: &str, variant: &str) -> bool {
    matches!((workload, variant), ("W4" | "W5" | "W6", "compile") | ("W5", "jit"))
}

/// All peers that answer, and why the others do not.
pub fn find(options: &Options) -> (Vec<Peer>, Vec<String>) {
    let wanted = |name: &str| options.peers.as_ref().is_none_or(|p| p.iter().any(|p| p == name));
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for name in ["wengert", "candle", "burn", "dfdx"].into_iter().filter(|n| wanted(n)) {
        sort(name, rust(name, options), "see what cargo says above", &mut found, &mut skipped);
    }
    for name in ["torch", "jax"].into_iter().filter(|n| wanted(n)) {
        let program = vec![options.python.clone(), here().join(format!("python/{name}_worker.py")).display().to_string()];
        let hint = "pip install -r benches/peers/python/requirements.txt, and name that interpreter by WENGERT_BENCH_PYTHON";
        sort(name, list(program), hint, &mut found, &mut skipped);
    }
    (found, skipped)
}

fn sort(name: &str, peer: Result<Peer, String>, hint: &str, found: &mut Vec<Peer>, skipped: &mut Vec<String>) {
    match peer {
        Ok(peer) => found.push(peer),
        Err(why) => skipped.push(format!("{name}: {why}; {hint}")),
    }
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Builds a worker written in Rust. All share one target directory.
fn rust(name: &str, options: &Options) -> Result<Peer, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(here().join("target"), PathBuf::from);
    if options.build {
        eprintln!("building {name}");
        let manifest = here().join(name).join("Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest).env("CARGO_TARGET_DIR", &target);
        match cargo.status() {
            Ok(status) if status.success() => {}
            _ => return Err("it does not build".into()),
        }
    }
    list(vec![target.join("release").join(format!("{name}-worker")).display().to_string()])
}

/// Asks a worker what it offers.
fn list(program: Vec<String>) -> Result<Peer, String> {
    let output = Command::new(&program[0]).args(&program[1..]).arg("--list").output().map_err(|why| why.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let last = || error.lines().last().unwrap_or("it says nothing").to_string();
    let listing: Value = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(last)?;
    let string = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let pairs = |v: &Value| v.as_array().into_iter().flatten().map(|pair| (string(&pair[0]), string(&pair[1]))).collect();
    Ok(Peer {
        name: string(&listing["peer"]),
        version: string(&listing["version"]),
        missing: pairs(&listing["missing"]),
        offers: pairs(&listing["offers"]),
        program,
    })
}
