//! `vivace.v1.Ingester/Push`: the ingester's side of what distributors send. IO.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing_core::{
    model::{Tenant, TraceId},
    wire::otlp::TraceSlice,
};

use super::{Batch, Keeper, NotTaken, channels::MESSAGE_BYTES};
use crate::proto::vivace::v1::{
    PushRequest, PushResponse,
    ingester_server::{Ingester, IngesterServer},
};

/// Serves pushes with the ingester of this process.
pub struct PushService(Arc<dyn Keeper>);

impl std::fmt::Debug for PushService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushService")
    }
}

impl PushService {
    /// As a gRPC service.
    pub fn server(keeper: Arc<dyn Keeper>) -> IngesterServer<Self> {
        IngesterServer::new(Self(keeper)).max_decoding_message_size(MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Ingester for PushService {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let batch = batch(request.into_inner())?;
        match self.0.keep(batch).await {
            Ok(()) => Ok(Response::new(PushResponse {})),
            Err(NotTaken::Unable(message)) => Err(Status::unavailable(message)),
            Err(NotTaken::Wrong(message)) => Err(Status::invalid_argument(message)),
        }
    }
}

fn batch(request: PushRequest) -> Result<Batch, Status> {
    let wrong = |error: String| Status::invalid_argument(error);
    let tenant = Tenant::new(&request.tenant).map_err(|error| wrong(error.to_string()))?;
    let slices = request
        .slices
        .into_iter()
        .map(|slice| {
            let id = TraceId::from_slice(&slice.id)?;
            Ok(TraceSlice { id, spans: slice.spans, otlp: slice.otlp })
        })
        .collect::<Result<_, tracing_core::model::IdError>>()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Batch { tenant, slices })
}
