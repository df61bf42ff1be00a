//! What is damaged is found, and said where.

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tracing_core::{
    block::{
        self, Sketch, WriteOptions,
        inspect::{self, PageHead},
    },
    model::{BlockId, Tenant, TraceId},
    table::TableBuilder,
    wire::otlp::json_to_proto,
};

use super::*;

/// Blocks of Tempo's in the formats that are read.
const FOLDERS: &[&str] = &["vparquet4", "vparquet5", "vparquet5-dedicated"];
const NESTED: &str = "rs.list.element.ss.list.element.Spans.list.element.NestedSetLeft";
const SPAN_NAME: &str = "rs.list.element.ss.list.element.Spans.list.element.Name";

/// The problems of a check that must find some, as `<where>: <what>`.
fn problems(copied: &Copied) -> Vec<String> {
    let output = blocks(&["check", "--store", copied.store(), "--json"]);
    assert_eq!(output.status.code(), Some(1), "exit code 1 where something is wrong");
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = verdict["blocks"][0]["problems"].as_array().expect("problems").clone();
    let text = |problem: &Value, key: &str| problem[key].as_str().expect("text").to_owned();
    problems.iter().map(|problem| format!("{}: {}", text(problem, "at"), text(problem, "what"))).collect()
}

/// That a check finds a problem which says all of these.
fn found(copied: &Copied, said: &[&str]) {
    let problems = problems(copied);
    let found = problems.iter().any(|problem| said.iter().all(|part| problem.contains(part)));
    assert!(found, "no problem says {said:?}: {problems:#?}");
}

/// A block of Tempo's with `change` made to one of its objects.
fn with(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Copied {
    let copied = Copied::of("vparquet4");
    let mut bytes = copied.read(name);
    change(&mut bytes);
    copied.write(name, &bytes);
    copied
}

fn with_meta(from: &str, to: &str) -> Copied {
    with("meta.json", |json| {
        let text = String::from_utf8(json.clone()).expect("text");
        assert!(text.contains(from), "{text}");
        *json = text.replace(from, to).into_bytes();
    })
}

/// A block with `change` made to the bytes of the first data page of a column; it is told the page's head and
/// where its body starts.
fn with_page(path: &str, change: impl FnOnce(&mut [u8], &PageHead, usize)) -> Copied {
    with("data.parquet", |data| {
        let file = SerializedFileReader::new(Bytes::copy_from_slice(data)).expect("a Parquet file");
        let group = file.metadata().row_group(0);
        let column = group.columns().iter().find(|column| column.column_path().string() == path);
        let (start, length) = column.expect("the column").byte_range();
        let column = &mut data[start as usize..(start + length) as usize];
        let heads = inspect::page_heads(column).expect("pages");
        let head = heads.into_iter().find(|head| head.kind.is_data()).expect("a data page");
        let body = (head.at + head.header) as usize;
        change(column, &head, body);
    })
}

#[test]
fn what_tempo_wrote_is_sound() {
    for &folder in FOLDERS {
        let copied = Copied::of(folder);
        let verdict = json(&["check", "--store", copied.store(), "--json"]);
        assert_eq!(verdict["problems"], 0, "{folder}: {verdict:#}");
        let block = &verdict["blocks"][0];
        assert_eq!((&block["traces"], &block["spans"]), (&813.into(), &7801.into()), "{folder}");
        assert_eq!(block["checksums"], block["pages"], "{folder}: Tempo's pages have checksums");
    }
}

#[test]
fn a_changed_byte_of_a_page_is_found_by_its_checksum() {
    let copied = with_page(SPAN_NAME, |column, head, body| column[body + head.body as usize - 1] ^= 1);
    found(&copied, &["row group 0", SPAN_NAME, "its checksum is not that of its bytes"]);
}

#[test]
fn numbers_of_the_meta_are_held_against_the_file() {
    found(&with_meta("\"size\":861781", "\"size\":861780"), &["meta.json", "size: 861780, expected 861781"]);
    found(&with_meta("\"footerSize\":20280", "\"footerSize\":20279"), &["footerSize: 20279, expected 20280"]);
    found(&with_meta("\"totalObjects\":813", "\"totalObjects\":812"), &["totalObjects: 812, expected 813"]);
    found(&with_meta("\"totalRecords\":1", "\"totalRecords\":2"), &["totalRecords: 2, expected 1"]);
    found(&with_meta("\"blockID\":\"e", "\"blockID\":\"f"), &["meta.json", "blockID: f"]);
    found(&with_meta("\"single-tenant\"", "\"another\""), &["meta.json", "tenantID: another"]);
    found(&with_meta("T07:00:00Z", "T08:00:00Z"), &["startTime", "is after endTime"]);
    found(&with_meta("\"format\"", "\"fromat\""), &["meta.json", "cannot be read"]);
}

#[test]
fn a_file_that_is_cut_or_none_is_found() {
    found(
        &with("data.parquet", |data| data.truncate(data.len() - 1)),
        &["data.parquet", "PAR1 expected at its end"],
    );
    found(&with("data.parquet", |data| data[0] = b'Q'), &["data.parquet", "PAR1 expected at its start"]);
    found(&with("data.parquet", Vec::clear), &["data.parquet", "0 bytes"]);
    let missing = Copied::of("vparquet4");
    fs::remove_file(missing.block.join("data.parquet")).expect("removed");
    found(&missing, &["data.parquet", "no data.parquet"]);
}

#[test]
fn every_byte_of_the_footer_that_is_changed_is_found_or_means_nothing() {
    let whole = Copied::of("vparquet4").read("data.parquet");
    let footer = whole.len() - 8 - 20280;
    // A part of them: each is a run of the binary.
    for at in (footer..whole.len() - 8).step_by(1013) {
        let copied = with("data.parquet", |data| data[at] ^= 0xff);
        let output = blocks(&["check", "--store", copied.store()]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "byte {at}: {output:?}");
    }
}

#[test]
fn an_offset_index_that_does_not_fit_its_pages_is_found() {
    let copied = with("data.parquet", |data| {
        let file = SerializedFileReader::new(Bytes::copy_from_slice(data)).expect("a Parquet file");
        let column = file.metadata().row_group(0).column(0);
        let range = column.offset_index_range().expect("an offset index");
        // Behind two list heads and a field head stands the first page's offset.
        data[range.start as usize + 3] ^= 2;
    });
    found(&copied, &["column TraceID", "offset index", "expected"]);
}

#[test]
fn ids_out_of_order_and_ids_that_are_there_twice_are_found() {
    let ids = |at: usize, change: fn(&mut [u8], usize)| {
        with_page("TraceID", |column, head, body| {
            // The ids stand behind their lengths, at the end of the page.
            let first = body + head.body as usize - 813 * 16;
            change(column, first + at * 16);
        })
    };
    let swapped = ids(5, |column, at| {
        let (one, two) = column[at..at + 32].split_at_mut(16);
        one.swap_with_slice(two);
    });
    found(&swapped, &["column TraceID", "stands behind"]);
    found(&swapped, &["TraceIDText is not that of"]);
    let doubled = ids(5, |column, at| column.copy_within(at..at + 16, at + 16));
    found(&doubled, &["column TraceID", "is there more than once"]);
    let outside = ids(0, |column, at| column[at + 8] = 0);
    found(&outside, &["column TraceID, column index, page 0", "a value lies outside its bounds"]);
}

#[test]
fn levels_that_cannot_be_are_found() {
    // Tempo's pages begin with the repetition levels, which are not compressed.
    let copied = with_page(SPAN_NAME, |column, _, body| column[body + 1] ^= 3);
    let problems = problems(&copied);
    let says =
        |text: &str| problems.iter().any(|problem| problem.contains(SPAN_NAME) && problem.contains(text));
    let levels = ["repetition level", "goes on with a list", "its lists of", "rows:"];
    assert!(levels.into_iter().any(says), "{problems:#?}");
}

#[test]
fn a_nested_set_that_is_none_is_found() {
    let copied = with_page(NESTED, |column, head, body| column[body + head.body as usize - 9] ^= 0x10);
    found(&copied, &["trace ", "nested set"]);
}

#[test]
fn statistics_and_times_that_do_not_follow_from_the_spans_are_found() {
    let count = "ServiceStats.key_value.value.SpanCount";
    let copied = with_page(count, |column, head, body| column[body + head.body as usize / 2] ^= 0x11);
    found(&copied, &["trace ", "ServiceStats are"]);
    let copied =
        with_page("StartTimeUnixNano", |column, head, body| column[body + head.body as usize / 2] ^= 0x11);
    found(&copied, &["trace ", "StartTimeUnixNano"]);
}

#[test]
fn a_bloom_bit_that_is_missing_or_too_many_is_found() {
    let first = Copied::of("vparquet4").read("bloom-0").iter().skip(24).position(|byte| *byte != 0);
    let first = first.expect("a bit that is set") + 24;
    found(&with("bloom-0", |bloom| bloom[first] = 0), &["bloom-0", "ids of the block are not found"]);
    found(&with("bloom-0", |bloom| bloom[first] ^= 0xff), &["bloom-0"]);
    let empty = Copied::of("vparquet4").read("bloom-0").iter().skip(24).position(|byte| *byte == 0);
    let empty = empty.expect("a bit that is not set") + 24;
    found(&with("bloom-0", |bloom| bloom[empty] = 1), &["bloom-0", "bits are set, the block's ids set"]);
    found(&with("bloom-0", |bloom| bloom.truncate(100)), &["bloom-0", "bits"]);
    let missing = Copied::of("vparquet4");
    fs::remove_file(missing.block.join("bloom-0")).expect("removed");
    found(&missing, &["bloom-0", "not in the store"]);
    let surplus = Copied::of("vparquet4");
    surplus.write("bloom-1", &surplus.read("bloom-0"));
    found(&surplus, &["bloom-1", "bloomShards is 1"]);
}

#[test]
fn an_index_that_is_not_the_blocks_is_found() {
    found(
        &with("index", |index| index[17] ^= 1),
        &["index", "rowGroups[0] is", "the last trace of the row group is"],
    );
    found(
        &with("index", |index| *index = br#"{"rowGroups":[]}"#.to_vec()),
        &["index", "rowGroups: 0, expected 1"],
    );
    let missing = Copied::of("vparquet4");
    fs::remove_file(missing.block.join("index")).expect("removed");
    found(&missing, &["index", "is missing"]);
}

#[test]
fn a_block_without_its_meta_is_not_visible_and_not_damaged() {
    let copied = Copied::of("vparquet4");
    fs::remove_file(copied.block.join("meta.json")).expect("removed");
    let said = well(&["check", "--store", copied.store()]);
    assert!(said.contains("not visible, meta.json is missing"), "{said}");
}

/// The sketch of a block that holds one span.
fn another_sketch() -> Bytes {
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",
        "spanId":"eee19b7ec3c1b174","name":"alone","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    let mut builder = TableBuilder::new();
    builder.begin(TraceId::from_hex("5b8efff798038103d269b633813fc60c").expect("an id"));
    builder.add_otlp(&json_to_proto(json).expect("OTLP")).expect("a table");
    builder.end();
    let table = builder.finish();
    let (tenant, id) = (Tenant::single(), BlockId::random());
    let written = block::write([(&table, 0)], &WriteOptions::default(), &tenant, id, std::io::sink());
    let extra = written.expect("a block").extra;
    extra.into_iter().find(|(name, _)| *name == Sketch::NAME).expect("a sketch").1
}

#[test]
fn a_sketch_that_is_damaged_or_rules_out_what_the_block_holds_is_found() {
    let copied = Copied::of("vparquet4");
    let other = another_sketch();
    copied.write("sketch", &other);
    found(&copied, &["sketch", "rules out { name = ", "which spans of the block match"]);
    copied.write("sketch", &other[..other.len() - 1]);
    found(&copied, &["sketch: "]);
}
