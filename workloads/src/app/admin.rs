//! Routes that every role serves on the HTTP port: health, metrics, status, and what an operator asks of an
//! ingester.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{StatusCode, header};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use vivace_config::Config;

use super::{Health, Phase, TEMPO_VERSION, VERSION, deadline};
use crate::{ingester::Ingester, overrides::Overrides};

/// What the routes show.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) health: Arc<Health>,
    pub(super) config: Arc<Config>,
    pub(super) registry: Arc<Registry>,
    pub(super) overrides: Arc<Overrides>,
    pub(super) ingester: Option<Arc<Ingester>>,
    /// Cancelled when the process shall end.
    pub(super) end: CancellationToken,
}

const ENDPOINTS: &str = "\
GET       /ready
GET       /metrics
GET       /status
GET       /status/version
GET       /status/services
GET       /status/ingester
GET       /status/endpoints
GET       /status/config
GET       /status/runtime_config
GET       /api/echo
GET       /api/status/buildinfo
GET       /api/traces/{traceID}
GET       /api/v2/traces/{traceID}
GET       /api/search
GET,POST  /flush
GET,POST  /shutdown
";

/// What is answered before all services are there.
pub(super) fn early(health: Arc<Health>) -> Router {
    Router::new()
        .route("/ready", get(|State(health): State<Arc<Health>>| async move { ready(&health) }))
        .route("/status/services", get(|State(health): State<Arc<Health>>| async move { health.services() }))
        .fallback(async || (StatusCode::SERVICE_UNAVAILABLE, "starting\n"))
        .with_state(health)
}

/// `prefix` stands before `/api`.
pub(super) fn router(admin: Admin, prefix: &str) -> Router {
    Router::new()
        .route("/ready", get(async |State(admin): State<Admin>| ready(&admin.health)))
        .route("/metrics", get(async |State(admin): State<Admin>| metrics(&admin)))
        .route("/status", get(async |State(admin): State<Admin>| admin.status()))
        .route("/status/version", get(async |State(_): State<Admin>| version()))
        .route("/status/services", get(async |State(admin): State<Admin>| admin.services()))
        .route("/status/ingester", get(async |State(admin): State<Admin>| admin.ingester_status()))
        .route("/status/endpoints", get(async |State(_): State<Admin>| endpoints()))
        .route("/status/config", get(async |State(admin): State<Admin>| admin.config()))
        .route("/status/runtime_config", get(async |State(admin): State<Admin>| admin.runtime_config()))
        .route(&format!("{prefix}/api/echo"), any(async || "echo"))
        .route(&format!("{prefix}/api/status/buildinfo"), any(async || build_info()))
        .route("/flush", get(flush).post(flush))
        .route("/shutdown", get(shutdown).post(shutdown))
        .with_state(admin)
}

fn ready(health: &Health) -> Response {
    match health.ready() {
        Ok(()) => match health.notes() {
            notes if notes.is_empty() => "ready".into_response(),
            notes => format!("ready\n{notes}").into_response(),
        },
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

fn metrics(admin: &Admin) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn version() -> String {
    format!("GET /status/version\nvivace, version {VERSION} (speaks Tempo {TEMPO_VERSION})\n")
}

fn endpoints() -> String {
    format!("GET /status/endpoints\n{ENDPOINTS}")
}

/// Grafana reads `version` to know which features there are, so it is Tempo's.
fn build_info() -> Response {
    let info = serde_json::json!({
        "version": TEMPO_VERSION, "revision": format!("vivace-{VERSION}"), "branch": "",
        "buildUser": "", "buildDate": "", "goVersion": "",
    });
    ([(header::CONTENT_TYPE, "application/json")], info.to_string()).into_response()
}

/// Keys whose values are not shown.
const SECRETS: [&str; 7] =
    ["secret_key", "access_key", "session_token", "encryption_key", "storage_account_key", "password", "key"];

fn redact(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if SECRETS.contains(&key.as_str()) && value.is_string() {
                    *value = "<secret>".into();
                } else {
                    redact(value);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn yaml<T: serde::Serialize>(value: &T) -> String {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    redact(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default()
}

impl Admin {
    fn status(&self) -> String {
        [
            version(),
            self.services(),
            self.ingester_status(),
            endpoints(),
            self.runtime_config(),
            self.config(),
        ]
        .join("\n")
    }

    fn services(&self) -> String {
        format!("GET /status/services\n{}", self.health.services())
    }

    /// What the ingester holds, and what keeps it from passing it on.
    fn ingester_status(&self) -> String {
        let status = self.ingester.as_ref().map(|ingester| format!("{:#?}\n", ingester.status()));
        format!("GET /status/ingester\n{}", status.unwrap_or_else(|| "not run here\n".to_owned()))
    }

    /// What is set; the rest is at its default.
    fn config(&self) -> String {
        format!("GET /status/config\n---\n{}", yaml(&*self.config))
    }

    fn runtime_config(&self) -> String {
        format!("GET /status/runtime_config\n---\n{}", yaml(&self.overrides.table()))
    }
}

async fn flush(State(admin): State<Admin>) -> Response {
    match &admin.ingester {
        None => no_ingester(),
        Some(ingester) => match ingester.flush().await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        },
    }
}

/// Uploads what the ingester holds, answers, and ends the process.
async fn shutdown(State(admin): State<Admin>) -> Response {
    let Some(ingester) = &admin.ingester else { return no_ingester() };
    admin.health.set("ingester", Phase::Stopping);
    let outcome = ingester.shutdown(deadline(&admin.config)).await;
    admin.end.cancel();
    match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(status) => {
            let text = format!("not everything was uploaded in time: {status:?}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

fn no_ingester() -> Response {
    (StatusCode::NOT_FOUND, "this process is no ingester\n").into_response()
}
