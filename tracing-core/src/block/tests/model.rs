//! Traces as plain nested values, from which tables are made and to which they are read back.

use proptest::prelude::*;

use crate::{
    model::{SpanId, TraceId},
    table::{Attributes, Code, Offsets, SpanTable, Strings, Value, ValueKind},
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::block) enum Val {
    Text(String),
    Int(i64),
    Double(u64),
    Bool(bool),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Doubles(Vec<u64>),
    Bools(Vec<bool>),
    Empty,
    Unsupported(String),
}

pub(in crate::block) type Attrs = Vec<(String, Val)>;

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Trace {
    pub(in crate::block) id: u128,
    pub(in crate::block) times: (u64, u64),
    pub(in crate::block) root: (String, String),
    pub(in crate::block) stats: Vec<(String, u32, u32)>,
    pub(in crate::block) resources: Vec<Resource>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Resource {
    pub(in crate::block) service: String,
    pub(in crate::block) attrs: Attrs,
    pub(in crate::block) dropped: u32,
    pub(in crate::block) scopes: Vec<Scope>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Scope {
    pub(in crate::block) name: (String, String),
    pub(in crate::block) attrs: Attrs,
    pub(in crate::block) dropped: u32,
    pub(in crate::block) spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Span {
    pub(in crate::block) ids: (u64, u64),
    pub(in crate::block) nested: (i32, i32, i32),
    pub(in crate::block) texts: [String; 3],
    pub(in crate::block) kind: u8,
    pub(in crate::block) status: u8,
    pub(in crate::block) times: (u64, u64),
    pub(in crate::block) attrs: Attrs,
    pub(in crate::block) dropped: (u32, u32, u32),
    pub(in crate::block) events: Vec<Event>,
    pub(in crate::block) links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Event {
    pub(in crate::block) since_start: u64,
    pub(in crate::block) name: String,
    pub(in crate::block) attrs: Attrs,
    pub(in crate::block) dropped: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::block) struct Link {
    pub(in crate::block) ids: (Vec<u8>, Vec<u8>),
    pub(in crate::block) state: String,
    pub(in crate::block) attrs: Attrs,
    pub(in crate::block) dropped: u32,
}

/// Texts that are likely to meet again, among them keys with columns of their own and awkward ones.
fn text() -> impl Strategy<Value = String> {
    let long = "ключ🦀".repeat(40);
    let known = ["", "a", "b", "http.method", "http.url", "http.status_code", "url.path", "cluster", "GET"];
    let known: Vec<_> = known.into_iter().map(str::to_owned).chain([long]).collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => any::<String>()]
}

fn val() -> impl Strategy<Value = Val> {
    use proptest::collection::vec;
    prop_oneof![
        4 => text().prop_map(Val::Text),
        3 => any::<i64>().prop_map(Val::Int),
        1 => any::<f64>().prop_map(|v| Val::Double(v.to_bits())),
        1 => any::<bool>().prop_map(Val::Bool),
        1 => vec(text(), 1..4).prop_map(Val::Texts),
        1 => vec(any::<i64>(), 1..4).prop_map(Val::Ints),
        1 => vec(any::<u64>(), 1..4).prop_map(Val::Doubles),
        1 => vec(any::<bool>(), 1..4).prop_map(Val::Bools),
        1 => Just(Val::Empty),
        1 => text().prop_map(Val::Unsupported),
    ]
}

fn attrs() -> impl Strategy<Value = Attrs> {
    proptest::collection::vec((text(), val()), 0..6).prop_map(sorted)
}

/// Attributes have an order in a table, but those with columns of their own lose their place.
fn sorted(mut attrs: Attrs) -> Attrs {
    attrs.sort();
    attrs
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attrs(), any::<u16>()).prop_map(|(since_start, name, attrs, dropped)| Event {
        since_start,
        name,
        attrs,
        dropped: dropped.into(),
    })
}

fn link() -> impl Strategy<Value = Link> {
    let id = || proptest::collection::vec(any::<u8>(), 0..20);
    ((id(), id()), text(), attrs(), any::<u16>()).prop_map(|(ids, state, attrs, dropped)| Link {
        ids,
        state,
        attrs,
        dropped: dropped.into(),
    })
}

fn span() -> impl Strategy<Value = Span> {
    let counts = (any::<u16>(), any::<u16>(), any::<u16>());
    let below = (proptest::collection::vec(event(), 0..3), proptest::collection::vec(link(), 0..2));
    let plain = (any::<(u64, u64)>(), any::<(i32, i32, i32)>(), any::<(u64, u64)>(), 0..6_u8, 0..3_u8);
    (plain, [text(), text(), text()], attrs(), counts, below).prop_map(
        |((ids, nested, times, kind, status), texts, attrs, (a, b, c), (events, links))| Span {
            ids,
            nested,
            texts,
            kind,
            status,
            times,
            attrs,
            dropped: (a.into(), b.into(), c.into()),
            events,
            links,
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    let scope = ((text(), text()), attrs(), any::<u16>(), proptest::collection::vec(span(), 0..4))
        .prop_map(|(name, attrs, dropped, spans)| Scope { name, attrs, dropped: dropped.into(), spans });
    let scopes = proptest::collection::vec(scope, 0..3);
    (text(), attrs(), any::<u16>(), scopes).prop_map(|(service, attrs, dropped, scopes)| Resource {
        service,
        attrs,
        dropped: dropped.into(),
        scopes,
    })
}

/// Some traces, ascending by id.
pub(in crate::block) fn traces() -> impl Strategy<Value = Vec<Trace>> {
    let trace = (
        (any::<u64>(), any::<u64>()),
        (text(), text()),
        proptest::collection::vec((text(), any::<u32>(), any::<u32>()), 0..3),
        proptest::collection::vec(resource(), 0..3),
    );
    proptest::collection::btree_map(any::<u128>(), trace, 1..12).prop_map(|traces| {
        let trace = |(id, (times, root, stats, resources))| Trace { id, times, root, stats, resources };
        traces.into_iter().map(trace).collect()
    })
}

/// The traces as a table.
pub(in crate::block) fn table(traces: &[Trace]) -> SpanTable {
    let mut table = SpanTable::default();
    let t = &mut table;
    for trace in traces {
        t.traces.id.push(TraceId(trace.id.to_be_bytes()));
        t.traces.start.push(trace.times.0);
        t.traces.end.push(trace.times.1);
        t.traces.root_service.push(t.strings.intern(&trace.root.0));
        t.traces.root_name.push(t.strings.intern(&trace.root.1));
        for (service, spans, errors) in &trace.stats {
            t.traces.stats_service.push(t.strings.intern(service));
            t.traces.stats_spans.push(*spans);
            t.traces.stats_errors.push(*errors);
        }
        t.traces.stats.close(t.traces.stats_spans.len());
        for resource in &trace.resources {
            t.resources.service.push(t.strings.intern(&resource.service));
            t.resources.has_service.push(!resource.service.is_empty());
            t.resources.dropped_attributes.push(resource.dropped);
            put(&mut t.resources.attributes, &resource.attrs, &mut t.strings);
            for scope in &resource.scopes {
                t.scopes.name.push(t.strings.intern(&scope.name.0));
                t.scopes.version.push(t.strings.intern(&scope.name.1));
                t.scopes.dropped_attributes.push(scope.dropped);
                put(&mut t.scopes.attributes, &scope.attrs, &mut t.strings);
                scope.spans.iter().for_each(|span| put_span(t, span));
                t.scopes.spans.close(t.spans.id.len());
            }
            t.resources.scopes.close(t.scopes.name.len());
        }
        t.traces.resources.close(t.resources.service.len());
    }
    table
}

fn put_span(t: &mut SpanTable, span: &Span) {
    let s = &mut t.spans;
    s.id.push(SpanId(span.ids.0.to_be_bytes()));
    s.parent_id.push(SpanId(span.ids.1.to_be_bytes()));
    s.left.push(span.nested.0);
    s.right.push(span.nested.1);
    s.parent.push(span.nested.2);
    let [name, state, message] = span.texts.each_ref().map(|text| t.strings.intern(text));
    s.name.push(name);
    s.trace_state.push(state);
    s.status_message.push(message);
    s.kind.push(span.kind);
    s.status.push(span.status);
    s.start.push(span.times.0);
    s.duration.push(span.times.1);
    s.dropped_attributes.push(span.dropped.0);
    s.dropped_events.push(span.dropped.1);
    s.dropped_links.push(span.dropped.2);
    put(&mut s.attributes, &span.attrs, &mut t.strings);
    for event in &span.events {
        t.events.since_start.push(event.since_start);
        t.events.name.push(t.strings.intern(&event.name));
        t.events.dropped_attributes.push(event.dropped);
        put(&mut t.events.attributes, &event.attrs, &mut t.strings);
    }
    s.events.close(t.events.name.len());
    for link in &span.links {
        t.links.trace_id.push(link.ids.0.clone().into());
        t.links.span_id.push(link.ids.1.clone().into());
        t.links.trace_state.push(t.strings.intern(&link.state));
        t.links.dropped_attributes.push(link.dropped);
        put(&mut t.links.attributes, &link.attrs, &mut t.strings);
    }
    s.links.close(t.links.trace_id.len());
}

fn put(to: &mut Attributes, attrs: &Attrs, strings: &mut Strings) {
    for (key, val) in attrs {
        to.key.push(strings.intern(key));
        let array = |elements: &mut Vec<u64>, payloads: Vec<u64>| {
            let start = elements.len() as u64;
            elements.extend(&payloads);
            start << 32 | payloads.len() as u64
        };
        let (kind, value) = match val {
            Val::Text(v) => (ValueKind::String, strings.intern(v).payload()),
            Val::Int(v) => (ValueKind::Int, v.cast_unsigned()),
            Val::Double(v) => (ValueKind::Double, *v),
            Val::Bool(v) => (ValueKind::Bool, u64::from(*v)),
            Val::Texts(v) => {
                let codes = v.iter().map(|v| strings.intern(v).payload()).collect();
                (ValueKind::Strings, array(&mut to.elements, codes))
            }
            Val::Ints(v) => {
                (ValueKind::Ints, array(&mut to.elements, v.iter().map(|v| v.cast_unsigned()).collect()))
            }
            Val::Doubles(v) => (ValueKind::Doubles, array(&mut to.elements, v.clone())),
            Val::Bools(v) => {
                (ValueKind::Bools, array(&mut to.elements, v.iter().map(|v| u64::from(*v)).collect()))
            }
            Val::Empty => (ValueKind::EmptyArray, 0),
            Val::Unsupported(v) => (ValueKind::Unsupported, strings.intern(v).payload()),
        };
        to.kind.push(kind);
        to.value.push(value);
    }
    to.offsets.close(to.key.len());
}

/// The attributes of one owner.
pub(in crate::block) fn attrs_of(attributes: &Attributes, owner: usize, strings: &Strings) -> Attrs {
    let val = |entry| match attributes.get(entry, strings).expect("an entry of the table") {
        Value::String(v) => Val::Text(v.to_owned()),
        Value::Int(v) => Val::Int(v),
        Value::Double(v) => Val::Double(v.to_bits()),
        Value::Bool(v) => Val::Bool(v),
        Value::Unsupported(v) => Val::Unsupported(v.to_owned()),
        Value::Array(_, []) => Val::Empty,
        Value::Array(ValueKind::String, v) => {
            Val::Texts(v.iter().map(|v| strings.text(Code::from_payload(*v)).to_owned()).collect())
        }
        Value::Array(ValueKind::Int, v) => Val::Ints(v.iter().map(|v| v.cast_signed()).collect()),
        Value::Array(ValueKind::Double, v) => Val::Doubles(v.to_vec()),
        Value::Array(_, v) => Val::Bools(v.iter().map(|v| *v != 0).collect()),
    };
    let key = |entry: usize| strings.text(attributes.key[entry]).to_owned();
    sorted(attributes.offsets.range(owner).map(|entry| (key(entry), val(entry))).collect())
}

/// A table that was read whole, as traces.
pub(in crate::block) fn read(t: &SpanTable) -> Vec<Trace> {
    let text = |code: Code| t.strings.text(code).to_owned();
    let each = |offsets: &Offsets, at| offsets.range(at);
    let trace = |at: usize| Trace {
        id: u128::from_be_bytes(t.traces.id[at].0),
        times: (t.traces.start[at], t.traces.end[at]),
        root: (text(t.traces.root_service[at]), text(t.traces.root_name[at])),
        stats: each(&t.traces.stats, at)
            .map(|i| (text(t.traces.stats_service[i]), t.traces.stats_spans[i], t.traces.stats_errors[i]))
            .collect(),
        resources: each(&t.traces.resources, at)
            .map(|i| Resource {
                service: text(t.resources.service[i]),
                attrs: attrs_of(&t.resources.attributes, i, &t.strings),
                dropped: t.resources.dropped_attributes[i],
                scopes: each(&t.resources.scopes, i)
                    .map(|i| Scope {
                        name: (text(t.scopes.name[i]), text(t.scopes.version[i])),
                        attrs: attrs_of(&t.scopes.attributes, i, &t.strings),
                        dropped: t.scopes.dropped_attributes[i],
                        spans: each(&t.scopes.spans, i).map(|i| read_span(t, i)).collect(),
                    })
                    .collect(),
            })
            .collect(),
    };
    (0..t.trace_count()).map(trace).collect()
}

fn read_span(t: &SpanTable, i: usize) -> Span {
    let text = |code: Code| t.strings.text(code).to_owned();
    let s = &t.spans;
    Span {
        ids: (u64::from_be_bytes(s.id[i].0), u64::from_be_bytes(s.parent_id[i].0)),
        nested: (s.left[i], s.right[i], s.parent[i]),
        texts: [text(s.name[i]), text(s.trace_state[i]), text(s.status_message[i])],
        kind: s.kind[i],
        status: s.status[i],
        times: (s.start[i], s.duration[i]),
        attrs: attrs_of(&s.attributes, i, &t.strings),
        dropped: (s.dropped_attributes[i], s.dropped_events[i], s.dropped_links[i]),
        events: s
            .events
            .range(i)
            .map(|i| Event {
                since_start: t.events.since_start[i],
                name: text(t.events.name[i]),
                attrs: attrs_of(&t.events.attributes, i, &t.strings),
                dropped: t.events.dropped_attributes[i],
            })
            .collect(),
        links: s
            .links
            .range(i)
            .map(|i| Link {
                ids: (t.links.trace_id[i].to_vec(), t.links.span_id[i].to_vec()),
                state: text(t.links.trace_state[i]),
                attrs: attrs_of(&t.links.attributes, i, &t.strings),
                dropped: t.links.dropped_attributes[i],
            })
            .collect(),
    }
}
