//! The house keeps its shape: arrows between rooms and crates, and the size of files.
//!
//! The table of arrows is the one in ARCHITECTURE.md; change both together, with the reason there.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room of tracing-core, and the rooms it may use.
const ROOMS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("wire", &["model"]),
    ("traceql", &["model"]),
    ("wal", &["model", "store"]),
    ("table", &["model", "wire", "traceql"]),
    ("block", &["model", "wire", "traceql", "table"]),
    ("policy", &["model", "traceql", "table", "block"]),
    ("store", &["model", "block", "policy"]),
    ("engine", &["model", "wire", "traceql", "table", "block", "policy", "store"]),
];

/// Rooms that may await: everything else is pure.
const IO: [&str; 3] = ["wal", "store", "engine"];

/// Each crate, and the crates of this workspace that it may use.
const CRATES: [(&str, &[&str]); 5] = [
    ("tracing-core", &[]),
    ("workloads/config", &[]),
    ("workloads", &["vivace_config", "tracing_core"]),
    ("operator", &["vivace_config"]),
    ("e2e", &[]),
];

/// Names of this workspace's libraries, as `use` spells them.
const LIBRARIES: [&str; 5] = ["tracing_core", "vivace_config", "vivace", "vivace_operator", "e2e"];

/// Longest file, in lines.
const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands below the workspace").to_owned()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether a file holds tests alone: `tests.rs`, and what lies in `tests/`.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap_or(path);
    inside.components().any(|part| part.as_os_str() == "tests") || inside.ends_with("tests.rs")
}

/// Code lines of a file: comments cut off, and with `without_tests` everything from the test module on.
fn code(path: &Path, without_tests: bool) -> String {
    if without_tests && is_test(path) {
        return String::new();
    }
    let text = fs::read_to_string(path).expect("a source file is readable");
    let end = if without_tests { text.find("#[cfg(test)]\nmod ").unwrap_or(text.len()) } else { text.len() };
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Rooms that a file names by `crate::room`, also inside `use crate::{a, b::c}`.
fn rooms_used(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut first = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    c if depth == 0 && first && (c.is_alphanumeric() || c == '_') => {
                        word.push(c);
                        continue;
                    }
                    c if c.is_whitespace() => continue,
                    _ => first = first && depth > 0,
                }
                if !word.is_empty() {
                    rooms.push(std::mem::take(&mut word));
                    first = c == ',';
                }
            }
            rooms.extend((!word.is_empty()).then_some(word));
        } else {
            rooms.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

#[test]
fn arrows_between_rooms_point_one_way() {
    let src = root().join("tracing-core/src");
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let files = sources(&src.join(room)).into_iter().chain([src.join(format!("{room}.rs"))]);
        for file in files {
            for used in rooms_used(&code(&file, true)) {
                let is_room = ROOMS.iter().any(|(name, _)| *name == used);
                if is_room && used != room && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{}: {room} must not use {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_table() {
    let lib = code(&root().join("tracing-core/src/lib.rs"), true);
    let rooms: Vec<_> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let unknown: Vec<_> = rooms.iter().filter(|room| !ROOMS.iter().any(|(name, _)| name == *room)).collect();
    assert!(unknown.is_empty(), "rooms without arrows in the table: {unknown:?}");
    assert_eq!(rooms.len(), ROOMS.len());
}

#[test]
fn pure_rooms_do_not_await() {
    let src = root().join("tracing-core/src");
    for (room, _) in ROOMS.iter().filter(|(room, _)| !IO.contains(room)) {
        for file in sources(&src.join(room)).into_iter().chain([src.join(format!("{room}.rs"))]) {
            let code = code(&file, true);
            for word in [".await", "async fn", "tokio::", "std::fs", "SystemTime::now", "Instant::now"] {
                assert!(!code.contains(word), "{}: {room} is pure and must not use {word}", file.display());
            }
        }
    }
}

#[test]
fn arrows_between_crates_point_one_way() {
    let mut wrong = Vec::new();
    for (dir, allowed) in CRATES {
        for file in sources(&root().join(dir).join("src")) {
            let code = code(&file, true);
            let own = dir.rsplit('/').next().unwrap_or_default();
            for library in LIBRARIES {
                let used =
                    code.contains(&format!("use {library}::")) || code.contains(&format!(" {library}::"));
                let itself = match own {
                    "workloads" => library == "vivace",
                    "operator" => library == "vivace_operator",
                    _ => library.trim_start_matches("vivace_") == own.replace('-', "_"),
                };
                if used && !itself && !allowed.contains(&library) {
                    wrong.push(format!("{}: {dir} must not use {library}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_room_can_hold() {
    let generated = |path: &Path| path.components().any(|part| part.as_os_str() == "proto");
    let long: Vec<_> = sources(&root())
        .into_iter()
        .filter(|path| !generated(path))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).ok()?.lines().count();
            (lines > MAX_LINES).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "files over {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn no_room_is_called_after_nothing() {
    let vague = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
    let named: Vec<_> = sources(&root())
        .into_iter()
        .filter(|path| path.file_stem().is_some_and(|stem| vague.iter().any(|name| stem == *name)))
        .collect();
    assert!(named.is_empty(), "name these after what they hold: {named:?}");
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    assert_eq!(rooms_used("use crate::model::TraceId;"), ["model"]);
    assert_eq!(
        rooms_used("use crate::{model::{TraceId, SpanId}, store::Store, wal};"),
        ["model", "store", "wal"]
    );
    assert_eq!(rooms_used("let x = crate::engine::run();"), ["engine"]);
}
