//! Random traces as plain values, and as a table.

use serde_json::{Value, json};
use tracing_core::model::TraceId;
use tracing_core::table::{SpanTable, TableBuilder};
use tracing_core::wire::otlp::json_to_proto;

/// Numbers that are the same whenever a seed is.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attr {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Of one type, perhaps empty.
    Array(Vec<Self>),
    /// What no query can see.
    Mixed,
}

pub(crate) type Attrs = Vec<(String, Attr)>;

#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    pub(crate) resources: Vec<Resource>,
    pub(crate) scopes: Vec<Scope>,
    /// In the order of the row: by resource, then by scope.
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) service: Option<String>,
    pub(crate) attrs: Attrs,
}

#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) resource: usize,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) attrs: Attrs,
}

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) scope: usize,
    pub(crate) id: u64,
    /// 0 for a root; may name a span that is not there.
    pub(crate) parent: u64,
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) status: u8,
    pub(crate) message: String,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) attrs: Attrs,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) since: u64,
    pub(crate) name: String,
    pub(crate) attrs: Attrs,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) attrs: Attrs,
}

/// Keys that traces have and queries ask for.
pub(crate) const KEYS: [&str; 5] = ["a", "b", "c.d", "http.status_code", "k8s.pod.name"];
pub(crate) const WORDS: [&str; 5] = ["x", "y", "xy", "", "GET /a"];
const EPOCH: u64 = 1_790_000_000_000_000_000;

impl Random {
    /// splitmix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn scalar(random: &mut Random, kind: usize) -> Attr {
    match kind {
        0 | 1 => Attr::Text((*random.pick(&WORDS)).to_owned()),
        2 | 3 => Attr::Int(*random.pick(&[0, 1, 2, 200, 500, -3])),
        4 => Attr::Float(*random.pick(&[0.5, 2.0, -1.25, 200.0])),
        _ => Attr::Bool(random.one_in(2)),
    }
}

fn attrs(random: &mut Random, chance: usize) -> Attrs {
    let mut attrs = Vec::new();
    for key in KEYS {
        if !random.one_in(chance) {
            continue;
        }
        let kind = random.below(6);
        let value = match random.below(12) {
            0 => Attr::Mixed,
            1 | 2 => Attr::Array((0..random.below(4)).map(|_| scalar(random, kind)).collect()),
            _ => scalar(random, kind),
        };
        attrs.push((key.to_owned(), value));
    }
    attrs
}

fn span(random: &mut Random, scope: usize, id: u64, parent: u64) -> Span {
    let event = |random: &mut Random| Event {
        since: *random.pick(&[0, 5_000_000, 70_000_000]),
        name: (*random.pick(&WORDS)).to_owned(),
        attrs: attrs(random, 4),
    };
    let link = |random: &mut Random| Link {
        trace: *random.pick(&[0x0a0b, 0xffee_ddcc_bbaa_9988_7766_5544_3322_1100]),
        span: *random.pick(&[0x0c0d, 0x1122_3344_5566_7788]),
        attrs: attrs(random, 4),
    };
    Span {
        scope,
        id,
        parent,
        name: (*random.pick(&["get", "put", "HTTP GET"])).to_owned(),
        kind: random.below(6) as u8,
        status: random.below(3) as u8,
        message: (*random.pick(&["", "broken"])).to_owned(),
        start: EPOCH + *random.pick(&[0, 1_000_000, 50_000_000]),
        duration: *random.pick(&[0, 1, 10_000_000, 100_000_000, 1_500_000_000]),
        attrs: attrs(random, 3),
        events: if random.one_in(3) {
            (0..random.below(3)).map(|_| event(random)).collect()
        } else {
            Vec::new()
        },
        links: if random.one_in(4) {
            (0..random.below(3)).map(|_| link(random)).collect()
        } else {
            Vec::new()
        },
    }
}

impl Trace {
    /// A trace of up to a dozen spans: mostly one tree, at times with several roots, without one, or torn.
    pub(crate) fn random(random: &mut Random, id: u128) -> Self {
        let mut trace = Self { id, resources: Vec::new(), scopes: Vec::new(), spans: Vec::new() };
        for number in 0..=random.below(3) {
            let service = (!random.one_in(6)).then(|| (*random.pick(&["shop", "pay", "db"])).to_owned());
            let mut attrs = attrs(random, 4);
            // Equal resources and scopes would become one, and the order another.
            attrs.push(("number".to_owned(), Attr::Int(number as i64)));
            trace.resources.push(Resource { service, attrs });
            for part in 0..=random.below(2) {
                let (name, version) = (format!("lib{part}"), (*random.pick(&["", "1.0"])).to_owned());
                let attrs = self::attrs(random, 5);
                trace.scopes.push(Scope { resource: number, name, version, attrs });
                for _ in 0..random.below(5) {
                    let id = trace.spans.len() as u64 + 1;
                    let parent = match random.below(12) {
                        0 => 0,
                        1 => 999,
                        _ => random.below(id as usize + 2) as u64,
                    };
                    let parent = if parent == id { 0 } else { parent };
                    trace.spans.push(span(random, trace.scopes.len() - 1, id, parent));
                }
            }
        }
        if trace.spans.is_empty() {
            trace.spans.push(span(random, 0, 1, 0));
        }
        // Resources and scopes without spans are not kept.
        trace
    }

    fn otlp(&self) -> Value {
        let resources = self.resources.iter().enumerate().map(|(number, resource)| {
            let mut attrs = pairs(&resource.attrs);
            if let Some(service) = &resource.service {
                attrs.push(json!({"key": "service.name", "value": {"stringValue": service}}));
            }
            let of = |(at, scope): (usize, &Scope)| (scope.resource == number).then(|| self.scope(at, scope));
            let scopes: Vec<_> = self.scopes.iter().enumerate().filter_map(of).collect();
            json!({"resource": {"attributes": attrs}, "scopeSpans": scopes})
        });
        json!({"resourceSpans": resources.collect::<Vec<_>>()})
    }

    fn scope(&self, at: usize, scope: &Scope) -> Value {
        let spans: Vec<_> =
            self.spans.iter().filter(|span| span.scope == at).map(|span| self.span(span)).collect();
        let attrs = pairs(&scope.attrs);
        json!({"scope": {"name": scope.name, "version": scope.version, "attributes": attrs}, "spans": spans})
    }

    fn span(&self, span: &Span) -> Value {
        let events = span.events.iter().map(|event| {
            let time = (span.start + event.since).to_string();
            json!({"timeUnixNano": time, "name": event.name, "attributes": pairs(&event.attrs)})
        });
        let links = span.links.iter().map(|link| {
            let (trace, id) = (format!("{:032x}", link.trace), format!("{:016x}", link.span));
            json!({"traceId": trace, "spanId": id, "attributes": pairs(&link.attrs)})
        });
        json!({
            "traceId": format!("{:032x}", self.id),
            "spanId": format!("{:016x}", span.id),
            "parentSpanId": if span.parent == 0 { String::new() } else { format!("{:016x}", span.parent) },
            "name": span.name,
            "kind": span.kind,
            "status": {"code": span.status, "message": span.message},
            "startTimeUnixNano": span.start.to_string(),
            "endTimeUnixNano": (span.start + span.duration).to_string(),
            "attributes": pairs(&span.attrs),
            "events": events.collect::<Vec<_>>(),
            "links": links.collect::<Vec<_>>(),
        })
    }
}

fn pairs(attrs: &Attrs) -> Vec<Value> {
    attrs.iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect()
}

fn any(value: &Attr) -> Value {
    match value {
        Attr::Text(text) => json!({"stringValue": text}),
        Attr::Int(value) => json!({"intValue": value.to_string()}),
        Attr::Float(value) => json!({"doubleValue": value}),
        Attr::Bool(value) => json!({"boolValue": value}),
        Attr::Array(items) => json!({"arrayValue": {"values": items.iter().map(any).collect::<Vec<_>>()}}),
        Attr::Mixed => json!({"arrayValue": {"values": [{"stringValue": "x"}, {"intValue": "1"}]}}),
    }
}

/// The traces as what is searched. They must stand by id.
pub(crate) fn table(traces: &[Trace]) -> SpanTable {
    let mut builder = TableBuilder::new();
    for trace in traces {
        builder.begin(TraceId(trace.id.to_be_bytes()));
        let proto = json_to_proto(trace.otlp().to_string().as_bytes()).expect("the text is OTLP/JSON");
        builder.add_otlp(&proto).expect("the bytes are OTLP");
        builder.end();
    }
    builder.finish()
}
