//! The tree keeps its own rules: who may name whom, how long a line or a file is, what is banned.
//!
//! Decides by reading the sources as text. Never builds or changes anything. Contract: one test
//! for each rule; an offence is named by file and line.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 1000;
const ARCHITECTURE_LINES_MAX: usize = 150;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Line number and line, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder's entry can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The Rust sources under these folders, by path.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a source is UTF-8"),
        path: path.strip_prefix(root()).expect("inside the tree").display().to_string(),
    };
    paths.into_iter().map(read).collect()
}

fn none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

/// Lines of code in `sources` that contain one of `words`.
fn naming<'a>(sources: impl IntoIterator<Item = &'a Source>, words: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                offences.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    offences
}

#[test]
fn every_module_opens_with_its_contract() {
    let bare = |source: &Source| !source.text.starts_with("//!");
    let all = sources(&["src", "tests"]);
    let offences: Vec<String> =
        all.iter().filter(|s| bare(s)).map(|s| format!("{}:1", s.path)).collect();
    none("a module opens with //!", &offences);
}

#[test]
fn lines_fit() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if line.chars().count() > COLUMNS_MAX {
                offences.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("a line has at most 100 columns", &offences);
}

#[test]
fn files_are_short() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            offences.push(format!("{}:{lines}", source.path));
        }
    }
    none("a file has at most 1,000 lines", &offences);
}

#[test]
fn the_engine_is_pure() {
    let words = [
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "Instant",
        "SystemTime",
        "Utc::now",
        "Local::now",
        "tokio",
        "crate::io",
    ];
    none("the engine touches nothing", &naming(&sources(&["src/engine"]), &words));
}

#[test]
fn the_ui_only_shows_and_asks() {
    let all = sources(&["src"]);
    let ui = all.iter().filter(|s| s.path == "src/ui.rs" || s.path.starts_with("src/ui/"));
    let words = [
        "crate::io",
        "crate::driver",
        "crate::link",
        "crate::demo",
        "engine::Engine",
        "std::fs",
        "std::net",
        "std::process",
        "tokio",
        "Utc::now",
    ];
    none("the ui knows the snapshot and the terminal alone", &naming(ui, &words));
}

#[test]
fn the_adapters_know_no_ui_and_not_each_other() {
    let all = sources(&["src"]);
    let io = || all.iter().filter(|s| s.path == "src/io.rs" || s.path.starts_with("src/io/"));
    none("io never names the ui", &naming(io(), &["crate::ui", "crate::driver", "crate::demo"]));
    // What several adapters share: no adapters themselves.
    let shared = ["access", "exposition", "selector", "weights"];
    let mut offences = Vec::new();
    for group in ["feed", "router", "metrics"] {
        let folder = format!("src/io/{group}/");
        let names: Vec<String> = io()
            .filter_map(|s| s.path.strip_prefix(&folder)?.strip_suffix(".rs"))
            .filter(|name| !shared.contains(name))
            .map(str::to_owned)
            .collect();
        for source in io().filter(|s| s.path.starts_with(&folder)) {
            for name in names.iter().filter(|name| source.path != format!("{folder}{name}.rs")) {
                let words = [format!("{group}::{name}::"), format!("super::{name}::")];
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                offences.extend(naming([source], &words));
            }
        }
    }
    none("an adapter never names another", &offences);
}

#[test]
fn nothing_is_waved_through() {
    let words = [
        concat!("#[", "allow("),
        concat!(".unwr", "ap()"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("dbg", "!("),
    ];
    none("not in this tree", &naming(&sources(&["src", "tests", "benches"]), &words));
}

#[test]
fn no_path_of_one_machine() {
    let words = [
        concat!("\"/", "work"),
        concat!("\"/", "root"),
        concat!("\"/", "tmp"),
        concat!("/ho", "me/"),
    ];
    none("no path of one machine", &naming(&sources(&["src", "benches"]), &words));
}

#[test]
fn the_map_is_short_and_true() {
    let Ok(text) = fs::read_to_string(root().join("ARCHITECTURE.md")) else { return };
    let lines = text.lines().count();
    assert!(lines < ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md:{lines}: below 150 lines");
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in line.split('`').skip(1).step_by(2) {
            let path = word.split_once('#').map_or(word, |(path, _)| path);
            let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            let ours = ["src/", "tests/", "themes/", "fixtures/", "benches/", ".ci/"];
            if plain && ours.iter().any(|own| path.starts_with(own)) && !root().join(path).exists()
            {
                offences.push(format!("ARCHITECTURE.md:{number}: {path}"));
            }
        }
    }
    none("every path on the map exists", &offences);
}
