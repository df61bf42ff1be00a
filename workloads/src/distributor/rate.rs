//! How many bytes a second a tenant may send: a bucket per tenant. Without a limit in the configuration there
//! is none.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing_core::model::Tenant;
use vivace_config::IngestionLimits;

use super::Refusal;

/// What a client is told to wait, when the configuration does not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// From so many tenants on, those that are silent are forgotten,
const BUCKETS: usize = 10_000;
/// after so long.
const SILENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Rates {
    buckets: Mutex<HashMap<Tenant, Bucket>>,
    retry_after: Duration,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may be sent now.
    tokens: f64,
    filled: Instant,
}

impl Rates {
    pub(super) fn new(retry_after: Option<Duration>) -> Self {
        Self { buckets: Mutex::default(), retry_after: retry_after.unwrap_or(RETRY_AFTER) }
    }

    /// Takes `bytes` out of the tenant's bucket, or says why not.
    pub(super) fn admit(
        &self,
        tenant: &Tenant,
        bytes: u64,
        limits: &IngestionLimits,
        distributors: usize,
    ) -> Result<(), Refusal> {
        let Some(rate) = limits.rate_limit_bytes.map(|size| size.0).filter(|rate| *rate > 0) else {
            return Ok(());
        };
        let global = limits.rate_strategy.as_deref() == Some("global");
        let local = if global { (rate / distributors.max(1) as u64).max(1) } else { rate };
        let burst = limits.burst_size_bytes.map_or(rate, |size| size.0);
        if bytes > burst {
            return Err(Refusal::Limited {
                message: format!(
                    "RATE_LIMITED: batch size ({bytes} bytes) exceeds ingestion limit (local: {local} bytes/s, \
                     global: {} bytes/s, burst: {burst} bytes) while adding {bytes} bytes for user {tenant}. \
                     consider reducing batch size or increasing rate limit",
                    if global { rate } else { 0 }
                ),
                retry_after: None,
            });
        }
        if self.take(tenant, bytes as f64, local as f64, burst as f64) {
            return Ok(());
        }
        let message = format!(
            "RATE_LIMITED: ingestion rate limit (local: {local} bytes/s, global: {} bytes/s, burst: {burst} \
             bytes) exceeded while adding {bytes} bytes for user {tenant}. consider increasing the limit or \
             reducing ingestion rate",
            if global { rate } else { 0 }
        );
        let told = limits.retry_info_enabled.unwrap_or(true);
        Err(Refusal::Limited { message, retry_after: told.then_some(self.retry_after) })
    }

    fn take(&self, tenant: &Tenant, bytes: f64, rate: f64, burst: f64) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if buckets.len() >= BUCKETS {
            // Whoever was silent for a while begins anew, with a full bucket.
            buckets.retain(|_, bucket| now.duration_since(bucket.filled) < SILENCE);
        }
        let bucket = buckets.entry(tenant.clone()).or_insert_with(|| Bucket { tokens: burst, filled: now });
        let grown = now.duration_since(bucket.filled).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + grown).min(burst);
        bucket.filled = now;
        let enough = bucket.tokens >= bytes;
        if enough {
            bucket.tokens -= bytes;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use vivace_config::Size;

    use super::*;

    fn limits(rate: u64, burst: u64) -> IngestionLimits {
        IngestionLimits {
            rate_limit_bytes: Some(Size(rate)),
            burst_size_bytes: Some(Size(burst)),
            ..IngestionLimits::default()
        }
    }

    #[test]
    fn over_the_rate_is_refused_in_tempos_words_with_a_time_to_come_again() {
        let rates = Rates::new(None);
        let (tenant, limits) = (Tenant::single(), limits(1, 100));
        rates.admit(&tenant, 80, &limits, 1).unwrap();
        let refusal = rates.admit(&tenant, 80, &limits, 1).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "RATE_LIMITED: ingestion rate limit (local: 1 bytes/s, global: 0 bytes/s, burst: 100 bytes) exceeded \
             while adding 80 bytes for user single-tenant. consider increasing the limit or reducing ingestion \
             rate"
        );
        assert_eq!(refusal.retry_after(), Some(Duration::from_secs(5)));
        rates.admit(&Tenant::new("other").unwrap(), 80, &limits, 1).unwrap();
    }

    #[test]
    fn a_batch_over_the_burst_is_refused_for_good() {
        let refusal = Rates::new(None).admit(&Tenant::single(), 101, &limits(1, 100), 1).unwrap_err();
        assert!(
            refusal.to_string().starts_with("RATE_LIMITED: batch size (101 bytes) exceeds ingestion limit")
        );
        assert_eq!(refusal.retry_after(), None);
    }

    #[test]
    fn without_a_limit_everything_is_taken() {
        Rates::new(None).admit(&Tenant::single(), u64::MAX, &IngestionLimits::default(), 1).unwrap();
    }
}
