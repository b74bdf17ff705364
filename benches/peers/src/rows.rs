//! What was measured: a row for each workload, peer, way of writing it, and number of threads.

use serde_json::{Value, json};
use std::fmt;

#[derive(Clone, Default)]
pub struct Row {
    pub workload: String,
    pub peer: String,
    pub variant: String,
    pub threads: usize,
    pub steps: usize,
    pub median_ms: Option<f64>,
    pub min_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub base_mb: Option<f64>,
    pub peak_mb: Option<f64>,
    pub loss0: Option<f64>,
    pub loss10: Option<f64>,
    pub check: Option<f64>,
}

impl Row {
    pub fn new(workload: &str, peer: &str, variant: &str, threads: usize) -> Row {
        Row { workload: workload.into(), peer: peer.into(), variant: variant.into(), threads, ..Row::default() }
    }

    pub fn name(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        format!("{} {} {}, {threads}", self.workload, self.peer, self.variant)
    }

    pub fn json(&self) -> Value {
        json!({
            "workload": self.workload, "peer": self.peer, "variant": self.variant, "threads": self.threads, "steps": self.steps,
            "median_ms": self.median_ms, "min_ms": self.min_ms, "p90_ms": self.p90_ms, "base_mb": self.base_mb, "peak_mb": self.peak_mb,
            "loss0": self.loss0, "loss10": self.loss10, "check": self.check,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least] = [self.median_ms, self.min_ms].map(|ms| ms.unwrap_or(f64::NAN));
        write!(f, "{}: median {median:.4} ms, min {least:.4} ms, peak {:.0} MB", self.name(), self.peak_mb.unwrap_or(f64::NAN))
    }
}

/// Whether a row is listed apart: loops inside one call dispatch no steps, and an objective alone is another task.
pub fn is_apart(workload: &str, variant: &str) -> bool {
    variant.starts_with("loop") || variant.starts_with("program") || variant == "objective" || (workload, variant) == ("W9", "scan")
}

/// How far from the first row of its workload a row's losses and check may be: relative for the loss of step 0, of step 10, the check.
pub fn tolerances(workload: &str, variant: &str) -> [f64; 3] {
    match (workload, variant) {
        ("W5", "nn.LSTM") => [1e-5, 1e-2, 0.0], // trains a second bias too
        ("W7", _) => [5e-3, 5e-3, 1e-4],        // some add up four million squares one by one
        ("W9", _) => [1e-3, 1e-3, 1e-3],        // thousands of roundings in a row
        ("W10", _) => [1e-4, 1e-4, 1e-3],
        ("W11", _) => [1e-10, 1e-10, 1e-9],
        _ => [1e-4, 1e-4, 1e-4],
    }
}

/// Which rows did not compute what the first row of their workload did?
pub fn disagreements(rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        let first = rows.iter().find(|r| r.workload == row.workload).expect("this one at least");
        let pairs = [(row.loss0, first.loss0, "loss0"), (row.loss10, first.loss10, "loss10"), (row.check, first.check, "check")];
        for ((got, expected, what), tolerance) in pairs.into_iter().zip(tolerances(&row.workload, &row.variant)) {
            let Some(expected) = expected else { continue };
            let fits = match got {
                Some(got) => (got - expected).abs() <= tolerance * expected.abs(),
                None => what == "check",
            };
            if !fits {
                faults.push(format!("{what} of {}: {got:?}, but {expected:?} in {}", row.name(), first.name()));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_results_have_the_fields_that_others_read() {
        let kept: Vec<Value> = serde_json::from_str(include_str!("../results.json")).expect("a list");
        assert!(!kept.is_empty());
        for row in &kept {
            let number = |name: &str| row[name].is_number();
            assert!(["workload", "peer", "variant"].iter().all(|name| row[name].is_string()), "{row}");
            assert!(["threads", "median_ms", "min_ms", "peak_mb", "loss0", "loss10"].into_iter().all(number), "{row}");
            let names = |row: &Value| row.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(row), names(&Row::default().json()), "what is kept and what would be written");
        }
    }
}
