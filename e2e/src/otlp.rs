//! OTLP requests by hand: just enough protobuf to write traces, and to give a written request new ids. Pure.
//! Field numbers: opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
    Flag(bool),
}

/// A span, with the name of the service it ran in. Times are nanoseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: &'static str,
    pub(crate) id: [u8; 8],
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) name: String,
    /// `SpanKind`: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub(crate) kind: u8,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) error: bool,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

/// The spans of one trace.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) id: Vec<u8>,
    pub(crate) spans: Vec<Span>,
}

impl Trace {
    /// The id as lower-case hex.
    pub(crate) fn hex(&self) -> String {
        hex(&self.id)
    }
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An `ExportTraceServiceRequest` with one resource a service.
pub(crate) fn request(traces: &[Trace]) -> Vec<u8> {
    let mut services: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for trace in traces {
        for span in &trace.spans {
            bytes(services.entry(span.service).or_insert_with(scope), 2, &encode(&trace.id, span));
        }
    }
    let mut out = Vec::new();
    for (service, scope_spans) in services {
        let mut resource_spans = Vec::new();
        bytes(&mut resource_spans, 1, &resource(service));
        bytes(&mut resource_spans, 2, &scope_spans);
        bytes(&mut out, 1, &resource_spans);
    }
    out
}

fn resource(service: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in [
        ("service.name", service),
        ("service.version", "1.4.2"),
        ("deployment.environment", "production"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", &format!("{service}-6d4cf56db6-x7k2p")),
        ("telemetry.sdk.language", "rust"),
    ] {
        bytes(&mut out, 1, &attribute(key, &Value::Text(value.to_owned())));
    }
    out
}

fn scope() -> Vec<u8> {
    let (mut scope, mut out) = (Vec::new(), Vec::new());
    bytes(&mut scope, 1, b"shop");
    bytes(&mut scope, 2, b"1.4.2");
    bytes(&mut out, 1, &scope);
    out
}

fn encode(trace: &[u8], span: &Span) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    bytes(&mut out, 1, trace);
    bytes(&mut out, 2, &span.id);
    if let Some(parent) = span.parent {
        bytes(&mut out, 4, &parent);
    }
    bytes(&mut out, 5, span.name.as_bytes());
    whole(&mut out, 6, span.kind.into());
    fixed(&mut out, 7, span.start);
    fixed(&mut out, 8, span.end);
    for (key, value) in &span.attributes {
        bytes(&mut out, 9, &attribute(key, value));
    }
    if span.error {
        let (mut event, mut status) = (Vec::new(), Vec::new());
        fixed(&mut event, 1, span.end);
        bytes(&mut event, 2, b"exception");
        bytes(&mut event, 3, &attribute("exception.message", &Value::Text("deadline exceeded".to_owned())));
        bytes(&mut out, 11, &event);
        bytes(&mut status, 2, b"deadline exceeded");
        whole(&mut status, 3, 2);
        bytes(&mut out, 15, &status);
    }
    out
}

fn attribute(key: &str, value: &Value) -> Vec<u8> {
    let (mut any, mut out) = (Vec::new(), Vec::new());
    match value {
        Value::Text(text) => bytes(&mut any, 1, text.as_bytes()),
        Value::Flag(flag) => whole(&mut any, 2, (*flag).into()),
        Value::Whole(number) => whole(&mut any, 3, *number as u64),
    }
    bytes(&mut out, 1, key.as_bytes());
    bytes(&mut out, 2, &any);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn whole(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn fixed(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A written request that can be sent again and again as other traces.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) body: Vec<u8>,
    pub(crate) spans: u64,
    ids: Vec<usize>,
    times: Vec<usize>,
}

impl Template {
    /// Remember where ids and times stand in a request that [`request`] wrote.
    pub(crate) fn new(traces: &[Trace]) -> Self {
        let spans = traces.iter().map(|t| t.spans.len() as u64).sum();
        let mut template = Self { body: request(traces), spans, ids: Vec::new(), times: Vec::new() };
        let body = std::mem::take(&mut template.body);
        template.find(&body, 0, body.len(), &[1, 2, 2]);
        template.body = body;
        template
    }

    fn find(&mut self, body: &[u8], mut at: usize, end: usize, path: &[u64]) {
        while at < end {
            let (tag, after) = read_varint(body, at);
            let (field, kind) = (tag >> 3, tag & 7);
            at = after;
            match kind {
                0 => at = read_varint(body, at).1,
                1 => {
                    if path.is_empty() && (field == 7 || field == 8) {
                        self.times.push(at);
                    }
                    at += 8;
                }
                _ => {
                    let (size, start) = read_varint(body, at);
                    at = start + size as usize;
                    match path.split_first() {
                        Some((first, rest)) if *first == field => self.find(body, start, at, rest),
                        None if field == 1 => self.ids.push(start),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Make all traces others: `salt` is mixed into the ids, `shift` nanoseconds are added to the times.
    pub(crate) fn renew(&mut self, salt: u64, shift: u64) {
        for (places, change) in [(&self.ids, None), (&self.times, Some(shift))] {
            for &at in places {
                if let Some(Ok(old)) = self.body.get(at..at + 8).map(<[u8; 8]>::try_from) {
                    let old = u64::from_le_bytes(old);
                    let new = change.map_or(old ^ salt, |shift| old.wrapping_add(shift));
                    self.body[at..at + 8].copy_from_slice(&new.to_le_bytes());
                }
            }
        }
    }
}

fn read_varint(body: &[u8], mut at: usize) -> (u64, usize) {
    let (mut value, mut shift) = (0, 0_u32);
    while let Some(byte) = body.get(at) {
        at += 1;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift += 7;
        if *byte < 0x80 {
            break;
        }
    }
    (value, at)
}

#[cfg(test)]
mod tests {
    use super::{Template, request};
    use crate::shop::Shop;

    #[test]
    fn a_renewed_request_differs_in_every_id_and_time_and_nowhere_else() {
        let traces = Shop::new(7).traces(5, 1_000_000_000_000);
        let before = request(&traces);
        let mut template = Template::new(&traces);
        assert_eq!(template.body, before);
        assert_eq!(template.ids.len() as u64, template.spans);
        assert_eq!(template.times.len() as u64, 2 * template.spans);
        template.renew(1, 256);
        let changed = template.body.iter().zip(&before).filter(|(a, b)| a != b).count() as u64;
        assert!(changed >= 3 * template.spans, "{changed}");
        template.renew(1, 0_u64.wrapping_sub(256));
        assert_eq!(template.body, before);
    }
}
