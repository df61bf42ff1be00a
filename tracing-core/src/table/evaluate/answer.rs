//! Matching spans as an answer shows them.
//!
//! A span shows what the query looked at and saw there, by unscoped name; its name, duration and ids have
//! fields of their own, and what belongs to the whole trace is not repeated.

use super::context::{Context, attribute};
use super::hit::{OwnedValue, ServiceStats, SpanHit, SpanSet, TraceHit};
use super::lookup::Found;
use super::stages::Set;
use super::value::Datum;
use crate::table::View;
use crate::traceql::{Field, Intrinsic, Scope};

impl Context<'_> {
    /// Answers of the sets, which stand by trace.
    pub(crate) fn hits(&self, sets: &[Set], spss: usize) -> Vec<TraceHit> {
        sets.chunk_by(|a, b| a.trace == b.trace)
            .filter_map(|of_trace| Some(self.hit(of_trace.first()?.trace as usize, of_trace, spss)))
            .collect()
    }

    fn hit(&self, trace: usize, sets: &[Set], spss: usize) -> TraceHit {
        let view = &self.view;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let start = view.starts.get(trace).copied().unwrap_or_default();
        let end = view.ends.get(trace).copied().unwrap_or_default();
        TraceHit {
            trace_id: view.trace_ids.get(trace).copied().unwrap_or_default(),
            root_service: text(view.root_service.get(trace)),
            root_name: text(view.root_name.get(trace)),
            start,
            duration_ns: end.saturating_sub(start),
            service_stats: if self.plan.lists_spans { stats(view, trace) } else { Vec::new() },
            span_sets: if self.plan.lists_spans {
                sets.iter().map(|set| self.span_set(set, spss)).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn span_set(&self, set: &Set, spss: usize) -> SpanSet {
        SpanSet {
            matched: set.spans.len() as u32,
            spans: set.spans.iter().take(spss).map(|&span| self.span_hit(span as usize)).collect(),
            attributes: set.attributes.clone(),
        }
    }

    fn span_hit(&self, span: usize) -> SpanHit {
        let view = &self.view;
        let mut hit = SpanHit {
            id: view.span_ids.get(span).copied().unwrap_or_default(),
            name: String::new(),
            start: view.span_starts.get(span).copied().unwrap_or_default(),
            duration: view.durations.get(span).copied().unwrap_or_default(),
            attributes: Vec::new(),
        };
        for source in &self.plan.sources {
            if !source.of_parent && has_field_of_its_own(&source.field) {
                continue;
            }
            let value = match self.find(source, span.into()) {
                Found::Nothing if source.shows_nil => OwnedValue::String("nil".to_owned()),
                Found::Nothing => continue,
                Found::One(datum) => datum.owned(),
                Found::Made(text) => OwnedValue::String(text),
                Found::Many(data) if is_of_several(&source.field) => match data.last() {
                    Some(last) => last.owned(),
                    None => continue,
                },
                Found::Many(data) => OwnedValue::Array(data.into_iter().map(Datum::owned).collect()),
            };
            if source.field == Field::Intrinsic(Intrinsic::Name) && !source.of_parent {
                if let OwnedValue::String(name) = value {
                    hit.name = name;
                }
                continue;
            }
            let name = source.field.shown_name();
            let shown = (if source.of_parent { format!("parent.{name}") } else { name.to_owned() }, value);
            // `.x` and `span.x` of one query are one value.
            let unscoped = attribute(&source.field).is_some_and(|attribute| attribute.scope == Scope::Any);
            if !(unscoped && hit.attributes.contains(&shown)) {
                hit.attributes.push(shown);
            }
        }
        hit
    }
}

/// Statistics by service, sorted by name.
fn stats(view: &View<'_>, trace: usize) -> Vec<(String, ServiceStats)> {
    let mut stats: Vec<_> = view
        .stats
        .range(trace)
        .filter_map(|at| {
            let service = view.stats_service.get(at)?.to_owned();
            let (spans, errors) = (*view.stats_spans.get(at)?, *view.stats_errors.get(at)?);
            Some((service, ServiceStats { spans, errors }))
        })
        .collect();
    stats.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    stats
}

/// What an answer shows elsewhere than among a span's attributes, or not at all.
fn has_field_of_its_own(field: &Field) -> bool {
    matches!(
        field,
        Field::Intrinsic(
            Intrinsic::Duration
                | Intrinsic::SpanId
                | Intrinsic::TraceId
                | Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootService
        )
    )
}

/// Whether several values are those of several events or links, of which the last is shown.
fn is_of_several(field: &Field) -> bool {
    match field {
        Field::Attribute(attribute) => matches!(attribute.scope, Scope::Event | Scope::Link),
        Field::Intrinsic(_) | Field::OfParent(_) => true,
    }
}
