use std::time::Duration;

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use tower::ServiceExt;
use tracing_core::{
    engine::SearchPart,
    store::{Backend, Store, StoreOptions},
    table::evaluate::TraceHit,
};

use super::*;
use crate::{
    frontend::{Found, FrontendOptions, Recent},
    membership::{Membership, Options, Role},
    overrides::Overrides,
};

/// The routes of a frontend that no querier serves and whose lines are one job long.
async fn routes(options: ApiOptions) -> (tempfile::TempDir, Router) {
    let (dir, _, frontend) = frontend(Duration::from_millis(20), usize::MAX).await;
    (dir, router(frontend, options))
}

/// A frontend that no querier serves yet, in a cluster with one ingester, whose lines are one job long.
async fn frontend(
    search_timeout: Duration,
    max_answer: usize,
) -> (tempfile::TempDir, Arc<Store>, Arc<Frontend>) {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::Local { path: dir.path().to_owned() };
    let store = Store::open(StoreOptions { cache_bytes: 0, ..StoreOptions::new(backend) }).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let membership = Membership::start(Options {
        id: "one".into(),
        roles: vec![Role::Ingester],
        grpc: any,
        zone: String::new(),
        join: Vec::new(),
        bind: any,
        advertise: any,
        cluster: "test".into(),
        interval: Duration::from_secs(1),
    });
    let mut registry = Registry::default();
    let overrides = Overrides::open(&vivace_config::Overrides::default(), &mut registry).unwrap();
    let mut bounds = FrontendOptions::of(&vivace_config::Config::default());
    bounds.max_outstanding_per_tenant = 1;
    bounds.search_timeout = search_timeout;
    bounds.max_answer_bytes = max_answer;
    let frontend =
        Frontend::new(bounds, Arc::clone(&store), membership.await.unwrap(), overrides, &mut registry);
    assert!(frontend.ready().is_err());
    (dir, store, frontend)
}

fn single() -> ApiOptions {
    ApiOptions { prefix: String::new(), multitenant: false, multi_tenant_queries: true }
}

async fn get(routes: &Router, path: &str, tenant: Option<&str>) -> (u16, String) {
    let mut request = Request::get(path);
    if let Some(tenant) = tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let response = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong_before_any_work() {
    let (_dir, routes) = routes(single()).await;
    for (path, said) in [
        ("/api/search?limit=0", "invalid limit: must be a positive number\n"),
        (
            "/api/traces/xyz",
            "trace IDs can only contain hex characters: invalid character 'x' at position 1\n",
        ),
        ("/api/v2/traces/ed0102030405060708090a0b0c0d0e0f10", "trace IDs can't be larger than 128 bits\n"),
        (
            "/api/v2/traces/1?start=2&end=1",
            "http parameter start must be before end. received start=2 end=1\n",
        ),
        ("/api/search/tags", "/api/search/tags is not answered by this version of vivace\n"),
    ] {
        assert_eq!(get(&routes, path, None).await, (400, said.to_owned()), "{path}");
    }
    let (status, said) = get(&routes, "/api/search?q=%7B+name+%3D+%7D", None).await;
    assert_eq!(status, 400);
    assert!(said.starts_with("invalid TraceQL query: parse error at line 1, col "), "{said}");
}

#[tokio::test]
async fn the_tenant_comes_from_the_header_where_there_are_several() {
    let (_dir, routes) =
        routes(ApiOptions { multitenant: true, multi_tenant_queries: false, ..single() }).await;
    let path = "/api/search";
    assert_eq!(get(&routes, path, None).await, (401, "no org id\n".to_owned()));
    let (status, said) = get(&routes, path, Some("a/b")).await;
    assert_eq!((status, said.as_str()), (400, "tenant ID 'a/b' contains unsupported character '/'\n"));
    assert_eq!(get(&routes, path, Some("a|b")).await.0, 400);
}

#[tokio::test]
async fn a_query_that_nobody_works_on_ends_in_time_and_one_too_many_is_refused() {
    let (_dir, routes) = routes(ApiOptions { multitenant: true, ..single() }).await;
    let (first, second) =
        tokio::join!(get(&routes, "/api/search", Some("a")), get(&routes, "/api/search", Some("a")),);
    assert_eq!(first.0, 504, "{}", first.1);
    assert!(first.1.contains("1 of 1 jobs unanswered"), "{}", first.1);
    assert_eq!(second.0, 429, "{}", second.1);
    assert!(second.1.starts_with("too many outstanding requests"), "{}", second.1);
}

/// Of two jobs, one for the ingester and one for a block, the second is never answered.
#[tokio::test]
async fn what_was_found_by_the_deadline_is_answered_and_marked_as_partial() {
    let (dir, store, frontend) = frontend(Duration::from_millis(500), usize::MAX).await;
    let block = dir.path().join("single-tenant/e62d00b6-f021-41ba-a0c3-70be7f90147d");
    std::fs::create_dir_all(&block).unwrap();
    let meta = r#"{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"single-tenant","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z"}"#;
    std::fs::write(block.join("meta.json"), meta).unwrap();
    store.poll().await.unwrap();
    let queue = frontend.queue();
    let querier = queue.join();
    let answer = async {
        let first = queue.pop(querier).await;
        first.finish(Ok(Found::Search { part: SearchPart::default(), recent: Recent::default() }));
        // Held, and not answered.
        let _second = queue.pop(querier).await;
        std::future::pending::<()>().await;
    };
    let routes = router(Arc::clone(&frontend), single());
    let (status, said) = tokio::select! {
        answer = get(&routes, "/api/search?q=%7B%7D&start=1795330000&end=1795338400", None) => answer,
        () = answer => unreachable!("it never ends"),
    };
    assert_eq!(status, 200, "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["status"], &json["metrics"]["completedJobs"]), (&"PARTIAL".into(), &1.into()));
    assert!(json["message"].as_str().unwrap().contains("1 of 2 jobs unanswered"), "{said}");
}

#[tokio::test]
async fn an_answer_that_takes_too_much_memory_is_refused_with_the_limit() {
    let (_dir, _, frontend) = frontend(Duration::from_secs(5), 100).await;
    let queue = frontend.queue();
    let querier = queue.join();
    let hit = TraceHit {
        trace_id: tracing_core::model::TraceId([1; 16]),
        root_service: String::new(),
        root_name: "x".repeat(100),
        start: 1,
        duration_ns: 1,
        service_stats: Vec::new(),
        span_sets: Vec::new(),
    };
    let answer = async {
        let part = SearchPart { hits: vec![hit], ..SearchPart::default() };
        queue.pop(querier).await.finish(Ok(Found::Search { part, recent: Recent::default() }));
        std::future::pending::<()>().await;
    };
    let routes = router(Arc::clone(&frontend), single());
    let (status, said) = tokio::select! {
        answer = get(&routes, "/api/search?q=%7B%7D", None) => answer,
        () = answer => unreachable!("it never ends"),
    };
    assert_eq!(status, 422, "{said}");
    assert!(
        said.contains("more than 100 bytes of memory (query_frontend.search.max_answer_bytes)"),
        "{said}"
    );
}

#[tokio::test]
async fn the_prefix_stands_before_every_path() {
    let (_dir, routes) = routes(ApiOptions { prefix: "/tempo/".into(), ..single() }).await;
    assert_eq!(get(&routes, "/tempo/api/search?limit=0", None).await.0, 400);
    assert_eq!(get(&routes, "/api/search?limit=0", None).await.0, 404);
}
