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
    /// Staged rows by resource and scope, each in order of first appearance: the order that root and nested
    /// sets go by.
    pub(super) rows: Vec<u32>,
    /// The same rows in the order in which they stand in the table.
    pub(super) tidy: Vec<u32>,
    /// For each staged row, its place in `rows`.
    pub(super) place: Vec<u32>,
    keys: Vec<Key>,
    pub(super) tree: super::tree::Scratch,
}

/// What a span is sorted by within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Spans of the resource, and what they are like.
    resource: (u32, u64, u32),
    /// Place of the scope among those of the trace.
    scope: u32,
    /// What the span is like.
    like: u64,
    row: u32,
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

    /// Leaves rows in the order of [`Scratch::order`].
    pub(super) fn keep(&mut self) {
        self.tidy.clone_from(&self.rows);
    }

    /// Orders rows so that traces look alike: resources by their number of spans and what these have, spans of
    /// a scope by what they have. How rows nest is stored with every column of a block, so that what is
    /// regular there counts as often as a block has columns.
    pub(super) fn tidy(&mut self, stage: &Stage, heads: &super::Heads) {
        let group_of = |row: u32| stage.group_of.get(row as usize).copied().unwrap_or_default();
        let resource_of = |row: u32| stage.groups.get(group_of(row) as usize).map(|group| group.resource);
        self.keys.clear();
        for rows in self.rows.chunk_by(|a, b| resource_of(*a) == resource_of(*b)) {
            let first = self.keys.len();
            let resource = rows.first().and_then(|row| resource_of(*row)).unwrap_or_default();
            let service = heads.resources.service.get(resource as usize).map_or(0, |code| code.0);
            self.keys.extend(rows.iter().map(|&row| {
                let scope = self.rank.get(group_of(row) as usize).copied().unwrap_or_default();
                Key { resource: (rows.len() as u32, 0, service), scope, like: likeness(stage, row), row }
            }));
            let keys = self.keys.get_mut(first..).unwrap_or_default();
            keys.sort_unstable();
            let like = keys.first().map_or(0, |key| key.like);
            for key in keys {
                key.resource.1 = like;
            }
        }
        // The scope's place tells equal resources of one service apart.
        self.keys.sort_unstable();
        self.tidy.clear();
        self.tidy.extend(self.keys.iter().map(|key| key.row));
    }

    /// Notes the place of each row, whatever its order in the table.
    pub(super) fn note_places(&mut self, stage: &Stage) {
        self.place.clear();
        self.place.resize(stage.group_of.len(), 0);
        for (place, &row) in self.rows.iter().enumerate() {
            if let Some(of) = self.place.get_mut(row as usize) {
                *of = place as u32;
            }
        }
    }

    /// Leaves one of each set of spans of which `content` says the same.
    pub(super) fn drop_duplicates(&mut self, stage: &Stage, content: Content) {
        let id = |row: u32| stage.spans.id.get(row as usize).copied().unwrap_or_default();
        let mut by_id: Vec<(SpanId, u32)> = self.rows.iter().map(|&row| (id(row), row)).collect();
        by_id.sort_unstable();
        let mut twice: Vec<u32> = Vec::new();
        for same in by_id.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let mut hashed: Vec<(u64, u32)> =
                same.iter().map(|&(_, row)| (content_hash(stage, row as usize, content), row)).collect();
            hashed.sort_unstable();
            for pair in hashed.windows(2) {
                if let [(a, first), (b, second)] = *pair
                    && a == b
                    && equal(stage, first as usize, second as usize, content)
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

/// A number that spans have in common when they have values in the same columns, greater the more they have.
fn likeness(stage: &Stage, row: u32) -> u64 {
    let row = row as usize;
    let attributes = &stage.spans.attributes;
    let entries = attributes.offsets.range(row);
    let keys = attributes.key.get(entries.clone()).unwrap_or_default();
    let kinds = attributes.kind.get(entries).unwrap_or_default();
    let mut hash = FxHasher::default();
    for (key, kind) in keys.iter().zip(kinds) {
        hash.write_u32(key.0 << 4 | *kind as u32);
    }
    let (events, links) = (stage.spans.events.range(row).len(), stage.spans.links.range(row).len());
    let few = |count: usize| count.min(15) as u64;
    (keys.len().min(255) as u64) << 56 | hash.finish() >> 16 << 8 | few(events) << 4 | few(links)
}

/// Says what is compared of the span of a row, as numbers.
type Content = fn(&Stage, usize, &mut dyn FnMut(u64));

fn content_hash(stage: &Stage, row: usize, content: Content) -> u64 {
    let mut hash = FxHasher::default();
    content(stage, row, &mut |value| value.hash(&mut hash));
    hash.finish()
}

fn equal(stage: &Stage, a: usize, b: usize, content: Content) -> bool {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    content(stage, a, &mut |value| of_a.push(value));
    content(stage, b, &mut |value| of_b.push(value));
    of_a == of_b
}

/// What every excerpt has of a span.
pub(super) fn outline(stage: &Stage, row: usize, each: &mut dyn FnMut(u64)) {
    let spans = &stage.spans;
    each(spans.id.get(row).map_or(0, |id| u64::from_be_bytes(id.0)));
    each(spans.parent_id.get(row).map_or(0, |id| u64::from_be_bytes(id.0)));
    each(spans.name.get(row).map_or(0, |code| code.payload()));
    for bytes in [&spans.kind, &spans.status] {
        each(bytes.get(row).map_or(0, |&byte| u64::from(byte)));
    }
    for numbers in [&spans.start, &spans.duration] {
        each(numbers.get(row).copied().unwrap_or_default());
    }
}

/// Everything about a span.
pub(super) fn content(stage: &Stage, row: usize, each: &mut dyn FnMut(u64)) {
    let spans = &stage.spans;
    outline(stage, row, each);
    each(stage.group_of.get(row).map_or(0, |&group| u64::from(group)));
    for codes in [&spans.trace_state, &spans.status_message] {
        each(codes.get(row).map_or(0, |code| code.payload()));
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

fn attributes(of: &Attributes, owner: usize, each: &mut dyn FnMut(u64)) {
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
