//! `distributor` and `ingester`: the write path.

use crate::{Duration, Opaque, ReceiverTls, Size, Switch, section::section};

section! {
    /// Receivers, and what is done with spans before they go to an ingester.
    Distributor {
        receivers: Receivers,
        ring: Opaque,
        override_ring_key: Option<String>,
        forwarders: Opaque,
        usage: Opaque,
        log_received_spans: Opaque,
        log_received_traces: Option<bool>,
        log_discarded_spans: Opaque,
        metric_received_spans: Opaque,
        search_tags_deny_list: Opaque,
        extend_writes: Option<bool>,
        /// What a client is told to wait after it was over its rate.
        retry_after_on_resource_exhausted: Option<Duration>,
        /// Longest attribute key or string value kept, bytes.
        max_attribute_bytes: Option<u64>,
        max_span_attr_byte: Option<u64>,
        kafka_config: Opaque,
        kafka_write_path_enabled: Option<bool>,
        ingester_write_path_enabled: Option<bool>,
        artificial_delay: Option<Duration>,
    }

    /// Where spans come in. OTLP is served; the others are accepted and reported at the start.
    Receivers {
        otlp: Switch<Otlp>,
        jaeger: Switch<Opaque>,
        zipkin: Switch<Opaque>,
        opencensus: Switch<Opaque>,
        kafka: Switch<Opaque>,
    }

    /// The OTLP receiver.
    Otlp {
        protocols: OtlpProtocols,
    }

    /// A protocol is on when its key is there.
    OtlpProtocols {
        grpc: Switch<OtlpGrpc>,
        http: Switch<OtlpHttp>,
    }

    /// OTLP over gRPC, by default on 4317.
    OtlpGrpc {
        /// `host:port`; an empty host listens on all addresses.
        endpoint: Option<String>,
        transport: Option<String>,
        tls: ReceiverTls,
        /// Longest message, MiB.
        max_recv_msg_size_mib: Option<u64>,
        max_concurrent_streams: Option<u32>,
        read_buffer_size: Option<u64>,
        write_buffer_size: Option<u64>,
        keepalive: Opaque,
        auth: Opaque,
        include_metadata: Option<bool>,
    }

    /// OTLP over HTTP, by default on 4318.
    OtlpHttp {
        /// `host:port`; an empty host listens on all addresses.
        endpoint: Option<String>,
        tls: ReceiverTls,
        cors: Opaque,
        /// Longest body after decompression, bytes.
        max_request_body_size: Option<Size>,
        /// By default `/v1/traces`.
        traces_url_path: Option<String>,
        metrics_url_path: Option<String>,
        logs_url_path: Option<String>,
        include_metadata: Option<bool>,
        response_headers: Opaque,
        compression_algorithms: Opaque,
        auth: Opaque,
        read_timeout: Option<Duration>,
        read_header_timeout: Option<Duration>,
        write_timeout: Option<Duration>,
        idle_timeout: Option<Duration>,
    }

    /// The role that holds spans until they are in a block.
    Ingester {
        lifecycler: Lifecycler,
        concurrent_flushes: Option<u32>,
        flush_check_period: Option<Duration>,
        flush_op_timeout: Option<Duration>,
        /// A trace that got no span for so long is cut.
        trace_idle_period: Option<Duration>,
        trace_live_period: Option<Duration>,
        /// A block is cut when its first span came in so long ago,
        max_block_duration: Option<Duration>,
        /// or when it holds so many bytes.
        max_block_bytes: Option<Size>,
        complete_block_timeout: Option<Duration>,
        override_ring_key: Option<String>,
        flush_all_on_shutdown: Option<bool>,
        flush_object_storage: Option<bool>,
        partition_ring: Opaque,
        ingest_storage: Opaque,
        wal: IngesterWal,
    }

    /// Ours: where an ingester keeps what it has acknowledged and is in no block yet.
    IngesterWal {
        /// `disk` or `object`; not set, `object` where the ring's replication factor is 2 or more.
        home: Option<String>,
        /// What is done with pushes while the object store that is the log's home cannot be reached: `refuse`
        /// them, so that they are sent again, or keep them on the local `disk` meanwhile.
        when_store_is_away: Option<String>,
        /// Pushes are refused while the log and the blocks that wait for their upload take so many bytes of the
        /// local disk; not set, until it is full.
        max_disk_bytes: Option<Size>,
    }

    /// How an ingester presents itself.
    Lifecycler {
        ring: Opaque,
        /// The address that others reach it at.
        address: Option<String>,
        port: Option<u16>,
        id: Option<String>,
        availability_zone: Option<String>,
        enable_inet6: Option<bool>,
        tokens_file_path: Option<String>,
        num_tokens: Option<u32>,
        interface_names: Vec<String>,
        heartbeat_period: Option<Duration>,
        heartbeat_timeout: Option<Duration>,
        observe_period: Option<Duration>,
        join_after: Option<Duration>,
        min_ready_duration: Option<Duration>,
        final_sleep: Option<Duration>,
        unregister_on_shutdown: Option<bool>,
        readiness_check_ring_health: Option<bool>,
    }
}
