//! `server`: the HTTP and gRPC servers, and logs.

use crate::{Duration, Opaque, Secret, Size, section::section};

section! {
    /// The listeners for the API and between the roles, and how logs are written.
    Server {
        http_listen_network: Option<String>,
        http_listen_address: Option<String>,
        http_listen_port: Option<u16>,
        http_listen_conn_limit: Option<u64>,
        grpc_listen_network: Option<String>,
        grpc_listen_address: Option<String>,
        grpc_listen_port: Option<u16>,
        grpc_listen_conn_limit: Option<u64>,
        tls_cipher_suites: Option<String>,
        tls_min_version: Option<String>,
        http_tls_config: ServerTls,
        grpc_tls_config: ServerTls,
        register_instrumentation: Option<bool>,
        /// How long the process may take to end: open requests, and an ingester's last upload.
        graceful_shutdown_timeout: Option<Duration>,
        http_server_read_timeout: Option<Duration>,
        http_server_read_header_timeout: Option<Duration>,
        http_server_write_timeout: Option<Duration>,
        http_server_idle_timeout: Option<Duration>,
        http_log_closed_connections_without_response_enabled: Option<bool>,
        /// Longest gRPC message taken, bytes.
        grpc_server_max_recv_msg_size: Option<Size>,
        /// Longest gRPC message sent, bytes.
        grpc_server_max_send_msg_size: Option<Size>,
        grpc_server_max_concurrent_streams: Option<u32>,
        grpc_server_max_connection_idle: Option<Duration>,
        grpc_server_max_connection_age: Option<Duration>,
        grpc_server_max_connection_age_grace: Option<Duration>,
        grpc_server_keepalive_time: Option<Duration>,
        grpc_server_keepalive_timeout: Option<Duration>,
        grpc_server_min_time_between_pings: Option<Duration>,
        grpc_server_ping_without_stream_allowed: Option<bool>,
        grpc_server_num_workers: Option<u32>,
        /// `logfmt` or `json`.
        log_format: Option<String>,
        /// `debug`, `info`, `warn` or `error`.
        log_level: Option<String>,
        log_source_ips_enabled: Option<bool>,
        log_source_ips_header: Option<String>,
        log_source_ips_regex: Option<String>,
        log_request_headers: Option<bool>,
        log_request_at_info_level_enabled: Option<bool>,
        log_request_exclude_headers_list: Option<String>,
        http_path_prefix: Option<String>,
        cluster_validation: Opaque,
        grpc_collect_max_streams_by_conn: Opaque,
        proxy_protocol_enabled: Opaque,
        report_grpc_codes_in_instrumentation_label_enabled: Opaque,
        grpc_server_stats_tracking_enabled: Opaque,
        grpc_server_recv_buffer_pools_enabled: Opaque,
        grpc_server_read_buffer_size: Opaque,
        grpc_server_write_buffer_size: Opaque,
        log_source_ips_full: Opaque,
        trace_request_headers: Opaque,
        trace_request_exclude_headers_list: Opaque,
        create_new_traces: Opaque,
    }

    /// Certificates of a listener.
    ServerTls {
        cert: Option<String>,
        key: Option<Secret>,
        client_ca: Option<String>,
        cert_file: Option<String>,
        key_file: Option<String>,
        client_auth_type: Option<String>,
        client_ca_file: Option<String>,
    }
}
