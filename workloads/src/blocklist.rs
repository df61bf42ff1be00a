//! The numbers of the block list, read from the store when they are asked for.

mod news;

use std::{fmt, sync::Arc, sync::atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};
use tracing_core::store::{POLL_BUCKETS, PollStats, REQUEST_BUCKETS, RequestStats, Store};

use crate::membership::{Membership, Role, State};

pub(crate) use news::{listen, tell};

/// Adds the store's numbers to the registry: Tempo's names for the lengths and the errors.
pub fn register(store: &Arc<Store>, registry: &mut Registry) {
    registry.register_collector(Box::new(Numbers(Arc::clone(store))));
}

#[derive(Debug)]
struct Numbers(Arc<Store>);

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let store = &self.0;
        let tenants: Vec<_> =
            store.tenants().into_iter().map(|t| (store.blocks(&t), store.compacted(&t), t)).collect();
        let gauge = MetricType::Gauge;
        let mut length =
            encoder.encode_descriptor("tempodb_blocklist_length", "Blocks that are read", None, gauge)?;
        for (live, _, tenant) in &tenants {
            length.encode_family(&[("tenant", tenant.as_str())])?.encode_gauge(&(live.len() as i64))?;
        }
        let mut bytes =
            encoder.encode_descriptor("tempodb_blocklist_bytes", "Bytes of data in them", None, gauge)?;
        for (live, _, tenant) in &tenants {
            let total: u64 = live.iter().map(|meta| meta.size).sum();
            bytes.encode_family(&[("tenant", tenant.as_str())])?.encode_gauge(&(total as i64))?;
        }
        let help = "Blocks that were replaced or have expired and wait to be deleted";
        let mut compacted =
            encoder.encode_descriptor("tempodb_blocklist_compacted_length", help, None, gauge)?;
        for (_, gone, tenant) in &tenants {
            compacted.encode_family(&[("tenant", tenant.as_str())])?.encode_gauge(&(gone.len() as i64))?;
        }
        polls(store.poll_stats(), &mut encoder)?;
        requests(store.request_stats(), &mut encoder)
    }
}

fn polls(stats: &PollStats, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
    let errors = stats.errors.load(Ordering::Relaxed);
    let help = "Listings that failed, and metas that could not be read";
    let mut metric = encoder.encode_descriptor("tempodb_blocklist_poll_errors", help, None, counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&errors, None)?;
    let polls = stats.polls.load(Ordering::Relaxed);
    let mut metric =
        encoder.encode_descriptor("vivace_blocklist_polls", "Polls that ended", None, counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&polls, None)?;
    let help = "How long the last poll took";
    let mut metric = encoder.encode_descriptor("vivace_blocklist_last_poll_seconds", help, None, gauge)?;
    metric.encode_gauge(&(stats.last_millis.load(Ordering::Relaxed) as f64 / 1000.0))?;
    let (seconds, counts) = stats.durations();
    let name = "tempodb_blocklist_poll_duration_seconds";
    let mut metric = encoder.encode_descriptor(name, "How long polls took", None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(
        seconds,
        counts.iter().sum(),
        &buckets(&POLL_BUCKETS, &counts),
        None,
    )?;

    let tenants = stats.tenants();
    let help = "Whether this process writes the index of the tenant";
    let name = "tempodb_blocklist_tenant_index_builder";
    let mut metric = encoder.encode_descriptor(name, help, None, gauge)?;
    for (tenant, poll) in &tenants {
        metric.encode_family(&[("tenant", tenant.as_str())])?.encode_gauge(&i64::from(poll.builder))?;
    }
    let help = "Indexes that could not be read or written";
    let name = "tempodb_blocklist_tenant_index_errors";
    let mut metric = encoder.encode_descriptor(name, help, None, counter)?;
    for (tenant, poll) in &tenants {
        let labels = [("tenant", tenant.as_str())];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&poll.index_errors, None)?;
    }
    let help = "Age of the index that was read or written last";
    let name = "tempodb_blocklist_tenant_index_age_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, gauge)?;
    let now = jiff::Timestamp::now();
    for (tenant, made) in tenants.iter().filter_map(|(tenant, poll)| Some((tenant, poll.index?))) {
        let age = now.duration_since(made).as_secs_f64();
        metric.encode_family(&[("tenant", tenant.as_str())])?.encode_gauge(&age)?;
    }
    Ok(())
}

fn requests(stats: &RequestStats, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Seconds until the object store answered a request";
    let name = "tempodb_backend_request_duration_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (operation, status, times) in stats.times() {
        let status = if status == 0 { "none".to_owned() } else { status.to_string() };
        let labels = [("operation", operation), ("status_code", status.as_str())];
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            times.sum,
            times.count,
            &buckets(&REQUEST_BUCKETS, &times.buckets),
            None,
        )?;
    }
    let help = "Requests that were made once more because the first took long";
    let name = "tempodb_backend_hedged_roundtrips";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&stats.hedged(), None)
}

/// Bounds and counts as the encoder wants them; it adds the counts up itself.
fn buckets(bounds: &[f64], counts: &[u64]) -> Vec<(f64, u64)> {
    bounds.iter().copied().chain([f64::INFINITY]).zip(counts.iter().copied()).collect()
}

/// Has this process write the indexes of the tenants that are its own among the live compactors: `builders` of
/// them for each tenant, by rendezvous hashing.
pub fn elect(store: &Store, membership: Arc<Membership>, builders: usize) {
    store.elect(move |tenant| {
        let members = membership.members(Role::Compactor);
        let live = members.iter().filter(|member| matches!(member.state, State::Joining | State::Active));
        let names: Vec<_> = live.map(|member| (member.id.as_str(), member.local)).collect();
        is_elected(tenant.as_str(), &names, builders)
    });
}

fn is_elected(tenant: &str, members: &[(&str, bool)], builders: usize) -> bool {
    let Some((own, _)) = members.iter().find(|(_, local)| *local) else { return false };
    let own_score = score(tenant, own);
    let before = members.iter().filter(|(name, _)| (score(tenant, name), *name) > (own_score, *own));
    before.count() < builders
}

/// FNV-1a of both, stirred.
fn score(tenant: &str, member: &str) -> u64 {
    let bytes = tenant.bytes().chain([0]).chain(member.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use tracing_core::store::StoreOptions;

    use super::*;

    #[tokio::test]
    async fn the_blocks_of_each_tenant_are_counted_under_tempos_names() {
        let dir = tempfile::tempdir().unwrap();
        let block = dir.path().join("a/e62d00b6-f021-41ba-a0c3-70be7f90147d");
        std::fs::create_dir_all(&block).unwrap();
        let meta = r#"{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"a","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","size":861781}"#;
        std::fs::write(block.join("meta.json"), meta).unwrap();
        let store = Store::open(StoreOptions::local(dir.path())).unwrap();
        store.elect(|_| true);
        store.poll().await.unwrap();
        let mut registry = Registry::default();
        register(&store, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tempodb_blocklist_length{tenant=\"a\"} 1",
            "tempodb_blocklist_bytes{tenant=\"a\"} 861781",
            "tempodb_blocklist_poll_errors_total 0",
            "vivace_blocklist_polls_total 1",
            "tempodb_blocklist_poll_duration_seconds_count 1",
            "tempodb_blocklist_poll_duration_seconds_bucket{le=\"+Inf\"} 1",
            "tempodb_blocklist_tenant_index_builder{tenant=\"a\"} 1",
            "tempodb_blocklist_tenant_index_errors_total{tenant=\"a\"} 0",
            "tempodb_backend_hedged_roundtrips_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn so_many_members_as_asked_for_write_the_index_of_a_tenant_and_the_load_is_spread() {
        let names = ["c-0", "c-1", "c-2", "c-3", "c-4"];
        let elected = |tenant: &str, builders| {
            let is = |own: &&&str| {
                let members: Vec<_> = names.iter().map(|name| (*name, name == *own)).collect();
                is_elected(tenant, &members, builders)
            };
            names.iter().filter(is).copied().collect::<Vec<_>>()
        };
        let mut first = std::collections::BTreeSet::new();
        for n in 0..100 {
            let tenant = format!("tenant-{n}");
            assert_eq!((elected(&tenant, 2).len(), elected(&tenant, 9).len()), (2, 5));
            assert!(elected(&tenant, 0).is_empty());
            first.extend(elected(&tenant, 1));
        }
        assert_eq!(first.len(), names.len());
        assert!(!is_elected("t", &[("other", false)], 2), "who is no compactor");
    }
}
