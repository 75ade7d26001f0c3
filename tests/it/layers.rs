//! The layering law of `pulse-core`, as its `lib.rs` writes it down, holds for every `use` in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pulse-core/src");

/// Modules by their path, with the number of their line in the law.
fn law() -> BTreeMap<String, usize> {
    let lib = fs::read_to_string(Path::new(ROOT).join("lib.rs")).expect("lib.rs");
    let text: String =
        lib.lines().filter_map(|line| line.strip_prefix("//! ")).map(|line| format!("{line}\n")).collect();
    let list = &text[text.find("\n1. ").expect("the law")..];
    let mut layers = BTreeMap::new();
    let mut layer = 0;
    for line in list.lines() {
        layer += usize::from(line.split_once(". ").is_some_and(|(number, _)| number.parse::<usize>().is_ok()));
        // What stands after the colon is prose.
        let names = line.split_once(": ").map_or(line, |(names, _)| names);
        for name in names.split("[`").skip(1).filter_map(|rest| rest.split("`]").next()) {
            layers.entry(name.to_owned()).or_insert(layer);
        }
    }
    layers
}

/// The layer of the closest module around `path` that the law names.
fn layer(law: &BTreeMap<String, usize>, path: &str) -> Option<usize> {
    let mut path = path;
    loop {
        match (law.get(path), path.rsplit_once("::")) {
            (Some(layer), _) => return Some(*layer),
            (None, Some((outer, _))) => path = outer,
            (None, None) => return None,
        }
    }
}

/// Every source file outside tests, by its module path.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        if matches!(name, "lib" | "tests" | "testing") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("a file");
            let text = text.split("#[cfg(test)]\nmod").next().unwrap_or_default().to_owned();
            let module = path.strip_prefix(ROOT).expect("inside").with_extension("");
            found.push((module.to_str().expect("UTF-8").replace('/', "::"), text));
        }
    }
}

/// Writes out `a::{b, c::{d}}` as `a::b`, `a::c::d`.
fn flatten(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let mut depth = 0_i32;
    let items = tree.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for item in items.map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('{') {
            Some((outer, rest)) => {
                flatten(&format!("{prefix}{outer}"), rest.rsplit_once('}').expect("closed").0, found);
            }
            None => found.push(format!("{prefix}{item}")),
        }
    }
}

fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tree in text.split("use crate::").skip(1) {
        flatten("", tree.split(';').next().unwrap_or_default(), &mut found);
    }
    // Paths in code and in documentation.
    for rest in text.split("crate::").skip(1).filter(|rest| !rest.starts_with('{')) {
        let path = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap_or_default();
        found.push(path.trim_end_matches(':').to_owned());
    }
    found
}

#[test]
fn no_module_uses_one_of_a_later_line() {
    let law = law();
    let mut files = Vec::new();
    sources(Path::new(ROOT), &mut files);
    let mut seen = 0;
    let mut broken = Vec::new();
    for (module, text) in &files {
        let own = layer(&law, module).unwrap_or_else(|| panic!("the law does not say where {module} stands"));
        for used in uses(text) {
            seen += 1;
            if layer(&law, &used).is_some_and(|layer| layer > own) {
                broken.push(format!("{module} uses {used}"));
            }
        }
    }
    assert!(seen > 300, "only {seen} uses were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
