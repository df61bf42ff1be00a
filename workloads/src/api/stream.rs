//! `tempopb.StreamingQuerier`: search answers that come in pieces, as Grafana and tempo-cli ask for them. IO:
//! awaits the frontend.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{ApiOptions, now, params::Params, reply::Refusal, search_message, tenancy};
use crate::{
    frontend::{Answer, Form, Frontend, QueryError},
    proto::tempopb::{
        SearchRequest, SearchResponse,
        streaming_querier_server::{StreamingQuerier, StreamingQuerierServer},
    },
};

/// Pieces that wait for a slow client, before the search waits too.
const WAITING: usize = 4;

/// The gRPC service.
#[derive(Debug)]
pub struct StreamService {
    frontend: Arc<Frontend>,
    options: ApiOptions,
}

impl StreamService {
    /// The service over a frontend.
    pub fn server(frontend: Arc<Frontend>, options: ApiOptions) -> StreamingQuerierServer<Self> {
        StreamingQuerierServer::new(Self { frontend, options })
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<SearchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl StreamingQuerier for StreamService {
    type SearchStream = Messages;

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<Messages>, Status> {
        let (metadata, _, message) = request.into_parts();
        let tenants = tenancy::tenants(&metadata.into_headers(), &self.options)?;
        let asked = Params::of_message(&message).search(&self.frontend.options().bounds, now());
        let asked = asked.map_err(Refusal::bad_request)?;
        let by_tags = matches!(asked.form, Form::Tags { .. });
        // What is no query is refused before a stream begins.
        self.frontend.plan(&asked.form).map_err(Refusal::from)?;
        let (tell, told) = mpsc::channel(WAITING);
        let frontend = Arc::clone(&self.frontend);
        let search = async move {
            let answer = frontend.search_in_pieces(&tenants, asked, Some(tell.clone())).await;
            // Nobody listens any more: nobody misses it.
            let _ = tell.send(answer).await;
        };
        let max_message = self.frontend.options().max_message;
        Ok(Response::new(Box::pin(pieces(told, search, by_tags, max_message))))
    }
}

/// The pieces, the end last. The search runs as long as somebody takes them.
fn pieces(
    told: mpsc::Receiver<Result<Answer, QueryError>>,
    search: impl Future<Output = ()> + Send + 'static,
    by_tags: bool,
    max_message: usize,
) -> impl Stream<Item = Result<SearchResponse, Status>> + Send {
    let running = stream::once(search).filter_map(async |()| None);
    stream::select(ReceiverStream::new(told), running).flat_map(move |answer| {
        stream::iter(match answer {
            Ok(answer) => {
                search_message::messages(answer, by_tags, max_message).into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(Status::from(Refusal::from(error)))],
        })
    })
}
