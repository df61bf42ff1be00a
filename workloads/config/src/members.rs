//! `memberlist`: how the members of a cluster find each other.

use crate::{Duration, Opaque, section::section, switch::Many};

section! {
    /// Gossip. The keys are those of Tempo; what only its own protocol knows is accepted and not read.
    Memberlist {
        node_name: Option<String>,
        randomize_node_name: Option<bool>,
        /// Seeds, `host[:port]`; a name stands for all its addresses.
        join_members: Many,
        /// Addresses to listen on; all when empty.
        bind_addr: Many,
        bind_port: Option<u16>,
        /// The address that others reach this process at.
        advertise_addr: Option<String>,
        advertise_port: Option<u16>,
        abort_if_cluster_join_fails: Option<bool>,
        abort_if_cluster_fast_join_fails: Option<bool>,
        cluster_label: Option<String>,
        cluster_label_verification_disabled: Option<bool>,
        gossip_interval: Option<Duration>,
        gossip_nodes: Option<u32>,
        gossip_to_dead_nodes_time: Option<Duration>,
        dead_node_reclaim_time: Option<Duration>,
        stream_timeout: Option<Duration>,
        retransmit_factor: Option<u32>,
        pull_push_interval: Option<Duration>,
        compression_enabled: Option<bool>,
        min_join_backoff: Option<Duration>,
        max_join_backoff: Option<Duration>,
        max_join_retries: Option<u32>,
        rejoin_interval: Option<Duration>,
        left_ingesters_timeout: Option<Duration>,
        obsolete_entries_timeout: Option<Duration>,
        leave_timeout: Option<Duration>,
        broadcast_timeout_for_local_updates_on_shutdown: Option<Duration>,
        message_history_buffer_bytes: Option<u64>,
        packet_dial_timeout: Option<Duration>,
        packet_write_timeout: Option<Duration>,
        transport_debug: Option<bool>,
        tls_enabled: Option<bool>,
        tls_cert_path: Option<String>,
        tls_key_path: Option<String>,
        tls_ca_path: Option<String>,
        tls_server_name: Option<String>,
        tls_insecure_skip_verify: Option<bool>,
        tls_cipher_suites: Option<String>,
        tls_min_version: Option<String>,
        zone_aware_routing: Opaque,
        notify_interval: Opaque,
        received_messages_queue_size: Opaque,
        processed_messages_queue_size: Opaque,
        compression_algorithm: Opaque,
        abort_if_cluster_fast_join_fails_min_nodes: Opaque,
        rejoin_seed_nodes: Opaque,
        watch_prefix_buffer_size: Opaque,
        max_concurrent_writes: Opaque,
        acquire_writer_timeout: Opaque,
        propagation_delay_tracker: Opaque,
    }
}
