//! TLS of every listener and every client of this process. IO: certificates are files.
//!
//! # Flow
//! What the configuration asks for is checked ([`ServerSettings`], [`ClientSettings`]) before anything starts. Then
//! the files are read into a configuration of rustls, which a watcher exchanges whenever they change: connections
//! that are open stay as they are, new ones get what is new.
//!
//! # Guarantees
//! What is in use always fits together: certificate and key may be swapped one after the other, and until both are
//! there the pair before them serves. After the start, no state of the files stops anything.

mod accept;
mod connect;
mod material;
mod metrics;
mod names;
mod seldom;
mod settings;
mod verify;
mod watch;

pub use accept::{Acceptor, Handshaken};
pub use connect::{Connector, reasons};
pub use material::LoadError;
pub use metrics::Metrics;
pub use settings::{ClientSettings, ServerSettings, SettingError};

use std::sync::Arc;

/// How gossip is encrypted: each member shows its certificate, whether it calls or is called.
#[derive(Clone, Debug)]
pub struct Gossip {
    /// For members that call this one.
    pub accept: Arc<Acceptor>,
    /// For members that this one calls.
    pub connect: Arc<Connector>,
}

#[cfg(test)]
mod tests;
