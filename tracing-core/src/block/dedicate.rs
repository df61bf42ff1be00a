//! Which attributes of a block get a column of their own.

use std::{borrow::Borrow, collections::HashMap};

use super::{
    BlockError, DedicatedColumn, DedicatedKind, DedicatedScope, Meta, Version,
    schema::{Schema, is_own, room},
};
use crate::table::{Code, Level, SpanTable, ValueKind};

/// How the dedicated columns of a block are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dedicated {
    /// By what the block holds: those attributes first that take most room.
    #[default]
    Auto,
    /// These, whatever the block holds.
    Fixed(Vec<DedicatedColumn>),
}

/// Traces of a block that are looked at, evenly spread: what is frequent shows in a few.
const SAMPLE: usize = 2048;
/// A column is worth its place in the footer from this many values on, in a sample of that many spans.
const MIN_SHARE: (u64, u64) = (1, 400);
/// Bytes that an entry of generic attributes costs beside its value: key, type and levels, compressed.
const ENTRY: u64 = 2;
/// Longest text that counts as such: what is longer costs about the same in either place.
const MAX_TEXT: usize = 64;

/// Attributes by scope, name and type of value.
type Named<V> = HashMap<(DedicatedScope, String, DedicatedKind), V>;

/// What is known of an attribute.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    values: u64,
    bytes: u64,
}

impl Dedicated {
    /// The dedicated columns of a block of these rows.
    pub(crate) fn columns<T: Borrow<SpanTable>>(
        &self,
        version: Version,
        rows: &[(T, u32)],
    ) -> Vec<DedicatedColumn> {
        match self {
            Self::Fixed(columns) => columns.clone(),
            Self::Auto => choose(version, count(rows)),
        }
    }

    /// The dedicated columns of a block that is made of others: what most of their traces have.
    #[must_use]
    pub fn merged<'a>(
        &self,
        version: Version,
        inputs: impl IntoIterator<Item = &'a Meta>,
    ) -> Vec<DedicatedColumn> {
        match self {
            Self::Fixed(columns) => columns.clone(),
            Self::Auto => {
                let mut votes: Named<u64> = HashMap::new();
                for meta in inputs {
                    // Columns stand in the order of their use.
                    for (column, rank) in meta.dedicated.iter().zip((1..=64).rev()) {
                        let name = (column.scope, column.name.clone(), column.kind);
                        *votes.entry(name).or_default() += rank * meta.traces.max(1);
                    }
                }
                choose(version, votes)
            }
        }
    }
}

impl DedicatedColumn {
    /// Those of `columns` that a format can have: vParquet4 has none for integers and events, and some
    /// attributes have a column in any case. Tempo leaves the same out when it writes vParquet4.
    #[must_use]
    pub fn fitting(version: Version, columns: &[Self]) -> Vec<Self> {
        let fits = |column: &&Self| {
            let (strings, ints) = room(version, column.scope);
            let room = if column.kind == DedicatedKind::Int { ints } else { strings };
            room > 0 && !is_own(version, column.scope, &column.name)
        };
        columns.iter().filter(fits).cloned().collect()
    }

    /// Refuses columns that the format cannot keep: two of a name, or more than it takes.
    ///
    /// # Errors
    /// [`BlockError::Dedicated`].
    pub fn check(version: Version, columns: &[Self]) -> Result<(), BlockError> {
        Schema::checked(version, columns).map(drop)
    }
}

/// The best of each scope and type, as many as the format has columns for. Deterministic: ties go by name.
fn choose(version: Version, scores: Named<u64>) -> Vec<DedicatedColumn> {
    let fits = |(scope, name, _): &(DedicatedScope, String, DedicatedKind)| {
        !name.is_empty() && !is_own(version, *scope, name)
    };
    let mut ranked: Vec<_> = scores.into_iter().filter(|(name, _)| fits(name)).collect();
    ranked.sort_by(|((_, name, kind), score), ((_, other, other_kind), other_score)| {
        let is_int = |kind: &DedicatedKind| *kind == DedicatedKind::Int;
        (other_score, name, is_int(kind)).cmp(&(score, other, is_int(other_kind)))
    });
    let mut chosen: Vec<DedicatedColumn> = Vec::new();
    for scope in [DedicatedScope::Resource, DedicatedScope::Span, DedicatedScope::Event] {
        let (strings, ints) = room(version, scope);
        let mut left = [strings, ints];
        for ((_, name, kind), _) in ranked.iter().filter(|((of, ..), _)| *of == scope) {
            let [strings, ints] = &mut left;
            let left = if *kind == DedicatedKind::Int { ints } else { strings };
            let known = chosen.iter().any(|column| column.scope == scope && column.name == *name);
            if *left > 0 && !known {
                *left -= 1;
                chosen.push(DedicatedColumn { kind: *kind, ..DedicatedColumn::string(scope, name) });
            }
        }
    }
    chosen
}

/// What the attributes of some of the traces cost.
fn count<T: Borrow<SpanTable>>(rows: &[(T, u32)]) -> Named<u64> {
    let mut tallies: HashMap<(DedicatedScope, &str, DedicatedKind), Tally> = HashMap::new();
    let mut spans_seen = 0;
    let step = rows.len().div_ceil(SAMPLE).max(1);
    for (table, row) in rows.iter().step_by(step) {
        let table: &SpanTable = table.borrow();
        let resources = table.traces.resources.range(*row as usize);
        let spans = table.spans_of_resources(resources.clone());
        spans_seen += spans.len() as u64;
        let events = spans.clone().flat_map(|span| table.spans.events.range(span));
        let mut add = |scope, level, owner| {
            each(table, level, owner, |name, kind, bytes| {
                let tally = tallies.entry((scope, name, kind)).or_default();
                tally.values += 1;
                tally.bytes += ENTRY + bytes;
            });
        };
        resources.for_each(|owner| add(DedicatedScope::Resource, Level::Resource, owner));
        spans.for_each(|owner| add(DedicatedScope::Span, Level::Span, owner));
        events.for_each(|owner| add(DedicatedScope::Event, Level::Event, owner));
    }
    let (few, of) = MIN_SHARE;
    let frequent = tallies.into_iter().filter(|(_, tally)| tally.values * of >= spans_seen * few);
    frequent.map(|((scope, name, kind), tally)| ((scope, name.to_owned(), kind), tally.bytes)).collect()
}

/// The strings and integers among the attributes of an owner: name, type, and size of the value.
fn each<'a>(
    table: &'a SpanTable,
    level: Level,
    owner: usize,
    mut take: impl FnMut(&'a str, DedicatedKind, u64),
) {
    let attributes = table.attributes(level);
    for entry in attributes.offsets.range(owner) {
        let (Some(key), Some(kind), Some(value)) =
            (attributes.key.get(entry), attributes.kind.get(entry), attributes.value.get(entry))
        else {
            return;
        };
        let (kind, bytes) = match kind {
            ValueKind::String => {
                let text = table.strings.text(Code::from_payload(*value));
                (DedicatedKind::String, text.len().min(MAX_TEXT) as u64)
            }
            ValueKind::Int => (DedicatedKind::Int, 4),
            _ => continue,
        };
        take(table.strings.text(*key), kind, bytes);
    }
}
