//! `tempopb.StreamingQuerier` of a running process, as Grafana and tempo-cli call it: on the HTTP port and on
//! the gRPC port.

use std::collections::HashMap;

use tonic::{Code, Request, transport::Endpoint};
use vivace::proto::tempopb::{
    SearchRequest, SearchResponse, streaming_querier_client::StreamingQuerierClient,
};

use crate::{process::Process, query};

async fn ask(
    address: std::net::SocketAddr,
    request: SearchRequest,
) -> Result<Vec<SearchResponse>, tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URI");
    let channel = endpoint.connect().await.expect("the port is open");
    let mut client = StreamingQuerierClient::new(channel);
    let mut stream = client.search(Request::new(request)).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn request(query: &str) -> SearchRequest {
    let (start, end) = ((query::now() - 3600) as u32, (query::now() + 60) as u32);
    SearchRequest { query: query.to_owned(), start, end, limit: 5, ..SearchRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_streamed_on_both_ports_and_says_what_http_says() {
    let process = Process::start("").await;
    for id in 1..=30 {
        query::export(&process, query::trace(id, query::now() - 1000 + u64::from(id), 1)).await;
    }
    let text = "{ resource.service.name = \"shop\" } | by(name)";
    let path = format!(
        "/api/search?q=%7B%20resource.service.name%20%3D%20%22shop%22%20%7D%20%7C%20by(name)&limit=5&start={}&end={}",
        query::now() - 3600,
        query::now() + 60
    );
    let wanted = process.get(&path).await.json();
    let wanted: Vec<_> = wanted["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["traceID"].as_str().unwrap().to_owned())
        .collect();
    for address in [process.app.http(), process.app.grpc()] {
        let messages = ask(address, request(text)).await.unwrap();
        let traces: Vec<_> = messages.iter().flat_map(|message| &message.traces).collect();
        let mut ids: Vec<_> = traces.iter().map(|trace| trace.trace_id.clone()).collect();
        ids.sort_by(|a, b| b.cmp(a));
        assert_eq!(ids, wanted);
        let one = traces[0];
        assert_eq!((one.span_sets.len(), one.span_set.as_ref()), (2, one.span_sets.first()));
        assert_eq!(one.service_stats["shop"].span_count, 2);
        let last = messages.last().unwrap().metrics.clone().unwrap();
        assert!(last.total_jobs > 0 && last.completed_jobs == last.total_jobs, "{last:?}");
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_searched_by_stream_and_what_is_wrong_has_a_code_and_tempos_words() {
    let process = Process::start("").await;
    query::export(&process, query::trace(1, query::now() - 10, 0)).await;
    let tags = HashMap::from([("service.name".to_owned(), "sho".to_owned())]);
    let by_tags = SearchRequest { tags, min_duration_ms: 1, ..request("") };
    let messages = ask(process.app.grpc(), by_tags).await.unwrap();
    let traces: Vec<_> = messages.iter().flat_map(|message| &message.traces).collect();
    assert_eq!((traces.len(), traces[0].span_sets.len()), (1, 0));
    let wrong = ask(process.app.grpc(), request("{ span.a = }")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().starts_with("invalid TraceQL query: parse error at line 1, col 12"), "{wrong}");
    let huge = SearchRequest { limit: u32::MAX, ..request("{}") };
    assert_eq!(ask(process.app.http(), huge).await.unwrap_err().code(), Code::InvalidArgument);
    process.stop().await;
}
