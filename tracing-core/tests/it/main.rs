//! Integration tests of the library, in one binary.

mod differential;
mod house;
mod live;
mod lookup;
mod wire;
