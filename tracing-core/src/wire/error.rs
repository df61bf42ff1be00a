//! Why bytes are not what their protocol says.

/// Input that cannot be read. Every case is the sender's fault (HTTP 400, gRPC InvalidArgument).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Protobuf that breaks off or contradicts its schema.
    #[error("{field} at byte {offset}: {problem}")]
    Protobuf {
        /// Message and field, such as `Span.name`.
        field: &'static str,
        /// Bytes of the body before the place.
        offset: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// Text that is no JSON at all.
    #[error("body is no JSON: {0}")]
    NoJson(String),
    /// JSON that contradicts the schema.
    #[error("{path}: {problem}")]
    Json {
        /// The field's place, such as `resourceSpans[0].scopeSpans[2].spans[1].spanId`.
        path: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A body whose parts, cut by trace, would take far more room than it takes itself.
    #[error(
        "cut by trace the request would take {bytes} bytes, over the limit of {limit}: \
         a large resource or scope is shared by very many traces"
    )]
    TooWide {
        /// Bytes needed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A body whose offsets do not fit in 32 bits.
    #[error("request of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes received.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// What is wrong at a place in protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The field says that it is longer than what is left of its message.
    #[error("message ends inside the field")]
    Truncated,
    /// A variable-length integer of more than 64 bits.
    #[error("variable-length integer is longer than 64 bits")]
    Varint,
    /// A field number of 0 or over 2^29 - 1.
    #[error("field number is not between 1 and 536870911")]
    FieldNumber,
    /// A known field in another encoding than its type has, or an encoding that protobuf 3 lacks.
    #[error("wire type {0} is not that of the field")]
    WireType(u8),
    /// Values inside values inside values.
    #[error("values are nested deeper than {0} levels")]
    Depth(usize),
    /// An id of a length that ids do not have; in bytes.
    #[error("id must be {expected} bytes, received {received}")]
    Id {
        /// Bytes expected.
        expected: usize,
        /// Bytes received.
        received: usize,
    },
}
