//! Integration tests of the library, in one binary.

mod allocations;
mod bounded;
mod differential;
mod house;
mod language;
mod live;
mod lookup;
mod wire;
