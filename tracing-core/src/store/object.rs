//! Requests to a bucket. IO.

use std::{fs::File, path::Path as FilePath};

use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutResult, UploadPart};

use super::{StoreError, blocks::blocking, blocks::path, disk};

/// Bytes of one part of a large upload; S3 wants at least 5 MiB and takes 10,000 parts.
const PART: usize = 8 << 20;

pub(super) async fn put(store: &dyn ObjectStore, key: &str, payload: PutPayload) -> Result<(), StoreError> {
    let put = async { store.put(&path(key)?, payload).await };
    put.await.map(drop_result).map_err(|e| StoreError::object("write", key, e))
}

/// Deletes an object; one that is not there is deleted.
pub(super) async fn delete(store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
    let delete = async { store.delete(&path(key)?).await };
    match delete.await {
        Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
        Err(e) => Err(StoreError::object("delete", key, e)),
    }
}

/// Uploads a file, piece by piece where it is large; never more than two pieces are in memory.
pub(super) async fn upload(store: &dyn ObjectStore, key: &str, file: &FilePath) -> Result<(), StoreError> {
    let (mut file, first) = {
        let file = file.to_owned();
        blocking(move || {
            let mut open = File::open(&file).map_err(|e| StoreError::disk("open", &file, e))?;
            let first = disk::read_piece(&mut open, PART).map_err(|e| StoreError::disk("read", &file, e))?;
            Ok((open, first))
        })
        .await?
    };
    if first.len() < PART {
        return put(store, key, first.into()).await;
    }
    let start = async { store.put_multipart(&path(key)?).await };
    let mut upload = start.await.map_err(|e| StoreError::object("write", key, e))?;
    let sent = async {
        let mut under_way: UploadPart = upload.put_part(first.into());
        loop {
            let name = FilePath::new(key).to_owned();
            let (open, piece) = blocking(move || {
                let piece =
                    disk::read_piece(&mut file, PART).map_err(|e| StoreError::disk("read", &name, e))?;
                Ok((file, piece))
            })
            .await?;
            file = open;
            under_way.await.map_err(|e| StoreError::object("write", key, e))?;
            if piece.is_empty() {
                return Ok(());
            }
            under_way = upload.put_part(piece.into());
        }
    };
    let sent: Result<(), StoreError> = sent.await;
    finish(upload, key, sent).await
}

/// Completes an upload, or takes back the parts of one that failed: they would be paid for unseen.
async fn finish(
    mut upload: Box<dyn MultipartUpload>,
    key: &str,
    sent: Result<(), StoreError>,
) -> Result<(), StoreError> {
    let done = match sent {
        Ok(()) => upload.complete().await.map(drop_result).map_err(|e| StoreError::object("write", key, e)),
        Err(e) => Err(e),
    };
    if done.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(key, %error, "parts of a failed upload could not be taken back");
    }
    done
}

fn drop_result(_: PutResult) {}
