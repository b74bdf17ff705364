//! Do the pages of `docs/` quote the sources as they are? Rust blocks are run as examples; quotations are compared here.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Blocks marked as text, each with the last source file that was named before it.
fn quotations(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut file = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "```text" {
            found.push((file.clone(), lines.by_ref().take_while(|l| *l != "```").collect::<Vec<_>>().join("\n")));
        } else if let Some(named) = line.split('`').rfind(|part| part.ends_with(".rs") && part.contains('/')) {
            file = named.to_string();
        }
    }
    found
}

#[test]
fn what_is_quoted_stands_in_the_source() {
    let quoted = quotations(&read("docs/adding-an-op.md"));
    assert_eq!(quoted.len(), 2, "{quoted:?}");
    for (file, text) in quoted {
        assert!(read(&file).contains(&text), "{file} does not contain\n{text}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut pages: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(String::from).to_vec();
    for folder in ["docs", "docs/why"] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder of pages");
        let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
        pages.extend(names.filter(|n| n.ends_with(".md")).map(|n| format!("{folder}/{n}")));
    }
    assert!(pages.len() > 6, "{pages:?}");
    for page in pages {
        let (text, base) = (read(&page), Path::new(&page).parent().expect("a page is in a folder").to_path_buf());
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|t| !t.contains("://") && !t.starts_with('#')) {
            let file = target.split('#').next().expect("a part before the anchor");
            let to = Path::new(env!("CARGO_MANIFEST_DIR")).join(&base).join(file);
            assert!(to.exists(), "{page}: nothing at {target}");
        }
    }
}

#[test]
fn one_test_command_everywhere() {
    for file in ["README.md", ".ci/run"] {
        assert!(read(file).contains("cargo test --workspace\n") || read(file).contains("cargo test --workspace "), "{file}");
    }
    assert!(read("xtask/src/main.rs").contains(r#"&["test", "--workspace"]"#), "xtask");
}
