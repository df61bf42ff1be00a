//! Alerts and recording rules on what the workload measures. Names, thresholds and durations are the peer's, whom
//! dashboards and on-call tools know; the words are ours.

use serde_json::{Value, json};

use crate::names::Identity;

/// `S` stands for the selector of the stack.
struct Alert {
    name: &'static str,
    expr: &'static str,
    hold: Option<&'static str>,
    severity: &'static str,
    message: &'static str,
}

const ALERTS: [Alert; 14] = [
    Alert {
        name: "TempoRequestLatency",
        expr: "cluster_namespace_job_route:tempo_request_duration_seconds:99quantile{S, route!~\"metrics|/frontend.Frontend/Process|debug_pprof\"} > 3\n",
        hold: Some("15m"),
        severity: "critical",
        message: "One request in a hundred to {{ $labels.job }} {{ $labels.route }} takes {{ printf \"%.2f\" $value }} s or longer.",
    },
    Alert {
        name: "TempoCompactorUnhealthy",
        expr: "max by (cluster, namespace) (tempo_ring_members{S, state=\"Unhealthy\", name=\"compactor\"}) > 0\n",
        hold: Some("15m"),
        severity: "critical",
        message: "{{ printf \"%.0f\" $value }} compactors do not answer.",
    },
    Alert {
        name: "TempoDistributorUnhealthy",
        expr: "max by (cluster, namespace) (tempo_ring_members{S, state=\"Unhealthy\", name=\"distributor\"}) > 0\n",
        hold: Some("15m"),
        severity: "warning",
        message: "{{ printf \"%.0f\" $value }} distributors do not answer.",
    },
    Alert {
        name: "TempoCompactionsFailing",
        expr: "sum by (cluster, namespace) (increase(tempodb_compaction_errors_total{S}[1h])) > 2 and\nsum by (cluster, namespace) (increase(tempodb_compaction_errors_total{S}[5m])) > 0\n",
        hold: Some("5m"),
        severity: "critical",
        message: "More than two merges of blocks failed within an hour, and they still fail.",
    },
    Alert {
        name: "TempoIngesterFlushesUnhealthy",
        expr: "sum by (cluster, namespace) (increase(tempo_ingester_failed_flushes_total{S}[1h])) > 2 and\nsum by (cluster, namespace) (increase(tempo_ingester_failed_flushes_total{S}[5m])) > 0\n",
        hold: Some("5m"),
        severity: "warning",
        message: "Ingesters had to repeat more than two uploads of blocks within an hour.",
    },
    Alert {
        name: "TempoIngesterFlushesFailing",
        expr: "sum by (cluster, namespace) (increase(tempo_ingester_flush_failed_retries_total{S}[1h])) > 2 and\nsum by (cluster, namespace) (increase(tempo_ingester_flush_failed_retries_total{S}[5m])) > 0\n",
        hold: Some("5m"),
        severity: "critical",
        message: "More than two repeated uploads of blocks failed again within an hour.",
    },
    Alert {
        name: "TempoPollsFailing",
        expr: "sum by (cluster, namespace) (increase(tempodb_blocklist_poll_errors_total{S}[1h])) > 2 and\nsum by (cluster, namespace) (increase(tempodb_blocklist_poll_errors_total{S}[5m])) > 0\n",
        hold: None,
        severity: "critical",
        message: "Listing the blocks failed more than twice within an hour.",
    },
    Alert {
        name: "TempoTenantIndexFailures",
        expr: "sum by (cluster, namespace) (increase(tempodb_blocklist_tenant_index_errors_total{S}[1h])) > 2 and\nsum by (cluster, namespace) (increase(tempodb_blocklist_tenant_index_errors_total{S}[5m])) > 0\n",
        hold: None,
        severity: "critical",
        message: "The index of a tenant's blocks could not be read or written more than twice within an hour.",
    },
    Alert {
        name: "TempoNoTenantIndexBuilders",
        expr: "sum by (cluster, namespace, tenant) (tempodb_blocklist_tenant_index_builder{S}) == 0 and\nmax by (cluster, namespace) (tempodb_blocklist_length{S}) > 0\n",
        hold: Some("5m"),
        severity: "critical",
        message: "Nobody writes the index of the blocks of tenant {{ $labels.tenant }}: it grows old.",
    },
    Alert {
        name: "TempoTenantIndexTooOld",
        expr: "max by (cluster, namespace, tenant) (tempodb_blocklist_tenant_index_age_seconds{S}) > 600\n",
        hold: Some("5m"),
        severity: "critical",
        message: "The index of the blocks of tenant {{ $labels.tenant }} is older than ten minutes.",
    },
    Alert {
        name: "TempoBadOverrides",
        expr: "sum(tempo_runtime_config_last_reload_successful{S} == 0) by (cluster, namespace, job)\n",
        hold: Some("15m"),
        severity: "warning",
        message: "{{ $labels.job }} cannot read the limits of tenants and keeps the earlier ones.",
    },
    Alert {
        name: "TempoProvisioningTooManyWrites",
        expr: "avg by (cluster, namespace) (rate(tempo_ingester_bytes_received_total{S, job=~\".+/ingester\"}[1m])) / 1024 / 1024 > 30\n",
        hold: Some("15m"),
        severity: "warning",
        message: "Ingesters of {{ $labels.cluster }} in {{ $labels.namespace }} take in more than 30 MiB a second each: run more of them.",
    },
    Alert {
        name: "TempoCompactorsTooManyOutstandingBlocks",
        // By job: the container of every component is called tempo.
        expr: "sum by (cluster, namespace, tenant) (tempodb_compaction_outstanding_blocks{S, job=~\".+/compactor\"}) / ignoring(tenant) group_left count(tempo_build_info{job=~\".+/compactor\", namespace=~\".*\"}) by (cluster, namespace) > 100\n",
        hold: Some("6h"),
        severity: "warning",
        message: "Blocks of tenant {{ $labels.tenant }} in {{ $labels.cluster }}/{{ $labels.namespace }} wait to be merged: run more compactors or give them more CPU.",
    },
    Alert {
        name: "TempoIngesterReplayErrors",
        expr: "sum by (cluster, namespace, tenant) (increase(tempo_ingester_replay_errors_total{S}[5m])) > 0\n",
        hold: Some("5m"),
        severity: "critical",
        message: "An ingester of {{ $labels.cluster }}/{{ $labels.namespace }} could not read back what it had kept of tenant {{ $labels.tenant }}.",
    },
];

/// `S` as above; each series under the name that the alerts and dashboards ask for.
const RECORDS: [(&str, &str); 6] = [
    (
        "99quantile",
        "histogram_quantile(0.99, sum(rate(tempo_request_duration_seconds_bucket{S}[1m])) by (le, cluster, namespace, job, route))",
    ),
    (
        "50quantile",
        "histogram_quantile(0.50, sum(rate(tempo_request_duration_seconds_bucket{S}[1m])) by (le, cluster, namespace, job, route))",
    ),
    (
        "avg",
        "sum(rate(tempo_request_duration_seconds_sum{S}[1m])) by (cluster, namespace, job, route) / sum(rate(tempo_request_duration_seconds_count{S}[1m])) by (cluster, namespace, job, route)",
    ),
    (
        "_bucket:sum_rate",
        "sum(rate(tempo_request_duration_seconds_bucket{S}[1m])) by (le, cluster, namespace, job, route)",
    ),
    (
        "_sum:sum_rate",
        "sum(rate(tempo_request_duration_seconds_sum{S}[1m])) by (cluster, namespace, job, route)",
    ),
    (
        "_count:sum_rate",
        "sum(rate(tempo_request_duration_seconds_count{S}[1m])) by (cluster, namespace, job, route)",
    ),
];

/// The groups of a stack's PrometheusRule.
pub(super) fn groups(identity: &Identity) -> Value {
    let selector = format!("cluster=\"{}\", namespace=\"{}\"", identity.name, identity.namespace);
    let fill = |expr: &str| expr.replace("{S", &format!("{{{selector}"));
    let alert = |alert: &Alert| {
        let mut rule = json!({
            "alert": alert.name,
            "expr": fill(alert.expr),
            "labels": {"severity": alert.severity},
            "annotations": {"message": alert.message},
        });
        if let Some(hold) = alert.hold {
            rule["for"] = hold.into();
        }
        rule
    };
    let record = |(name, expr): &(&str, &str)| {
        let colon = if name.starts_with('_') { "" } else { ":" };
        json!({
            "record": format!("cluster_namespace_job_route:tempo_request_duration_seconds{colon}{name}"),
            "expr": fill(expr),
        })
    };
    let scope = format!("{}_{}", identity.name, identity.namespace);
    json!([
        {"name": format!("tempo_alerts_{scope}"), "rules": ALERTS.iter().map(alert).collect::<Vec<_>>()},
        {"name": format!("tempo_rules_{scope}"), "rules": RECORDS.iter().map(record).collect::<Vec<_>>()},
    ])
}
