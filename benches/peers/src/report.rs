//! What came out? A table that a person reads, and rows that a program reads.

use crate::{
    costs,
    options::{Options, WORKLOADS},
    peers::Peer,
    probe::Machine,
    rows::{Row, is_apart},
};
use std::{fmt::Write, fs, io, path::PathBuf, process::Command};

pub struct Run<'a> {
    pub options: &'a Options,
    pub machine: Machine,
    /// What [`made_with`] said at the start.
    pub made_with: Vec<String>,
    pub peers: &'a [Peer],
    /// Peers that are missing, with the reason.
    pub skipped: Vec<String>,
    /// Workers that ended before their time, with the reason.
    pub failed: Vec<String>,
    pub rows: Vec<Row>,
    pub faults: Vec<String>,
}

/// The share of the best peer's time that Wengert aims at.
fn aim(workload: &str) -> f64 {
    let aims = [0.35, 0.6, 0.7, 0.45, 0.7, 0.7, 0.6, 0.25, 0.6, 0.85, 0.7];
    WORKLOADS.iter().position(|w| *w == workload).map_or(1.0, |i| aims[i])
}

fn ms(x: Option<f64>) -> String {
    match x {
        None => "-".into(),
        Some(x) if x < 0.1 => format!("{x:.4}"),
        Some(x) if x < 10.0 => format!("{x:.3}"),
        Some(x) => format!("{x:.1}"),
    }
}

fn mb(x: Option<f64>) -> String {
    x.map_or("-".into(), |x| format!("{x:.1}"))
}

impl Run<'_> {
    /// The rows of a workload in which each step is dispatched.
    fn stepwise(&self, workload: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |r| r.workload == workload && r.median_ms.is_some() && !is_apart(workload, &r.variant))
    }

    fn fastest<'r>(rows: impl Iterator<Item = &'r Row>) -> Option<&'r Row> {
        rows.min_by(|a, b| a.median_ms.partial_cmp(&b.median_ms).expect("numbers"))
    }

    /// A line for each workload: Wengert, its best peer, their ratio, memory, and the distance from what the machine could do.
    pub fn overview(&self) -> String {
        let mut text = String::from(
            "| | Wengert, median (min) ms | best peer | median (min) ms | ratio | aim | Wengert peak MB | PyTorch eager peak MB | floor ms | Wengert over floor |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for workload in &self.options.workloads {
            let ours = Self::fastest(self.stepwise(workload).filter(|r| r.peer == "wengert"));
            let best = Self::fastest(self.stepwise(workload).filter(|r| r.peer != "wengert"));
            let torch = self.stepwise(workload).find(|r| r.peer == "torch" && r.variant == "eager");
            let floor = costs::of(workload).map(|c| c.floor_ms(&self.machine));
            let time = |r: Option<&Row>| r.map_or("-".into(), |r| format!("{} ({})", ms(r.median_ms), ms(r.min_ms)));
            let over = |a: Option<f64>, b: Option<f64>| a.zip(b).map_or("-".into(), |(a, b)| format!("{:.2}", a / b));
            let median = |r: Option<&Row>| r.and_then(|r| r.median_ms);
            let who = best.map_or("-".into(), |r| format!("{} {}{}", r.peer, r.variant, if r.threads == 1 { ", 1 thread" } else { "" }));
            let _ = writeln!(
                text,
                "| {workload} | {} | {who} | {} | **{}** | {} | {} | {} | {} | {} |",
                time(ours),
                time(best),
                over(median(ours), median(best)),
                aim(workload),
                mb(ours.and_then(|r| r.peak_mb)),
                mb(torch.and_then(|r| r.peak_mb)),
                ms(floor),
                over(median(ours), floor)
            );
        }
        text
    }

    /// Every row.
    fn details(&self, apart: bool) -> String {
        let mut text = String::from(
            "| | peer | variant | threads | median ms | min ms | p90 ms | steps | peak MB over base | base MB | loss0 | loss10 | check |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let value = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.8}"));
        for r in self.rows.iter().filter(|r| is_apart(&r.workload, &r.variant) == apart) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                r.workload,
                r.peer,
                r.variant,
                r.threads,
                ms(r.median_ms),
                ms(r.min_ms),
                ms(r.p90_ms),
                r.steps,
                mb(r.peak_mb),
                mb(r.base_mb),
                value(r.loss0),
                value(r.loss10),
                value(r.check)
            );
        }
        text
    }

    fn limits(&self) -> String {
        let m = &self.machine;
        let mut text = format!("{}, {} cores. Measured at the start of the run, on one core and on two:\n\n", m.name, m.cores);
        let _ = writeln!(text, "| | 1 | 2 |\n|---|---|---|");
        let _ = writeln!(text, "| f32 multiply-adds, GFLOP/s | {:.0} | {:.0} |", m.flops[0] / 1e9, m.flops[1] / 1e9);
        for (size, rates) in m.bytes {
            let name = format!("copy within {} KB a core, GB/s read and written", size >> 10);
            let _ = writeln!(text, "| {name} | {:.0} | {:.0} |", rates[0] / 1e9, rates[1] / 1e9);
        }
        let _ = writeln!(text, "\n| least work of a step | GFLOP | MB | floor ms |\n|---|---|---|---|");
        for workload in &self.options.workloads {
            if let Some(cost) = costs::of(workload) {
                let floor = ms(Some(cost.floor_ms(m)));
                let _ = writeln!(text, "| {workload} | {:.4} | {:.2} | {floor} |", cost.gflop(), cost.megabytes());
            }
        }
        text
    }

    fn page(&self) -> String {
        let list = |lines: Vec<String>| lines.into_iter().map(|l| format!("- {l}\n")).collect::<String>();
        let versions = self.peers.iter().map(|p| format!("{} {}", p.name, p.version));
        let versions = list(self.made_with.iter().cloned().chain(versions).collect());
        let missing = self.peers.iter().flat_map(|p| p.missing.iter().map(move |(w, why)| format!("{} {w}: {why}", p.name)));
        let skipped = self.skipped.iter().map(|why| format!("skipped: {why}"));
        let failed = self.failed.iter().map(|why| format!("failed: {why}"));
        let missing = list(missing.chain(skipped).chain(failed).collect());
        let same = if self.faults.is_empty() { "All losses and checks agree.\n".into() } else { list(self.faults.clone()) };
        format!(
            "# Results of the peers bench\n\nMade by `{}`; do not edit. What is measured and how: [README.md](README.md).\n\n\
             ## Wengert and its best peer\n\nThe best peer is the one with the shortest median among those that dispatch every step.\n\n{}\n\
             ## The machine\n\n{}\n## Versions\n\n{versions}\nNot measured:\n\n{missing}\n## Do all compute the same?\n\n{same}\n\
             ## Every row\n\n{}\n## Apart: loops inside one call, kept programs, objectives alone\n\n{}",
            command(),
            self.overview(),
            self.limits(),
            self.details(false),
            self.details(true)
        )
    }

    /// Writes the page and the rows.
    pub fn write(&self) -> io::Result<PathBuf> {
        let folder = self.options.folder();
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("RESULTS.md"), self.page())?;
        let rows: Vec<String> = self.rows.iter().map(|r| format!("  {}", r.json())).collect();
        fs::write(folder.join("results.json"), format!("[\n{}\n]\n", rows.join(",\n")))?;
        Ok(folder)
    }
}

/// The compiler that a build takes here, and the commit of these sources (`-dirty` when something is not committed).
pub fn made_with() -> Vec<String> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let rustc = said("rustc", &["--version"]).unwrap_or("rustc unknown".into());
    let commit = said("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).unwrap_or("unknown".into());
    vec![rustc, format!("commit {commit}")]
}

/// The command line, without what it does not depend on.
fn command() -> String {
    let mut args = std::env::args().skip(1);
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--python" => _ = args.next(),
            "--no-build" => {}
            _ => kept.push(arg),
        }
    }
    let tail = if kept.is_empty() { String::new() } else { format!(" -- {}", kept.join(" ")) };
    format!("cargo run --release --manifest-path benches/peers/Cargo.toml{tail}")
}
