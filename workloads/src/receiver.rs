//! Where spans come in: OTLP over gRPC (4317) and over HTTP (4318). IO.
//!
//! A request is held as one buffer of bytes, bounded before and after decompression, and never decoded into
//! objects.

mod grpc;
mod http;
mod inflate;
mod metrics;
mod status;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::http::HeaderMap;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing_core::model::{Tenant, TenantError};
use vivace_config::{OtlpGrpc, OtlpHttp};

use crate::{
    distributor::{Accepted, Distributor, Refusal},
    server::{Bound, Server, ServerError},
    tls::Acceptor,
};
use metrics::Metrics;

/// Names the tenant.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// How tenants are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// All is one tenant's.
    Single,
    /// `X-Scope-OrgID` names it.
    Header,
}

impl Tenancy {
    /// The tenant of a request.
    ///
    /// # Errors
    /// When the header is missing, or its value is no tenant's name.
    pub fn of(self, headers: &HeaderMap) -> Result<Tenant, TenantError> {
        match self {
            Self::Single => Ok(Tenant::single()),
            Self::Header => {
                let value = headers.get(TENANT_HEADER).ok_or(TenantError::Missing)?;
                Tenant::new(&String::from_utf8_lossy(value.as_bytes()))
            }
        }
    }
}

/// The receivers that are open.
#[derive(Debug)]
pub struct Receivers {
    /// OTLP over gRPC.
    pub grpc: Option<Server>,
    /// OTLP over HTTP.
    pub http: Option<Server>,
}

/// TLS of the receivers, where it is spoken.
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    /// Of OTLP over gRPC.
    pub grpc: Option<Arc<Acceptor>>,
    /// Of OTLP over HTTP.
    pub http: Option<Arc<Acceptor>>,
}

/// KiB of requests, as they came, that all receivers hold at once; more have to wait,
const HELD: usize = 128 << 10;
/// for so long, and are refused then.
const WAIT: Duration = Duration::from_secs(5);

/// What both receivers share.
#[derive(Debug)]
struct Intake {
    distributor: Arc<Distributor>,
    tenancy: Tenancy,
    metrics: Metrics,
    /// KiB of requests that may still be held, see [`HELD`].
    room: Arc<Semaphore>,
}

impl Receivers {
    /// Opens what the configuration names; with no receiver named, OTLP over gRPC and HTTP.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub async fn start(
        config: &vivace_config::Receivers,
        tls: Encryption,
        tenancy: Tenancy,
        distributor: Arc<Distributor>,
        registry: &mut Registry,
    ) -> Result<Self, ServerError> {
        let intake = Arc::new(Intake {
            distributor,
            tenancy,
            metrics: Metrics::register(registry),
            room: Arc::new(Semaphore::new(HELD)),
        });
        let (grpc, http) = wanted(config);
        let grpc = match grpc {
            Some(config) => {
                let router = grpc::router(Arc::clone(&intake), config.message_bytes());
                let bound = Bound::open("otlp grpc receiver", &config.endpoint()).await?;
                Some(bound.secured(tls.grpc).serve(router))
            }
            None => None,
        };
        let http = match http {
            Some(config) => {
                let router = http::router(intake, &config);
                let bound = Bound::open("otlp http receiver", &config.endpoint()).await?;
                Some(bound.secured(tls.http).serve(router))
            }
            None => None,
        };
        Ok(Self { grpc, http })
    }

    /// Addresses by name.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        [&self.grpc, &self.http]
            .into_iter()
            .flatten()
            .map(|server| (server.name(), server.address()))
            .collect()
    }

    /// Takes no new request, and ends when those under way are answered.
    pub async fn stop(&self) {
        let stop = |server: &Option<Server>| server.clone();
        let (grpc, http) = (stop(&self.grpc), stop(&self.http));
        let end = async |server: Option<Server>| {
            if let Some(server) = server {
                server.stop().await;
            }
        };
        tokio::join!(end(grpc), end(http));
    }
}

/// The receivers to open.
fn wanted(config: &vivace_config::Receivers) -> (Option<OtlpGrpc>, Option<OtlpHttp>) {
    for (name, configured) in [
        ("jaeger", config.jaeger.as_ref().is_some()),
        ("zipkin", config.zipkin.as_ref().is_some()),
        ("opencensus", config.opencensus.as_ref().is_some()),
        ("kafka", config.kafka.as_ref().is_some()),
    ] {
        if configured {
            tracing::warn!(receiver = name, "this receiver is configured and not served yet; OTLP is");
        }
    }
    let any = [&config.jaeger, &config.zipkin, &config.opencensus, &config.kafka];
    match config.otlp.as_ref() {
        Some(otlp) => (otlp.protocols.grpc.as_ref().cloned(), otlp.protocols.http.as_ref().cloned()),
        None if any.iter().any(|receiver| receiver.as_ref().is_some()) => (None, None),
        None => (Some(OtlpGrpc::default()), Some(OtlpHttp::default())),
    }
}

impl Intake {
    fn tenant(&self, headers: &HeaderMap) -> Result<Tenant, Refusal> {
        self.tenancy.of(headers).map_err(|error| match error {
            TenantError::Missing => Refusal::NoTenant(error.to_string()),
            wrong => Refusal::Invalid(wrong.to_string()),
        })
    }

    /// Waits until a request of so many bytes may be held; it may, until the permit is dropped.
    async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = (bytes / 1024 + 1).min(HELD) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(kib);
        match tokio::time::timeout(WAIT, room).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Refusal::Unavailable(format!(
                "requests of {} MiB are under way, as many as may be held",
                HELD >> 10
            ))),
        }
    }

    async fn take(
        &self,
        transport: &'static str,
        tenant: &Tenant,
        body: Bytes,
        received: usize,
    ) -> Result<Accepted, Refusal> {
        let outcome = self.distributor.push(tenant, body, received).await;
        match &outcome {
            Ok(accepted) => self.metrics.accepted(transport, tenant, accepted),
            Err(refusal) => {
                self.metrics.refused(transport, tenant);
                tracing::debug!(%tenant, transport, %refusal, "a request was not taken");
            }
        }
        outcome
    }
}
