//! What does a check say? Text for people, JSON for programs.

use super::claim::Located;
use std::fmt::{self, Write};

/// What a gradient check has done and found: [`gradcheck`](super::gradcheck) gives it in both cases, `Ok` without a fault.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was compared, in order.
    pub passed: Vec<Passed>,
    /// Rules on the path that are meant to differ from the derivative. Inputs that reach the result through one of them are left
    /// out of the comparison with differences.
    pub exempt: Vec<Exempt>,
    /// Names of the inputs left out.
    pub left_out: Vec<String>,
    /// The first comparison that failed.
    pub fault: Option<Fault>,
}

/// A comparison that held.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What was compared with what.
    pub check: &'static str,
    /// The largest difference, in units of what is allowed.
    pub excess: f64,
}

/// A node whose rule is not the derivative, by intent.
#[derive(Clone, Debug)]
pub struct Exempt {
    /// Op and line.
    pub op: String,
    /// The reason that the rule gives.
    pub why: String,
}

/// Where a gradient and differences disagree.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What was compared with what.
    pub check: &'static str,
    /// The input: its number, or its path in a model. Empty where no single input is at fault.
    pub input: String,
    /// The coordinate in it.
    pub index: Vec<usize>,
    /// What the rules give.
    pub analytic: f64,
    /// What differences, or the other mode, give.
    pub numeric: f64,
    /// Slope from the left, where differences were taken.
    pub left: f64,
    /// Slope from the right. Where it is not the left one, the function has a kink there.
    pub right: f64,
    /// What decided.
    pub rule: String,
}

impl Fault {
    pub(super) fn at(check: &'static str, input: String, at: Located) -> Fault {
        let kink = if at.at_kink() { "; the slopes from left and right differ: a kink" } else { "" };
        let rule = format!("{}{kink}", at.rule);
        Fault { check, input, index: at.index, analytic: at.claimed, numeric: at.found, left: at.left, right: at.right, rule }
    }

    /// A disagreement of two numbers that belongs to no single coordinate.
    pub(super) fn overall(check: &'static str, analytic: f64, numeric: f64, rule: String) -> Fault {
        Fault { check, input: String::new(), index: Vec::new(), analytic, numeric, left: f64::NAN, right: f64::NAN, rule }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.check)?;
        if !self.input.is_empty() {
            write!(f, "{} at {:?}: ", self.input, self.index)?;
        }
        write!(f, "the rules give {:?}, but it should be {:?}", self.analytic, self.numeric)?;
        if self.left.is_finite() && self.right.is_finite() {
            write!(f, " (from the left {:?}, from the right {:?})", self.left, self.right)?;
        }
        write!(f, "\n  {}", self.rule)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Some(fault) => writeln!(f, "gradcheck: {fault}")?,
            None if self.left_out.is_empty() => writeln!(f, "gradcheck: no fault found")?,
            None => writeln!(f, "gradcheck: no fault found, but not everything was compared")?,
        }
        for p in &self.passed {
            writeln!(f, "  held: {} (largest difference {:.1e} of what is allowed)", p.check, p.excess)?;
        }
        for e in &self.exempt {
            writeln!(f, "  exempt: {}: {}", e.op, e.why)?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "  not compared with differences: {}", self.left_out.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl Report {
    /// The report as one JSON object; numbers that are not finite are `null`.
    pub fn to_json(&self) -> String {
        let passed = list(self.passed.iter().map(|p| object(&[("check", text(p.check)), ("excess", number(p.excess))])));
        let exempt = list(self.exempt.iter().map(|e| object(&[("op", text(&e.op)), ("why", text(&e.why))])));
        let left_out = list(self.left_out.iter().map(|n| text(n)));
        let fault = self.fault.as_ref().map_or("null".into(), Fault::to_json);
        object(&[("passed", passed), ("exempt", exempt), ("left_out", left_out), ("fault", fault)])
    }
}

impl Fault {
    /// The fault as one JSON object.
    pub fn to_json(&self) -> String {
        object(&[
            ("check", text(self.check)),
            ("input", text(&self.input)),
            ("index", list(self.index.iter().map(usize::to_string))),
            ("analytic", number(self.analytic)),
            ("numeric", number(self.numeric)),
            ("left", number(self.left)),
            ("right", number(self.right)),
            ("rule", text(&self.rule)),
        ])
    }
}

fn number(v: f64) -> String {
    if v.is_finite() { format!("{v:?}") } else { "null".into() }
}

fn text(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32).expect("writing to a string"),
            c => out.push(c),
        }
    }
    out + "\""
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_and_has_no_nan() {
        let fault = Fault::overall("a \"check\"", 1.0, f64::NAN, "two\nlines \\".into());
        let report = Report { fault: Some(fault), left_out: vec!["x".into()], ..Report::default() };
        assert_eq!(
            report.to_json(),
            r#"{"passed":[],"exempt":[],"left_out":["x"],"fault":{"check":"a \"check\"","input":"","index":[],"analytic":1.0,"numeric":null,"left":null,"right":null,"rule":"two\u000alines \\"}}"#
        );
    }
}
