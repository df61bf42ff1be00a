use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing_core::{
    engine::{SearchPart, SearchStats},
    model::SpanId,
    table::evaluate::{OwnedValue, ServiceStats, SpanHit, SpanSet, TraceHit},
};

use super::{work as work_of, *};

const META: &str = r#"{"format":"vParquet4","blockID":"e62d00b6-f021-41ba-a0c3-70be7f90147d","tenantID":"t","startTime":"2026-11-22T07:00:00Z","endTime":"2026-11-22T07:59:55Z","totalObjects":813,"size":861781,"compactionLevel":0,"indexPageSize":0,"totalRecords":1,"bloomShards":1,"footerSize":20280,"replicationFactor":1}"#;

fn form() -> Form {
    Form::Tags {
        tags: vec![("service.name".into(), "shop".into())],
        min: Some(Duration::from_millis(3)),
        max: None,
    }
}

fn sent(work: Work) -> (Tenant, Work) {
    let (reply, _answers) = mpsc::unbounded_channel();
    let tenant = Tenant::new("t").unwrap();
    let one = Job::new(tenant, Arc::new(work), Instant::now(), CancellationToken::new(), 0, None, reply);
    work_of(job(7, &one, Duration::from_secs(1))).unwrap()
}

#[test]
fn a_job_arrives_as_it_was_sent() {
    let limits = SearchLimits { limit: 20, spss: usize::MAX, window: Some(TimeRange { start: 5, end: 9 }) };
    let search = Arc::new(Search { form: form(), plan: form().plan().unwrap(), limits });
    let meta = Arc::new(Meta::from_json(META.as_bytes()).unwrap());
    let (tenant, work) = sent(Work::SearchBlock { search, meta: meta.clone(), row_groups: 2..5 });
    assert_eq!(tenant.as_str(), "t");
    let Work::SearchBlock { search, meta: arrived, row_groups } = work else {
        panic!("another kind of work")
    };
    assert_eq!((search.form.clone(), row_groups), (form(), 2..5));
    assert_eq!((search.limits.limit, search.limits.spss), (20, usize::MAX));
    assert_eq!(search.limits.window, limits.window);
    assert_eq!(arrived, meta);

    let id = TraceId([3; 16]);
    let grpc = "10.0.0.1:9095".parse().unwrap();
    let (_, work) = sent(Work::FindLive { id, ingester: IngesterAddress { id: "i-0".into(), grpc } });
    let Work::FindLive { id: arrived, ingester } = work else { panic!("another kind of work") };
    assert_eq!((arrived, ingester.grpc), (id, grpc));
}

#[test]
fn hits_arrive_as_they_were_found() {
    let value = |v| ("key".to_owned(), v);
    let attributes = vec![
        value(OwnedValue::String("x".into())),
        value(OwnedValue::Int(-4)),
        value(OwnedValue::Double(0.5)),
        value(OwnedValue::Bool(false)),
        value(OwnedValue::Array(vec![OwnedValue::Int(1), OwnedValue::Int(2)])),
    ];
    let span = SpanHit {
        id: SpanId([2; 8]),
        name: "n".into(),
        start: 3,
        duration: 4,
        attributes: attributes.clone(),
    };
    let hit = TraceHit {
        trace_id: TraceId([1; 16]),
        root_service: "shop".into(),
        root_name: "GET /".into(),
        start: 1,
        duration_ns: 1_999_999,
        service_stats: vec![("shop".into(), ServiceStats { spans: 4, errors: 1 })],
        span_sets: vec![SpanSet { matched: 9, spans: vec![span], attributes }],
    };
    let stats = SearchStats { inspected_traces: 1, inspected_bytes: 2, inspected_spans: 3 };
    let continued = vec![(TraceId([7; 16]), 9)];
    let part = SearchPart { hits: vec![hit], stats, continued };
    let answer = result(1, Ok(Found::Search { part: part.clone(), recent: Recent::default() }));
    let Ok(Found::Search { part: arrived, .. }) = found(answer) else { panic!("another answer") };
    assert_eq!((arrived.hits, arrived.stats), (part.hits, part.stats));
}

#[test]
fn a_message_that_lacks_something_is_refused_by_the_fields_name() {
    let job = v1::Job { tenant: "t".into(), ..v1::Job::default() };
    assert_eq!(work_of(job).unwrap_err().to_string(), "work is missing");
    let find = v1::FindLive { trace_id: Bytes::from_static(b"short"), ingester: "1.2.3.4:5".into() };
    let job = v1::Job { tenant: "t".into(), work: Some(WireWork::FindLive(find)), ..v1::Job::default() };
    assert!(work_of(job).unwrap_err().to_string().starts_with("trace_id: "));
    let refused = Failure::refused("no such column");
    let arrived = found(result(1, Err(refused))).unwrap_err();
    assert_eq!((arrived.kind, arrived.message.as_str()), (FailureKind::Refused, "no such column"));
}
