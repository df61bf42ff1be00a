//! A plan held against a [`SpanTable`](super::SpanTable), column at a time.
//!
//! A comparison is decided once for each dictionary code and looked up after that; what holds for a trace, a
//! resource or a scope is set for its range of spans at once; booleans are bitmaps. Pure: no IO, no clock.

mod hit;

pub use hit::{OwnedValue, ROOT_NOT_RECEIVED, ServiceStats, SpanHit, SpanSet, TimeRange, TraceHit};
