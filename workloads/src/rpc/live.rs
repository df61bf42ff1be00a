//! The ingester's side of queriers' questions: `vivace.v1.Live`. IO.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::{hits, id, search, tenant, wire_metas};
use crate::{
    frontend::MAX_MESSAGE,
    ingester::Ingester,
    proto::vivace::v1::{
        FindTraceRequest, FindTraceResponse, LiveSearchRequest, LiveSearchResponse,
        live_server::{Live, LiveServer},
    },
};

/// Answers from an ingester of this process.
#[derive(Clone, Debug)]
pub struct LiveService {
    ingester: Arc<Ingester>,
}

impl LiveService {
    /// A service that asks `ingester`.
    pub fn new(ingester: Arc<Ingester>) -> Self {
        Self { ingester }
    }

    fn process(&self) -> Bytes {
        Bytes::copy_from_slice(self.ingester.process().as_bytes())
    }

    /// The service for tonic's router.
    pub fn into_server(self) -> LiveServer<Self> {
        LiveServer::new(self).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Live for LiveService {
    async fn find_trace(
        &self,
        request: Request<FindTraceRequest>,
    ) -> Result<Response<FindTraceResponse>, Status> {
        let request = request.into_inner();
        let tenant = tenant(&request.tenant).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let id = id(&request.trace_id).map_err(|e| Status::invalid_argument(e.to_string()))?;
        self.ingester.heed(request.taken_over.iter().map(String::as_str));
        let found = self.ingester.find_trace(&tenant, id).await;
        let found = found.map_err(|e| Status::internal(e.to_string()))?;
        let recent_blocks = wire_metas(&found.recent_blocks);
        Ok(Response::new(FindTraceResponse { parts: found.parts, recent_blocks, process: self.process() }))
    }

    async fn search(
        &self,
        request: Request<LiveSearchRequest>,
    ) -> Result<Response<LiveSearchResponse>, Status> {
        let LiveSearchRequest { tenant: name, query, limits, taken_over } = request.into_inner();
        let tenant = tenant(&name).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let search = search(query, limits).map_err(|e| Status::invalid_argument(e.to_string()))?;
        self.ingester.heed(taken_over.iter().map(String::as_str));
        let found = self.ingester.search(&tenant, &search.plan, search.limits).await;
        let found = found.map_err(|e| Status::internal(e.to_string()))?;
        let recent_blocks = wire_metas(&found.recent_blocks);
        let (part, process) = (Some(hits::wire_part(found.part)), self.process());
        Ok(Response::new(LiveSearchResponse { part, recent_blocks, process }))
    }
}
