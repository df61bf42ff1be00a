//! Columns of row groups, decoded once and kept by the store's cache. IO.
//!
//! Guarantees: a piece is what its key says, whatever its hash; what is not in the cache is read, and what is
//! read does not depend on what was in the cache.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Engine, EngineError};
use crate::block::{Footer, Meta, Scan, Sketch};
use crate::store::cache::{Key, Role, Weigh};
use crate::table::{Piece, PieceOf};
use crate::traceql::Plan;

impl Weigh for Piece {
    fn weight(&self) -> usize {
        self.bytes()
    }
}

/// From so many bytes on a sketch is made of an attribute: it is a tenth as large and less, and stays when the piece is
/// not kept, or gone. What it does not hold need not be looked for in the piece again.
const HEAVY: usize = 1 << 20;

/// What is known of a piece.
struct Known {
    of: PieceOf,
    sketch: Sketch,
}

impl Weigh for Known {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.sketch.memory()
    }
}

/// One row group of a block, and the bytes that were read of it or found in memory.
pub(super) struct Group<'a> {
    pub(super) engine: &'a Engine,
    pub(super) meta: &'a Arc<Meta>,
    pub(super) footer: &'a Arc<Footer>,
    pub(super) group: usize,
    pub(super) bytes: u64,
}

/// Part of a key. Whoever makes two hashes equal makes both slow: what is found is compared with what is wanted.
pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Group<'_> {
    pub(super) fn key(&self, of: &impl Hash) -> Key {
        Key { role: Role::Column, of: self.meta.id, part: (self.group as u64, hash(of)) }
    }

    fn kept(&self, of: &PieceOf) -> Option<Arc<Piece>> {
        self.engine.store.cache().get::<Piece>(&self.key(of)).filter(|piece| piece.of() == of)
    }

    /// The pieces `wanted` where all of them are in memory.
    pub(super) fn at_hand(&mut self, wanted: &[PieceOf]) -> Option<Vec<Arc<Piece>>> {
        if !wanted.iter().all(|of| self.engine.store.cache().holds(&self.key(of))) {
            return None;
        }
        let pieces = wanted.iter().map(|of| self.kept(of)).collect::<Option<Vec<_>>>()?;
        self.count(&pieces);
        Some(pieces)
    }

    /// The pieces `wanted`; none where the row group has no traces.
    pub(super) async fn pieces(
        &mut self,
        wanted: Vec<PieceOf>,
    ) -> Result<Option<Vec<Arc<Piece>>>, EngineError> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for of in wanted {
            match self.kept(&of) {
                Some(piece) => found.push(piece),
                None => missing.push(of),
            }
        }
        self.count(&found);
        if missing.is_empty() {
            return Ok(Some(found));
        }
        let _held = self.engine.row_groups.acquire().await.map_err(|_| EngineError::Cancelled)?;
        let projection = PieceOf::projection(&missing);
        let groups = self.group..self.group + 1;
        let scan = Scan::new(self.meta, Arc::clone(self.footer), groups, projection)?;
        let Some(table) = self.engine.drive(self.meta, scan, &mut self.bytes).await? else { return Ok(None) };
        let split = move || {
            let pieces = Piece::split(table, missing).into_iter().map(Arc::new);
            let sketch = |piece: &Piece| {
                let (level, key, column) = piece.attribute().filter(|_| piece.bytes() > HEAVY)?;
                Some(Sketch::of_attribute(level, key, column))
            };
            pieces.map(|piece| (sketch(&piece), piece)).collect::<Vec<_>>()
        };
        for (sketch, piece) in self.engine.pool.run(split).await? {
            let (key, cache) = (self.key(piece.of()), self.engine.store.cache());
            if let Some(sketch) = sketch {
                let known = Known { of: piece.of().clone(), sketch };
                let key = Key { role: Role::Sketch, ..key };
                cache.put(key, Arc::new(known));
                // Asked for once, it outlives the pieces of the other row groups, which come next and are heavier.
                let _: Option<Arc<Known>> = cache.get(&key);
            }
            cache.put(key, Arc::clone(&piece));
            found.push(piece);
        }
        Ok(Some(found))
    }

    /// Whether nothing can match, by what is known of heavy pieces of `wanted`.
    pub(super) fn is_ruled_out(&self, wanted: &[PieceOf], plan: &Plan) -> bool {
        wanted.iter().filter(|of| matches!(of, PieceOf::Attribute(..))).any(|of| {
            let key = Key { role: Role::Sketch, ..self.key(of) };
            let cache = self.engine.store.cache();
            cache.holds(&key)
                && cache
                    .get::<Known>(&key)
                    .is_some_and(|known| known.of == *of && !known.sketch.may_match(plan))
        })
    }

    fn count(&mut self, pieces: &[Arc<Piece>]) {
        self.bytes += pieces.iter().map(|piece| piece.bytes() as u64).sum::<u64>();
    }
}
