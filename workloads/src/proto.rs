//! The messages on the wire, generated from `proto/`: Tempo's public ones and those between our own roles.
//!
//! Never edit the included files: `UPDATE_PROTO=1 cargo test -p vivace --test it proto` writes them anew, and
//! the same test without the variable fails when they are stale.

/// Tempo's public messages.
#[allow(
    clippy::all,
    clippy::pedantic,
    missing_debug_implementations,
    unused_qualifications,
    reason = "generated"
)]
pub mod tempopb {
    include!("proto/tempopb.rs");

    /// Values and attributes.
    pub mod common {
        /// Version 1.
        pub mod v1 {
            include!("proto/tempopb.common.v1.rs");
        }
    }

    /// What emitted spans.
    pub mod resource {
        /// Version 1.
        pub mod v1 {
            include!("proto/tempopb.resource.v1.rs");
        }
    }

    /// Spans.
    pub mod trace {
        /// Version 1.
        pub mod v1 {
            include!("proto/tempopb.trace.v1.rs");
        }
    }
}

/// Messages between our own roles.
pub mod vivace {
    /// Version 1.
    #[allow(
        clippy::all,
        clippy::pedantic,
        missing_debug_implementations,
        unused_qualifications,
        reason = "generated"
    )]
    pub mod v1 {
        include!("proto/vivace.v1.rs");
    }
}
