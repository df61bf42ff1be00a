//! Metrics of the process and of the requests that it answers.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    method: String,
    route: String,
    status_code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    goversion: &'static str,
}

/// Seconds that requests took, by route.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    seconds: Family<OfRequest, Histogram, fn() -> Histogram>,
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0025, 2.5, 12))
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Arc<Self> {
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        registry.register("tempo_request_duration_seconds", "seconds that requests took", seconds.clone());
        Arc::new(Self { seconds })
    }
}

/// Measures a request; for HTTP by the pattern of its route, for gRPC by its method.
pub(super) async fn measure(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let grpc = super::is_grpc(request.headers());
    let path = match (grpc, request.extensions().get::<MatchedPath>()) {
        (true, _) => request.uri().path().to_owned(),
        (false, Some(path)) => route(path.as_str()),
        (false, None) => "other".to_owned(),
    };
    let method = if grpc { "gRPC".to_owned() } else { request.method().to_string() };
    let response = next.run(request).await;
    let status_code = if grpc { grpc_code(&response) } else { response.status().as_u16().to_string() };
    let labels = OfRequest { method, route: path, status_code };
    // Unknown gRPC methods would each be a series of their own.
    if !(grpc && labels.status_code == "12") {
        requests.seconds.get_or_create(&labels).observe(begin.elapsed().as_secs_f64());
    }
    response
}

/// The status where the answer is one without a message, otherwise `success`, as dskit has it.
fn grpc_code(response: &Response) -> String {
    let status = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    status.filter(|code| *code != "0").unwrap_or("success").to_owned()
}

/// `/api/traces/{id}` as `api_traces_id`.
fn route(pattern: &str) -> String {
    let words = pattern.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
    if name.is_empty() { "root".to_owned() } else { name }
}

/// Registers what is known of the process itself.
pub(super) fn register_process(registry: &mut Registry) {
    let build = Family::<Build, Gauge>::default();
    let labels = Build { version: super::TEMPO_VERSION, revision: super::VERSION, branch: "", goversion: "" };
    build.get_or_create(&labels).set(1);
    registry.register("tempo_build_info", "what this is; the revision is Vivace's version", build);
    let started: Gauge = Gauge::default();
    started.set(jiff::Timestamp::now().as_second());
    registry.register("process_start_time_seconds", "when the process started, seconds since 1970", started);
    registry.register_collector(Box::new(Process));
}

/// What Linux says of the process, read when it is asked for (proc(5)).
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            let name = "process_resident_memory_bytes";
            gauge.encode(encoder.encode_descriptor(
                name,
                "resident memory, bytes",
                None,
                gauge.metric_type(),
            )?)?;
        }
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let name = "process_cpu_seconds";
            let what = "processor time used, seconds";
            counter.encode(encoder.encode_descriptor(name, what, None, counter.metric_type())?)?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            let gauge = ConstGauge::new(files.count() as u64);
            gauge.encode(encoder.encode_descriptor(
                "process_open_fds",
                "open files",
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// Resident memory of the process in bytes.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Times stand in hundredths of a second, on every architecture that Linux has today.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_named_by_their_pattern() {
        assert_eq!(route("/api/traces/{traceID}"), "api_traces_traceid");
        assert_eq!(route("/"), "root");
    }

    #[test]
    fn the_process_knows_its_memory_and_time() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu_seconds().is_some());
    }
}
