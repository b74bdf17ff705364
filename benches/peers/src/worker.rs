//! How is a worker spoken to? By lines; and it is stopped whenever another one is timed, so that no idle thread pool spins beside it.

use crate::{peers::Peer, rows::Row};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

/// A worker that has been started for one workload.
pub struct Running {
    row: Row,
    times: Vec<f64>,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(peer: &Peer, workload: &str, variant: &str, threads: usize) -> Result<Running, String> {
        let row = Row::new(workload, &peer.name, variant, threads);
        let mut command = peer.command();
        command.args([workload, "--variant", variant, "--serve"]);
        for name in ["WENGERT_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(name, threads.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", row.name()))?;
        let (to, from) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Ok(Running { row, times: Vec::new(), child, to, from })
    }

    /// Waits until it has prepared, and notes what it computed.
    pub fn ready(mut self) -> Result<Running, String> {
        let said = self.hear()?;
        let number = |name: &str| said[name].as_f64();
        (self.row.loss0, self.row.loss10, self.row.check, self.row.base_mb) =
            (number("loss0"), number("loss10"), number("check"), number("base_mb"));
        Ok(self)
    }

    /// Stops it until it is to run. Not before all are ready: one that is stopped may hold a lock on a cache that another waits for.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it take steps: at least `least`, at most `most`, for some seconds.
    pub fn run(&mut self, warm: f64, seconds: f64, least: usize, most: usize) {
        self.signal(Signal::CONT);
        if let Ok(said) = self.ask(&format!("run {warm} {seconds} {least} {most}")) {
            self.times.extend(said["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64));
        }
        self.pause();
    }

    /// Asks how much memory it took, and lets it go.
    pub fn end(mut self) -> Result<Row, String> {
        self.signal(Signal::CONT);
        self.row.peak_mb = self.ask("end")?["peak_mb"].as_f64();
        self.times.sort_by(f64::total_cmp);
        let at = |share: f64| self.times.get((self.times.len() as f64 * share) as usize).copied();
        (self.row.median_ms, self.row.min_ms, self.row.p90_ms) = (at(0.5), at(0.0), at(0.9));
        self.row.steps = self.times.len();
        Ok(self.row.clone())
    }

    fn ask(&mut self, line: &str) -> Result<Value, String> {
        writeln!(self.to, "{line}").and_then(|()| self.to.flush()).map_err(|why| format!("{}: {why}", self.row.name()))?;
        self.hear()
    }

    fn hear(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        loop {
            line.clear();
            match self.from.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(format!("{} ended; run it by hand to see why", self.row.name())),
                Ok(_) => {}
            }
            if let Ok(said) = serde_json::from_str(&line) {
                return Ok(said);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
