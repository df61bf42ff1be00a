//! The HTTP API of the query-frontend, on Tempo's paths. IO: awaits the frontend.
//!
//! Whatever this version does not answer is refused with a 400 that says so, never answered in part.

mod params;
mod reply;
mod search_json;
mod search_message;
mod stream;
mod tenancy;
mod trace;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::any,
};

pub use params::Bounds;
pub use stream::StreamService;

use crate::frontend::{Form, Frontend};
use params::Params;
use reply::{Refusal, Reply};

/// What the routes must know beside the frontend.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Put before every path; `/` or empty for none.
    pub prefix: String,
    /// Tenants come from `X-Scope-OrgID`; else there is one.
    pub multitenant: bool,
    /// `a|b` in that header asks several tenants at once.
    pub multi_tenant_queries: bool,
}

impl ApiOptions {
    /// As the configuration says.
    pub fn of(config: &vivace_config::Config) -> Self {
        Self {
            prefix: config.http_api_prefix.clone().unwrap_or_default(),
            multitenant: config.multitenant(),
            multi_tenant_queries: config.query_frontend.multi_tenant_queries_enabled.unwrap_or(true),
        }
    }
}

#[derive(Debug)]
struct Api {
    frontend: Arc<Frontend>,
    options: ApiOptions,
}

/// The routes of the query-frontend.
pub fn router(frontend: Arc<Frontend>, options: ApiOptions) -> Router {
    let prefix = options.prefix.trim_matches('/').to_owned();
    let api = Arc::new(Api { frontend, options });
    let routes = Router::new()
        .route("/api/search", any(search))
        .route("/api/traces/{id}", any(trace::v1))
        .route("/api/v2/traces/{id}", any(trace::v2))
        .route("/api/v2/traces/diff", any(not_answered))
        .route("/api/search/tags", any(not_answered))
        .route("/api/v2/search/tags", any(not_answered))
        .route("/api/search/tag/{*tag}", any(not_answered))
        .route("/api/v2/search/tag/{*tag}", any(not_answered))
        .route("/api/metrics/query_range", any(not_answered))
        .route("/api/metrics/query", any(not_answered))
        .with_state(api);
    match prefix.as_str() {
        "" => routes,
        prefix => Router::new().nest(&format!("/{prefix}"), routes),
    }
}

/// Valid requests of Tempo's API to which there is no answer yet.
async fn not_answered(uri: Uri) -> Response {
    let message = format!("{} is not answered by this version of vivace\n", uri.path());
    Refusal::bad_request(message).into()
}

async fn search(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let tenants = tenancy::tenants(&headers, &api.options)?;
    let bounds = &api.frontend.options().bounds;
    let request = Params::of(&uri).and_then(|params| params.search(bounds, now()));
    let request = request.map_err(Refusal::bad_request)?;
    let by_tags = matches!(request.form, Form::Tags { .. });
    let answer = api.frontend.search(&tenants, request).await?;
    let json = search_json::encode(&answer, by_tags);
    Ok(Reply::json(json).send(&headers).await)
}

/// The trace id of a path, and the time range beside it.
fn lookup(
    id: &Path<String>,
    uri: &Uri,
) -> Result<(tracing_core::model::TraceId, Option<crate::frontend::SecondsRange>), Refusal> {
    let id = params::trace_id(id).map_err(Refusal::bad_request)?;
    let range = Params::of(uri).and_then(|params| params.range()).map_err(Refusal::bad_request)?;
    Ok((id, range))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
