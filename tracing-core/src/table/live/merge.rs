//! Keeps the number of tables small: of each size there are only a few, and what is struck out goes.
//!
//! A span is copied once for each size its table passes through, so at most three times.

use super::{Live, TABLE_SPANS, Table};
use crate::table::build::{Recode, TableBuilder};

/// Tables of one size that are merged into one of the next.
const FAN_IN: usize = 8;
/// Spans below which all tables are of the smallest size.
const SMALLEST: usize = 256;
/// Struck-out spans that a table may hold whatever the number of those alive.
const SLACK: usize = 1024;

/// The size of a table: 0 for the smallest, or `None` for one that is not merged any more.
fn size(table: &Table) -> Option<u32> {
    let spans = table.alive_spans;
    (spans < TABLE_SPANS).then(|| (spans / SMALLEST).checked_ilog(FAN_IN).map_or(0, |size| size + 1))
}

impl Live {
    /// Merges until there are fewer than [`FAN_IN`] tables of each size, and no table is mostly struck out.
    pub(super) fn merge(&mut self) {
        self.tables.retain(|_, table| table.alive_spans > 0);
        let mostly_dead = |table: &Table| {
            let dead = table.table.span_count() - table.alive_spans;
            dead > table.alive_spans.max(SLACK)
        };
        let dead: Vec<u32> =
            self.tables.iter().filter(|(_, table)| mostly_dead(table)).map(|(&at, _)| at).collect();
        for at in dead {
            self.merge_tables(&[at]);
        }
        while let Some(group) = self.crowded() {
            self.merge_tables(&group);
        }
    }

    /// Tables of the smallest size of which there are too many.
    fn crowded(&self) -> Option<Vec<u32>> {
        let mut by_size: Vec<Vec<u32>> = Vec::new();
        for (&at, table) in &self.tables {
            let Some(size) = size(table) else { continue };
            if by_size.len() <= size as usize {
                by_size.resize(size as usize + 1, Vec::new());
            }
            if let Some(same) = by_size.get_mut(size as usize) {
                same.push(at);
            }
        }
        by_size.into_iter().find(|same| same.len() >= FAN_IN)
    }

    fn merge_tables(&mut self, group: &[u32]) {
        let mut builder = TableBuilder::keeping_duplicates().tidily();
        let mut built = Vec::new();
        for at in group {
            let Some(source) = self.tables.remove(at) else { continue };
            let mut recode = Recode::of(&source.table);
            for trace in source.alive.iter() {
                let Some(&id) = source.table.traces.id.get(trace) else { continue };
                builder.begin(id);
                builder.add_rows_with(&source.table, trace, &mut recode);
                if let Some(row) = builder.end() {
                    built.push((id, row as u32));
                }
            }
        }
        self.install(builder.finish(), &built);
    }
}
