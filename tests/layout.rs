//! Is the house still built as its plan says? The architecture, as a test over the source files.
//!
//! The rules keep the code livable. Where one makes it worse, the exception is entered below with its reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Files that may contain `unsafe`: those that own memory, threads or vector instructions, and tests that count allocations.
const UNSAFE: &[(&str, &str)] = &[
    ("crates/core/src/execute/kernels/", "loops over raw buffers"),
    ("crates/core/src/execute/threads.rs", "jobs borrowed by worker threads"),
    ("crates/core/src/execute/frame.rs", "raw buffers of one run, shared by threads"),
    ("crates/core/src/memory/pool.rs", "owns the buffers"),
    ("crates/core/src/record/array.rs", "typed views of a buffer"),
    ("crates/core/src/dtype.rs", "says which types are plain bytes"),
    ("crates/core/tests/buffers_without_heap.rs", "a counting allocator"),
    ("crates/core/tests/products_without_heap.rs", "a counting allocator"),
    ("crates/derive/tests/no_allocation.rs", "a counting allocator"),
    ("benches/peers/src/probe.rs", "vector instructions, to learn how fast they are"),
    ("tests/steady_state.rs", "a counting allocator"),
];

/// Every macro, by file. A macro is the last resort: each is documented where it stands.
const MACROS: &[(&str, &str)] = &[
    ("crates/core/src/dtype.rs", "scalars"),
    ("crates/core/src/program.rs", "methods"),
    ("crates/core/src/program.rs", "operators"),
    ("crates/core/src/tree/containers.rs", "tuple"),
    ("crates/core/src/record/array.rs", "per_dtype"),
    ("crates/core/src/record/index.rs", "indices"),
    ("crates/core/src/record/index.rs", "tuples"),
    ("crates/core/src/record/operators.rs", "operator"),
    ("crates/core/src/record/operators.rs", "assign"),
    ("crates/core/src/ops/mod.rs", "ops"),
    ("crates/core/src/ops/elementwise.rs", "elementwise"),
    ("crates/core/src/ops/amax.rs", "folds"),
    ("crates/core/src/ops/compare.rs", "comparisons"),
    ("crates/core/src/ops/logic.rs", "connectives"),
    ("crates/core/src/execute/kernels/fold.rs", "combinations"),
    ("crates/core/src/execute/kernels/fold.rs", "bits"),
    ("crates/core/src/execute/kernels/gemm.rs", "float_engine"),
    ("crates/core/src/execute/kernels/isa.rs", "for_each_isa"),
    ("crates/core/src/execute/kernels/maths/mod.rs", "shared"),
    ("crates/core/src/execute/kernels/pointwise.rs", "casts"),
    ("crates/core/src/execute/kernels/pointwise.rs", "circular"),
    ("crates/core/src/execute/kernels/pointwise.rs", "float_numbers"),
    ("crates/core/src/execute/kernels/pointwise.rs", "maps"),
    ("crates/nn/src/layers/sequence.rs", "tuple"),
    ("crates/nn/tests/every_optimizer.rs", "check"),
    ("crates/nn/tests/every_optimizer.rs", "three_steps"),
];

/// Longest file, and where it may be longer: kernels and tables.
const LINES: usize = 400;
const LONG_LINES: usize = 600;
const LONG: &[&str] = &["crates/core/src/execute/kernels/", "crates/core/src/memory/pool.rs"];
/// Longer still, with the reason.
const LONGEST: &[(&str, usize, &str)] =
    &[("crates/core/src/execute/kernels/tests.rs", 800, "one table of loops against their plain forms, in every layout")];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines without comments and without what stands in quotes.
    fn code(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, bare(line)))
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// A line without its comment and without what stands in quotes.
fn bare(line: &str) -> String {
    let outside: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    outside.split("//").next().unwrap_or_default().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All source files, by path.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "src", "tests", "examples", "benches", "fuzz", "xtask"].iter().map(|f| root().join(f)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.expect("an entry of a folder").path()) {
            if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 50, "expected to find the sources, got {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Lines of code in `folder` that match, as `path:line: text`.
fn lines(folder: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let files = sources().into_iter().filter(|s| s.is_in(folder));
    files
        .flat_map(|s| s.code().filter(|(_, l)| wrong(l)).map(|(n, l)| format!("{}:{n}: {}", s.path, l.trim())).collect::<Vec<_>>())
        .collect()
}

#[track_caller]
fn none(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Whether a line names the module of this name; `std::ops` is another one.
fn names_module(line: &str, module: &str) -> bool {
    let path = format!("{module}::");
    line.match_indices(&path).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + path.len()..]);
        let std_item = ["Range", "Deref", "Add", "Mul", "Index", "ControlFlow"].iter().any(|item| after.starts_with(item));
        let another = before.ends_with("std::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !(another || module == "ops" && std_item)
    })
}

#[test]
fn plan_and_execute_do_not_know_ops_by_name() {
    for stage in ["plan", "execute"] {
        let folder = format!("crates/core/src/{stage}/");
        none("a stage behind the rules names an op", lines(&folder, |l| names_module(l, "ops")));
    }
}

#[test]
fn recording_does_not_know_plans() {
    none("record/ names plan/", lines("crates/core/src/record/", |l| names_module(l, "plan")));
}

#[test]
fn executing_does_not_know_the_tape() {
    none("execute/ names record/'s tape", lines("crates/core/src/execute/", |l| l.contains("Tape") || l.contains("Tensor")));
}

#[test]
fn unsafe_stays_where_it_is_expected() {
    let is_unsafe = |l: &str| l.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let allowed = |line: &str| UNSAFE.iter().any(|(file, _)| line.starts_with(file));
    none("unsafe outside of the list at the top of this test", lines("", is_unsafe).into_iter().filter(|l| !allowed(l)));
}

#[test]
fn every_file_begins_with_its_question() {
    let asked = |s: &Source| s.text.starts_with("//! ") || s.text.starts_with("#![doc = include_str!");
    // Inputs of the compiler's error messages, whose line numbers are part of the expected text.
    let quoted = |s: &Source| s.path.contains("/tests/ui/");
    none("no `//!` in the first line", sources().iter().filter(|s| !asked(s) && !quoted(s)).map(|s| s.path.clone()));
}

#[test]
fn files_fit_in_the_head() {
    let limit = |s: &Source| {
        let own = LONGEST.iter().find(|(file, ..)| *file == s.path).map(|&(_, n, _)| n);
        own.unwrap_or(if LONG.iter().any(|f| s.is_in(f)) { LONG_LINES } else { LINES })
    };
    let size = |s: &Source| s.text.lines().count();
    none("too long", sources().iter().filter(|s| size(s) > limit(s)).map(|s| format!("{}: {} of {} lines", s.path, size(s), limit(s))));
}

#[test]
fn macros_are_few_and_documented() {
    let (mut unknown, mut bald, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for s in &sources() {
        let all: Vec<&str> = s.text.lines().collect();
        for (i, line) in all.iter().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix("macro_rules! ") else { continue };
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            match MACROS.iter().find(|(file, m)| *file == s.path && *m == name) {
                Some(entry) => _ = seen.insert(entry),
                None => unknown.push(format!("{}:{}: {name}", s.path, i + 1)),
            }
            let above = all[..i].iter().rev().find(|l| !l.trim_start().starts_with("#["));
            if !above.is_some_and(|l| l.trim_start().starts_with("///")) {
                bald.push(format!("{}:{}: {name}", s.path, i + 1));
            }
        }
    }
    none("a macro that is not on the list", unknown);
    none("a macro without a `///`", bald);
    none("on the list, but gone", MACROS.iter().filter(|m| !seen.contains(m)).map(|m| format!("{m:?}")));
}

#[test]
fn no_example_is_ignored() {
    let fence = format!("{}ignore", "`".repeat(3));
    let marked = |s: &Source| s.text.contains(&fence) || s.code().any(|(_, l)| l.trim_start().starts_with("#[ignore"));
    none("ignored examples or tests", sources().iter().filter(|s| marked(s)).map(|s| s.path.clone()));
}

/// The lines of a file that stand in fenced examples of its documentation.
fn examples(s: &Source) -> String {
    let mut inside = false;
    let mut all = String::new();
    for line in s.text.lines() {
        let Some(doc) = line.trim_start().strip_prefix("///") else { continue };
        if doc.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            all.push_str(doc);
            all.push('\n');
        }
    }
    all
}

/// What a file of ops offers to users: methods of tensors and tapes, free functions on tensors, rows of tables.
fn offered(s: &Source) -> Vec<String> {
    let identifier = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let (mut names, mut block, mut documented) = (Vec::new(), "", false);
    for line in s.text.lines() {
        let bare = line.trim_start();
        if line.starts_with("impl<'t> Tensor<'t> {") || line.starts_with("impl Tape {") {
            block = "methods";
        } else if line.ends_with("! {") && !line.starts_with(' ') && !line.starts_with("macro_rules!") {
            block = "rows";
        } else if line.starts_with('}') {
            block = "";
        }
        let function = bare.strip_prefix("pub fn ").and_then(|f| f.split(['(', '<']).next());
        let on_tensors = block == "methods" || block.is_empty() && line.starts_with("pub fn") && line.contains("Tensor<'t>");
        match function {
            Some(name) if on_tensors && line.contains('(') => names.push(name.to_string()),
            None if block == "rows" && documented && !bare.starts_with("///") => {
                let words = bare.split([' ', ';']).take_while(|w| identifier(w));
                names.extend(words.map(str::to_string));
            }
            _ => {}
        }
        documented = bare.starts_with("///");
    }
    names
}

#[test]
fn every_op_has_an_example_in_its_file() {
    let about_ops = ["def.rs", "check.rs", "reference.rs", "mod.rs"];
    let mut missing = Vec::new();
    let mut known = 0;
    for s in sources().iter().filter(|s| s.is_in("crates/core/src/ops/") && !about_ops.iter().any(|f| s.path.ends_with(f))) {
        let shown = examples(s);
        let names = offered(s);
        known += names.len();
        missing.extend(names.into_iter().filter(|n| !shown.contains(&format!("{n}("))).map(|n| format!("{}: {n}", s.path)));
    }
    assert!(known > 100, "expected to find the ops, got {known} of them");
    none("no example calls it", missing);
}
