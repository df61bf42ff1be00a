//! Whose data a request asks for.

use axum::http::HeaderMap;
use tracing_core::model::{Tenant, TenantError};

use super::{ApiOptions, reply::Refusal};

/// The header that names the tenant.
const HEADER: &str = "x-scope-orgid";

/// The tenants that the header names, each once, in order.
pub(super) fn tenants(headers: &HeaderMap, options: &ApiOptions) -> Result<Vec<Tenant>, Refusal> {
    if !options.multitenant {
        return Ok(vec![Tenant::single()]);
    }
    let header = headers.get(HEADER).map(|value| value.to_str());
    let names = match header {
        Some(Err(_)) => return Err(Refusal::bad_request("X-Scope-OrgID: expected printable ASCII")),
        None | Some(Ok("")) => return Err(Refusal::unauthorized(TenantError::Missing)),
        Some(Ok(names)) => names,
    };
    if names.contains('|') && !options.multi_tenant_queries {
        return Err(Refusal::bad_request(
            "multi-tenant query unsupported: X-Scope-OrgID names several tenants, and query_frontend.multi_tenant_queries_enabled is false",
        ));
    }
    let mut tenants =
        names.split('|').map(Tenant::new).collect::<Result<Vec<_>, _>>().map_err(Refusal::bad_request)?;
    tenants.sort();
    tenants.dedup();
    Ok(tenants)
}
