//! Does a profile add up, and do its JSON and its trace say what it says?

use serde_json::Value;
use smallvec::smallvec;
use std::time::Duration;
use wengert_core::{Array, Attrs, Cx, DType, Function, Meta, Mismatch, OpDef, Profile, Sample, Tangents, Tape, Tensor, Typed};

/// Fields of a JSON object, which must be there and of that kind.
trait Fields {
    fn field(&self, name: &str) -> &Value;

    #[track_caller]
    fn number(&self, name: &str) -> f64 {
        self.field(name).as_f64().unwrap_or_else(|| panic!("`{name}` is {}", self.field(name)))
    }

    #[track_caller]
    fn text(&self, name: &str) -> &str {
        self.field(name).as_str().unwrap_or_else(|| panic!("`{name}` is {}", self.field(name)))
    }

    #[track_caller]
    fn list(&self, name: &str) -> &[Value] {
        self.field(name).as_array().unwrap_or_else(|| panic!("`{name}` is {}", self.field(name)))
    }

    /// The strings of a list.
    #[track_caller]
    fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).iter().map(|t| t.as_str().unwrap_or_else(|| panic!("expected text, got {t}")).to_string()).collect()
    }
}

impl Fields for Value {
    #[track_caller]
    fn field(&self, name: &str) -> &Value {
        self.get(name).unwrap_or_else(|| panic!("no `{name}` in {self}"))
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn us(t: Duration) -> f64 {
    t.as_secs_f64() * 1e6
}

/// `file:line` of a line of this file.
fn here(line: u32) -> String {
    format!("{}:{line}", file!().replace('\\', "/"))
}

/// A loss, a gradient of it, and the lines of its four ops.
fn program(tape: &Tape) -> ((Tensor<'_>, Tensor<'_>), [String; 4]) {
    let leaf = |dims: [usize; 2], seed| tape.leaf(&Array::uniform(DType::F32, dims, -1.0, 1.0, seed));
    let (x, w, v) = (leaf([48, 40], 1), leaf([40, 24], 2), leaf([24, 8], 3));
    let (h, first) = (x.matmul(w), line!());
    let (y, second) = (h.exp(), line!());
    let (z, third) = (y.matmul(v), line!());
    let (loss, fourth) = (z.square().sum(), line!());
    ((loss, loss.grad(w)), [first, second, third, fourth].map(here))
}

#[test]
fn times_add_up() {
    let tape = Tape::new();
    let (wanted, lines) = program(&tape);
    let p = tape.profile(&wanted);
    assert!(p.forward > Duration::ZERO && p.backward > Duration::ZERO, "{p}");
    for rows in [&p.ops, &p.lines] {
        assert_eq!(rows.iter().map(|s| s.forward).sum::<Duration>(), p.forward, "{p}");
        assert_eq!(rows.iter().map(|s| s.backward).sum::<Duration>(), p.backward, "{p}");
        assert!(rows.is_sorted_by(|a, b| a.time() >= b.time()), "{p}");
    }
    // Each share is rounded to a nanosecond.
    let kernels: Duration = p.kernels.iter().map(|k| k.median).sum();
    let pieces = p.kernels.iter().map(|k| k.pieces.len()).sum::<usize>() as u128;
    assert!((p.forward + p.backward).as_nanos().abs_diff(kernels.as_nanos()) <= pieces, "{kernels:?} in kernels\n{p}");
    assert!(p.kernels.iter().all(|k| k.min <= k.median && (k.pieces.iter().map(|p| p.share).sum::<f64>() - 1.0).abs() < 1e-12), "{p}");
    let mut named: Vec<&String> = p.lines.iter().map(|s| &s.name).collect();
    named.sort_unstable();
    assert_eq!(named, lines.iter().collect::<Vec<_>>());
    let flops = |rows: &[wengert_core::Spent]| rows.iter().map(|s| s.flops).sum::<f64>();
    let total = p.kernels.iter().map(|k| k.cost.flops).sum::<u64>() as f64;
    assert!([&p.ops, &p.lines].iter().all(|rows| (flops(rows) - total).abs() < 1e-6 * total), "{p}");
}

#[test]
fn memory_is_what_one_counts_by_hand() {
    let tape = Tape::new();
    let (wanted, [_, second, third, fourth]) = program(&tape);
    let p = tape.profile(&wanted);
    let (large, small) = (48 * 24 * 4, 48 * 8 * 4);
    assert_eq!(p.input_bytes, 4 * (48 * 40 + 40 * 24 + 24 * 8));
    // The gradient of `exp` reads its value, that of the square reads the product under it.
    assert_eq!(p.saved_bytes, large + small, "{p}");
    // While the cotangent of `h` is computed: the value of `exp`, its cotangent, the one that is written; and the loss.
    assert_eq!(p.peak_bytes, 3 * large + 4, "{p}");
    let line = |at: &str| p.lines.iter().find(|s| s.name == at).map(|s| (s.saved_bytes, s.peak_bytes));
    assert_eq!([&second, &third, &fourth].map(|at| line(at)), [(large, 2 * large), (small, large), (0, 4)].map(Some), "{p}");
    for rows in [&p.ops, &p.lines] {
        assert_eq!(rows.iter().map(|s| s.saved_bytes).sum::<u64>(), p.saved_bytes);
        assert_eq!(rows.iter().map(|s| s.peak_bytes).sum::<u64>(), p.peak_bytes);
    }
}

#[test]
fn the_json_holds_what_the_profile_holds() {
    let tape = Tape::new();
    let (wanted, lines) = program(&tape);
    let p = tape.profile(&wanted);
    let json = json(&p.to_json());
    for (name, expected) in [
        ("forward_us", us(p.forward)),
        ("backward_us", us(p.backward)),
        ("gradient_over_function", (p.forward + p.backward).as_secs_f64() / p.forward.as_secs_f64()),
        ("tape_ns_per_node", p.tape_per_node.as_nanos() as f64),
        ("input_bytes", p.input_bytes as f64),
        ("peak_bytes", p.peak_bytes as f64),
        ("saved_bytes", p.saved_bytes as f64),
        ("roof_flops_per_second", p.roof.flops_per_second),
        ("roof_bytes_per_second", p.roof.bytes_per_second),
    ] {
        assert_eq!(json.number(name), expected, "{name}");
    }
    assert!(p.to_string().contains(&format!("gradient over function: {:.2}\n", json.number("gradient_over_function"))), "{p}");
    for (name, rows) in [("ops", &p.ops), ("lines", &p.lines)] {
        assert_eq!(json.list(name).len(), rows.len());
        for (j, s) in json.list(name).iter().zip(rows) {
            let numbers = ["forward_us", "backward_us", "flops", "bytes", "of_roof", "saved_bytes", "peak_bytes"].map(|n| j.number(n));
            let expected = [us(s.forward), us(s.backward), s.flops, s.bytes, s.of_roof, s.saved_bytes as f64, s.peak_bytes as f64];
            assert_eq!((j.text("name"), numbers), (s.name.as_str(), expected));
        }
    }
    let kernels = json.list("kernels");
    assert_eq!(kernels.len(), p.kernels.len());
    for (j, k) in kernels.iter().zip(&p.kernels) {
        let numbers = ["min_us", "median_us", "flops", "bytes_read", "bytes_written", "of_roof"].map(|n| j.number(n));
        let expected = [us(k.min), us(k.median), k.cost.flops as f64, k.cost.read as f64, k.cost.written as f64, k.of_roof];
        assert_eq!(
            (j.texts("ops"), j.texts("lines"), numbers),
            (k.ops.iter().map(|op| op.to_string()).collect(), k.lines.clone(), expected)
        );
    }
    // The first kernel is the first product, whose cost is known.
    assert_eq!((kernels[0].texts("ops"), kernels[0].texts("lines")), (vec!["matmul".to_string()], vec![lines[0].clone()]));
    assert_eq!(kernels[0].number("flops"), 2.0 * 48.0 * 40.0 * 24.0);
}

#[test]
fn the_trace_puts_kernels_one_behind_the_other_and_their_parts_below() {
    let tape = Tape::new();
    let (wanted, _) = program(&tape);
    let p = tape.profile(&wanted);
    let trace = json(&p.to_chrome_trace());
    assert_eq!(trace.text("displayTimeUnit"), "ns");
    let (mut events, mut start) = (trace.list("traceEvents").iter(), 0.0);
    let mut event = |row: f64, told: &str| {
        let e = events.next().unwrap_or_else(|| panic!("no event for {told}"));
        assert_eq!((e.text("ph"), e.number("pid"), e.number("tid")), ("X", 1.0, row), "{told}");
        (e.text("name"), e.number("ts"), e.number("dur"), e.field("args"))
    };
    for (at, k) in p.kernels.iter().enumerate() {
        let (name, ts, long, args) = event(1.0, "a kernel");
        assert_eq!((name, ts, long), (format!("k{at}").as_str(), start, us(k.median)));
        assert_eq!((args.text("ops"), args.text("lines")), (k.ops.join(" ").as_str(), k.lines.join(", ").as_str()));
        let cost = [k.cost.flops as f64, k.cost.bytes() as f64, k.of_roof];
        assert_eq!(["flops", "bytes", "of_roof"].map(|n| args.number(n)), cost);
        let mut within = start;
        for piece in &k.pieces {
            let (name, ts, long, args) = event(2.0, piece.op);
            assert_eq!((name, ts, long), (piece.op, within, us(k.median) * piece.share));
            assert_eq!((args.text("line"), args.field("backward")), (piece.line.as_str(), &Value::Bool(piece.is_backward)));
            within += long;
        }
        start += long;
        assert!((within - start).abs() < 1e-6, "pieces fill their kernel");
    }
    assert!(events.next().is_none(), "more events than kernels and pieces");
}

/// `x`, under a name that JSON must not take literally.
struct Quoted;

const NAME: &str = "a \"name\"\n\\ of µ";

impl Function for Quoted {
    const NAME: &'static str = NAME;
    fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        Typed::like(0, x)
    }
    fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
        Ok(x[0].clone())
    }
    fn vjp<'t>(_: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
        smallvec![Some(g)]
    }
    fn samples() -> Vec<Sample> {
        vec![Sample::new([Array::from([1.0, 2.0])])]
    }
}

static QUOTED: OpDef = OpDef::function::<Quoted>();

#[test]
fn what_json_cannot_say_literally_is_escaped_or_null() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0]));
    let mut p: Profile = tape.profile(&x.op(&QUOTED, [], &[]));
    p.roof.flops_per_second = f64::INFINITY;
    let (json, trace) = (json(&p.to_json()), json(&p.to_chrome_trace()));
    assert!(json.field("roof_flops_per_second").is_null());
    assert!(json.field("gradient_over_function").is_null(), "nothing is differentiated");
    assert_eq!((json.list("ops")[0].text("name"), json.list("kernels")[0].texts("ops")), (NAME, vec![NAME.to_string()]));
    let names: Vec<&str> = trace.list("traceEvents").iter().map(|e| e.text("name")).collect();
    assert_eq!(names, ["k0", NAME]);
}
