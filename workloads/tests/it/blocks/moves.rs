//! Blocks that are written again, and blocks that are copied.

use super::*;

fn listed(store: &str) -> Value {
    json(&["list", "--store", store, "--json", "--spans", "--compacted"])
}

fn sound(store: &str) {
    let verdict = json(&["check", "--store", store, "--json"]);
    assert_eq!(verdict["problems"], 0, "{verdict:#}");
}

/// The traces of a store's one live block, sorted.
fn traces(store: &str) -> Vec<String> {
    let live = json(&["list", "--store", store, "--json"]);
    assert_eq!(live["total"]["blocks"], 1);
    let id = live["blocks"][0]["id"].as_str().expect("an id");
    well(&["cat", "--store", store, id]).lines().map(str::to_owned).collect()
}

/// Spans in the order of their ids: attributes with a column of their own lose their place among the others.
fn canonical(line: &str) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.iter_mut().for_each(sort);
                items.sort_by_key(Value::to_string);
            }
            Value::Object(fields) => fields.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(line).expect("JSON");
    sort(&mut value);
    value
}

#[test]
fn a_rewritten_block_holds_the_same_traces_and_replaces_the_old_one() {
    let copied = Copied::of("vparquet4");
    let before: Vec<_> = traces(copied.store()).iter().map(|line| canonical(line)).collect();
    let list = "resource.deployment.environment,span.http.route,span.url.path";
    let words =
        ["rewrite", "--store", copied.store(), &copied.id, "--dedicated", list, "--row-group-bytes", "30000"];
    let said = well(&words);
    assert!(said.starts_with(&copied.id), "{said}");
    sound(copied.store());
    let after: Vec<_> = traces(copied.store()).iter().map(|line| canonical(line)).collect();
    assert_eq!(before.len(), after.len());
    assert!(before == after, "the traces are the same");
    let all = listed(copied.store());
    assert_eq!((&all["total"]["blocks"], &all["total"]["compacted"]), (&2.into(), &1.into()));
    let live = json(&["list", "--store", copied.store(), "--json"]);
    assert_eq!(live["blocks"][0]["dedicated"].as_array().map(Vec::len), Some(3));
    assert!(live["blocks"][0]["row_groups"].as_u64().is_some_and(|groups| groups > 1));
}

#[test]
fn one_rewrite_a_block_a_crash_before_the_old_one_is_marked_does_not_leave_two() {
    let copied = Copied::of("vparquet4");
    let words = ["rewrite", "--store", copied.store(), &copied.id, "--dedicated", "span.http.route"];
    well(&words);
    // As it is when the process dies between the new block's commit and the old one's marking.
    fs::rename(copied.block.join("meta.compacted.json"), copied.block.join("meta.json")).expect("renamed");
    assert_eq!(json(&["list", "--store", copied.store(), "--json"])["total"]["blocks"], 2);
    well(&words);
    let live = json(&["list", "--store", copied.store(), "--json"]);
    assert_eq!(live["total"]["blocks"], 1);
    assert_ne!(live["blocks"][0]["id"], copied.id.as_str());
    let refused = blocks(&words);
    assert!(!refused.status.success(), "a compacted block is not rewritten");
}

#[test]
fn options_that_are_none_are_refused_before_anything_is_written() {
    let copied = Copied::of("vparquet4");
    let refused = blocks(&["rewrite", "--store", copied.store(), &copied.id, "--dedicated", "http.route"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("expected span.NAME"), "{said}");
    assert_eq!(listed(copied.store())["total"]["blocks"], 1);
}

#[test]
fn a_migration_copies_what_is_missing_and_can_be_repeated() {
    let from = Copied::of("vparquet4");
    let other = Copied::of("vparquet5");
    let there = from.dir.path().join("single-tenant").join(&other.id);
    fs::rename(&other.block, there).expect("moved");
    let to = tempfile::tempdir().expect("a directory");
    let to = to.path().join("new");
    let store = to.to_str().expect("a path");
    let words = ["migrate", "--from", from.store(), "--to", store, "--json"];
    let first = json(&words);
    assert_eq!((&first["copied"], &first["skipped"], &first["traces"]), (&2.into(), &0.into(), &1626.into()));
    let copy = to.join("single-tenant").join(&from.id);
    for name in ["data.parquet", "bloom-0", "index"] {
        assert!(fs::read(copy.join(name)).expect("an object") == from.read(name), "{name} is the same");
    }
    // Cut short before the meta of one block was written.
    fs::remove_file(copy.join("meta.json")).expect("removed");
    let second = json(&words);
    assert_eq!((&second["copied"], &second["skipped"]), (&1.into(), &1.into()));
    // Compacted there since: it must not come back.
    fs::rename(copy.join("meta.json"), copy.join("meta.compacted.json")).expect("renamed");
    let third = json(&words);
    assert_eq!((&third["copied"], &third["skipped"]), (&0.into(), &2.into()));
    assert!(!copy.join("meta.json").exists());
}

#[test]
fn a_block_that_cannot_be_copied_is_named_and_stops_no_other() {
    let from = Copied::of("vparquet4");
    let other = Copied::of("vparquet5");
    fs::rename(&other.block, from.dir.path().join("single-tenant").join(&other.id)).expect("moved");
    let mut data = from.read("data.parquet");
    data.pop();
    from.write("data.parquet", &data);
    let to = tempfile::tempdir().expect("a directory");
    let store = to.path().to_str().expect("a path");
    let output = blocks(&["migrate", "--from", from.store(), "--to", store, "--concurrency", "1"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("FAILED single-tenant/{}: data.parquet is not as long", from.id)),
        "{said}"
    );
    assert!(said.contains("1 blocks copied") && said.contains("1 failed"), "{said}");
}

#[test]
fn a_migration_may_write_blocks_anew_and_knows_them_again() {
    let from = Copied::of("vparquet4");
    let to = tempfile::tempdir().expect("a directory");
    let store = to.path().to_str().expect("a path");
    let words =
        ["migrate", "--from", from.store(), "--to", store, "--dedicated", "span.http.route", "--json"];
    assert_eq!(json(&words)["copied"], 1);
    sound(store);
    let id = listed(store)["blocks"][0]["id"].as_str().expect("an id").to_owned();
    assert_ne!(id, from.id);
    assert_eq!(json(&words)["skipped"], 1);
    let before: Vec<_> = traces(from.store()).iter().map(|line| canonical(line)).collect();
    let after: Vec<_> = traces(store).iter().map(|line| canonical(line)).collect();
    assert!(before == after, "the traces are the same");
}

#[test]
fn a_block_in_the_other_format_holds_the_same_traces() {
    for (folder, format, dedicated) in [
        ("vparquet4", "vParquet5", "auto"),
        ("vparquet5-dedicated", "vparquet4", "keep"),
        ("vparquet5-dedicated", "vParquet5", "none"),
    ] {
        let copied = Copied::of(folder);
        let before: Vec<_> = traces(copied.store()).iter().map(|line| canonical(line)).collect();
        let words = ["--store", copied.store(), &copied.id, "--format", format, "--dedicated", dedicated];
        well(&[&["rewrite"], &words[..]].concat());
        sound(copied.store());
        let live = json(&["list", "--store", copied.store(), "--json"]);
        let name = live["blocks"][0]["format"].as_str().expect("a format");
        assert!(name.eq_ignore_ascii_case(format), "{name}");
        let after: Vec<_> = traces(copied.store()).iter().map(|line| canonical(line)).collect();
        assert!(before == after, "{folder} as {format}: the traces are the same");
    }
}
