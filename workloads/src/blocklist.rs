//! The numbers of the block list, read from the store when they are asked for.

use std::{fmt, sync::Arc, sync::atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};
use tracing_core::store::Store;

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
        let stats = store.poll_stats();
        let (errors, polls) = (stats.errors.load(Ordering::Relaxed), stats.polls.load(Ordering::Relaxed));
        let help = "Listings that failed, and metas that could not be read";
        let counter = MetricType::Counter;
        let mut metric = encoder.encode_descriptor("tempodb_blocklist_poll_errors", help, None, counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&errors, None)?;
        let mut metric =
            encoder.encode_descriptor("vivace_blocklist_polls", "Polls that ended", None, counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&polls, None)?;
        let help = "How long the last poll took";
        let mut metric =
            encoder.encode_descriptor("vivace_blocklist_last_poll_seconds", help, None, gauge)?;
        metric.encode_gauge(&(stats.last_millis.load(Ordering::Relaxed) as f64 / 1000.0))
    }
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
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
