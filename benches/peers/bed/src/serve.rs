//! How does a worker talk? One JSON object a line: it prepares a workload, says what it computed, and takes steps when told.

use std::{
    io::{self, BufRead, Write},
    time::{Duration, Instant},
};

/// A prepared workload.
pub trait Job {
    /// One step (or one call of several); the loss that it computed.
    fn step(&mut self) -> f64;

    /// Steps in one call.
    fn steps_in_a_call(&self) -> usize {
        1
    }

    /// The losses of steps 0 and 10, on a fresh job.
    fn first_losses(&mut self) -> [f64; 2] {
        let losses: Vec<f64> = (0..11).map(|_| self.step()).collect();
        [losses[0], losses[10]]
    }

    /// What the last step's gradients amount to, where the workload asks for it.
    fn check(&self) -> Option<f64> {
        None
    }
}

/// What a program can do.
pub struct Worker {
    pub peer: &'static str,
    pub version: &'static str,
    /// Pairs of a workload and a way to write it.
    pub offers: &'static [(&'static str, &'static str)],
    /// Workloads that cannot be written, and why.
    pub missing: &'static [(&'static str, &'static str)],
    pub prepare: fn(workload: &str, variant: &str) -> Box<dyn Job>,
}

const HELP: &str = "\
WORKER --list                          what it offers, as JSON
WORKER W3 [--variant V] [--steps N]    takes N steps (50) and prints their times
WORKER W3 --variant V --serve          prepares, then obeys `run WARM SECONDS LEAST MOST` and `end` from standard input";

/// The whole program of a worker.
pub fn main(worker: &Worker) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let flag = |name: &str| args.iter().any(|a| a == name);
    let Some(first) = args.first() else { return println!("{HELP}") };
    if flag("--list") {
        return println!("{}", listing(worker));
    }
    let variants: Vec<&str> = worker.offers.iter().filter(|o| o.0 == first).map(|o| o.1).collect();
    let variant = after("--variant").or(variants.first().copied()).unwrap_or_default();
    if !variants.contains(&variant) {
        eprintln!("{}: no {first} {variant}; --list tells what there is\n{HELP}", worker.peer);
        std::process::exit(2);
    }
    load(worker);
    let base = memory_now();
    let mut job = (worker.prepare)(first, variant);
    let [loss0, loss10] = job.first_losses();
    let check = job.check();
    if flag("--serve") {
        serve(&mut *job, base, loss0, loss10, check);
    } else {
        let steps = after("--steps").map_or(50, |n| n.parse().expect("a number after --steps"));
        let mut ms = run(&mut *job, Duration::from_millis(500), Duration::MAX, steps, steps);
        ms.sort_by(f64::total_cmp);
        println!("{} {first} {variant}: median {:.4} ms, min {:.4} ms of {} steps", worker.peer, ms[ms.len() / 2], ms[0], ms.len());
        println!("loss0 {loss0:.9}, loss10 {loss10:.9}, check {check:?}, base {base:.1} MB, peak {:.1} MB over it", memory_most() - base);
    }
}

fn listing(worker: &Worker) -> String {
    let pairs = |what: &[(&str, &str)]| what.iter().map(|(a, b)| format!("[\"{a}\",\"{b}\"]")).collect::<Vec<_>>().join(",");
    format!(
        "{{\"peer\":\"{}\",\"version\":\"{}\",\"offers\":[{}],\"missing\":[{}]}}",
        worker.peer,
        worker.version,
        pairs(worker.offers),
        pairs(worker.missing)
    )
}

/// Takes a tiny step, so that what is loaded or started at the first one is there before memory is counted.
fn load(worker: &Worker) {
    if let Some(&(workload, variant)) = worker.offers.iter().find(|o| o.0 == "W1") {
        (worker.prepare)(workload, variant).step();
    }
}

fn serve(job: &mut dyn Job, base: f64, loss0: f64, loss10: f64, check: Option<f64>) {
    let check = check.map_or("null".into(), number);
    say(format!("{{\"loss0\":{},\"loss10\":{},\"check\":{check},\"base_mb\":{base:.2}}}", number(loss0), number(loss10)));
    for line in io::stdin().lock().lines() {
        let line = line.expect("text from the driver");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", warm, seconds, least, most] => {
                let time = |s: &str| Duration::from_secs_f64(s.parse().expect("seconds"));
                let count = |s: &str| s.parse().expect("a number of steps");
                let ms = run(job, time(warm), time(seconds), count(least), count(most));
                let ms: Vec<String> = ms.into_iter().map(|t| format!("{t:.6}")).collect();
                say(format!("{{\"ms\":[{}]}}", ms.join(",")));
            }
            ["end"] => return say(format!("{{\"peak_mb\":{:.2}}}", memory_most() - base)),
            _ => panic!("not understood: {line}"),
        }
    }
}

fn number(x: f64) -> String {
    if x.is_finite() { format!("{x:.17e}") } else { "null".into() }
}

fn say(line: String) {
    println!("{line}");
    io::stdout().flush().expect("a driver that listens");
}

/// Warms up, then times single calls; milliseconds a step.
fn run(job: &mut dyn Job, warm: Duration, limit: Duration, least: usize, most: usize) -> Vec<f64> {
    let start = Instant::now();
    job.step();
    while start.elapsed() < warm {
        job.step();
    }
    let steps = job.steps_in_a_call() as f64;
    let start = Instant::now();
    let mut times = Vec::with_capacity(most.min(100_000));
    while times.len() < most && (times.len() < least || start.elapsed() < limit) {
        let step = Instant::now();
        job.step();
        times.push(step.elapsed().as_secs_f64() * 1e3 / steps);
    }
    times
}

/// Memory that the process holds, in MB; from here on its peak is counted.
fn memory_now() -> f64 {
    // Resets the peak, where the system allows it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    status("VmRSS:")
}

/// The most that the process has held.
fn memory_most() -> f64 {
    status("VmHWM:")
}

fn status(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
