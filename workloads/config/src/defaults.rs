//! What stands for a key that is not set. Values are Tempo 2.10's, except where it is said.

use crate::{
    Config, Duration, GrpcClient, Ingester, InternalServer, Limits, OtlpGrpc, OtlpHttp, Querier,
    QueryFrontend, Server, Size, Trace,
};

/// Below the working directory, when no configuration says where: blocks.
pub const BLOCKS_PATH: &str = "./vivace-data/blocks";
/// Below the working directory, when no configuration says where: the write-ahead log.
pub const WAL_PATH: &str = "./vivace-data/wal";
/// Longest gRPC message between the roles and from clients, bytes.
pub const GRPC_MESSAGE_BYTES: Size = Size(16 << 20);
/// Longest OTLP body after decompression, bytes.
pub const OTLP_BODY_BYTES: Size = Size(20 << 20);
/// Longest trace, bytes.
pub const TRACE_BYTES: Size = Size(5_000_000);

impl Config {
    /// The role to run.
    pub fn target(&self) -> &str {
        self.target.as_deref().unwrap_or("all")
    }

    /// True when tenants come from `X-Scope-OrgID`.
    pub fn multitenant(&self) -> bool {
        self.multitenancy_enabled.or(self.auth_enabled).unwrap_or(false)
    }

    /// The client by which ingesters are reached, and its key: that of Tempo 3 where it alone asks for TLS.
    pub fn to_ingesters(&self) -> (&'static str, &GrpcClient) {
        let (old, new) = (&self.ingester_client, &self.live_store_client);
        let asks = |client: &GrpcClient| client.tls_enabled == Some(true);
        if !asks(&old.grpc_client_config) && asks(&new.grpc_client_config) {
            return ("live_store_client.grpc_client_config", &new.grpc_client_config);
        }
        ("ingester_client.grpc_client_config", &old.grpc_client_config)
    }
}

impl Server {
    /// `host:port` of the HTTP listener.
    pub fn http_listen(&self) -> String {
        listen(self.http_listen_address.as_deref(), self.http_listen_port.unwrap_or(3200))
    }

    /// `host:port` of the gRPC listener.
    pub fn grpc_listen(&self) -> String {
        listen(self.grpc_listen_address.as_deref(), self.grpc_listen_port.unwrap_or(9095))
    }

    /// Longest gRPC message taken, bytes.
    pub fn grpc_receive_bytes(&self) -> Size {
        self.grpc_server_max_recv_msg_size.unwrap_or(GRPC_MESSAGE_BYTES)
    }

    /// Longest gRPC message sent, bytes.
    pub fn grpc_send_bytes(&self) -> Size {
        self.grpc_server_max_send_msg_size.unwrap_or(GRPC_MESSAGE_BYTES)
    }

    /// How long open requests may take after the stop.
    pub fn graceful(&self) -> Duration {
        self.graceful_shutdown_timeout.unwrap_or(Duration::from_secs(30))
    }
}

impl InternalServer {
    /// `host:port`, where it is to listen at all.
    pub fn listen(&self) -> Option<String> {
        let address = || listen(self.http_listen_address.as_deref(), self.http_listen_port.unwrap_or(3101));
        (self.enable == Some(true)).then(address)
    }
}

/// `host:port`, where no host is all addresses.
fn listen(host: Option<&str>, port: u16) -> String {
    match host.unwrap_or_default() {
        "" => format!("0.0.0.0:{port}"),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

impl OtlpGrpc {
    /// `host:port`; 4317 on all addresses.
    pub fn endpoint(&self) -> String {
        endpoint(self.endpoint.as_deref(), "0.0.0.0:4317")
    }

    /// Longest message, bytes.
    pub fn message_bytes(&self) -> Size {
        self.max_recv_msg_size_mib.map_or(GRPC_MESSAGE_BYTES, |mib| Size(mib << 20))
    }
}

impl OtlpHttp {
    /// `host:port`; 4318 on all addresses.
    pub fn endpoint(&self) -> String {
        endpoint(self.endpoint.as_deref(), "0.0.0.0:4318")
    }

    /// Longest body after decompression, bytes.
    pub fn body_bytes(&self) -> Size {
        self.max_request_body_size.unwrap_or(OTLP_BODY_BYTES)
    }
}

/// The collector's notation: `host:port`, with `:port` for all addresses.
fn endpoint(configured: Option<&str>, default: &str) -> String {
    match configured.unwrap_or_default() {
        "" => default.to_owned(),
        text if text.starts_with(':') => format!("0.0.0.0{text}"),
        text => text.to_owned(),
    }
}

impl Ingester {
    /// 30 minutes.
    pub fn max_block_duration(&self) -> Duration {
        self.max_block_duration.unwrap_or(Duration::from_secs(30 * 60))
    }

    /// 500 MB.
    pub fn max_block_bytes(&self) -> Size {
        self.max_block_bytes.unwrap_or(Size(500 << 20))
    }

    /// 5 seconds.
    pub fn trace_idle_period(&self) -> Duration {
        self.trace_idle_period.unwrap_or(Duration::from_secs(5))
    }

    /// 10 seconds.
    pub fn flush_check_period(&self) -> Duration {
        self.flush_check_period.unwrap_or(Duration::from_secs(10))
    }

    /// 15 minutes.
    pub fn complete_block_timeout(&self) -> Duration {
        self.complete_block_timeout.unwrap_or(Duration::from_secs(15 * 60))
    }
}

impl Trace {
    /// `local` when nothing is said.
    pub fn backend(&self) -> &str {
        self.backend.as_deref().filter(|name| !name.is_empty()).unwrap_or("local")
    }

    /// The directory of blocks, for the backend `local`.
    pub fn local_path(&self) -> &str {
        self.local.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(BLOCKS_PATH)
    }

    /// The directory of the write-ahead log.
    pub fn wal_path(&self) -> &str {
        self.wal.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(WAL_PATH)
    }

    /// 5 minutes, as Tempo has it; with the backend `local`, 30 seconds: listing a directory is cheap.
    pub fn blocklist_poll(&self) -> Duration {
        let default = if self.backend() == "local" { 30 } else { 300 };
        self.blocklist_poll.unwrap_or(Duration::from_secs(default))
    }
}

impl Querier {
    /// 20 jobs at once.
    pub fn max_concurrent_queries(&self) -> u32 {
        self.max_concurrent_queries.unwrap_or(20)
    }

    /// 30 seconds for one search job.
    pub fn search_timeout(&self) -> Duration {
        self.search.query_timeout.unwrap_or(Duration::from_secs(30))
    }

    /// 10 seconds for one lookup job.
    pub fn trace_by_id_timeout(&self) -> Duration {
        self.trace_by_id.query_timeout.unwrap_or(Duration::from_secs(10))
    }

    /// Where frontends are, if the file says so.
    pub fn frontend_address(&self) -> Option<&str> {
        self.frontend_worker.frontend_address.as_deref().filter(|address| !address.is_empty())
    }
}

impl QueryFrontend {
    /// 2000 jobs of one tenant may wait.
    pub fn max_outstanding_per_tenant(&self) -> u32 {
        self.max_outstanding_per_tenant.unwrap_or(2000)
    }

    /// 2 more attempts at a job that failed.
    pub fn max_retries(&self) -> u32 {
        self.max_retries.unwrap_or(2)
    }

    /// 20 traces.
    pub fn default_result_limit(&self) -> u32 {
        self.search.default_result_limit.filter(|limit| *limit > 0).unwrap_or(20)
    }

    /// 262144 traces; 0 is no limit.
    pub fn max_result_limit(&self) -> u32 {
        self.search.max_result_limit.unwrap_or(262_144)
    }

    /// 168 hours; 0 is no limit.
    pub fn max_search_duration(&self) -> Duration {
        self.search.max_duration.unwrap_or(Duration::from_secs(168 * 3600))
    }

    /// 3 spans.
    pub fn default_spans_per_span_set(&self) -> u32 {
        self.search.default_spans_per_span_set.unwrap_or(3)
    }

    /// 100 spans; 0 is no limit.
    pub fn max_spans_per_span_set(&self) -> u32 {
        self.search.max_spans_per_span_set.unwrap_or(100)
    }

    /// 100 MiB of blocks a job.
    pub fn target_bytes_per_job(&self) -> u64 {
        self.search.target_bytes_per_job.unwrap_or(100 << 20)
    }

    /// 1000 jobs of one query at once.
    pub fn concurrent_jobs(&self) -> u32 {
        self.search.concurrent_jobs.unwrap_or(1000)
    }
}

impl Limits {
    /// Longest trace in bytes: 5 MB unless set, and no limit when set to 0.
    pub fn trace_bytes(&self) -> Option<u64> {
        Some(self.max_bytes_per_trace().unwrap_or(TRACE_BYTES).0).filter(|bytes| *bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_host_listens_everywhere() {
        let http = OtlpHttp { endpoint: Some(":14318".to_owned()), ..OtlpHttp::default() };
        assert_eq!(http.endpoint(), "0.0.0.0:14318");
        assert_eq!(OtlpGrpc::default().endpoint(), "0.0.0.0:4317");
        let server = Server { http_listen_address: Some("::1".to_owned()), ..Server::default() };
        assert_eq!(server.http_listen(), "[::1]:3200");
    }
}
