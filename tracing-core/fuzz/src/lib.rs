//! What the fuzz targets share: an allocator that holds them to a limit, a block that lies in memory, and a way
//! to read all of it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracing_core::{
    block::{BlockError, Footer, Meta, Scan, Step},
    model::{BlockId, Tenant, TraceId},
    table::{Column, Level, Projection, SpanTable},
};

/// Most bytes that may be allocated at once, and by one allocation: `VIVACE_FUZZ_MIB`, 1,100 MiB if not given.
struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The limit of what is done now.
static CEILING: AtomicUsize = AtomicUsize::new(LIMIT);
const LIMIT: usize = match option_env!("VIVACE_FUZZ_MIB") {
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(mib) => mib << 20,
        Err(_) => panic!("VIVACE_FUZZ_MIB: expected a number"),
    },
    None => 1100 << 20,
};

// Safety: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if live > CEILING.load(Ordering::Relaxed) {
            // The report may allocate what it needs.
            let limit = CEILING.swap(usize::MAX, Ordering::Relaxed);
            panic!("{live} bytes are allocated, {} of them at once: the limit is {limit}", layout.size());
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Does `work` with `bytes` of memory more than there are now, and within `time`.
///
/// # Panics
/// Where it takes more, with what it was done with.
pub fn within(bytes: usize, time: Duration, with: &str, work: impl FnOnce()) {
    let began = Instant::now();
    CEILING.store(LIVE.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    work();
    CEILING.store(LIMIT, Ordering::Relaxed);
    let took = began.elapsed();
    assert!(took <= time, "{took:?} of {time:?}: {} bytes `{with:.2000}`", with.len());
}

/// Most bytes of data that a scan may ask for, over all its steps: a scan that asks again and again for the
/// same is one that never ends.
const MAX_ASKED: u64 = 1 << 30;

/// The meta of a block of `format` whose data is `data`.
pub fn meta(format: &str, data: &[u8]) -> Option<Meta> {
    let trailer = data.len().checked_sub(8).and_then(|at| data.get(at..at + 4))?;
    let footer = u32::from_le_bytes(trailer.try_into().ok()?);
    let (id, size) = (BlockId(uuid::Uuid::nil()), data.len());
    let json = format!(
        r#"{{"format":"{format}","blockID":"{id}","tenantID":"{}","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","totalObjects":1,"size":{size},"totalRecords":1,"bloomShards":1,"footerSize":{footer},"dedicatedColumns":[{{"n":"http.request.method"}},{{"n":"url.path"}},{{"s":"resource","n":"k8s.cluster.name"}}]}}"#,
        Tenant::single()
    );
    Meta::from_json(json.as_bytes()).ok()
}

/// Reads a block in every way in which the product reads one.
///
/// # Errors
/// What is wrong with it.
pub fn read(meta: &Meta, data: &Bytes) -> Result<(), BlockError> {
    let end = Footer::range(meta);
    let tail = slice(data, &end).ok_or_else(|| out_of_file(&end))?;
    let footer = Arc::new(Footer::decode(meta, tail)?);
    let some = Projection::Some {
        columns: vec![Column::Name, Column::NestedSet, Column::EventName, Column::Root],
        attributes: vec![(Level::Span, "http.url".to_owned()), (Level::Resource, "cluster".to_owned())],
    };
    let every = Scan::new(meta, Arc::clone(&footer), 0..usize::MAX, Projection::Everything)?;
    let tables = drive(every, data);
    let _ = drive(Scan::new(meta, Arc::clone(&footer), 0..usize::MAX, some)?, data);
    let id = tables.as_ref().ok().and_then(|tables| tables.first()?.traces.id.first().copied());
    let _ = drive(Scan::trace(meta, footer, id.unwrap_or(TraceId([7; 16])))?, data);
    for table in tables? {
        whole(&table);
    }
    Ok(())
}

fn out_of_file(range: &Range<u64>) -> BlockError {
    BlockError::Limit { part: "file".to_owned(), what: "its end", found: range.end, limit: range.start }
}

fn slice(data: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (from, to) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (from <= to && to <= data.len()).then(|| data.slice(from..to))
}

fn drive(mut scan: Scan, data: &Bytes) -> Result<Vec<SpanTable>, BlockError> {
    let (mut tables, mut asked) = (Vec::new(), 0);
    loop {
        match scan.next()? {
            Step::Done => return Ok(tables),
            Step::Table(table) => tables.push(table),
            Step::Need(ranges) => {
                let mut supplied = Vec::new();
                for range in ranges {
                    asked += range.end - range.start;
                    assert!(asked <= MAX_ASKED, "a scan asks for {asked} bytes of {}", data.len());
                    let bytes = slice(data, &range).ok_or_else(|| out_of_file(&range))?;
                    supplied.push((range, bytes));
                }
                scan.supply(supplied)?;
            }
        }
    }
}

/// A table that came out of a scan is one that everything else can be done with.
pub fn whole(table: &SpanTable) {
    assert_eq!(table.spans.id.len(), table.span_count(), "columns of spans are as long as their levels");
    assert_eq!(table.traces.id.len(), table.trace_count());
    for trace in 0..table.trace_count().min(8) {
        let _ = tracing_core::table::render::otlp(table, trace);
        let _ = tracing_core::table::render::resource_spans_json(table, trace);
    }
}
