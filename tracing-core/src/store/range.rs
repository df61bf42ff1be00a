//! Reading parts of an object in a bucket: neighbours by one request, a slow request once more. IO.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::FuturesUnordered};
use object_store::{Error, GetOptions, ObjectStore, path::Path};
use tokio::time::sleep;

use super::{StoreError, object::ATTEMPTS, objects::path, requests::RequestStats};

/// Ranges that are at most so many bytes apart are fetched together: a request takes longer than the bytes
/// between them.
const GAP: u64 = 512 << 10;

/// Ranges are not joined to more than so many bytes.
const MAX_REQUEST: u64 = 16 << 20;

/// Requests of one read under way at the same time.
const AT_ONCE: usize = 8;

/// When a request that takes long is made once more; the first answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// After so much time, and again after as much.
    pub after: Duration,
    /// So many requests at most, the first one among them.
    pub up_to: u32,
}

/// Reads ranges, in the order asked for.
pub(super) async fn read(
    store: &dyn ObjectStore,
    key: &str,
    ranges: &[Range<u64>],
    hedge: Option<Hedge>,
    stats: &RequestStats,
) -> Result<Vec<Bytes>, StoreError> {
    let location = path(key).map_err(|e| StoreError::object("read", key, e))?;
    let joined = join(ranges);
    let fetch = |range: Range<u64>| {
        let location = &location;
        async move {
            let bytes = hedged(hedge, stats, || whole(store, location, key, range.clone())).await?;
            Ok::<_, StoreError>((range.start, bytes))
        }
    };
    let fetched: Vec<_> = stream::iter(joined).map(fetch).buffered(AT_ONCE).try_collect().await?;
    Ok(ranges.iter().map(|range| part(&fetched, range)).collect())
}

/// Makes an attempt, and others when it takes long.
pub(super) async fn hedged<T, F: Future<Output = Result<T, StoreError>>>(
    hedge: Option<Hedge>,
    stats: &RequestStats,
    attempt: impl Fn() -> F,
) -> Result<T, StoreError> {
    let Some(Hedge { after, up_to }) = hedge else { return attempt().await };
    let mut under_way = FuturesUnordered::from_iter([attempt()]);
    let mut made = 1;
    loop {
        tokio::select! {
            biased;
            Some(result) = under_way.next() => {
                let final_answer = result.as_ref().err().is_none_or(StoreError::is_not_found);
                if final_answer || under_way.is_empty() {
                    return result;
                }
            }
            () = sleep(after), if made < up_to => {
                stats.note_hedge();
                made += 1;
                under_way.push(attempt());
            }
        }
    }
}

/// One range, tried again where the body ends early.
async fn whole(
    store: &dyn ObjectStore,
    location: &Path,
    key: &str,
    range: Range<u64>,
) -> Result<Bytes, StoreError> {
    let wanted = range.end.saturating_sub(range.start);
    let short = |got| StoreError::Short { key: key.to_owned(), start: range.start, wanted, got };
    if wanted == 0 {
        return if range.start > range.end { Err(short(0)) } else { Ok(Bytes::new()) };
    }
    let mut got = 0;
    for _ in 0..ATTEMPTS {
        let options = GetOptions::new().with_range(Some(range.clone()));
        let answer = match store.get_opts(location, options).await {
            // How each server says that there is no such range differs; which it is, is not known here.
            Err(e @ Error::NotFound { .. }) => return Err(StoreError::object("read", key, e)),
            other => other.map_err(|e| StoreError::object("read", key, e))?,
        };
        // Servers answer a range that goes past the end with what there is.
        let there = answer.range.end.saturating_sub(answer.range.start);
        if there < wanted {
            return Err(short(there));
        }
        let bytes = answer.bytes().await.map_err(|e| StoreError::object("read", key, e))?;
        got = bytes.len() as u64;
        if got == wanted {
            return Ok(bytes);
        }
    }
    Err(short(got))
}

/// Ranges that cover those asked for, ascending, each at most [`MAX_REQUEST`] long unless one alone is longer.
fn join(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last)
                if range.end <= last.end
                    || (range.start <= last.end.saturating_add(GAP)
                        && range.end - last.start <= MAX_REQUEST) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// The bytes of a range out of what was fetched.
fn part(fetched: &[(u64, Bytes)], range: &Range<u64>) -> Bytes {
    let after = fetched.partition_point(|(start, _)| *start <= range.start);
    let covers = |(start, bytes): &&(u64, Bytes)| start + bytes.len() as u64 >= range.end;
    let Some((start, bytes)) = fetched.iter().take(after).rev().find(covers) else { return Bytes::new() };
    let part = bytes.slice((range.start - start) as usize..(range.end - start) as usize);
    // A small part that is kept must not keep all that was fetched with it.
    if part.len() < bytes.len() / 2 { Bytes::copy_from_slice(&part) } else { part }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStoreExt, memory::InMemory};
    use proptest::prelude::*;

    use super::*;
    use crate::store::fault::{FaultStore, Faults};

    async fn filled(size: usize) -> (FaultStore, Vec<u8>) {
        let store = FaultStore::new(Arc::new(InMemory::new()), 3);
        let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        store.put(&Path::from("o"), data.clone().into()).await.unwrap();
        (store, data)
    }

    #[tokio::test]
    async fn neighbours_are_fetched_by_one_request_and_strangers_by_their_own() {
        let (store, data) = filled(3 << 20).await;
        let ranges = [2_000_000..2_000_010, 100..200, 0..50, 190..1000, 2_900_000..2_900_001, 7..7];
        let parts = read(&store, "o", &ranges, None, &RequestStats::default()).await.unwrap();
        for (range, part) in ranges.iter().zip(&parts) {
            assert_eq!(*part, data[range.start as usize..range.end as usize]);
        }
        assert_eq!(store.requests().gets, 3);
    }

    proptest! {
        #[test]
        fn joined_ranges_cover_all_and_stay_within_the_limit(
            asked in proptest::collection::vec((0_u64..1 << 28, 0_u64..30 << 20), 0..40)
        ) {
            let asked: Vec<_> = asked.into_iter().map(|(start, length)| start..start + length).collect();
            let longest = asked.iter().map(|r| r.end - r.start).max().unwrap_or(0);
            let joined = join(&asked);
            prop_assert!(joined.iter().all(|r| r.end - r.start <= MAX_REQUEST.max(longest)));
            prop_assert!(joined.is_sorted_by_key(|r| r.start));
            for range in &asked {
                prop_assert!(joined.iter().any(|r| r.start <= range.start && range.end <= r.end));
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_fetched_again_and_a_range_past_the_end_is_an_error() {
        let (store, data) = filled(1000).await;
        store.set(Faults { truncate: 500, ..Faults::NONE });
        let mut read_back = 0;
        for _ in 0..50 {
            match read(&store, "o", std::slice::from_ref(&(0..1000)), None, &RequestStats::default()).await {
                Ok(parts) => {
                    assert_eq!(parts[0], data);
                    read_back += 1;
                }
                Err(e) => assert!(matches!(e, StoreError::Short { .. }), "{e}"),
            }
        }
        assert!(read_back > 35, "{read_back} of 50");
        store.set(Faults::NONE);
        let past = read(&store, "o", &[0..1, 990..1001], None, &RequestStats::default()).await;
        assert!(matches!(past.unwrap_err(), StoreError::Short { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_is_made_again_and_the_first_answer_counts() {
        let stats = RequestStats::default();
        let hedge = Some(Hedge { after: Duration::from_millis(100), up_to: 3 });
        let calls = std::cell::Cell::new(0);
        let attempt = || {
            calls.set(calls.get() + 1);
            let (nth, wait) = (calls.get(), if calls.get() == 2 { 50 } else { 10_000 });
            async move {
                sleep(Duration::from_millis(wait)).await;
                Ok(nth)
            }
        };
        let begin = tokio::time::Instant::now();
        assert_eq!(hedged(hedge, &stats, attempt).await.unwrap(), 2);
        assert_eq!((begin.elapsed().as_millis(), stats.hedged()), (150, 1));

        let slow = || async {
            sleep(Duration::from_secs(1)).await;
            Err::<(), _>(StoreError::Closed)
        };
        hedged(hedge, &stats, slow).await.unwrap_err();
        assert_eq!(stats.hedged(), 3, "never more than three requests in all");
    }
}
