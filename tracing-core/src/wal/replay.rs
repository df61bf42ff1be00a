//! Reading all records of one segment.

use std::io::{self, Read};

use super::record::{Damage, Item, Record, Scan};

/// What was found in a segment.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Whole records.
    pub(super) records: u64,
    /// What lay between them.
    pub(super) damage: Vec<Damage>,
    /// Why it was not read to its end.
    pub(super) failed: Option<io::Error>,
}

/// Hands every record to `visit`, in order. Blocking.
pub(super) fn scan(source: impl Read, visit: &mut dyn FnMut(Record)) -> Scanned {
    let (mut scan, mut found) = (Scan::new(source), Scanned::default());
    loop {
        match scan.next() {
            Ok(Some(Item::Record(record))) => {
                found.records += 1;
                visit(record);
            }
            Ok(Some(Item::Damage(damage))) => found.damage.push(damage),
            Ok(None) => return found,
            Err(error) => {
                found.failed = Some(error);
                return found;
            }
        }
    }
}
