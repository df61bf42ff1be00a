//! SpanTable: the one shape in which spans are searched, built and stored.
//!
//! Columns at five nested levels — traces, resources, scopes, spans, and events and links — where each
//! level's rows of one parent stand side by side, so that a parent is a range of its children. Strings are
//! codes into one dictionary per table. Pure: no IO, no clock.

mod bitmap;
mod build;
mod columns;
mod kin;
mod live;
mod piece;
pub mod render;
mod size;
mod strings;
mod value_column;
mod view;

pub mod evaluate;

pub use bitmap::Bitmap;
pub(crate) use build::Tree;
pub use build::{Recode, TableBuilder};
pub use columns::{
    Attributes, Column, Events, Level, Links, Offsets, Projection, Resources, Scopes, SpanTable, Spans,
    Traces, Value, ValueKind,
};
pub use kin::{Generations, with_kin};
pub use live::{Frozen, Live, LiveTable, LiveView, Part, Pushed};
pub use piece::{Piece, PieceOf};
pub use strings::{Code, Strings};
pub use value_column::ValueColumn;
pub use view::View;
