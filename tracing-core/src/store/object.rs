//! Requests to a bucket. IO.

use std::{fs::File, path::Path as FilePath, time::Duration};

use bytes::Bytes;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult,
    UploadPart,
};
use tokio::time::sleep;

use super::{
    Access, StoreError, disk,
    objects::{blocking, path},
};

/// Largest object that is read whole.
const MAX_WHOLE: u64 = 1 << 30;

/// Attempts of a read whose body ended early; what the server refuses, its client has repeated already.
pub(super) const ATTEMPTS: usize = 3;

/// Pauses between attempts of a conditional put, which the client does not repeat by itself: its answer may
/// have been lost, and it takes a look at the object to know.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// Reads an object, again where its body ends early.
pub(super) async fn get(store: &dyn ObjectStore, key: &str) -> Result<Bytes, StoreError> {
    let location = path(key).map_err(|e| StoreError::object("read", key, e))?;
    let mut attempt = 1;
    loop {
        let answer = store.get(&location).await.map_err(|e| StoreError::object("read", key, e))?;
        let wanted = answer.meta.size;
        if wanted > MAX_WHOLE {
            return Err(StoreError::TooLarge { key: key.to_owned(), size: wanted, limit: MAX_WHOLE });
        }
        let bytes = answer.bytes().await.map_err(|e| StoreError::object("read", key, e))?;
        let got = bytes.len() as u64;
        if got == wanted {
            return Ok(bytes);
        }
        if attempt == ATTEMPTS {
            return Err(StoreError::Short { key: key.to_owned(), start: 0, wanted, got });
        }
        attempt += 1;
    }
}

pub(super) async fn put(store: &dyn ObjectStore, key: &str, payload: PutPayload) -> Result<(), StoreError> {
    let put = async { store.put(&path(key)?, payload).await };
    put.await.map(drop_result).map_err(|e| StoreError::object("write", key, e))
}

/// Puts an object if there is none; `false` where there is one, which may be that of a first attempt whose
/// answer was lost.
pub(super) async fn create(store: &dyn ObjectStore, key: &str, bytes: &Bytes) -> Result<bool, StoreError> {
    let mut pauses = AGAIN.into_iter();
    loop {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = async { store.put_opts(&path(key)?, bytes.clone().into(), options).await };
        match (put.await, pauses.next()) {
            (Ok(_), _) => return Ok(true),
            (Err(Error::AlreadyExists { .. } | Error::Precondition { .. }), _) => return Ok(false),
            (Err(e), Some(pause)) if may_pass(&e) => sleep(pause).await,
            (Err(e), _) => return Err(StoreError::object("write", key, e)),
        }
    }
}

/// Whether an error may be gone the next time.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. } | Error::JoinError { .. })
}

/// Deletes an object; one that is not there is deleted.
pub(super) async fn delete(store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
    let delete = async { store.delete(&path(key)?).await };
    match delete.await {
        Err(Error::NotFound { .. }) | Ok(()) => Ok(()),
        Err(e) => Err(StoreError::object("delete", key, e)),
    }
}

/// Uploads a file, piece by piece where it is large; never more than two pieces are in memory.
pub(super) async fn upload(
    store: &dyn ObjectStore,
    key: &str,
    file: &FilePath,
    access: &Access,
) -> Result<(), StoreError> {
    let (mut file, first, size) = {
        let (file, access) = (file.to_owned(), access.clone());
        blocking(move || {
            let mut open = File::open(&file).map_err(|e| StoreError::disk("open", &file, e))?;
            let length = open.metadata().map_err(|e| StoreError::disk("read", &file, e))?.len();
            let size = access.part(length);
            let first = disk::read_piece(&mut open, size).map_err(|e| StoreError::disk("read", &file, e))?;
            Ok((open, first, size))
        })
        .await?
    };
    if first.len() < size {
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
                    disk::read_piece(&mut file, size).map_err(|e| StoreError::disk("read", &name, e))?;
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
