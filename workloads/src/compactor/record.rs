//! The record of a job in the store: what replaces what. Who puts it first does the job; anyone can finish it.
//!
//! Several who begin at once may put records that overlap, one beside the other or one after the other. So a record
//! counts only if, when it stands, no other does that names one of the same blocks, and all of these are still
//! there (rule *one-record-a-job*). Of two who put their records at the same time at least one sees the other's and
//! withdraws; who comes when the other's has gone finds blocks marked. Only when that is settled is the output made
//! visible, and once it is, the record counts. It is finished even if the record was withdrawn at the same moment by
//! one who saw half of it: what a visible block replaces its meta says, too, and before that block is replaced in turn
//! its inputs are marked (rule *whole-before-replaced*).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing_core::{
    block::Meta,
    model::{BlockId, Tenant},
    store::{JOBS, META, Object},
};

use super::{Compactor, WorkError, owner};
use crate::membership::Role;

/// What a block that was replaced or has expired has in the place of its `meta.json`.
const COMPACTED: &str = "meta.compacted.json";
/// How often the records of a tenant are looked for that others left behind.
const LOOK_EVERY: Duration = Duration::from_mins(5);

/// What is done by a job. The output's id is random, so that no two jobs have the same record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Ascending.
    pub(super) inputs: Vec<BlockId>,
    /// What they become.
    pub(super) output: Meta,
}

/// When a tenant's records were last looked for.
pub(super) type Looked = Mutex<std::collections::HashMap<Tenant, Instant>>;

impl Record {
    pub(super) fn new(inputs: &[Arc<Meta>], output: &Meta) -> Self {
        let mut inputs: Vec<BlockId> = inputs.iter().map(|meta| meta.id).collect();
        inputs.sort_unstable_by_key(|id| id.0);
        Self { inputs, output: output.clone() }
    }

    /// Where it stands: the same for all who merge the same blocks.
    pub(super) fn key(&self) -> String {
        let fold = |seed: u64| {
            let bytes = self.inputs.iter().flat_map(|id| id.0.into_bytes());
            bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        };
        let (high, low) = (fold(0xcbf2_9ce4_8422_2325), fold(0x9e37_79b9_7f4a_7c15));
        format!("{}/{high:016x}{low:016x}", folder(&self.output.tenant))
    }

    pub(super) fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).expect("ids and a meta always become JSON").into()
    }

    fn overlaps(&self, inputs: &HashSet<BlockId>) -> bool {
        self.inputs.iter().any(|input| inputs.contains(input))
    }
}

fn folder(tenant: &Tenant) -> String {
    format!("{JOBS}/{tenant}")
}

impl Compactor {
    /// Does what is left of a job whose record is there: makes the output visible, marks the inputs, and takes
    /// the record away.
    pub(super) async fn finish(&self, key: &str, record: &Record) -> Result<(), WorkError> {
        let tenant = &record.output.tenant;
        self.reached("publish")?;
        self.store.publish(&Arc::new(record.output.clone())).await?;
        if !self.was_visible(&record.output).await? {
            // Deleted before anyone could see it. The inputs stay what is read.
            self.store.objects().delete(key).await?;
            return Err(WorkError::Record { key: key.to_owned(), reason: "its output is gone".to_owned() });
        }
        for (n, input) in record.inputs.iter().enumerate() {
            self.reached(if n == 0 { "mark the first input" } else { "mark another input" })?;
            match self.store.mark_compacted(tenant, *input).await {
                // Deleted since, so that it was marked before.
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        self.reached("remove the record")?;
        Ok(self.store.objects().delete(key).await?)
    }

    /// Marks what a visible block replaces, where whoever made it did not come to it.
    pub(super) async fn make_whole(&self, made: &Meta) -> Result<(), WorkError> {
        for input in made.replaces.iter().filter(|input| **input != made.id) {
            if self.has(&made.tenant, *input, META).await? {
                tracing::info!(output = %made.id, %input, "a block that was replaced is marked, which its job did not");
                self.store.mark_compacted(&made.tenant, *input).await?;
            }
        }
        Ok(())
    }

    /// Whether a block can be seen, or could before it was replaced.
    async fn was_visible(&self, output: &Meta) -> Result<bool, WorkError> {
        // In this order: a block that is marked has its second meta before it loses the first.
        Ok(self.has(&output.tenant, output.id, META).await?
            || self.has(&output.tenant, output.id, COMPACTED).await?)
    }

    /// Finishes the jobs of a tenant that other compactors left behind.
    pub(super) async fn finish_left_behind(&self, tenant: &Tenant) -> Result<(), WorkError> {
        let members = self.membership.members(Role::Compactor);
        if !owner::is_own(&members, &folder(tenant)) || !self.is_time_to_look(tenant) {
            return Ok(());
        }
        for object in self.store.objects().list(&folder(tenant)).await? {
            if let Some(record) = self.read(&object).await? {
                self.take_over(&object, &record).await?;
            }
        }
        Ok(())
    }

    /// Finishes another's job, or withdraws it, unless its record is so young that the other may be at it.
    pub(super) async fn take_over(&self, object: &Object, record: &Record) -> Result<(), WorkError> {
        let age = self.store.now().duration_since(object.modified);
        if age.unsigned_abs() < self.options.takeover {
            return Ok(());
        }
        if !self.was_visible(&record.output).await? && !self.is_valid(record).await? {
            return self.withdraw(&object.key, record).await;
        }
        tracing::info!(key = object.key, output = %record.output.id, "a job that was left behind is finished");
        self.finish(&object.key, record).await?;
        self.metrics.finished_for_another();
        Ok(())
    }

    /// Whether a record that stands counts, while its output is not visible yet. In this order: what another has
    /// done with the same blocks is to be seen as long as its record stands, and by the blocks when that has gone.
    pub(super) async fn is_valid(&self, record: &Record) -> Result<bool, WorkError> {
        Ok(self.rival(record).await?.is_none() && self.are_live(record).await?)
    }

    /// Whether all inputs of a job are there to be read.
    pub(super) async fn are_live(&self, record: &Record) -> Result<bool, WorkError> {
        for input in &record.inputs {
            // A block that has both was marked, and its writer came late.
            if self.has(&record.output.tenant, *input, COMPACTED).await?
                || !self.has(&record.output.tenant, *input, META).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn has(&self, tenant: &Tenant, block: BlockId, name: &str) -> Result<bool, WorkError> {
        match self.store.objects().get(&format!("{tenant}/{block}/{name}")).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn is_time_to_look(&self, tenant: &Tenant) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        looked.retain(|_, at| now.duration_since(*at) < LOOK_EVERY);
        if looked.contains_key(tenant) {
            return false;
        }
        looked.insert(tenant.clone(), now);
        true
    }

    /// A record of another job that replaces some of the same blocks, if there is one.
    pub(super) async fn rival(&self, own: &Record) -> Result<Option<(Object, Record)>, WorkError> {
        let inputs: HashSet<BlockId> = own.inputs.iter().copied().collect();
        for object in self.store.objects().list(&folder(&own.output.tenant)).await? {
            if let Some(record) = self.read(&object).await?
                && record.overlaps(&inputs)
                && record.output.id != own.output.id
            {
                return Ok(Some((object, record)));
            }
        }
        Ok(None)
    }

    /// The record that is there already under a key.
    pub(super) async fn record_at(&self, key: &str) -> Result<Option<Record>, WorkError> {
        match self.store.objects().get(key).await {
            Ok(bytes) => parse(key, &bytes).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, object: &Object) -> Result<Option<Record>, WorkError> {
        match self.record_at(&object.key).await {
            // What cannot be read is nobody's job; it stays for a human to look at, and stops nothing.
            Err(WorkError::Record { key, reason }) => {
                tracing::error!(key, reason, "a job record cannot be read");
                Ok(None)
            }
            other => other,
        }
    }

    /// The block's own meta, which may be newer than the list's; `None` where the block is gone.
    pub(super) async fn live(&self, meta: &Meta) -> Result<Option<Arc<Meta>>, WorkError> {
        let key = format!("{}/{}/meta.json", meta.tenant, meta.id);
        let json = match self.store.objects().get(&key).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match Meta::from_json(&json) {
            Ok(fresh) if fresh.id == meta.id && fresh.tenant == meta.tenant => Ok(Some(Arc::new(fresh))),
            _ => Err(WorkError::Record { key, reason: "it is no meta of this block".to_owned() }),
        }
    }
}

fn parse(key: &str, bytes: &[u8]) -> Result<Record, WorkError> {
    let wrong = |reason: String| WorkError::Record { key: key.to_owned(), reason };
    let record: Record = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if record.key() != key {
        return Err(wrong("it stands under another job's key".to_owned()));
    }
    Ok(record)
}
