//! The sketch beside a block, against the values in it: no question that the block answers may be ruled out.

use std::collections::HashSet;

use tracing_core::{
    block::Sketch,
    store::Objects,
    table::{Level, SpanTable, Value, ValueKind},
    traceql::{self, Plan},
};

use super::Findings;
use crate::blocks::survey::Block;

/// Most questions that are asked of a sketch.
const ASKED: usize = 200_000;

/// A sketch, and what it was asked.
pub(super) struct Asked {
    sketch: Sketch,
    known: HashSet<String>,
}

/// The scopes of attributes, as TraceQL names them.
const SCOPES: [(Level, &str); 5] = [
    (Level::Resource, "resource"),
    (Level::Scope, "instrumentation"),
    (Level::Span, "span"),
    (Level::Event, "event"),
    (Level::Link, "link"),
];
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];

impl Asked {
    /// The sketch of a block that has one.
    pub(super) async fn open(findings: &mut Findings, objects: &Objects, block: &Block) -> Option<Self> {
        if !block.seen.objects.contains_key(Sketch::NAME) {
            return None;
        }
        let read = objects.get(&block.key(Sketch::NAME)).await.map_err(anyhow::Error::from);
        match read.and_then(|bytes| Ok(Sketch::decode(&bytes)?)) {
            Ok(sketch) => Some(Self { sketch, known: HashSet::new() }),
            Err(error) => {
                findings.wrong(Sketch::NAME, format!("{error:#}"));
                None
            }
        }
    }

    /// Asks for each value of a table once.
    pub(super) fn table(&mut self, findings: &mut Findings, table: &SpanTable) {
        let text = |code| quoted(table.strings.text(code));
        for (name, codes) in [
            ("name", &table.spans.name),
            ("statusMessage", &table.spans.status_message),
            ("resource.service.name", &table.resources.service),
            ("rootServiceName", &table.traces.root_service),
            ("rootName", &table.traces.root_name),
            ("event:name", &table.events.name),
            ("instrumentation:name", &table.scopes.name),
        ] {
            let distinct: HashSet<_> = codes.iter().copied().collect();
            for value in distinct.into_iter().filter_map(text).filter(|value| value.len() > 2) {
                self.ask(findings, &format!("{{ {name} = {value} }}"));
            }
        }
        for (scope, level) in SCOPES.map(|(level, scope)| (scope, level)) {
            self.attributes(findings, table, scope, level);
        }
        let numbers = |of: &[u8]| of.iter().copied().collect::<HashSet<_>>();
        for (name, names, values) in [
            ("status", &STATUSES[..], numbers(&table.spans.status)),
            ("kind", &KINDS[..], numbers(&table.spans.kind)),
        ] {
            for value in values.iter().filter_map(|value| names.get(usize::from(*value))) {
                self.ask(findings, &format!("{{ {name} = {value} }}"));
            }
        }
        let durations = &table.spans.duration;
        for bound in [durations.iter().min(), durations.iter().max()].into_iter().flatten() {
            self.ask(findings, &format!("{{ duration = {bound}ns }}"));
        }
    }

    fn attributes(&mut self, findings: &mut Findings, table: &SpanTable, scope: &str, level: Level) {
        let attributes = table.attributes(level);
        let mut seen = HashSet::new();
        for (entry, ((key, kind), payload)) in
            attributes.key.iter().zip(&attributes.kind).zip(&attributes.value).enumerate()
        {
            // Arrays are ranges of another column, so that equal ones are not equal here.
            let scalar =
                matches!(kind, ValueKind::String | ValueKind::Int | ValueKind::Double | ValueKind::Bool);
            if !scalar || !seen.insert((*key, *kind, *payload)) {
                continue;
            }
            let Some(key) = quoted(table.strings.text(*key)) else { continue };
            let value = match attributes.get(entry, &table.strings) {
                Some(Value::String(text)) => quoted(text),
                Some(Value::Int(number)) => Some(number.to_string()),
                Some(Value::Double(number)) if number.is_finite() => Some(format!("{number:.6}"))
                    .filter(|text| text.parse::<f64>().is_ok_and(|back| back.to_bits() == number.to_bits())),
                Some(Value::Bool(flag)) => Some(flag.to_string()),
                _ => None,
            };
            if let Some(value) = value {
                self.ask(findings, &format!("{{ {scope}.{key} = {value} }}"));
            }
        }
    }

    fn ask(&mut self, findings: &mut Findings, query: &str) {
        if self.known.len() >= ASKED || !self.known.insert(query.to_owned()) {
            return;
        }
        // What cannot be asked is not ruled out.
        let Ok(plan) = traceql::parse(query).and_then(|query| Plan::search(&query)) else { return };
        if !self.sketch.may_match(&plan) {
            findings.wrong(Sketch::NAME, format!("rules out {query}, which spans of the block match"));
        }
    }
}

/// A text in quotes, unless it would have to be escaped.
fn quoted(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.chars().any(|c| c.is_control() || c == '"' || c == '\\');
    plain.then(|| format!("\"{text}\""))
}
