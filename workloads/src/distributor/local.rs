//! The ingester of this process as a keeper.

use super::{Batch, Keeper, NotTaken};
use crate::ingester::{Ingester, Push, PushError};

#[tonic::async_trait]
impl Keeper for Ingester {
    async fn keep(&self, batch: Batch) -> Result<(), NotTaken> {
        let Batch { tenant, slices } = batch;
        self.push(Push { tenant, slices }).await.map_err(|error: PushError| {
            let message = error.to_string();
            if error.retry_after().is_some() { NotTaken::Unable(message) } else { NotTaken::Wrong(message) }
        })
    }
}
