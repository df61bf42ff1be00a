//! What lies in a store, as a listing of its objects shows it: also blocks that are not visible yet or no more. IO.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::{META, Objects},
};

/// The object that stands in for `meta.json` once a block is replaced or expired.
pub(super) const COMPACTED: &str = "meta.compacted.json";

/// Blocks by tenant and id, with their objects.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) tenants: BTreeMap<Tenant, BTreeMap<BlockId, Seen>>,
}

/// The objects of one block: name, length in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) objects: BTreeMap<String, u64>,
    /// When `meta.compacted.json` was written.
    pub(super) compacted: Option<Timestamp>,
}

/// A block by its place.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) tenant: Tenant,
    pub(super) id: BlockId,
    pub(super) seen: Seen,
}

impl Survey {
    /// Lists the blocks of a tenant, or of all.
    pub(super) async fn take(objects: &Objects, tenant: Option<&Tenant>) -> anyhow::Result<Self> {
        let mut survey = Self::default();
        for object in objects.list(tenant.map_or("", Tenant::as_str)).await? {
            let mut parts = object.key.split('/');
            let (Some(tenant), Some(block), Some(name), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            // Tenants of ours do not begin so: what does is the log, filters and jobs.
            if tenant.starts_with('~') {
                continue;
            }
            let (Ok(tenant), Ok(block)) = (Tenant::new(tenant), block.parse()) else { continue };
            let seen = survey.tenants.entry(tenant).or_default().entry(BlockId(block)).or_default();
            if name == COMPACTED {
                seen.compacted = Some(object.modified);
            }
            seen.objects.insert(name.to_owned(), object.size);
        }
        Ok(survey)
    }

    /// All blocks, tenant by tenant.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        self.tenants.iter().flat_map(|(tenant, blocks)| {
            blocks.iter().map(|(id, seen)| Block { tenant: tenant.clone(), id: *id, seen: seen.clone() })
        })
    }

    /// The one block whose id begins with `text`.
    pub(super) fn find(&self, text: &str) -> anyhow::Result<Block> {
        let wanted = text.to_ascii_lowercase();
        let mut found = self.blocks().filter(|block| block.id.to_string().starts_with(&wanted));
        let block = found.next().with_context(|| format!("block {text}: there is none in this store"))?;
        if let Some(other) = found.next() {
            bail!("block {text}: {} and {} begin so, write more of the id", block.id, other.id);
        }
        Ok(block)
    }
}

impl Seen {
    /// Whether readers see the block.
    pub(super) fn is_live(&self) -> bool {
        self.objects.contains_key(META)
    }

    /// The object that holds the meta, if any does.
    pub(super) fn meta_name(&self) -> Option<&'static str> {
        [META, COMPACTED].into_iter().find(|name| self.objects.contains_key(*name))
    }

    /// Bytes of all objects.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.values().sum()
    }
}

impl Block {
    /// The key of one of its objects.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.tenant, self.id)
    }

    /// Its meta, live or compacted; compacted ones say since when.
    pub(super) async fn meta(&self, objects: &Objects) -> anyhow::Result<Meta> {
        let name = self.seen.meta_name().with_context(|| format!("block {}: no {META}", self.id))?;
        let key = self.key(name);
        let json = objects.get(&key).await.with_context(|| key.clone())?;
        let mut meta = Meta::from_json(&json).with_context(|| key)?;
        if name == COMPACTED {
            meta.compacted = meta.compacted.or(self.seen.compacted);
        }
        Ok(meta)
    }
}
