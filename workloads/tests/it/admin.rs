//! Health, metrics and status of a process, and its end.

use crate::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_says_that_it_is_ready_and_what_it_is() {
    let process = Process::start("storage: {trace: {s3: {secret_key: hush, bucket: b}}}").await;
    for (path, said) in [
        ("/ready", "ready"),
        ("/api/echo", "echo"),
        ("/status/version", "GET /status/version\nvivace, version "),
        ("/status/services", "distributor          Running"),
        ("/status/endpoints", "/api/search"),
        ("/status/config", "bucket: b"),
        ("/status/runtime_config", "GET /status/runtime_config\n---\n'*': {}"),
        ("/status", "GET /status/config\n"),
        ("/metrics", "process_resident_memory_bytes "),
        ("/metrics", "tempo_build_info{"),
    ] {
        let answer = process.get(path).await;
        assert_eq!(answer.code, 200, "{path}");
        assert!(answer.text().contains(said), "{path}: {}", answer.text());
        assert!(!answer.text().contains("hush"), "{path} shows a secret");
    }
    let info = process.get("/api/status/buildinfo").await.json();
    assert_eq!(info["version"], vivace::app::TEMPO_VERSION);
    let metrics = process.get("/metrics").await.text();
    let label = r#"tempo_request_duration_seconds_count{method="GET",route="api_echo",status_code="200"} 1"#;
    assert!(metrics.contains(label), "{metrics}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_stands_below_its_prefix() {
    let process = Process::start("http_api_prefix: /tempo").await;
    assert_eq!(process.get("/tempo/api/echo").await.text(), "echo");
    assert_eq!(process.get("/ready").await.code, 200);
    assert_eq!(process.get("/api/echo").await.code, 404);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_stop_nothing_listens_any_more() {
    let process = Process::start("").await;
    let addresses = [process.app.http(), process.app.grpc(), process.otlp("http"), process.otlp("grpc")];
    process.stop().await;
    for address in addresses {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} still listens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_or_incomplete_stops_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (yaml, said) in [
        ("target: metrics-generator", "target: expected one of all, distributor"),
        (
            "server: {http_tls_config: {cert_file: /x}}",
            "server.http_tls_config.key_file: expected one beside cert_file, found none",
        ),
        (
            "distributor: {receivers: {otlp: {protocols: {grpc: {tls: {cert_file: /x}}}}}}",
            "distributor.receivers.otlp.protocols.grpc.tls.key_file: expected one beside cert_file, found none",
        ),
        ("memberlist: {advertise_addr: x}", "memberlist.advertise_addr: expected an IP address, found `x`"),
    ] {
        let config = crate::process::config(dir.path(), yaml);
        let error = vivace::app::App::start(config).await.unwrap_err();
        assert!(format!("{error:#}").contains(said), "{error:#}");
    }
}
