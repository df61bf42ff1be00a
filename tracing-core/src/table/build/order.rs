//! In which order the staged spans go to the table, and which of them are there twice.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use super::Stage;
use crate::model::SpanId;
use crate::table::columns::Attributes;

/// Room that is used again from trace to trace.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Groups in the order in which they stand in the table.
    pub(super) groups: Vec<u32>,
    /// Place of each group in `groups`.
    rank: Vec<u32>,
    /// Staged rows in the order in which they stand in the table.
    pub(super) rows: Vec<u32>,
    pub(super) tree: super::tree::Scratch,
}

impl Scratch {
    /// Orders rows by resource, then scope, each in order of first appearance, else as received.
    pub(super) fn order(&mut self, stage: &Stage) {
        let mut first: FxHashMap<u32, u32> = FxHashMap::default();
        for (at, group) in stage.groups.iter().enumerate() {
            first.entry(group.resource).or_insert(at as u32);
        }
        self.groups.clear();
        self.groups.extend(0..stage.groups.len() as u32);
        self.groups.sort_by_key(|&at| {
            let resource = stage.groups.get(at as usize).map(|group| group.resource);
            resource.and_then(|resource| first.get(&resource).copied())
        });
        self.rank.clear();
        self.rank.resize(stage.groups.len(), 0);
        for (rank, &group) in self.groups.iter().enumerate() {
            if let Some(place) = self.rank.get_mut(group as usize) {
                *place = rank as u32;
            }
        }
        let rank_of = |&row: &u32| {
            let group = stage.group_of.get(row as usize).copied().unwrap_or_default();
            self.rank.get(group as usize).copied().unwrap_or_default()
        };
        self.rows.clear();
        self.rows.extend(0..stage.group_of.len() as u32);
        if !self.rows.is_sorted_by_key(rank_of) {
            self.rows.sort_by_key(rank_of);
        }
    }

    /// Leaves one of each set of spans that are equal in all but their place.
    pub(super) fn drop_duplicates(&mut self, stage: &Stage) {
        let id = |row: u32| stage.spans.id.get(row as usize).copied().unwrap_or_default();
        let mut by_id: Vec<(SpanId, u32)> = self.rows.iter().map(|&row| (id(row), row)).collect();
        by_id.sort_unstable();
        let mut twice: Vec<u32> = Vec::new();
        for same in by_id.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let mut hashed: Vec<(u64, u32)> =
                same.iter().map(|&(_, row)| (content_hash(stage, row as usize), row)).collect();
            hashed.sort_unstable();
            for pair in hashed.windows(2) {
                if let [(a, first), (b, second)] = *pair
                    && a == b
                    && equal(stage, first as usize, second as usize)
                {
                    twice.push(second);
                }
            }
        }
        if !twice.is_empty() {
            twice.sort_unstable();
            self.rows.retain(|row| twice.binary_search(row).is_err());
        }
    }
}

fn content_hash(stage: &Stage, row: usize) -> u64 {
    let mut hash = FxHasher::default();
    content(stage, row, &mut |value| value.hash(&mut hash));
    hash.finish()
}

fn equal(stage: &Stage, a: usize, b: usize) -> bool {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    content(stage, a, &mut |value| of_a.push(value));
    content(stage, b, &mut |value| of_b.push(value));
    of_a == of_b
}

/// Everything about a span, as numbers.
fn content(stage: &Stage, row: usize, each: &mut impl FnMut(u64)) {
    let spans = &stage.spans;
    each(stage.group_of.get(row).map_or(0, |&group| u64::from(group)));
    each(spans.id.get(row).map_or(0, |id| u64::from_be_bytes(id.0)));
    each(spans.parent_id.get(row).map_or(0, |id| u64::from_be_bytes(id.0)));
    for codes in [&spans.name, &spans.trace_state, &spans.status_message] {
        each(codes.get(row).map_or(0, |code| code.payload()));
    }
    for bytes in [&spans.kind, &spans.status] {
        each(bytes.get(row).map_or(0, |&byte| u64::from(byte)));
    }
    for numbers in [&spans.start, &spans.duration] {
        each(numbers.get(row).copied().unwrap_or_default());
    }
    for counts in [&spans.dropped_attributes, &spans.dropped_events, &spans.dropped_links] {
        each(counts.get(row).map_or(0, |&count| u64::from(count)));
    }
    attributes(&spans.attributes, row, each);
    let events = spans.events.range(row);
    each(events.len() as u64);
    for event in events {
        each(stage.events.since_start.get(event).copied().unwrap_or_default());
        each(stage.events.name.get(event).map_or(0, |code| code.payload()));
        each(stage.events.dropped_attributes.get(event).map_or(0, |&count| u64::from(count)));
        attributes(&stage.events.attributes, event, each);
    }
    let links = spans.links.range(row);
    each(links.len() as u64);
    for link in links {
        for id in [&stage.links.trace_id, &stage.links.span_id] {
            let id = id.get(link).map_or(&[][..], |id| id);
            each(id.len() as u64);
            for &byte in id {
                each(u64::from(byte));
            }
        }
        each(stage.links.trace_state.get(link).map_or(0, |code| code.payload()));
        each(stage.links.dropped_attributes.get(link).map_or(0, |&count| u64::from(count)));
        attributes(&stage.links.attributes, link, each);
    }
}

fn attributes(of: &Attributes, owner: usize, each: &mut impl FnMut(u64)) {
    let entries = of.unordered(owner);
    each(entries.len() as u64);
    for (head, payloads) in entries {
        each(head);
        each(payloads.len() as u64);
        for &payload in payloads {
            each(payload);
        }
    }
}
