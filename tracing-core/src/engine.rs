//! IO: drives plans over live tables and blocks, and brings partial answers together.

mod combine;

pub use combine::{Combiner, SearchLimits, SearchPart, SearchStats};
