//! How is a worker spoken to? By lines; and it is stopped whenever another one is timed, so that no idle thread pool spins beside it.

use crate::{peers::Peer, rows::Row};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, Write},
    process::{self, Child, ChildStdin, ChildStdout, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// A worker that has been started for one workload.
pub struct Running {
    row: Row,
    times: Vec<f64>,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// What it complains of, where it can.
    complaints: Option<File>,
}

impl Running {
    pub fn start(peer: &Peer, workload: &str, variant: &str, threads: usize) -> Result<Running, String> {
        let row = Row::new(workload, &peer.name, variant, threads);
        let mut command = peer.command();
        command.args([workload, "--variant", variant, "--serve"]);
        for name in ["WENGERT_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(name, threads.to_string());
        }
        let complaints = unnamed_file().ok();
        let stderr = complaints.as_ref().and_then(|file| file.try_clone().ok()).map_or_else(Stdio::null, Stdio::from);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", row.name()))?;
        let (to, from) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Ok(Running { row, times: Vec::new(), child, to, from, complaints })
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
    pub fn pause(&mut self) {
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
        match writeln!(self.to, "{line}").and_then(|()| self.to.flush()) {
            Ok(()) => self.hear(),
            Err(_) => Err(self.ended()),
        }
    }

    fn hear(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        loop {
            line.clear();
            match self.from.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(self.ended()),
                Ok(_) => {}
            }
            if let Ok(said) = serde_json::from_str(&line) {
                return Ok(said);
            }
        }
    }

    /// How it ended before its time: its status, if it has one soon, and the last that it complained of.
    fn ended(&mut self) -> String {
        let mut status = None;
        for _ in 0..100 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let mut said = String::new();
        if let Some(file) = &mut self.complaints {
            let _ = file.rewind().and_then(|()| file.read_to_string(&mut said));
        }
        let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("note: "));
        let status = status.map_or("does not answer any more".into(), |status| format!("ended with {status}"));
        format!("{} {status}: {}", self.row.name(), last.unwrap_or("it says nothing; run it by hand to see why"))
    }

    fn signal(&mut self, signal: Signal) {
        // Once it is known to have ended, its number may be another's.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }
}

/// A file that is gone when it is closed.
fn unnamed_file() -> io::Result<File> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = env::temp_dir().join(format!("peers-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell does in a worker's place.
    fn worker(script: &str) -> Result<Running, String> {
        Running::start(&Peer::of_program("stand-in", &["sh", "-c", script]), "W1", "eager", 1)
    }

    #[test]
    fn a_worker_that_fails_says_why() {
        let failed = |script: &str| worker(script).and_then(Running::ready).err().expect("it fails");
        let name = "W1 stand-in eager, 1 thread";
        assert_eq!(failed("echo no numbers >&2; exit 3"), format!("{name} ended with exit status: 3: no numbers"));
        assert_eq!(failed("kill -9 $$"), format!("{name} ended with signal: 9 (SIGKILL): it says nothing; run it by hand to see why"));
    }

    #[test]
    fn one_that_fails_when_it_is_to_run_says_why_at_the_end() {
        let mut worker = worker("echo '{}'; read line; echo out of memory >&2; exit 1").and_then(Running::ready).expect("it prepares");
        worker.run(0.0, 0.0, 1, 1);
        let why = worker.end().err().expect("it has ended");
        assert_eq!(why, "W1 stand-in eager, 1 thread ended with exit status: 1: out of memory");
    }
}
