//! Configurations as users write them, and what is said about the wrong ones.

use vivace_config::{CommandLine, Config, Duration, Size, load, load_overrides};

fn flags(line: &str) -> CommandLine {
    CommandLine::parse(line.split_whitespace().map(str::to_owned)).expect("the flags exist")
}

fn refusal(text: &str) -> String {
    load(text, &[]).expect_err("the text is wrong").to_string()
}

/// What Grafana's operator writes for a stack with S3, shortened.
const OPERATORS: &str = r#"---
compactor:
  compaction:
    block_retention: 48h0m0s
  ring:
    kvstore:
      store: memberlist
distributor:
  receivers:
    otlp:
      protocols:
        grpc:
          endpoint: "0.0.0.0:4317"
        http:
    zipkin:
  ring:
    instance_addr: ${HASH_RING_INSTANCE_ADDR}
ingester:
  lifecycler:
    ring:
      replication_factor: 1
    tokens_file_path: /var/tempo/tokens.json
  max_block_duration: 10m
memberlist:
  abort_if_cluster_join_fails: false
  join_members:
    - tempo-simplest-gossip-ring
multitenancy_enabled: false
querier:
  max_concurrent_queries: 20
  frontend_worker:
    frontend_address: "tempo-simplest-query-frontend-discovery:9095"
server:
  grpc_server_max_recv_msg_size: 4194304
  http_listen_port: 3200
  http_server_read_timeout: 30s
  log_format: logfmt
storage:
  trace:
    backend: s3
    blocklist_poll: 5m
    local: {path: /var/tempo/traces}
    wal: {path: /var/tempo/wal}
    s3:
      endpoint: minio:9000
      bucket: tempo
      insecure: true
overrides:
  ingestion_rate_limit_bytes: 1000
  per_tenant_override_config: /conf/overrides.yaml
usage_report:
  reporting_enabled: false
query_frontend:
  search:
    concurrent_jobs: 2000
    max_duration: 0s
    max_spans_per_span_set: 0
"#;

#[test]
fn the_operators_file_is_read_without_a_warning() {
    let loaded = load(OPERATORS, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.storage.trace.backend(), "s3");
    assert_eq!(config.ingester.max_block_duration(), Duration::from_secs(600));
    assert_eq!(config.memberlist.join_members.0, ["tempo-simplest-gossip-ring"]);
    assert!(config.distributor.receivers.zipkin.as_ref().is_some());
    let protocols = config.distributor.receivers.otlp.as_ref().unwrap().protocols.clone();
    assert_eq!(protocols.http.as_ref().unwrap().endpoint(), "0.0.0.0:4318");
    assert_eq!(config.overrides.base().ingestion.rate_limit_bytes, Some(Size(1000)));
    assert_eq!(config.query_frontend.max_spans_per_span_set(), 0);
}

#[test]
fn what_is_rendered_is_read_back_equal_and_holds_nothing_that_was_not_set() {
    let config = load(OPERATORS, &[]).unwrap().config;
    let text = serde_yaml::to_string(&config).unwrap();
    assert_eq!(load(&text, &[]).unwrap().config, config);
    assert_eq!(text.matches("null").count(), 1, "zipkin alone is there without a value: {text}");
    assert!(!text.contains("azure"), "{text}");
    assert_eq!(serde_yaml::to_string(&Config::default()).unwrap(), "{}\n");
}

#[test]
fn an_unknown_key_warns_with_its_line_and_does_not_stop_the_start() {
    let loaded = load("target: all\nserver:\n  http_listen_prot: 1\nnonsense: {a: 1}\n", &[]).unwrap();
    let texts: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "line 3: unknown key server.http_listen_prot, it has no effect",
            "line 4: unknown key nonsense, it has no effect"
        ]
    );
    assert_eq!(loaded.config.target(), "all");
}

#[test]
fn a_wrong_type_is_refused_with_path_line_and_what_was_expected() {
    for (text, said) in [
        (
            "server:\n  http_listen_port: many\n",
            "line 2: server.http_listen_port: expected a number from 0 to 65535, found `many`",
        ),
        (
            "ingester:\n\n  max_block_duration: [1]\n",
            "line 3: ingester.max_block_duration: invalid type: sequence, expected a duration such as 30s or 1h30m",
        ),
        (
            "ingester:\n  trace_idle_period: 5\n",
            "line 2: ingester.trace_idle_period: expected a duration such as 30s or 1h30m, found `5`",
        ),
        ("storage: s3\n", "line 1: storage: expected a section of keys and values, found `s3`"),
        (
            "multitenancy_enabled: maybe\n",
            "line 1: multitenancy_enabled: expected true or false, found `maybe`",
        ),
        (
            "storage:\n  trace:\n    s3:\n      bucket: {a: b}\n",
            "line 4: storage.trace.s3.bucket: expected a text, found a section",
        ),
        ("a: 1\na: 2\n", "line 2: key `a` is given twice"),
        ("- 1\n", "line 1: the document: expected a section of keys and values, found a list"),
    ] {
        assert_eq!(refusal(text), said);
    }
    assert!(refusal("server:\n  x: [1\n").starts_with("line "), "{}", refusal("server:\n  x: [1\n"));
}

#[test]
fn flags_with_one_dash_or_two_override_the_file() {
    let line = flags(
        "-target=ingester --storage.trace.backend=local -storage.trace.s3.access_key 123 -log.level=debug \
         -config.expand-env=true -config.file=/conf/tempo.yaml -mem-ballast-size-mbs=1024 -memberlist.join=a \
         -memberlist.join=b -server.http-listen-port=80 -multitenancy.enabled",
    );
    assert!(line.expand_env);
    assert_eq!(line.config_file.as_deref(), Some("/conf/tempo.yaml"));
    let config = load(OPERATORS, &line.settings).unwrap().config;
    assert_eq!(config.target(), "ingester");
    assert_eq!(config.storage.trace.backend(), "local");
    assert_eq!(config.storage.trace.s3.access_key.unwrap().expose(), "123");
    assert_eq!(config.server.log_level.as_deref(), Some("debug"));
    assert_eq!(config.server.http_listen_port, Some(80));
    assert_eq!(config.memberlist.join_members.0, ["a", "b"]);
    assert_eq!(config.multitenancy_enabled, Some(true));
}

#[test]
fn a_wrong_flag_is_refused_by_name() {
    let refusal =
        |text: &str| CommandLine::parse(text.split_whitespace().map(str::to_owned)).unwrap_err().to_string();
    assert_eq!(
        refusal("-storage.trace.bakend=local"),
        "unknown flag -storage.trace.bakend, did you mean -storage.trace.backend; -help lists the flags"
    );
    assert_eq!(refusal("-target"), "flag -target needs a value");
    assert_eq!(refusal("all"), "expected a flag, found `all`");
    assert_eq!(
        refusal("-config.verify=perhaps"),
        "flag -config.verify: expected true or false, found `perhaps`"
    );
    let error = load("", &flags("-server.http-listen-port=x").settings).unwrap_err().to_string();
    assert_eq!(
        error,
        "flag -server.http-listen-port: server.http_listen_port: expected a number from 0 to 65535, found `x`"
    );
}

#[test]
fn help_lists_flags_that_exist() {
    let text = vivace_config::help();
    for name in
        ["-config.file <string>", "-target <string>", "-storage.trace.s3.bucket <string>", "-log.level"]
    {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn limits_of_one_tenant_stand_over_those_of_all() {
    let text =
        "overrides:\n  a:\n    ingestion: {rate_limit_bytes: 5, max_bytes_per_trace: 7}\n    bogus: 1\n";
    let loaded = load_overrides(text).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    let config = load("overrides:\n  ingestion_burst_size_bytes: 9\n  defaults:\n    read:\n      max_search_duration: 1h\n", &[])
        .unwrap()
        .config;
    let limits = loaded.config.overrides["a"].over(&config.overrides.base());
    assert_eq!(limits.ingestion.rate_limit_bytes, Some(Size(5)));
    assert_eq!(limits.ingestion.burst_size_bytes, Some(Size(9)));
    assert_eq!(limits.read.max_search_duration, Some(Duration::from_secs(3600)));
    assert_eq!(limits.trace_bytes(), Some(7));
}

#[test]
fn aliases_unfold_within_a_bound_and_merge_keys_are_known() {
    let text = "a: &x {http_listen_port: 81}\nserver:\n  <<: *x\n  log_level: warn\n";
    let loaded = load(text, &[]).unwrap();
    assert_eq!(loaded.config.server.http_listen_port, Some(81));
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..9 {
        let item = format!("*a{}", level - 1);
        bomb.extend([format!("a{level}: &a{level} ["), [item.as_str(); 10].join(","), "]\n".to_owned()]);
    }
    assert!(refusal(&bomb).ends_with("the document unfolds to more than 200000 nodes"));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let config = load("storage: {trace: {s3: {secret_key: hush}}}", &[]).unwrap().config;
    assert!(!format!("{config:?}").contains("hush"));
    assert!(serde_yaml::to_string(&config).unwrap().contains("hush"));
}

#[test]
fn a_tenants_limits_are_read_in_groups_and_in_the_flat_notation_of_old() {
    let text = "overrides:\n  a:\n    block_retention: 1h\n    retention_rules: [{match: '{ }', keep: 2h}]\n  b:\n    compaction: {block_retention: 3h, retention_rules: [{match: '{ status = error }', keep: 4h}]}\n    compaction_window: 5m\n    bogus: 1\n";
    let loaded = load_overrides(text).unwrap();
    let [a, b] = ["a", "b"].map(|tenant| loaded.config.overrides[tenant].compaction.clone());
    assert_eq!(a.block_retention, Some(Duration::from_secs(3600)));
    assert_eq!(
        (a.retention_rules[0].r#match.as_str(), a.retention_rules[0].keep),
        ("{ }", Duration::from_secs(7200))
    );
    assert_eq!(
        (b.block_retention, b.compaction_window),
        (Some(Duration::from_secs(3 * 3600)), Some(Duration::from_secs(300)))
    );
    assert_eq!(b.retention_rules[0].r#match, "{ status = error }");
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert_eq!(loaded.warnings[0].path, "overrides.b.bogus");
    let missing =
        load("compactor:\n  compaction:\n    retention_rules: [{keep: 1h}]\n", &[]).unwrap_err().to_string();
    assert!(
        missing.contains("compactor.compaction.retention_rules") && missing.contains("match"),
        "{missing}"
    );
}

#[test]
fn every_key_of_tls_that_grafanas_operator_writes_is_known() {
    let text = "server:
  tls_cipher_suites: TLS_AES_128_GCM_SHA256
  tls_min_version: VersionTLS13
  grpc_tls_config: {cert_file: /c, key_file: /k, client_ca_file: /a, client_auth_type: RequireAndVerifyClientCert}
internal_server:
  enable: true
  http_listen_address: \"\"
  tls_min_version: VersionTLS13
  http_tls_config: {cert_file: /c, key_file: /k}
distributor:
  receivers:
    otlp:
      protocols:
        grpc: {tls: {cert_file: /c, key_file: /k, min_version: \"1.3\", cipher_suites: \"A,B\"}}
        http: {tls: {cert_file: /c, key_file: /k, client_ca_file: /a, cipher_suites: [A, B], reload_interval: 30s}}
querier: {frontend_worker: {grpc_client_config: {tls_enabled: true, tls_server_name: n}}}
ingester_client: {grpc_client_config: {tls_cert_path: /c, tls_insecure_skip_verify: false, initial_stream_window_size: 63KiB1023B}}
live_store_client: {grpc_client_config: {tls_enabled: true, tls_ca_path: /a}}
";
    let loaded = load(text, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.internal_server.listen().as_deref(), Some("0.0.0.0:3101"));
    let protocols = config.distributor.receivers.otlp.as_ref().unwrap().protocols.clone();
    assert_eq!(
        protocols.grpc.as_ref().unwrap().tls.cipher_suites,
        protocols.http.as_ref().unwrap().tls.cipher_suites
    );
    assert_eq!(config.to_ingesters().0, "live_store_client.grpc_client_config");
}
