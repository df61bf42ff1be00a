//! A block row group by row group as tables, read as the product reads it. IO.

use std::sync::Arc;

use anyhow::Context as _;
use tracing_core::{
    block::{Footer, Meta, Scan, Step},
    model::TraceId,
    store::{DATA, Objects},
    table::{Projection, SpanTable},
};

use super::survey::Block;

/// A block whose tables are asked for one after the other.
pub(super) struct Tables {
    objects: Objects,
    key: String,
    meta: Arc<Meta>,
    footer: Arc<Footer>,
    group: usize,
}

impl Tables {
    /// Reads the footer.
    pub(super) async fn open(objects: &Objects, block: &Block, meta: &Meta) -> anyhow::Result<Self> {
        let key = block.key(DATA);
        let tail = objects.get_range(&key, Footer::range(meta)).await?;
        let footer = Arc::new(Footer::decode(meta, tail)?);
        Ok(Self { objects: objects.clone(), key, meta: Arc::new(meta.clone()), footer, group: 0 })
    }

    /// The next row group that has traces.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<SpanTable>> {
        while self.group < self.footer.row_groups() {
            let groups = self.group..self.group + 1;
            self.group += 1;
            let scan = Scan::new(&self.meta, Arc::clone(&self.footer), groups, Projection::Everything)?;
            let table = self.drive(scan).await.with_context(|| format!("row group {}", self.group - 1))?;
            if table.is_some() {
                return Ok(table);
            }
        }
        Ok(None)
    }

    /// One trace.
    pub(super) async fn trace(&self, id: TraceId) -> anyhow::Result<Option<SpanTable>> {
        self.drive(Scan::trace(&self.meta, Arc::clone(&self.footer), id)?).await
    }

    async fn drive(&self, mut scan: Scan) -> anyhow::Result<Option<SpanTable>> {
        loop {
            let ranges = match scan.next()? {
                Step::Done => return Ok(None),
                Step::Table(table) => return Ok(Some(table)),
                Step::Need(ranges) => ranges,
            };
            let bytes = self.objects.get_ranges(&self.key, &ranges).await?;
            scan.supply(ranges.into_iter().zip(bytes).collect())?;
        }
    }
}
