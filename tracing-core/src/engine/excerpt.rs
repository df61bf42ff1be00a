//! What a search reads of single traces, those that lie in several blocks. IO.
//!
//! A search over blocks that share many traces reads hundreds of them, of the same columns. By then a request for some
//! pages of each takes longer than one for the columns whole, compressed as they are: after [`FEW`] of a row
//! group in a bucket, they are read so, and kept while the cache has room.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{Engine, EngineError, pieces::hash};
use crate::block::{Meta, Scan};
use crate::model::{BlockId, TraceId};
use crate::store::DATA;
use crate::store::cache::{Key, Role, Weigh};
use crate::table::Projection;

/// So many traces of a row group are read by their pages.
const FEW: usize = 1;
/// Columns of more bytes are not read whole.
const MOST: u64 = 32 << 20;

/// What a block holds of a trace, of some columns; none where it does not hold it.
pub(super) struct Excerpt {
    id: TraceId,
    projection: Projection,
    pub(super) otlp: Option<Bytes>,
}

impl Weigh for Excerpt {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.projection.bytes() + self.otlp.as_ref().map_or(0, Bytes::len)
    }
}

/// How many traces were read of some columns of a row group.
struct Asked(AtomicUsize);

impl Weigh for Asked {
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}

/// Columns of a row group as they are in the file.
struct Columns {
    projection: Projection,
    parts: Vec<(Range<u64>, Bytes)>,
}

impl Weigh for Columns {
    fn weight(&self) -> usize {
        self.projection.bytes() + self.parts.iter().map(|(_, bytes)| bytes.len() + 64).sum::<usize>()
    }
}

impl Columns {
    fn hand_to(&self, mut scan: Scan, projection: &Projection) -> Result<Scan, EngineError> {
        if self.projection == *projection {
            scan.supply(self.parts.clone())?;
        }
        Ok(scan)
    }
}

impl Excerpt {
    pub(super) fn new(id: TraceId, projection: &Projection, otlp: Option<Bytes>) -> Self {
        Self { id, projection: projection.clone(), otlp }
    }

    /// Where it is kept.
    pub(super) fn key(id: TraceId, meta: &Meta, projection: &Projection) -> Key {
        let columns = hash(projection);
        Key { role: Role::Column, of: meta.id, part: (hash(&(id, projection)), columns) }
    }

    /// Whether it is the one that is wanted, see [`hash`].
    pub(super) fn is_of(&self, id: TraceId, projection: &Projection) -> bool {
        self.id == id && self.projection == *projection
    }
}

impl Engine {
    /// Hands the columns that `scan`, for one trace, may need to it, where others asked for them before.
    pub(super) async fn hand_columns(
        &self,
        meta: &Meta,
        mut scan: Scan,
        projection: &Projection,
    ) -> Result<Scan, EngineError> {
        if *projection == Projection::Everything || self.store.path_of(&meta.tenant, meta.id, DATA).is_some()
        {
            return Ok(scan);
        }
        let Some(group) = scan.settle_group() else { return Ok(scan) };
        let key =
            Key { role: Role::Column, of: meta.id, part: (group as u64, hash(&("columns", projection))) };
        let times = self.asked_before(meta.id, group, projection).await?;
        let cache = self.store.cache();
        let is_held = cache.holds(&key);
        // Those that ask at the same time wait for the first; what the cache had no room for is not read again and again.
        if times < FEW || (times >= FEW * 4 && !is_held) {
            return Ok(scan);
        }
        if is_held && let Some(columns) = cache.get::<Columns>(&key) {
            return columns.hand_to(scan, projection);
        }
        let wanted = scan.columns_whole()?;
        let length: u64 = wanted.iter().map(|range| range.end - range.start).sum();
        if length > MOST.min(cache.largest() as u64) {
            return Ok(scan);
        }
        let load = async {
            let read = self.store.read_ranges(&meta.tenant, meta.id, DATA, &wanted).await?;
            let parts = wanted.iter().cloned().zip(read).collect();
            Ok::<_, EngineError>(Columns { projection: projection.clone(), parts })
        };
        cache.get_or(key, load).await?.hand_to(scan, projection)
    }

    /// How many traces these columns of a row group were asked for before, as far as that is known.
    async fn asked_before(
        &self,
        block: BlockId,
        group: usize,
        projection: &Projection,
    ) -> Result<usize, EngineError> {
        let key = Key { role: Role::Column, of: block, part: (group as u64, hash(&("asked", projection))) };
        let new = async { Ok::<_, EngineError>(Asked(AtomicUsize::new(0))) };
        let asked: Arc<Asked> = self.store.cache().get_or(key, new).await?;
        Ok(asked.0.fetch_add(1, Ordering::Relaxed))
    }
}
