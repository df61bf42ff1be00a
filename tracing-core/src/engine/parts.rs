//! Parts of blocks that are asked for again and again: read once, decoded once, kept by the store's cache. IO.

use std::sync::Arc;

use super::{Engine, EngineError};
use crate::{
    block::{Bloom, Continued, Dictionaries, Dictionary, Footer, Meta, Sketch},
    model::{BlockId, TraceId},
    store::{
        DATA,
        cache::{Cache, Key, Role, Weigh},
    },
    traceql::Plan,
};

/// A block's sketch, if it has one.
struct MaybeSketch(Option<Sketch>);

impl Weigh for Footer {
    fn weight(&self) -> usize {
        self.memory()
    }
}

impl Weigh for Bloom {
    fn weight(&self) -> usize {
        self.memory()
    }
}

impl Weigh for MaybeSketch {
    fn weight(&self) -> usize {
        self.0.as_ref().map_or(0, Sketch::memory)
    }
}

impl Weigh for Continued {
    fn weight(&self) -> usize {
        self.memory()
    }
}

impl Weigh for Dictionary {
    fn weight(&self) -> usize {
        self.memory()
    }
}

/// Where the dictionaries of a block's columns are kept for lookups.
#[derive(Debug)]
struct Kept {
    cache: Cache,
    block: BlockId,
}

/// Larger dictionaries are not kept, in bytes: our writer makes none, and those of all columns that others make take ten
/// megabytes a row group, while what searches keep is worth more.
const LARGEST: usize = 256 << 10;

impl Kept {
    fn key(&self, place: u64) -> Key {
        Key { role: Role::Page, of: self.block, part: (place, 0) }
    }
}

impl Dictionaries for Kept {
    fn get(&self, place: u64) -> Option<Arc<Dictionary>> {
        self.cache.get(&self.key(place))
    }

    fn keep(&self, place: u64, dictionary: &Arc<Dictionary>) {
        if dictionary.memory() > LARGEST {
            return;
        }
        self.cache.put(self.key(place), Arc::clone(dictionary));
    }
}

impl Engine {
    /// A keeper of a block's dictionaries.
    pub(super) fn dictionaries(&self, block: BlockId) -> Arc<dyn Dictionaries> {
        Arc::new(Kept { cache: self.store.cache().clone(), block })
    }

    /// The footer of a block.
    pub(super) async fn footer(&self, meta: &Arc<Meta>) -> Result<Arc<Footer>, EngineError> {
        let key = Key { role: Role::Footer, of: meta.id, part: (0, 0) };
        let load = async {
            let range = [Footer::range(meta)];
            let tail = self.store.read_ranges(&meta.tenant, meta.id, DATA, &range).await?;
            let (meta, tail) = (Arc::clone(meta), tail.into_iter().next().unwrap_or_default());
            Ok(self.pool.run(move || Footer::decode(&meta, tail)).await??)
        };
        self.store.cache().get_or(key, load).await
    }

    /// Whether a block's Bloom filter says that it may hold a trace.
    pub(super) async fn bloom(&self, meta: &Meta, id: TraceId) -> Result<bool, EngineError> {
        let shard = Bloom::shard_of(id, meta.bloom_shards);
        let key = Key { role: Role::Bloom, of: meta.id, part: (shard.into(), 0) };
        let load = async {
            let bytes = self.store.read(&meta.tenant, meta.id, &format!("bloom-{shard}")).await?;
            Ok::<_, EngineError>(Bloom::decode(bytes)?)
        };
        Ok(self.store.cache().get_or(key, load).await?.may_hold(id))
    }

    /// The traces of a block that an earlier block has spans of, too.
    ///
    /// # Errors
    /// Where the list that the block's meta speaks of cannot be read.
    pub async fn continued(&self, meta: &Meta) -> Result<Arc<Continued>, EngineError> {
        if meta.continued == 0 {
            return Ok(Arc::default());
        }
        let key = Key { role: Role::Ids, of: meta.id, part: (0, 0) };
        let load = async {
            let bytes = self.store.read(&meta.tenant, meta.id, Continued::NAME).await?;
            Ok::<_, EngineError>(Continued::decode(&bytes)?)
        };
        self.store.cache().get_or(key, load).await
    }

    /// Whether a block may hold a match, as far as its sketch tells. A sketch only saves time: one that is not
    /// there, damaged or out of reach rules nothing out.
    pub(super) async fn may_match(&self, meta: &Meta, plan: &Plan) -> bool {
        let key = Key { role: Role::Sketch, of: meta.id, part: (0, 0) };
        let load = async {
            let bytes = match self.store.read(&meta.tenant, meta.id, Sketch::NAME).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => return Ok(MaybeSketch(None)),
                Err(error) => return Err(error),
            };
            let sketch = Sketch::decode(&bytes).inspect_err(|error| {
                tracing::warn!(tenant = %meta.tenant, block = %meta.id, %error, "a sketch is damaged and not used");
            });
            Ok(MaybeSketch(sketch.ok()))
        };
        match self.store.cache().get_or(key, load).await {
            Ok(sketch) => sketch.0.as_ref().is_none_or(|sketch| sketch.may_match(plan)),
            Err(error) => {
                tracing::debug!(tenant = %meta.tenant, block = %meta.id, %error, "a sketch was not read");
                true
            }
        }
    }
}
