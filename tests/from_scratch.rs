//! Is `docs/from-scratch.md` a program? Its blocks, one after the other, are compiled and its tests are run.

use std::{env, fs, path::Path, process::Command};

#[test]
fn the_page_is_a_program_whose_tests_pass() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-scratch.md")).expect("the page");
    let blocks = page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let program: String = blocks.collect::<Vec<_>>().join("\n");
    assert!(program.lines().count() > 200, "{program}");

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (folder.join("from_scratch.rs"), folder.join("from_scratch_program"));
    fs::write(&source, program).expect("room for a source file");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc).args(["--edition", "2024", "--test", "-D", "warnings", "-o"]).arg(&binary).arg(&source).output();
    let compiled = compiled.expect("a compiler");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&binary).output().expect("the program that was just compiled");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("3 passed"), "{said}");
}
