//! Ids and names of traces, spans, tenants and blocks. Pure: nothing here awaits or allocates per span.

mod id;
mod tenant;

pub use id::{BlockId, IdError, SpanId, TraceId};
pub use tenant::{Tenant, TenantError};
