//! Traces of a made-up shop: requests that go through several services to databases, some of them slow, some of them failing. Pure: the same seed
//! gives the same traces.

use crate::otlp::{Span, Trace, Value};

/// Services, whom each calls, and its database.
const SERVICES: [(&str, &[usize], Option<&str>); 10] = [
    ("frontend", &[1, 2, 3, 7], None),
    ("cart", &[3, 8], Some("redis")),
    ("checkout", &[1, 4, 5, 6], Some("postgresql")),
    ("catalog", &[8, 9], Some("postgresql")),
    ("payment", &[], Some("postgresql")),
    ("shipping", &[3], Some("mysql")),
    ("email", &[], None),
    ("search", &[3, 9], Some("redis")),
    ("pricing", &[], Some("redis")),
    ("recommendation", &[3], Some("redis")),
];
const OPERATIONS: [(&str, &str); 6] = [
    ("GET", "list"),
    ("GET", "item"),
    ("POST", "create"),
    ("PUT", "update"),
    ("POST", "validate"),
    ("DELETE", "item"),
];
const TABLES: [&str; 8] =
    ["orders", "order_items", "products", "prices", "payments", "shipments", "sessions", "users"];

/// A seeded source of traces (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    state: u64,
}

impl Shop {
    /// The shop of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next random number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let index = self.below(items.len() as u64) as usize;
        items.get(index).copied()
    }

    /// Traces that all end before `now`, in nanoseconds since 1970.
    pub(crate) fn traces(&mut self, count: usize, now: u64) -> Vec<Trace> {
        (0..count).map(|_| self.trace(now)).collect()
    }

    fn trace(&mut self, now: u64) -> Trace {
        let mut id = self.next().to_le_bytes().to_vec();
        id.extend((self.next() | 1).to_le_bytes());
        let length = 2_000_000 + self.below(40_000_000) * (1 + self.below(12));
        let size = 8 + self.below(40) as usize;
        let mut trace = Trace { id, spans: Vec::with_capacity(size) };
        let start = now.saturating_sub(length + self.below(2_000_000_000));
        self.serve(&mut trace, 0, None, (start, start + length), size);
        while trace.spans.len() < 8 {
            let root = trace.spans.first().map(|s| s.id);
            self.database(&mut trace, 2, root, (start + length / 4, start + length / 2));
        }
        trace
    }

    fn span_id(&mut self) -> [u8; 8] {
        (self.next() | 1).to_be_bytes()
    }

    /// A server span, and what it does: calls, queries, work of its own.
    fn serve(
        &mut self,
        trace: &mut Trace,
        service: usize,
        parent: Option<[u8; 8]>,
        time: (u64, u64),
        size: usize,
    ) {
        let (name, calls, database) = SERVICES[service];
        let (method, operation) = self.pick(&OPERATIONS).unwrap_or(("GET", "list"));
        let error = self.below(25) == 0;
        let status = if error {
            500 + self.below(4) as i64
        } else {
            [200, 200, 201, 204, 304][self.below(5) as usize]
        };
        let id = self.span_id();
        let item = self.below(5_000);
        let attributes = vec![
            ("http.method", Value::Text(method.to_owned())),
            ("http.route", Value::Text(format!("/api/v1/{name}/{{id}}/{operation}"))),
            (
                "http.url",
                Value::Text(format!(
                    "http://{name}.shop.svc.cluster.local:8080/api/v1/{name}/{item}/{operation}"
                )),
            ),
            ("http.status_code", Value::Whole(status)),
            ("net.peer.ip", Value::Text(format!("10.244.{}.{}", self.below(8), self.below(250)))),
            ("user.id", Value::Text(format!("u-{:06}", self.below(20_000)))),
            ("app.cached", Value::Flag(self.below(3) == 0)),
        ];
        let span_name = format!("{method} /{name}/{operation}");
        trace.spans.push(Span {
            service: name,
            id,
            parent,
            name: span_name,
            kind: 2,
            start: time.0,
            end: time.1,
            error,
            attributes,
        });
        let mut at = time.0 + (time.1 - time.0) / 20;
        for _ in 0..=self.below(5) {
            let share = (time.1 - at) / (2 + self.below(3));
            if trace.spans.len() >= size || share < 1_000 {
                break;
            }
            match (self.pick(calls), self.below(3), database) {
                (Some(callee), 0 | 1, _) => self.call(trace, service, callee, id, (at, at + share), size),
                (_, _, Some(_)) => self.database(trace, service, Some(id), (at, at + share)),
                _ => self.work(trace, service, id, (at, at + share)),
            }
            at += share;
        }
    }

    fn call(
        &mut self,
        trace: &mut Trace,
        caller: usize,
        callee: usize,
        parent: [u8; 8],
        time: (u64, u64),
        size: usize,
    ) {
        let (to, id) = (SERVICES[callee].0, self.span_id());
        let attributes = vec![
            ("http.method", Value::Text("POST".to_owned())),
            ("peer.service", Value::Text(to.to_owned())),
            ("net.peer.name", Value::Text(format!("{to}.shop.svc.cluster.local"))),
            ("net.peer.port", Value::Whole(8080)),
        ];
        let (service, name) = (SERVICES[caller].0, format!("call {to}"));
        let (start, end) = time;
        trace.spans.push(Span {
            service,
            id,
            parent: Some(parent),
            name,
            kind: 3,
            start,
            end,
            error: false,
            attributes,
        });
        let inset = (end - start) / 50;
        self.serve(trace, callee, Some(id), (start + inset, end - inset), size);
    }

    fn database(&mut self, trace: &mut Trace, service: usize, parent: Option<[u8; 8]>, time: (u64, u64)) {
        let (service, _, database) = SERVICES[service];
        let (system, table) = (database.unwrap_or("postgresql"), self.pick(&TABLES).unwrap_or("orders"));
        let (id, key) = (self.span_id(), self.below(100_000));
        let statement = if system == "redis" {
            format!("GET {service}:{table}:{key}")
        } else {
            format!(
                "SELECT id, status, amount, created_at FROM {table} WHERE tenant_id = $1 AND id = {key} ORDER BY created_at DESC LIMIT 20"
            )
        };
        let attributes = vec![
            ("db.system", Value::Text(system.to_owned())),
            ("db.name", Value::Text(service.to_owned())),
            ("db.statement", Value::Text(statement)),
            ("db.rows", Value::Whole(self.below(200) as i64)),
            ("net.peer.name", Value::Text(format!("{system}-{service}.data.svc"))),
        ];
        let (start, end, name) = (time.0, time.1, format!("{system} {table}"));
        trace.spans.push(Span { service, id, parent, name, kind: 3, start, end, error: false, attributes });
    }

    fn work(&mut self, trace: &mut Trace, service: usize, parent: [u8; 8], time: (u64, u64)) {
        let service = SERVICES[service].0;
        let name =
            self.pick(&["render", "serialize", "validate", "compute totals"]).unwrap_or("render").to_owned();
        let attributes = vec![
            ("code.namespace", Value::Text(format!("shop.{service}"))),
            ("thread.name", Value::Text(format!("worker-{}", self.below(16)))),
            ("app.items", Value::Whole(self.below(1_000) as i64)),
        ];
        let id = self.span_id();
        let (start, end) = time;
        trace.spans.push(Span {
            service,
            id,
            parent: Some(parent),
            name,
            kind: 1,
            start,
            end,
            error: false,
            attributes,
        });
    }
}

/// The time now in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Shop;

    #[test]
    fn a_trace_is_one_tree_in_the_past_with_several_services() {
        let now = 1_800_000_000_000_000_000;
        for trace in Shop::new(3).traces(200, now) {
            let ids: BTreeSet<_> = trace.spans.iter().map(|s| s.id).collect();
            assert_eq!(ids.len(), trace.spans.len());
            assert_eq!(trace.spans.iter().filter(|s| s.parent.is_none()).count(), 1);
            for span in &trace.spans {
                assert!(
                    span.parent.is_none_or(|p| ids.contains(&p)) && span.start <= span.end && span.end <= now
                );
            }
            assert!(trace.spans.len() >= 8);
        }
    }
}
