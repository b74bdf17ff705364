//! What is measured, and for how long?

use lexopt::{Arg, Parser, ValueExt};
use std::path::PathBuf;

pub const HELP: &str = "\
Times eleven workloads in Wengert, candle, burn, dfdx, PyTorch and JAX, in turns, and checks that all compute the same.
A full run takes a quarter of an hour on two cores once everything is built, and writes RESULTS.md and results.json
beside this package; any other run writes them to target/part.

  --quick          shorter turns; five minutes
  --only W1,W3     these workloads
  --peers A,B      these of wengert, candle, burn, dfdx, torch, jax
  --threads N      threads of each peer   [2; W1, W2, W11 on 1 too]
  --python PATH    an interpreter that has python/requirements.txt installed   [$WENGERT_BENCH_PYTHON, or python3]
  --no-build       take the workers as they are";

pub const WORKLOADS: [&str; 11] = ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11"];

/// So little work that a second thread may cost more than it gives.
const SMALL: [&str; 3] = ["W1", "W2", "W11"];

pub struct Options {
    pub quick: bool,
    pub build: bool,
    pub workloads: Vec<String>,
    pub peers: Option<Vec<String>>,
    pub python: String,
    /// Seconds before the first timed step, and of timed steps, for each worker.
    pub warm: f64,
    pub budget: f64,
    pub rounds: usize,
    threads: Vec<usize>,
}

impl Options {
    /// `None` asks for help.
    pub fn from_env() -> Result<Option<Options>, lexopt::Error> {
        let python = std::env::var("WENGERT_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
        let workloads = WORKLOADS.map(String::from).to_vec();
        let mut o =
            Options { quick: false, build: true, workloads, peers: None, python, warm: 0.5, budget: 3.0, rounds: 5, threads: vec![2, 1] };
        let mut args = Parser::from_env();
        let list = |text: String| text.split(',').map(String::from).collect::<Vec<_>>();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("quick") => (o.quick, o.warm, o.budget, o.rounds) = (true, 0.1, 0.45, 3),
                Arg::Long("only") => o.workloads = list(args.value()?.string()?),
                Arg::Long("peers") => o.peers = Some(list(args.value()?.string()?)),
                Arg::Long("threads") => o.threads = vec![args.value()?.parse()?],
                Arg::Long("python") => o.python = args.value()?.string()?,
                Arg::Long("no-build") => o.build = false,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        match o.workloads.iter().find(|w| !WORKLOADS.contains(&w.as_str())) {
            Some(unknown) => Err(format!("--only: no workload {unknown}").into()),
            None => Ok(Some(o)),
        }
    }

    /// The numbers of threads that a workload is run with.
    pub fn threads_of(&self, workload: &str, variant: &str) -> &[usize] {
        let both = SMALL.contains(&workload) && !crate::rows::is_apart(workload, variant);
        if both { &self.threads } else { &self.threads[..1] }
    }

    /// A run whose results are worth keeping.
    pub fn is_full(&self) -> bool {
        !self.quick && self.workloads.len() == WORKLOADS.len() && self.peers.is_none() && self.threads.len() == 2
    }

    /// Where the results go.
    pub fn folder(&self) -> PathBuf {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        if self.is_full() { here } else { here.join("target/part") }
    }
}
