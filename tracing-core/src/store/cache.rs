//! What is read again and again, kept decoded within one number of bytes for all of it: footers, Bloom
//! filters, sketches, id filters, page indexes, pages, columns.
//!
//! Guarantees: the weights of what is kept never exceed the budget; nothing over [`Cache::largest`] is kept,
//! so that no one object pushes out everything else; what is asked for once, as a scan over many blocks
//! does, does not push out what is asked for again (the policy is close to S3-FIFO); of several who miss the
//! same at once, one loads it and all have it. Blocks never change, so nothing in here goes stale.

use std::{
    any::Any,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, sync};

use crate::model::BlockId;

/// What something is kept as. The names are those of Tempo's cache roles, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A shard of a block's Bloom filter.
    Bloom,
    /// A block's footer, decoded.
    Footer,
    /// Bounds of the pages of a column.
    ColumnIndex,
    /// Places of the pages of a column.
    OffsetIndex,
    /// A page, decompressed or decoded.
    Page,
    /// A block's sketch, or that it has none.
    Sketch,
    /// A part of the tenant's filter over trace ids.
    Ids,
    /// A column of a row group, decoded, or what of it an answer shows.
    Column,
}

/// What is kept: a part of a block, or of another immutable object with an id of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// As what.
    pub role: Role,
    /// Of what.
    pub of: BlockId,
    /// Which part of it: a number, or a place and a length.
    pub part: (u64, u64),
}

/// Something that can be kept.
pub trait Weigh: Any + Send + Sync {
    /// Bytes of memory that it takes, about.
    fn weight(&self) -> usize;
}

/// What a role costs and brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleNumbers {
    /// Times that it was there.
    pub hits: u64,
    /// Times that it was not.
    pub misses: u64,
    /// Bytes kept now.
    pub bytes: u64,
}

/// The cache. Clones share it.
#[derive(Clone)]
pub struct Cache {
    kept: Arc<sync::Cache<Key, Held, Weight, DefaultHashBuilder, Leaving>>,
    counters: Arc<Counters>,
    budget: usize,
}

#[derive(Default)]
struct Counters([Counter; Role::ALL.len()]);

#[derive(Default)]
struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Clone)]
struct Held {
    it: Arc<dyn Any + Send + Sync>,
    weight: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Held> for Weight {
    fn weight(&self, _: &Key, held: &Held) -> u64 {
        held.weight
    }
}

/// Counts what leaves.
#[derive(Clone)]
struct Leaving(Arc<Counters>);

impl Lifecycle<Key, Held> for Leaving {
    /// What leaves is dropped when the locks are given back.
    type RequestState = Vec<Held>;

    fn on_evict(&self, state: &mut Vec<Held>, key: Key, held: Held) {
        self.0.of(key.role).bytes.fetch_sub(held.weight, Ordering::Relaxed);
        state.push(held);
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Bloom,
        Self::Footer,
        Self::ColumnIndex,
        Self::OffsetIndex,
        Self::Page,
        Self::Sketch,
        Self::Ids,
        Self::Column,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bloom => "bloom",
            Self::Footer => "parquet-footer",
            Self::ColumnIndex => "parquet-column-idx",
            Self::OffsetIndex => "parquet-offset-idx",
            Self::Page => "parquet-page",
            Self::Sketch => "block-sketch",
            Self::Ids => "trace-id-index",
            Self::Column => "parquet-column",
        }
    }
}

impl Counters {
    fn of(&self, role: Role) -> &Counter {
        let [bloom, footer, bounds, offset, page, sketch, ids, column] = &self.0;
        match role {
            Role::Bloom => bloom,
            Role::Footer => footer,
            Role::ColumnIndex => bounds,
            Role::OffsetIndex => offset,
            Role::Page => page,
            Role::Sketch => sketch,
            Role::Ids => ids,
            Role::Column => column,
        }
    }
}

/// The part of the budget that one object may take: one in so many.
const SHARE: usize = 16;
/// Parts of the cache with a lock each.
const SHARDS: usize = 4;
/// Bytes that an entry costs beside what is kept.
const OVERHEAD: usize = 96;

impl Cache {
    /// A cache of `budget` bytes; of none, it keeps nothing.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS).weight_capacity(budget as u64);
        options.estimated_items_capacity((budget >> 14).clamp(SHARDS * 32, 1 << 16));
        let options = options.build().expect("both capacities are given, which is all that is asked for");
        let leaving = Leaving(Arc::clone(&counters));
        let kept = sync::Cache::with_options(options, Weight, DefaultHashBuilder::default(), leaving);
        Self { kept: Arc::new(kept), counters, budget }
    }

    /// Weight of the heaviest object that is kept, in bytes.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.budget / SHARE
    }

    /// What is kept under a key, if it is.
    #[must_use]
    pub fn get<T: Weigh>(&self, key: &Key) -> Option<Arc<T>> {
        let found = self.kept.get(key).and_then(|held| held.it.downcast().ok());
        self.count(key.role, found.is_some());
        found
    }

    /// Whether something is kept under a key. Not counted, and no sign that it is asked for.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.kept.peek(key).is_some()
    }

    /// Keeps something, unless it is too heavy, or somebody is just about to.
    pub fn put<T: Weigh>(&self, key: Key, it: Arc<T>) {
        let held = Self::held(it);
        if held.weight as usize > self.largest() {
            return;
        }
        if let sync::GuardResult::Guard(guard) = self.kept.get_value_or_guard(&key, Some(Duration::ZERO)) {
            self.keep(key.role, held, |held| guard.insert(held).is_ok());
        }
    }

    /// What is kept under a key, or else what `load` makes, which is then kept unless it is too heavy. Who
    /// else asks for it meanwhile waits for this one; where `load` fails or is dropped, the next one loads.
    ///
    /// # Errors
    /// What `load` says.
    pub async fn get_or<T: Weigh, E>(
        &self,
        key: Key,
        load: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let guard = match self.kept.get_value_or_guard_async(&key).await {
            Ok(held) => match held.it.downcast() {
                Ok(it) => {
                    self.count(key.role, true);
                    return Ok(it);
                }
                // Of another type: a key that two roles' users share by mistake costs time, nothing else.
                Err(_) => return load.await.map(Arc::new),
            },
            Err(guard) => guard,
        };
        self.count(key.role, false);
        let it = Arc::new(load.await?);
        let held = Self::held(Arc::clone(&it));
        if held.weight as usize <= self.largest() {
            self.keep(key.role, held, |held| guard.insert(held).is_ok());
        }
        Ok(it)
    }

    /// What each role costs and brings.
    #[must_use]
    pub fn numbers(&self) -> [(Role, RoleNumbers); Role::ALL.len()] {
        Role::ALL.map(|role| {
            let counter = self.counters.of(role);
            let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
            let numbers = RoleNumbers {
                hits: read(&counter.hits),
                misses: read(&counter.misses),
                bytes: read(&counter.bytes),
            };
            (role, numbers)
        })
    }

    /// Counts before it is there: it may leave at once.
    fn keep(&self, role: Role, held: Held, insert: impl FnOnce(Held) -> bool) {
        let (weight, bytes) = (held.weight, &self.counters.of(role).bytes);
        bytes.fetch_add(weight, Ordering::Relaxed);
        if !insert(held) {
            bytes.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    fn held<T: Weigh>(it: Arc<T>) -> Held {
        let weight = (it.weight() + OVERHEAD) as u64;
        Held { it, weight }
    }

    fn count(&self, role: Role, hit: bool) {
        let counter = self.counters.of(role);
        let counter = if hit { &counter.hits } else { &counter.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("budget", &self.budget)
            .field("used", &self.kept.weight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Bytes(usize);

    impl Weigh for Bytes {
        fn weight(&self) -> usize {
            self.0 - OVERHEAD
        }
    }

    fn key(n: u64) -> Key {
        Key { role: Role::Page, of: BlockId(uuid::Uuid::nil()), part: (n, 0) }
    }

    fn bytes(cache: &Cache) -> u64 {
        cache.numbers().iter().map(|(_, numbers)| numbers.bytes).sum()
    }

    #[test]
    fn what_is_kept_never_weighs_more_than_the_budget_and_is_counted_by_role() {
        let cache = Cache::new(1 << 20);
        for n in 0..10_000 {
            cache.put(key(n), Arc::new(Bytes(1000 + n as usize % 5000)));
            assert!(cache.kept.weight() <= 1 << 20);
            assert_eq!(bytes(&cache), cache.kept.weight());
        }
        assert!(cache.kept.weight() > 1 << 19, "and the budget is made use of");
    }

    #[test]
    fn what_is_asked_for_again_outlives_a_scan_over_more_than_the_budget() {
        let cache = Cache::new(1 << 20);
        for _ in 0..3 {
            for n in 0..50 {
                if cache.get::<Bytes>(&key(n)).is_none() {
                    cache.put(key(n), Arc::new(Bytes(2000)));
                }
            }
        }
        for n in 1000..3000 {
            cache.put(key(n), Arc::new(Bytes(2000)));
        }
        let left = (0..50).filter(|n| cache.get::<Bytes>(&key(*n)).is_some()).count();
        assert!(left > 40, "{left} of 50");
    }

    #[test]
    fn an_object_too_large_for_its_share_is_not_kept() {
        let cache = Cache::new(1 << 20);
        cache.put(key(1), Arc::new(Bytes(1 << 16)));
        cache.put(key(2), Arc::new(Bytes((1 << 16) + 1)));
        assert!(cache.get::<Bytes>(&key(1)).is_some());
        assert!(cache.get::<Bytes>(&key(2)).is_none());
    }

    #[tokio::test]
    async fn of_many_who_miss_at_once_one_loads_and_after_a_failure_the_next_does() {
        let cache = Cache::new(1 << 20);
        let failed = cache.get_or::<Bytes, _>(key(1), async { Err("away") }).await;
        assert_eq!(failed.err(), Some("away"));
        let loads = AtomicU64::new(0);
        let ask = async || {
            let load = async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes(500))
            };
            cache.get_or(key(1), load).await.unwrap().0
        };
        let answers = futures::future::join_all((0..20).map(|_| ask())).await;
        assert!(answers.iter().all(|bytes| *bytes == 500));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        let (_, page) = cache.numbers()[4];
        assert_eq!((page.hits, page.misses, page.bytes), (19, 2, 500));
    }
}
