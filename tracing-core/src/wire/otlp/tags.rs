//! Field numbers with wire types (`number << 3 | type`) of the messages that are read and written.

/// The ResourceSpans of a TracesData.
pub(crate) const RESOURCE_SPANS: u32 = 0x0a;

pub(crate) mod resource_spans {
    pub(crate) const RESOURCE: u32 = 0x0a;
    pub(crate) const SCOPE_SPANS: u32 = 0x12;
    /// Highest number in use, schema_url.
    pub(crate) const KNOWN: u32 = 3;
    pub(crate) const SCHEMA_URL: u32 = 0x1a;
}

pub(crate) mod scope_spans {
    pub(crate) const SCOPE: u32 = 0x0a;
    pub(crate) const SPANS: u32 = 0x12;
    pub(crate) const SCHEMA_URL: u32 = 0x1a;
    pub(crate) const KNOWN: u32 = 3;
}

pub(crate) mod resource {
    pub(crate) const ATTRIBUTES: u32 = 0x0a;
    pub(crate) const DROPPED: u32 = 0x10;
    pub(crate) const KNOWN: u32 = 2;
}

pub(crate) mod scope {
    pub(crate) const NAME: u32 = 0x0a;
    pub(crate) const VERSION: u32 = 0x12;
    pub(crate) const ATTRIBUTES: u32 = 0x1a;
    pub(crate) const DROPPED: u32 = 0x20;
    pub(crate) const KNOWN: u32 = 4;
}

pub(crate) mod span {
    pub(crate) const TRACE_ID: u32 = 0x0a;
    pub(crate) const SPAN_ID: u32 = 0x12;
    pub(crate) const TRACE_STATE: u32 = 0x1a;
    pub(crate) const PARENT_SPAN_ID: u32 = 0x22;
    pub(crate) const NAME: u32 = 0x2a;
    pub(crate) const KIND: u32 = 0x30;
    pub(crate) const START: u32 = 0x39;
    pub(crate) const END: u32 = 0x41;
    pub(crate) const ATTRIBUTES: u32 = 0x4a;
    pub(crate) const DROPPED_ATTRIBUTES: u32 = 0x50;
    pub(crate) const EVENTS: u32 = 0x5a;
    pub(crate) const DROPPED_EVENTS: u32 = 0x60;
    pub(crate) const LINKS: u32 = 0x6a;
    pub(crate) const DROPPED_LINKS: u32 = 0x70;
    pub(crate) const STATUS: u32 = 0x7a;
    pub(crate) const FLAGS: u32 = 0x85;
    pub(crate) const KNOWN: u32 = 16;
}

pub(crate) mod event {
    pub(crate) const TIME: u32 = 0x09;
    pub(crate) const NAME: u32 = 0x12;
    pub(crate) const ATTRIBUTES: u32 = 0x1a;
    pub(crate) const DROPPED: u32 = 0x20;
    pub(crate) const KNOWN: u32 = 4;
}

pub(crate) mod link {
    pub(crate) const TRACE_ID: u32 = 0x0a;
    pub(crate) const SPAN_ID: u32 = 0x12;
    pub(crate) const TRACE_STATE: u32 = 0x1a;
    pub(crate) const ATTRIBUTES: u32 = 0x22;
    pub(crate) const DROPPED: u32 = 0x28;
    pub(crate) const FLAGS: u32 = 0x35;
    pub(crate) const KNOWN: u32 = 6;
}

pub(crate) mod status {
    pub(crate) const MESSAGE: u32 = 0x12;
    pub(crate) const CODE: u32 = 0x18;
    /// Field 1 was a deprecated code until OTLP 1.0; it is passed over.
    pub(crate) const DEPRECATED: u32 = 0x08;
    pub(crate) const KNOWN: u32 = 3;
}

pub(crate) mod key_value {
    pub(crate) const KEY: u32 = 0x0a;
    pub(crate) const VALUE: u32 = 0x12;
    pub(crate) const KNOWN: u32 = 2;
}

pub(crate) mod value {
    pub(crate) const STRING: u32 = 0x0a;
    pub(crate) const BOOL: u32 = 0x10;
    pub(crate) const INT: u32 = 0x18;
    pub(crate) const DOUBLE: u32 = 0x21;
    pub(crate) const ARRAY: u32 = 0x2a;
    pub(crate) const KVLIST: u32 = 0x32;
    pub(crate) const BYTES: u32 = 0x3a;
    pub(crate) const KNOWN: u32 = 7;
}

/// The values of an ArrayValue, and the KeyValues of a KeyValueList.
pub(crate) const VALUES: u32 = 0x0a;
/// Highest number in use in ArrayValue and KeyValueList.
pub(crate) const VALUES_KNOWN: u32 = 1;
