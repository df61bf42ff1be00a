//! What a writer remembers, beside a block that it stores, from just before it makes the block visible on (rule
//! *no-return*). IO, blocking.
//!
//! A writer that dies before it hears that `meta.json` stands, and comes back when the block was compacted and
//! deleted, finds of it what it would find had it never been stored: nothing. The time that it left here tells: what
//! was uploaded before it, and was never visible, is not swept away for [`ORPHAN_AGE`].

use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::{StoreError, disk, objects::Place, orphans::ORPHAN_AGE};

/// Hidden from uploads, as what begins with a dot is.
const FILE: &str = ".announced";
/// For so long nothing is missing of a block that was uploaded but what a deletion took: far from the age at which a
/// sweep takes it, as the two go by different clocks.
const TELLS: Duration = Duration::from_hours(ORPHAN_AGE.as_secs() / 3600 / 4);

/// Notes that the block in `dir` was uploaded to `place` and is about to be made visible there. One that cannot be
/// noted, as on a full disk, is stored all the same: that frees the disk.
pub(super) fn note(dir: &Path, place: &Place, now: Timestamp) {
    if let Err(error) = disk::write(&dir.join(FILE), format!("{now} {place}").as_bytes()) {
        tracing::debug!(%error, "it was not noted that a block is made visible");
    }
}

/// Before what was uploaded is taken away by other means than a deletion.
///
/// # Errors
/// What the disk says.
pub(super) fn retract(dir: &Path) -> Result<(), StoreError> {
    disk::remove(&dir.join(FILE))
}

/// Whether the block in `dir` was about to be made visible in `place` so recently that a sweep cannot have taken it
/// since.
pub(super) fn is_recent(dir: &Path, place: &Place, now: Timestamp) -> bool {
    let Ok(bytes) = disk::read(&dir.join(FILE)) else { return false };
    let text = String::from_utf8_lossy(&bytes);
    let Some((at, there)) = text.split_once(' ') else { return false };
    let age = at.parse::<Timestamp>().ok().and_then(|at| Duration::try_from(now.duration_since(at)).ok());
    there == place.to_string() && age.is_some_and(|age| age < TELLS)
}
