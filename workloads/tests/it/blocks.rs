//! `vivace blocks`, through the real binary, on blocks that Tempo wrote and on ours.

mod damage;
mod moves;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Blocks that Tempo wrote; see e2e/data/README.md.
const TEMPO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/data/tempo-blocks");

/// Runs `vivace blocks` with these words.
fn blocks(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vivace"));
    command.arg("blocks").args(words).output().expect("vivace runs")
}

/// As [`blocks`], which must end well; answers with what it printed.
fn well(words: &[&str]) -> String {
    let output = blocks(words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&well(words)).expect("JSON")
}

/// A store that holds a copy of a block of Tempo's.
struct Copied {
    dir: tempfile::TempDir,
    /// Where the block's objects lie.
    block: PathBuf,
    id: String,
}

impl Copied {
    fn of(folder: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let from = Path::new(TEMPO).join(folder).join("single-tenant");
        let block = fs::read_dir(&from).expect("blocks").flatten().find(|entry| entry.path().is_dir());
        let block = block.expect("a block").path();
        let id = block.file_name().and_then(|name| name.to_str()).expect("an id").to_owned();
        let to = dir.path().join("single-tenant").join(&id);
        fs::create_dir_all(&to).expect("a directory");
        for file in fs::read_dir(&block).expect("objects").flatten() {
            fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
        Self { dir, block: to, id }
    }

    fn store(&self) -> &str {
        self.dir.path().to_str().expect("a path")
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.block.join(name)).expect("an object")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.block.join(name), bytes).expect("an object");
    }
}

#[test]
fn blocks_are_listed_with_their_sums_also_through_tempos_flags() {
    let copied = Copied::of("vparquet4");
    let listed = json(&["list", "--store", copied.store(), "--json", "--spans"]);
    assert_eq!(listed["total"]["traces"], 813);
    assert_eq!(listed["blocks"][0]["spans"], 7801);
    assert_eq!(listed["blocks"][0]["id"], copied.id.as_str());
    let flag = format!("-storage.trace.local.path={}", copied.store());
    let table = well(&["list", "-storage.trace.backend", "local", &flag]);
    assert!(table.contains("1 blocks of 1 tenants, 813 traces"), "{table}");
    let config = copied.dir.path().join("tempo.yaml");
    fs::write(
        &config,
        format!("storage: {{trace: {{backend: local, local: {{path: {}}}}}}}", copied.store()),
    )
    .expect("a file");
    let by_file = json(&["list", &format!("-config.file={}", config.display()), "--json"]);
    assert_eq!(by_file["total"]["blocks"], 1);
}

#[test]
fn a_store_that_is_not_named_or_not_there_is_an_error_that_says_so() {
    let unnamed = blocks(&["list"]);
    assert!(!unnamed.status.success());
    let said = String::from_utf8_lossy(&unnamed.stderr).into_owned();
    assert!(said.contains("use --store DIR"), "{said}");
    let missing = blocks(&["list", "--store", "/not/there"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && said.contains("/not/there: no such directory"), "{said}");
}

#[test]
fn a_block_is_viewed_with_its_columns_and_the_fill_of_its_bloom_filter() {
    let copied = Copied::of("vparquet4");
    let view = json(&["view", "--store", copied.store(), &copied.id[..8], "--json"]);
    assert_eq!(view["meta"]["totalObjects"], 813);
    assert_eq!(view["blooms"][0]["bits"], 819_200);
    assert!(view["blooms"][0]["set"].as_u64().is_some_and(|set| set > 813 && set <= 813 * 7));
    let columns = view["columns"].as_array().expect("columns");
    let of = |path: &str| columns.iter().find(|column| column["path"] == path).expect("the column");
    let name = of("rs.list.element.ss.list.element.Spans.list.element.Name");
    assert_eq!(
        (&name["physical"], &name["codec"], &name["max_rep"]),
        (&"BYTE_ARRAY".into(), &"SNAPPY".into(), &3.into())
    );
    assert_eq!(name["values"], 7801);
    let dumped = well(&["dump-columns", "--store", copied.store(), &copied.id, "--by-size"]);
    assert!(dumped.contains("103 columns") && dumped.contains("7801 spans"), "{dumped}");
}

#[test]
fn traces_are_printed_as_json_lines_of_otlp() {
    let copied = Copied::of("vparquet4");
    let all = well(&["cat", "--store", copied.store(), &copied.id]);
    let lines: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 813);
    assert_eq!(well(&["cat", "--store", copied.store(), &copied.id, "--limit", "3"]).lines().count(), 3);
    let id = lines[400]["traceID"].as_str().expect("an id");
    let one = json(&["cat", "--store", copied.store(), &copied.id, "--trace", id]);
    assert_eq!(one, lines[400]);
    let missing = blocks(&["cat", "--store", copied.store(), &copied.id, "--trace", "abc"]);
    assert!(!missing.status.success());
}
