//! Limits and retention, for all tenants and for one.

use std::collections::BTreeMap;

use vivace_config::Duration;

use super::{Invalid, count, duration, positive_duration, sizing, small_count};
use crate::api::{LimitSet, TempoStackSpec};

/// Limits of searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SearchLimits {
    pub(crate) default_result_limit: u32,
    pub(crate) max_result_limit: u32,
    pub(crate) max_duration: Duration,
}

/// Limits of tenants; what is not set is the workload's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantLimits {
    pub(crate) burst_bytes: Option<u64>,
    pub(crate) rate_bytes: Option<u64>,
    pub(crate) bytes_per_trace: Option<u64>,
    pub(crate) traces_per_user: Option<u64>,
    pub(crate) bytes_per_tag_values: Option<u64>,
    pub(crate) search_duration: Option<Duration>,
}

/// What is different for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantOverrides {
    pub(crate) limits: TenantLimits,
    pub(crate) retention: Option<Duration>,
}

/// How long traces are kept. Nothing and 0 both mean the default, as for the peer.
pub(super) fn retention(spec: &TempoStackSpec) -> Result<Duration, Invalid> {
    let global = spec.retention.clone().unwrap_or_default().global.unwrap_or_default();
    let retention = positive_duration("spec.retention.global.traces", global.traces.as_deref())?;
    Ok(retention.unwrap_or(Duration::from_secs(48 * 3600)))
}

pub(super) fn search(spec: &TempoStackSpec) -> Result<SearchLimits, Invalid> {
    let search = spec.search.clone().unwrap_or_default();
    Ok(SearchLimits {
        default_result_limit: small_count("spec.search.defaultResultLimit", search.default_result_limit)?
            .unwrap_or(20),
        max_result_limit: small_count("spec.search.maxResultLimit", search.max_result_limit)?.unwrap_or(0),
        max_duration: duration("spec.search.maxDuration", search.max_duration.as_deref())?
            .unwrap_or_default(),
    })
}

fn limits(field: &str, given: &LimitSet) -> Result<TenantLimits, Invalid> {
    let ingestion = given.ingestion.clone().unwrap_or_default();
    let query = given.query.clone().unwrap_or_default();
    let within = |part: &str| format!("{field}.{part}");
    if query.max_search_bytes_per_trace.is_some() {
        return Err(Invalid::spec(format!(
            "{field}.query.maxSearchBytesPerTrace: was removed from Tempo and must be unset"
        )));
    }
    let search = within("query.maxSearchDuration");
    Ok(TenantLimits {
        burst_bytes: count(
            &within("ingestion.ingestionBurstSizeBytes"),
            ingestion.ingestion_burst_size_bytes,
        )?,
        rate_bytes: count(
            &within("ingestion.ingestionRateLimitBytes"),
            ingestion.ingestion_rate_limit_bytes,
        )?,
        bytes_per_trace: count(&within("ingestion.maxBytesPerTrace"), ingestion.max_bytes_per_trace)?,
        traces_per_user: count(&within("ingestion.maxTracesPerUser"), ingestion.max_traces_per_user)?,
        bytes_per_tag_values: count(&within("query.maxBytesPerTagValues"), query.max_bytes_per_tag_values)?,
        search_duration: positive_duration(&search, query.max_search_duration.as_deref())?,
    })
}

pub(super) fn global(spec: &TempoStackSpec) -> Result<TenantLimits, Invalid> {
    let global = spec.limits.clone().unwrap_or_default().global.unwrap_or_default();
    let mut set = limits("spec.limits.global", &global)?;
    if let Some(size) = spec.size.and_then(sizing::limits) {
        set.rate_bytes = set.rate_bytes.or(Some(size.rate_bytes));
        set.burst_bytes = set.burst_bytes.or(Some(size.burst_bytes));
        set.traces_per_user = set.traces_per_user.or(size.traces_per_user);
    }
    Ok(set)
}

pub(super) fn of_tenants(spec: &TempoStackSpec) -> Result<BTreeMap<String, TenantOverrides>, Invalid> {
    let mut tenants: BTreeMap<String, TenantOverrides> = BTreeMap::new();
    for (tenant, set) in &spec.limits.clone().unwrap_or_default().per_tenant {
        tenants.entry(tenant.clone()).or_default().limits =
            limits(&format!("spec.limits.perTenant[{tenant}]"), set)?;
    }
    for (tenant, retention) in &spec.retention.clone().unwrap_or_default().per_tenant {
        let field = format!("spec.retention.perTenant[{tenant}].traces");
        tenants.entry(tenant.clone()).or_default().retention =
            positive_duration(&field, retention.traces.as_deref())?;
    }
    Ok(tenants)
}
