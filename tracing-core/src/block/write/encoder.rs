//! The columns of one page, each encoded straight from the tables.

use std::{borrow::Borrow, ops::Range};

use super::{
    chunk::{Chunk, Values},
    gather::{Gathered, Runs, Sources},
    group::{LEVELS, Page},
    levels::Levels,
    press::Press,
};
use crate::{
    block::{
        BlockError,
        schema::{Kind, Leaf, Part, Spec},
    },
    table::{Code, Level, SpanTable, Tree, ValueKind},
};

/// Encodes a page's columns one after the other.
pub(super) struct Encoder<'a, T> {
    sources: &'a mut Sources<T>,
    press: &'a mut Press,
    page: &'a Page,
    codes: Vec<u32>,
    int32: Vec<i32>,
    int64: Vec<i64>,
}

/// The rows that a column describes.
#[derive(Clone, Copy)]
enum Place {
    Traces,
    Stats,
    Of(Level),
}

/// A column of the table that becomes one of the file as it is.
enum Source {
    Text(fn(&SpanTable) -> &[Code]),
    U64(fn(&SpanTable) -> &[u64]),
    I32(fn(&SpanTable) -> &[i32]),
    U32(fn(&SpanTable) -> &[u32]),
    U8(fn(&SpanTable) -> &[u8]),
}

/// Where a column's values stand in the tables; `None` for those that are made of others.
fn source(leaf: Leaf) -> Option<(Place, Source)> {
    use Place::{Of, Stats, Traces};
    use Source::{I32, Text, U8, U32, U64};
    let span = Of(Level::Span);
    Some(match leaf {
        Leaf::TraceStart => (Traces, U64(|t| &t.traces.start)),
        Leaf::TraceEnd => (Traces, U64(|t| &t.traces.end)),
        Leaf::RootService => (Traces, Text(|t| &t.traces.root_service)),
        Leaf::RootName => (Traces, Text(|t| &t.traces.root_name)),
        Leaf::StatsService => (Stats, Text(|t| &t.traces.stats_service)),
        Leaf::StatsSpans => (Stats, U32(|t| &t.traces.stats_spans)),
        Leaf::StatsErrors => (Stats, U32(|t| &t.traces.stats_errors)),
        Leaf::Service => (Of(Level::Resource), Text(|t| &t.resources.service)),
        Leaf::ScopeName => (Of(Level::Scope), Text(|t| &t.scopes.name)),
        Leaf::ScopeVersion => (Of(Level::Scope), Text(|t| &t.scopes.version)),
        Leaf::ParentLeft => (span, I32(|t| &t.spans.parent)),
        Leaf::Left => (span, I32(|t| &t.spans.left)),
        Leaf::Right => (span, I32(|t| &t.spans.right)),
        Leaf::Name => (span, Text(|t| &t.spans.name)),
        Leaf::Kind => (span, U8(|t| &t.spans.kind)),
        Leaf::TraceState => (span, Text(|t| &t.spans.trace_state)),
        Leaf::Start => (span, U64(|t| &t.spans.start)),
        Leaf::Duration => (span, U64(|t| &t.spans.duration)),
        Leaf::Status => (span, U8(|t| &t.spans.status)),
        Leaf::StatusMessage => (span, Text(|t| &t.spans.status_message)),
        Leaf::DroppedEvents => (span, U32(|t| &t.spans.dropped_events)),
        Leaf::DroppedLinks => (span, U32(|t| &t.spans.dropped_links)),
        Leaf::EventTime => (Of(Level::Event), U64(|t| &t.events.since_start)),
        Leaf::EventName => (Of(Level::Event), Text(|t| &t.events.name)),
        Leaf::LinkTraceState => (Of(Level::Link), Text(|t| &t.links.trace_state)),
        Leaf::Dropped(level) => {
            let column: fn(&SpanTable) -> &[u32] = match level {
                Level::Resource => |t| &t.resources.dropped_attributes,
                Level::Scope => |t| &t.scopes.dropped_attributes,
                Level::Span => |t| &t.spans.dropped_attributes,
                Level::Event => |t| &t.events.dropped_attributes,
                Level::Link => |t| &t.links.dropped_attributes,
            };
            (Of(level), U32(column))
        }
        _ => return None,
    })
}

impl<'a, T: Borrow<SpanTable>> Encoder<'a, T> {
    pub(super) fn new(sources: &'a mut Sources<T>, press: &'a mut Press, page: &'a Page) -> Self {
        Self { sources, press, page, codes: Vec::new(), int32: Vec::new(), int64: Vec::new() }
    }

    /// Appends the page to one column.
    pub(super) fn column(&mut self, chunk: &mut Chunk) -> Result<(), BlockError> {
        match chunk.spec.leaf {
            Leaf::Attribute(level, part) => self.attribute(chunk, level, part),
            Leaf::Slot(level, slot) => self.slot(chunk, level, slot),
            leaf => match source(leaf) {
                Some((place, source)) => self.plain(chunk, place, &source),
                None => self.made(chunk, leaf),
            },
        }
    }

    fn place(&self, place: Place) -> (&'a Runs, &'a Levels) {
        let (rows, shape) = (&self.page.rows, &self.page.shape);
        match place {
            Place::Traces => (&rows.traces, &shape.traces),
            Place::Stats => (&rows.stats, &shape.stats),
            Place::Of(level) => (rows.of(level), shape.of(level)),
        }
    }

    /// A column that every row has a value in.
    fn required(
        &mut self,
        chunk: &mut Chunk,
        levels: &Levels,
        values: &Values<'_>,
    ) -> Result<(), BlockError> {
        chunk.push(self.press, &self.sources.strings, self.page.traces, levels.all(), values)
    }

    fn plain(&mut self, chunk: &mut Chunk, place: Place, source: &Source) -> Result<(), BlockError> {
        let (runs, levels) = self.place(place);
        let (mut codes, mut int32) = (std::mem::take(&mut self.codes), std::mem::take(&mut self.int32));
        let mut int64 = std::mem::take(&mut self.int64);
        int32.clear();
        int64.clear();
        let values = match source {
            Source::Text(column) => {
                self.sources.codes(&mut codes, runs, column);
                Values::Text(&codes)
            }
            Source::U64(column) => {
                int64.extend(self.sources.values(runs, column).map(u64::cast_signed));
                Values::Int64(&int64)
            }
            Source::U8(column) => {
                int64.extend(self.sources.values(runs, column).map(i64::from));
                Values::Int64(&int64)
            }
            Source::I32(column) => {
                int32.extend(self.sources.values(runs, column));
                Values::Int32(&int32)
            }
            Source::U32(column) => {
                int32.extend(self.sources.values(runs, column).map(u32::cast_signed));
                Values::Int32(&int32)
            }
        };
        self.required(chunk, levels, &values)?;
        (self.codes, self.int32, self.int64) = (codes, int32, int64);
        Ok(())
    }

    /// A column of ids, or one that is worked out.
    fn made(&mut self, chunk: &mut Chunk, leaf: Leaf) -> Result<(), BlockError> {
        let page = self.page;
        let (traces, links) = (&page.rows.traces, &page.rows.links);
        let (spans, scopes) = (&page.rows.spans, &page.rows.scopes);
        let (of_spans, of_links) = (&page.shape.spans, &page.shape.links);
        let sources = &*self.sources;
        let text: Vec<String>;
        let (durations, int32): (Vec<i64>, Vec<i32>);
        let (levels, values) = match leaf {
            Leaf::TraceDuration => {
                let starts = sources.values(traces, |t| &t.traces.start);
                let times = sources.values(traces, |t| &t.traces.end).zip(starts);
                durations = times.map(|(end, start)| end.saturating_sub(start).cast_signed()).collect();
                (&page.shape.traces, Values::Int64(&durations))
            }
            Leaf::ChildCount => {
                int32 = child_counts(sources, traces);
                (of_spans, Values::Int32(&int32))
            }
            Leaf::ScopeSpans => {
                let counts = |(table, rows): (&SpanTable, Range<usize>)| {
                    rows.map(|row| table.scopes.spans.range(row).len() as i32).collect::<Vec<_>>()
                };
                int32 = sources.each(scopes).flat_map(counts).collect();
                (&page.shape.scopes, Values::Int32(&int32))
            }
            Leaf::Rounded(by) => {
                let starts = sources.values(spans, |t| &t.spans.start);
                int32 = starts.map(|start| rounded(start, by)).collect();
                (of_spans, Values::Int32(&int32))
            }
            Leaf::TraceIdText => {
                text = sources.values(traces, |t| &t.traces.id).map(|id| id.trimmed_hex()).collect();
                (&page.shape.traces, Values::Bytes(text.iter().map(String::as_bytes).collect()))
            }
            Leaf::SpanId => (of_spans, Values::Bytes(slices(sources, spans, span_id))),
            Leaf::ParentSpanId => (of_spans, Values::Bytes(slices(sources, spans, parent_id))),
            Leaf::LinkTraceId => (of_links, Values::Bytes(slices(sources, links, link_trace_id))),
            Leaf::LinkSpanId => (of_links, Values::Bytes(slices(sources, links, link_span_id))),
            _ => (&page.shape.traces, Values::Bytes(slices(sources, traces, trace_id))),
        };
        chunk.push(self.press, &sources.strings, page.traces, levels.all(), &values)
    }

    fn slot(&mut self, chunk: &mut Chunk, level: Level, slot: usize) -> Result<(), BlockError> {
        let Some((gathered, _)) = of_level(self.page, level) else { return Ok(()) };
        let given = gathered.slots.get(slot).map_or(&[][..], Vec::as_slice);
        let levels = self.page.shape.of(level);
        let Spec { kind, blob, rep, .. } = *chunk.spec;
        let strings = &self.sources.strings;
        let values = if kind == Kind::Int64 {
            self.int64.clear();
            self.int64.extend(given.iter().map(|(_, value)| value.cast_signed()));
            Values::Int64(&self.int64)
        } else if gathered.verbatim.get(slot) == Some(&true) {
            Values::Verbatim(given.iter().map(|(_, place)| self.sources.text_at(*place)).collect())
        } else if blob {
            let text = |(_, code): &(u32, u64)| strings.text(Code::from_payload(*code)).as_bytes();
            Values::Bytes(given.iter().map(text).collect())
        } else {
            self.codes.clear();
            self.codes.extend(given.iter().map(|(_, value)| *value as u32));
            Values::Text(&self.codes)
        };
        let owners = given.iter().map(|(owner, _)| *owner);
        if rep == levels.depth {
            let levels = (levels.all().0, &levels.optional(owners)[..]);
            return chunk.push(self.press, strings, self.page.traces, levels, &values);
        }
        let mut counts = vec![0; levels.rows];
        owners.for_each(|owner| {
            counts.get_mut(owner as usize).into_iter().for_each(|count| *count += 1);
        });
        let below = levels.below(counts.into_iter());
        chunk.push(self.press, strings, self.page.traces, below.all(), &values)
    }

    fn attribute(&mut self, chunk: &mut Chunk, level: Level, part: Part) -> Result<(), BlockError> {
        let Some((gathered, levels)) = of_level(self.page, level) else { return Ok(()) };
        match part {
            Part::Key => return self.required(chunk, levels, &Values::Text(&gathered.key)),
            Part::IsArray => {
                let flags: Vec<bool> = gathered.kind.iter().map(|kind| is_array(*kind)).collect();
                return self.required(chunk, levels, &Values::Bool(&flags));
            }
            _ => {}
        }
        let values = Lists::new(gathered, part);
        let texts: Vec<u32>;
        let (ints, bools): (Vec<i64>, Vec<bool>);
        let typed = match part {
            Part::Int => {
                ints = values.payloads.iter().map(|payload| payload.cast_signed()).collect();
                Values::Int64(&ints)
            }
            Part::Double => Values::Double(&values.payloads),
            Part::Bool => {
                bools = values.payloads.iter().map(|payload| *payload != 0).collect();
                Values::Bool(&bools)
            }
            _ => {
                texts = values.payloads.iter().map(|payload| *payload as u32).collect();
                Values::Text(&texts)
            }
        };
        let (strings, press) = (&self.sources.strings, &mut *self.press);
        if part == Part::Unsupported {
            let present = values.counts.iter().enumerate().filter(|(_, count)| **count > 0);
            let present = present.map(|(entry, _)| entry as u32);
            let levels = (levels.all().0, &levels.optional(present)[..]);
            return chunk.push(press, strings, self.page.traces, levels, &typed);
        }
        let below = levels.below(values.counts.iter().map(|count| *count as usize));
        chunk.push(press, strings, self.page.traces, below.all(), &typed)
    }
}

fn of_level(page: &Page, level: Level) -> Option<&(Gathered, Levels)> {
    LEVELS.iter().position(|of| *of == level).and_then(|at| page.attributes.get(at))
}

fn slices<'a, T: Borrow<SpanTable>>(
    sources: &'a Sources<T>,
    runs: &'a Runs,
    get: fn(&SpanTable, usize) -> Option<&[u8]>,
) -> Vec<&'a [u8]> {
    let mut slices = Vec::with_capacity(runs.len());
    for (table, rows) in sources.each(runs) {
        slices.extend(rows.map(|row| get(table, row).unwrap_or_default()));
    }
    slices
}

fn trace_id(table: &SpanTable, at: usize) -> Option<&[u8]> {
    table.traces.id.get(at).map(|id| &id.0[..])
}

fn span_id(table: &SpanTable, at: usize) -> Option<&[u8]> {
    table.spans.id.get(at).map(|id| &id.0[..])
}

/// Empty for a root, as Tempo stores it.
fn parent_id(table: &SpanTable, at: usize) -> Option<&[u8]> {
    table.spans.parent_id.get(at).map(|id| if id.is_zero() { &[][..] } else { &id.0[..] })
}

fn link_trace_id(table: &SpanTable, at: usize) -> Option<&[u8]> {
    table.links.trace_id.get(at).map(|id| &**id)
}

fn link_span_id(table: &SpanTable, at: usize) -> Option<&[u8]> {
    table.links.span_id.get(at).map(|id| &**id)
}

/// For each span of the traces, how many children it has.
fn child_counts<T: Borrow<SpanTable>>(sources: &Sources<T>, traces: &Runs) -> Vec<i32> {
    let (mut counts, mut tree) = (Vec::new(), Tree::default());
    for (table, rows) in sources.each(traces) {
        let family = (&table.spans).into();
        rows.for_each(|trace| tree.child_counts(family, table.spans_of_trace(trace), false, &mut counts));
    }
    counts
}

/// The interval of `by` seconds in which a time lies; the end of an interval belongs to it, and 0 to the first.
fn rounded(nanos: u64, by: u16) -> i32 {
    let interval = nanos.saturating_sub(1) / (u64::from(by) * 1_000_000_000);
    (interval as u32).cast_signed()
}

/// The values that entries have in one of the typed columns.
struct Lists {
    counts: Vec<u32>,
    payloads: Vec<u64>,
}

impl Lists {
    fn new(gathered: &Gathered, part: Part) -> Self {
        let (scalar, array) = match part {
            Part::Int => (ValueKind::Int, ValueKind::Ints),
            Part::Double => (ValueKind::Double, ValueKind::Doubles),
            Part::Bool => (ValueKind::Bool, ValueKind::Bools),
            Part::Unsupported => (ValueKind::Unsupported, ValueKind::Unsupported),
            _ => (ValueKind::String, ValueKind::Strings),
        };
        let mut lists = Self { counts: Vec::with_capacity(gathered.kind.len()), payloads: Vec::new() };
        for (&kind, &value) in gathered.kind.iter().zip(&gathered.value) {
            if kind == scalar {
                lists.payloads.push(value);
                lists.counts.push(1);
            } else if kind == array {
                let (start, length) = ((value >> 32) as usize, (value & 0xffff_ffff) as usize);
                let elements = gathered.elements.get(start..start + length).unwrap_or_default();
                lists.payloads.extend_from_slice(elements);
                lists.counts.push(elements.len() as u32);
            } else {
                lists.counts.push(0);
            }
        }
        lists
    }
}

fn is_array(kind: ValueKind) -> bool {
    matches!(
        kind,
        ValueKind::Strings | ValueKind::Ints | ValueKind::Doubles | ValueKind::Bools | ValueKind::EmptyArray
    )
}
