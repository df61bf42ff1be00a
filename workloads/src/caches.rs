//! What is kept of blocks in memory, as numbers by role, read from the cache when they are asked for.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};
use tracing_core::store::{
    Store,
    cache::{Role, RoleNumbers},
};

/// Adds the numbers of the store's cache to the registry. Tempo has the roles, and no metrics by them.
pub fn register(store: &Arc<Store>, registry: &mut Registry) {
    registry.register_collector(Box::new(Numbers(Arc::clone(store))));
}

/// One of the numbers of a role.
type Count = fn(&RoleNumbers) -> u64;

#[derive(Debug)]
struct Numbers(Arc<Store>);

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let numbers = self.0.cache().numbers();
        let counters: [(&str, &str, Count); 2] = [
            ("vivace_cache_hits", "Times that a part of a block was in memory", |of| of.hits),
            ("vivace_cache_misses", "Times that a part of a block was read", |of| of.misses),
        ];
        for (name, help, of) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (role, numbers) in &numbers {
                let labels = [("role", Role::name(*role))];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&of(numbers), None)?;
            }
        }
        let help = "Memory taken by parts of blocks";
        let mut metric = encoder.encode_descriptor("vivace_cache_bytes", help, None, MetricType::Gauge)?;
        for (role, numbers) in &numbers {
            metric.encode_family(&[("role", role.name())])?.encode_gauge(&(numbers.bytes as i64))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use tracing_core::{
        model::BlockId,
        store::{
            StoreOptions,
            cache::{Key, Weigh},
        },
    };

    use super::*;

    struct Kilobyte;

    impl Weigh for Kilobyte {
        fn weight(&self) -> usize {
            1000
        }
    }

    #[tokio::test]
    async fn hits_misses_and_bytes_are_told_by_role() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::local(dir.path())).unwrap();
        let key = Key { role: Role::Footer, of: BlockId::random(), part: (0, 0) };
        for _ in 0..3 {
            store.cache().get_or::<_, fmt::Error>(key, async { Ok(Kilobyte) }).await.unwrap();
        }
        let mut registry = Registry::default();
        register(&store, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "vivace_cache_hits_total{role=\"parquet-footer\"} 2",
            "vivace_cache_misses_total{role=\"parquet-footer\"} 1",
            "vivace_cache_hits_total{role=\"bloom\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("vivace_cache_bytes{role=\"parquet-footer\"} 10"), "{text}");
    }
}
