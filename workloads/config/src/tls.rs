//! TLS as Tempo's file asks for it: of gRPC clients, of receivers, and of the internal server.
//!
//! A listener's own keys are in [`crate::ServerTls`]. Clients and gossip name theirs `tls_…`, receivers as the
//! OpenTelemetry collector does.

use crate::{Duration, Many, Memberlist, Opaque, Secret, ServerTls, section::section};

section! {
    /// A client of another role: what Tempo's file has under `ingester_client`, `live_store_client` and the like.
    RoleClient {
        pool_config: Opaque,
        remote_timeout: Option<Duration>,
        grpc_client_config: GrpcClient,
    }

    /// A gRPC client. Of its keys those of TLS have an effect.
    GrpcClient {
        max_recv_msg_size: Opaque,
        max_send_msg_size: Opaque,
        grpc_compression: Option<String>,
        rate_limit: Opaque,
        rate_limit_burst: Opaque,
        backoff_on_ratelimits: Option<bool>,
        backoff_config: Opaque,
        initial_stream_window_size: Opaque,
        initial_connection_window_size: Opaque,
        tls_enabled: Option<bool>,
        tls_cert_path: Option<String>,
        tls_key_path: Option<String>,
        tls_ca_path: Option<String>,
        tls_server_name: Option<String>,
        tls_insecure_skip_verify: Option<bool>,
        tls_cipher_suites: Option<String>,
        tls_min_version: Option<String>,
        connect_timeout: Option<Duration>,
        connect_backoff_base_delay: Option<Duration>,
        connect_backoff_max_delay: Option<Duration>,
        cluster_validation: Opaque,
    }

    /// TLS of a receiver, in the notation of the OpenTelemetry collector.
    ReceiverTls {
        /// PEM itself, instead of `cert_file`.
        cert_pem: Option<String>,
        /// PEM itself, instead of `key_file`.
        key_pem: Option<Secret>,
        cert_file: Option<String>,
        key_file: Option<String>,
        /// Clients must show a certificate that one of these signed.
        client_ca_file: Option<String>,
        /// Certificates and authorities are read again whenever their files change, whatever stands here.
        client_ca_file_reload: Option<bool>,
        /// `1.2` unless set.
        min_version: Option<String>,
        max_version: Option<String>,
        /// Names, as a list or joined by commas.
        cipher_suites: Many,
        /// How often files are looked at.
        reload_interval: Option<Duration>,
        ca_file: Opaque,
        ca_pem: Opaque,
        include_system_ca_certs_pool: Opaque,
        curve_preferences: Opaque,
        tpm: Opaque,
    }

    /// A listener of its own for probes, where the HTTP API asks clients for certificates: kubelets have none.
    InternalServer {
        enable: Option<bool>,
        http_listen_network: Option<String>,
        http_listen_address: Option<String>,
        /// 3101 unless set.
        http_listen_port: Option<u16>,
        http_listen_conn_limit: Option<u64>,
        tls_cipher_suites: Option<String>,
        tls_min_version: Option<String>,
        http_tls_config: ServerTls,
        http_server_read_timeout: Option<Duration>,
        http_server_read_header_timeout: Option<Duration>,
        http_server_write_timeout: Option<Duration>,
        http_server_idle_timeout: Option<Duration>,
        graceful_shutdown_timeout: Option<Duration>,
        register_instrumentation: Option<bool>,
        log_format: Option<String>,
        log_level: Option<String>,
        http_path_prefix: Option<String>,
        cluster_validation: Opaque,
        proxy_protocol_enabled: Opaque,
        http_log_closed_connections_without_response_enabled: Opaque,
        report_grpc_codes_in_instrumentation_label_enabled: Opaque,
        grpc_listen_network: Opaque,
        grpc_listen_address: Opaque,
        grpc_listen_port: Opaque,
        grpc_listen_conn_limit: Opaque,
        grpc_tls_config: Opaque,
        grpc_collect_max_streams_by_conn: Opaque,
        grpc_server_max_recv_msg_size: Opaque,
        grpc_server_max_send_msg_size: Opaque,
        grpc_server_max_concurrent_streams: Opaque,
        grpc_server_max_connection_idle: Opaque,
        grpc_server_max_connection_age: Opaque,
        grpc_server_max_connection_age_grace: Opaque,
        grpc_server_keepalive_time: Opaque,
        grpc_server_keepalive_timeout: Opaque,
        grpc_server_min_time_between_pings: Opaque,
        grpc_server_ping_without_stream_allowed: Opaque,
        grpc_server_num_workers: Opaque,
        grpc_server_stats_tracking_enabled: Opaque,
        grpc_server_recv_buffer_pools_enabled: Opaque,
        grpc_server_read_buffer_size: Opaque,
        grpc_server_write_buffer_size: Opaque,
        log_source_ips_enabled: Opaque,
        log_source_ips_full: Opaque,
        log_source_ips_header: Opaque,
        log_source_ips_regex: Opaque,
        log_request_headers: Opaque,
        log_request_at_info_level_enabled: Opaque,
        log_request_exclude_headers_list: Opaque,
        trace_request_headers: Opaque,
        trace_request_exclude_headers_list: Opaque,
        create_new_traces: Opaque,
    }
}

/// The keys `tls_…` of a client or of gossip; empty texts are those that are not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTls<'a> {
    /// `tls_enabled`: without it the other keys mean nothing.
    pub enabled: bool,
    /// `tls_cert_path`: what is shown to servers.
    pub cert: &'a str,
    /// `tls_key_path`
    pub key: &'a str,
    /// `tls_ca_path`: who signs servers' certificates; empty for whom the system trusts.
    pub ca: &'a str,
    /// `tls_server_name`: the name in servers' certificates; empty for the one that is dialled.
    pub server_name: &'a str,
    /// `tls_insecure_skip_verify`
    pub insecure_skip_verify: bool,
    /// `tls_cipher_suites`: names, joined by commas.
    pub cipher_suites: &'a str,
    /// `tls_min_version`: `VersionTLS12` and the like.
    pub min_version: &'a str,
}

macro_rules! client_tls {
    ($section:expr) => {{
        let text = |value: &'a Option<String>| value.as_deref().unwrap_or_default();
        ClientTls {
            enabled: $section.tls_enabled.unwrap_or(false),
            cert: text(&$section.tls_cert_path),
            key: text(&$section.tls_key_path),
            ca: text(&$section.tls_ca_path),
            server_name: text(&$section.tls_server_name),
            insecure_skip_verify: $section.tls_insecure_skip_verify.unwrap_or(false),
            cipher_suites: text(&$section.tls_cipher_suites),
            min_version: text(&$section.tls_min_version),
        }
    }};
}

impl<'a> From<&'a GrpcClient> for ClientTls<'a> {
    fn from(section: &'a GrpcClient) -> Self {
        client_tls!(section)
    }
}

impl<'a> From<&'a Memberlist> for ClientTls<'a> {
    fn from(section: &'a Memberlist) -> Self {
        client_tls!(section)
    }
}
