//! What a column has taken in and not yet made a page of.

use super::chunk::Values;
use crate::{
    block::schema::{Spec, depth},
    table::{Code, Level, Strings},
};

/// Levels and values that will be one page.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Traces.
    pub(super) rows: usize,
    pub(super) rep: Vec<u8>,
    pub(super) def: Vec<u8>,
    /// Levels: of values and of places without one.
    pub(super) entries: usize,
    /// Bytes of the values, about, before compression.
    pub(super) bytes: usize,
    pub(super) codes: Vec<u32>,
    pub(super) int32: Vec<i32>,
    pub(super) int64: Vec<i64>,
    pub(super) double: Vec<u64>,
    pub(super) bool: Vec<bool>,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Codes of the least and the greatest text so far.
    pub(super) bounds: Option<(u32, u32)>,
}

/// When a column ends a page: sooner where its values take room, later where they hardly do.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize {
    bytes: usize,
    entries: usize,
}

impl PageSize {
    /// For a column that is given so many rows at a time. One of traces, resources or scopes ends a page eight times as
    /// soon: there are many of these, a lookup reads a page of each, and of all spans' bytes they are a twentieth.
    pub(super) fn of(spec: &Spec, rows: usize) -> Self {
        let entries = if spec.rep >= depth(Level::Span) { 8 } else { 1 };
        Self { bytes: rows.saturating_mul(16), entries: rows.saturating_mul(entries) }
    }
}

impl Pending {
    pub(super) fn is_full(&self, size: PageSize) -> bool {
        self.bytes >= size.bytes || self.entries >= size.entries
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.rep.len() + self.def.len() + self.bytes
    }

    /// Number of values.
    pub(super) fn values(&self) -> usize {
        [
            self.codes.len(),
            self.int32.len(),
            self.int64.len(),
            self.double.len(),
            self.bool.len(),
            self.ends.len(),
        ]
        .iter()
        .sum()
    }

    /// Takes values in that are kept as they are.
    pub(super) fn extend(&mut self, values: &Values<'_>) {
        match values {
            Values::Text(codes) => self.codes.extend_from_slice(codes),
            Values::Int32(values) => self.int32.extend_from_slice(values),
            Values::Int64(values) => self.int64.extend_from_slice(values),
            Values::Double(values) => self.double.extend_from_slice(values),
            Values::Bool(values) => self.bool.extend_from_slice(values),
            Values::Bytes(values) | Values::Verbatim(values) => {
                for value in values {
                    self.text.extend_from_slice(value);
                    self.ends.push(self.text.len());
                }
            }
        }
        self.bytes += match values {
            Values::Text(codes) => 2 * codes.len(),
            Values::Int32(values) => 4 * values.len(),
            Values::Int64(values) => 8 * values.len(),
            Values::Double(values) => 8 * values.len(),
            Values::Bool(values) => values.len() / 8,
            Values::Bytes(values) | Values::Verbatim(values) => values.iter().map(|value| value.len()).sum(),
        };
    }

    /// The byte arrays.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
    }

    /// Widens the bounds by a text.
    pub(super) fn bound(&mut self, code: u32, strings: &Strings) {
        let text = |code: u32| strings.text(Code(code));
        let (min, max) = self.bounds.unwrap_or((code, code));
        let least = if text(code) < text(min) { code } else { min };
        let most = if text(code) > text(max) { code } else { max };
        self.bounds = Some((least, most));
    }

    /// Forgets everything, keeping the room.
    pub(super) fn clear(&mut self) {
        let Self { rows, rep, def, entries, bytes, codes, int32, int64, double, bool, text, ends, bounds } =
            self;
        (*rows, *entries, *bytes, *bounds) = (0, 0, 0, None);
        rep.clear();
        def.clear();
        codes.clear();
        int32.clear();
        int64.clear();
        double.clear();
        bool.clear();
        text.clear();
        ends.clear();
    }
}
