//! How is a profile shown? As tables, as JSON, and as a trace that a browser draws.

use super::{Profile, Spent};
use std::{
    fmt::{self, Write},
    time::Duration,
};

/// Rows of a table that are shown.
const ROWS: usize = 20;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.forward + self.backward;
        writeln!(f, "{} kernels, {}: forward {}, backward {}", self.kernels.len(), Us(total), Us(self.forward), Us(self.backward))?;
        if let Some(ratio) = self.gradient_over_function() {
            writeln!(f, "function with gradient over function: {ratio:.2}")?;
        }
        writeln!(f, "tape: {} ns per node to record, differentiate and find the plan", self.tape_per_node.as_nanos())?;
        writeln!(
            f,
            "memory: inputs {} B, at most {} B alive, {} B saved for the backward",
            self.input_bytes, self.peak_bytes, self.saved_bytes
        )?;
        writeln!(f, "roof: {:.1} GFLOP/s, {:.1} GB/s", self.roof.flops_per_second / 1e9, self.roof.bytes_per_second / 1e9)?;
        table(f, "op", &self.ops)?;
        table(f, "line", &self.lines)?;
        writeln!(f, "\n{:>10} {:>10} {:>6} {:>8} {:>8}  kernel", "median µs", "min µs", "roof", "kFLOP", "kB")?;
        for (at, k) in self.kernels.iter().enumerate() {
            let (flops, bytes) = (k.cost.flops as f64 / 1e3, k.cost.bytes() as f64 / 1e3);
            let (median, min, roof) = (us(k.median), us(k.min), 100.0 * k.of_roof);
            writeln!(f, "{median:>10.2} {min:>10.2} {roof:>5.0}% {flops:>8.1} {bytes:>8.1}  k{at} {}", k.ops.join(" "))?;
        }
        write!(f, "Times of kernels are measured; shares within a fused kernel are estimated from its operations.")
    }
}

fn table(f: &mut fmt::Formatter<'_>, what: &str, rows: &[Spent]) -> fmt::Result {
    writeln!(
        f,
        "\n{:>10} {:>10} {:>6} {:>8} {:>8} {:>8} {:>8}  {what}",
        "forward µs", "backward", "roof", "kFLOP", "kB", "saved kB", "peak kB"
    )?;
    for s in rows.iter().take(ROWS) {
        let (forward, backward, roof) = (us(s.forward), us(s.backward), 100.0 * s.of_roof);
        let (flops, bytes) = (s.flops / 1e3, s.bytes / 1e3);
        let (saved, peak) = (s.saved_bytes as f64 / 1e3, s.peak_bytes as f64 / 1e3);
        writeln!(f, "{forward:>10.2} {backward:>10.2} {roof:>5.0}% {flops:>8.1} {bytes:>8.1} {saved:>8.1} {peak:>8.1}  {}", s.name)?;
    }
    match rows.len().saturating_sub(ROWS) {
        0 => Ok(()),
        more => writeln!(f, "and {more} more"),
    }
}

fn us(t: Duration) -> f64 {
    t.as_secs_f64() * 1e6
}

struct Us(Duration);

impl fmt::Display for Us {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} µs", us(self.0))
    }
}

impl Profile {
    /// Time of the function with its gradient over that of the function alone, if both take some.
    fn gradient_over_function(&self) -> Option<f64> {
        let both = !self.forward.is_zero() && !self.backward.is_zero();
        both.then(|| (self.forward + self.backward).as_secs_f64() / self.forward.as_secs_f64())
    }

    /// All of it as JSON; times in microseconds. `gradient_over_function` is null where nothing is differentiated.
    pub fn to_json(&self) -> String {
        let spent = |s: &Spent| {
            object(&[
                ("name", quoted(&s.name)),
                ("forward_us", number(us(s.forward))),
                ("backward_us", number(us(s.backward))),
                ("flops", number(s.flops)),
                ("bytes", number(s.bytes)),
                ("of_roof", number(s.of_roof)),
                ("saved_bytes", s.saved_bytes.to_string()),
                ("peak_bytes", s.peak_bytes.to_string()),
            ])
        };
        let kernels = self.kernels.iter().map(|k| {
            object(&[
                ("ops", list(k.ops.iter().map(|op| quoted(op)))),
                ("lines", list(k.lines.iter().map(|l| quoted(l)))),
                ("min_us", number(us(k.min))),
                ("median_us", number(us(k.median))),
                ("flops", k.cost.flops.to_string()),
                ("bytes_read", k.cost.read.to_string()),
                ("bytes_written", k.cost.written.to_string()),
                ("of_roof", number(k.of_roof)),
            ])
        });
        object(&[
            ("forward_us", number(us(self.forward))),
            ("backward_us", number(us(self.backward))),
            ("gradient_over_function", self.gradient_over_function().map_or("null".to_string(), number)),
            ("tape_ns_per_node", self.tape_per_node.as_nanos().to_string()),
            ("input_bytes", self.input_bytes.to_string()),
            ("peak_bytes", self.peak_bytes.to_string()),
            ("saved_bytes", self.saved_bytes.to_string()),
            ("roof_flops_per_second", number(self.roof.flops_per_second)),
            ("roof_bytes_per_second", number(self.roof.bytes_per_second)),
            ("ops", list(self.ops.iter().map(spent))),
            ("lines", list(self.lines.iter().map(spent))),
            ("kernels", list(kernels)),
        ])
    }

    /// The kernels one after the other, and below each its parts, in the format that `chrome://tracing` and Perfetto open.
    pub fn to_chrome_trace(&self) -> String {
        let (mut events, mut start) = (Vec::new(), 0.0);
        let event = |name: &str, row: u32, at: f64, long: f64, told: String| {
            let (at, long) = (number(at), number(long));
            let fields = [("ph", quoted("X")), ("pid", "1".into()), ("tid", row.to_string()), ("ts", at), ("dur", long), ("args", told)];
            object(&[&[("name", quoted(name))], &fields[..]].concat())
        };
        for (number_of, k) in self.kernels.iter().enumerate() {
            let long = us(k.median);
            let told = object(&[
                ("ops", quoted(&k.ops.join(" "))),
                ("lines", quoted(&k.lines.join(", "))),
                ("flops", k.cost.flops.to_string()),
                ("bytes", k.cost.bytes().to_string()),
                ("of_roof", number(k.of_roof)),
            ]);
            events.push(event(&format!("k{number_of}"), 1, start, long, told));
            let mut at = start;
            for p in &k.pieces {
                let told = object(&[("line", quoted(&p.line)), ("backward", p.is_backward.to_string())]);
                events.push(event(p.op, 2, at, long * p.share, told));
                at += long * p.share;
            }
            start += long;
        }
        object(&[("traceEvents", list(events.into_iter())), ("displayTimeUnit", quoted("ns"))])
    }
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// JSON has no infinities.
fn number(v: f64) -> String {
    if v.is_finite() { format!("{v}") } else { "null".to_string() }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a string takes any text"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
