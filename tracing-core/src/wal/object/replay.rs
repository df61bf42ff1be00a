//! Reading the segments of an epoch that was claimed. IO.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::task::JoinSet;

use super::{
    Held, HomeError,
    segment::{self, Body},
    store,
};
use crate::{
    store::Objects,
    wal::{Generation, Record, Replayed, replay::scan},
};

/// Segments that are fetched at the same time.
const FETCHES: usize = 32;
/// Segments that are read at the same time.
const READERS: usize = 4;
/// Bodies up to this many bytes are read where they are.
const INLINE: usize = 64 << 10;

/// An epoch that was taken over and fenced: nothing is added to it any more.
#[derive(Debug)]
pub struct Claimed {
    objects: Objects,
    held: Arc<Held>,
    /// Blocks of the generation that was decided on last.
    decided: Option<String>,
    /// Segments of generations that are decided.
    older: Vec<u64>,
    /// Segments that are not, up to the fence.
    open: Range<u64>,
}

/// A generation that was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The generation.
    pub generation: Generation,
    /// Records in it.
    pub records: u64,
}

enum Fetched {
    Segment { generation: u64, sequence: u64, body: Body },
    Damaged { sequence: u64, bytes: Bytes },
    Fence { sequence: u64 },
}

impl Claimed {
    pub(super) fn new(
        objects: Objects,
        held: Arc<Held>,
        decided: Option<String>,
        older: Vec<u64>,
        open: Range<u64>,
    ) -> Self {
        held.note_fence(open.end);
        Self { objects, held, decided, older, open }
    }

    /// The epoch, as its holder.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Blocks that were decided on and may not be visible yet: they are to be made visible, then
    /// [`Claimed::remove_decided`] is called.
    #[must_use]
    pub fn decided(&self) -> Option<&str> {
        self.decided.as_deref()
    }

    /// Removes the segments of generations that were decided on, whose blocks are visible.
    ///
    /// # Errors
    /// What the store says; may be repeated.
    pub async fn remove_decided(&self) -> Result<(), Arc<HomeError>> {
        self.held.confirm().await?;
        let epoch = self.held.epoch();
        let keys: Vec<String> = self.older.iter().map(|sequence| epoch.segment(*sequence)).collect();
        super::held::delete_all(&self.objects, keys).await
    }

    /// Hands every record that is in no block yet to `visit`, from several threads and in any order, with the
    /// number of its generation.
    ///
    /// # Errors
    /// What the store says, and [`HomeError::Fenced`] where another claimed the epoch meanwhile. Damage is
    /// none: it is counted, set aside and passed over.
    pub async fn replay<V>(&self, visit: Arc<V>) -> Result<(Vec<Part>, Replayed), Arc<HomeError>>
    where
        V: Fn(u64, Record) + Send + Sync + 'static,
    {
        let (mut total, mut parts) = (Replayed::default(), BTreeMap::<u64, u64>::new());
        let mut fetched = stream::iter(self.open.clone()).map(|n| self.fetch(n)).buffered(FETCHES);
        let mut readers = JoinSet::new();
        loop {
            while readers.len() >= READERS {
                self.count(readers.join_next().await, &mut parts, &mut total).await?;
            }
            match fetched.next().await.transpose()? {
                Some(Fetched::Segment { generation, sequence, body }) => {
                    self.held.note(generation, sequence);
                    let visit = visit.clone();
                    if body.len() <= INLINE {
                        let read = read(body, generation, sequence, &*visit);
                        self.count(Some(Ok(read)), &mut parts, &mut total).await?;
                    } else {
                        readers.spawn_blocking(move || read(body, generation, sequence, &*visit));
                    }
                }
                Some(Fetched::Damaged { sequence, bytes }) => {
                    total.damaged += 1;
                    total.damaged_bytes += bytes.len() as u64;
                    self.set_aside(sequence, bytes).await?;
                }
                // An earlier claimer's: what stands behind it was never acknowledged.
                Some(Fetched::Fence { sequence }) => {
                    self.held.note_fence(sequence);
                    break;
                }
                None => break,
            }
        }
        while !readers.is_empty() {
            self.count(readers.join_next().await, &mut parts, &mut total).await?;
        }
        let (epoch, log) = (self.held.epoch().number, self.held.log());
        let part = |(number, records)| Part { generation: Generation { epoch, number, log }, records };
        Ok((parts.into_iter().map(part).collect(), total))
    }

    async fn fetch(&self, sequence: u64) -> Result<Fetched, Arc<HomeError>> {
        let bytes = match self.objects.get(&self.held.epoch().segment(sequence)).await {
            Ok(bytes) => bytes,
            Err(error) => {
                // Where another claimed it and is done with it, that is the better answer.
                self.held.confirm().await?;
                return Err(store(error));
            }
        };
        Ok(match segment::decode(&bytes) {
            Some(segment::Object::Fence(_)) => Fetched::Fence { sequence },
            Some(segment::Object::Segment(head, body))
                if head.log == self.held.log() && head.sequence == sequence =>
            {
                Fetched::Segment { generation: head.generation, sequence, body }
            }
            _ => Fetched::Damaged { sequence, bytes },
        })
    }

    async fn count(
        &self,
        read: Option<Result<Read, tokio::task::JoinError>>,
        parts: &mut BTreeMap<u64, u64>,
        total: &mut Replayed,
    ) -> Result<(), Arc<HomeError>> {
        let Some(Ok(Read { generation, sequence, records, damage })) = read else {
            return Err(Arc::new(HomeError::Closed));
        };
        *parts.entry(generation).or_default() += records;
        total.records += records;
        for (bytes, len) in damage {
            total.damaged += 1;
            total.damaged_bytes += len;
            self.set_aside(sequence, bytes).await?;
        }
        Ok(())
    }

    async fn set_aside(&self, sequence: u64, bytes: Bytes) -> Result<(), Arc<HomeError>> {
        let key = self.held.epoch().damaged(sequence);
        tracing::error!(epoch = %self.held.epoch(), sequence, aside = key, "damaged bytes in the write-ahead log: set aside and passed over");
        self.objects.put(&key, bytes).await.map_err(store)
    }
}

/// What was read of one segment.
struct Read {
    generation: u64,
    sequence: u64,
    records: u64,
    damage: Vec<(Bytes, u64)>,
}

fn read<V: Fn(u64, Record)>(body: Body, generation: u64, sequence: u64, visit: &V) -> Read {
    let mut read = Read { generation, sequence, records: 0, damage: Vec::new() };
    let len = body.len() as u64;
    let failed = match body.source() {
        Ok(source) => {
            let scanned = scan(source, &mut |record| visit(generation, record));
            read.records = scanned.records;
            let damage = scanned.damage.into_iter();
            read.damage = damage.map(|found| (Bytes::from(found.kept), found.len)).collect();
            scanned.failed
        }
        Err(error) => Some(error),
    };
    if let Some(error) = failed {
        tracing::error!(sequence, %error, "a segment of the write-ahead log cannot be unpacked to its end");
        read.damage.push((Bytes::new(), len));
    }
    read
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} records)", self.generation, self.records)
    }
}
