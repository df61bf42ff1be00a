use vivace_config::Duration;

use super::*;
use crate::{
    facts::Facts,
    fixture::{COMPLETE, checked, facts, resource, secret, stack},
};

fn refusal(spec: &str) -> Invalid {
    checked(spec, &facts()).expect_err("the stack is refused")
}

fn with_secret(pairs: &[(&str, &str)]) -> Facts {
    Facts { secret: Some(secret(pairs)), ..facts() }
}

#[test]
fn a_stack_that_says_nothing_but_its_storage_gets_the_defaults_of_the_peer() {
    let stack = stack("");
    assert_eq!(stack.image, "vivace:1");
    assert_eq!(stack.replication_factor, 1);
    assert_eq!(stack.retention, Duration::from_secs(48 * 3600));
    assert_eq!(stack.timeout, Duration::from_secs(30));
    assert_eq!(stack.volume, Volume { size: "10Gi".to_owned(), class: None });
    assert_eq!(stack.search.default_result_limit, 20);
    assert_eq!(stack.service_account, ServiceAccountName::Ours("tempo-shop".to_owned()));
    assert_eq!(stack.workloads.querier.replicas, ReplicaRule::Free);
    assert!(stack.network_policies);
    assert!(!stack.multitenancy);
    assert_eq!(stack.warnings, Vec::<String>::new());
}

#[test]
fn the_endpoint_of_the_secret_loses_its_scheme_and_https_is_never_turned_into_http() {
    for (endpoint, tls, host, insecure) in [
        ("http://minio:9000", "", "minio:9000", true),
        ("https://s3.example.org", "", "s3.example.org", false),
        ("https://s3.example.org/", "", "s3.example.org", false),
        ("http://minio:9000", ", tls: {enabled: true}", "minio:9000", false),
    ] {
        let mut pairs = COMPLETE;
        pairs[0].1 = endpoint;
        let spec = format!("  storage: {{secret: {{name: b, type: s3}}{tls}}}");
        let stack = checked(&spec, &with_secret(&pairs)).expect("the stack is sound");
        assert_eq!((stack.storage.endpoint.as_str(), stack.storage.insecure), (host, insecure));
    }
}

#[test]
fn each_key_that_the_secret_lacks_is_named_together_with_the_secret() {
    for missing in ["endpoint", "bucket", "access_key_id", "access_key_secret"] {
        let pairs: Vec<_> = COMPLETE.into_iter().filter(|(key, _)| *key != missing).collect();
        let invalid = checked("", &with_secret(&pairs)).expect_err("the Secret is incomplete");
        assert_eq!(invalid.reason, Reason::InvalidStorageConfig);
        let message = &invalid.message;
        assert!(message.contains("Secret bucket") && message.contains(missing), "{message}");
    }
}

#[test]
fn a_missing_secret_is_named() {
    let invalid = checked("", &Facts::default()).expect_err("there is no Secret");
    assert_eq!(invalid.message, "could not fetch storage secret: Secret bucket is missing");
}

#[test]
fn an_endpoint_that_is_no_url_or_has_a_path_is_refused() {
    for endpoint in ["minio:9000", "ftp://minio", "http://", "http://minio/bucket", "http://u@minio"] {
        let mut pairs = COMPLETE;
        pairs[0].1 = endpoint;
        let invalid = checked("", &with_secret(&pairs)).expect_err(endpoint);
        assert!(invalid.message.contains("valid URL"), "{}", invalid.message);
    }
}

#[test]
fn storage_that_is_not_served_yet_is_refused_by_name() {
    let azure = refusal("  storage: {secret: {name: b, type: azure}}");
    assert!(azure.message.contains("azure is not served yet, expected s3"), "{}", azure.message);
    let token = refusal("  storage: {secret: {name: b, type: s3, credentialMode: token}}");
    assert!(token.message.contains("token is not served yet"), "{}", token.message);
    let keys = [("bucket", "b"), ("region", "eu"), ("role_arn", "arn")];
    let inferred = checked("", &with_secret(&keys)).expect_err("tokens are not served");
    assert!(inferred.message.contains("token is not served yet"), "{}", inferred.message);
}

#[test]
fn a_secret_with_both_kinds_of_credentials_is_refused() {
    let mut pairs = COMPLETE.to_vec();
    pairs.push(("role_arn", "arn"));
    let invalid = checked("", &with_secret(&pairs)).expect_err("the credentials are mixed");
    assert!(invalid.message.contains("holds both"), "{}", invalid.message);
}

#[test]
fn the_authority_of_the_storage_has_to_be_there_under_a_known_key() {
    let spec = "  storage: {secret: {name: b, type: s3}, tls: {enabled: true, caName: ca}}";
    let tls = stack(spec).storage.tls.expect("TLS is on");
    assert_eq!(tls.ca, Some(("ca".to_owned(), "ca.crt".to_owned())));
    let gone = checked(spec, &Facts { ca_keys: None, ..facts() }).expect_err("no ConfigMap");
    assert!(gone.message.contains("ConfigMap ca is missing"), "{}", gone.message);
    let odd = checked(spec, &Facts { ca_keys: Some(vec!["x".to_owned()]), ..facts() });
    assert!(odd.expect_err("no key").message.contains("'ca.crt'"));
}

#[test]
fn the_hash_of_the_credentials_follows_them_alone_and_differs_between_stacks() {
    let hash = |pairs: &[(&str, &str)]| {
        checked("", &with_secret(pairs)).expect("the stack is sound").storage.credentials_hash
    };
    let mut other = COMPLETE;
    other[3].1 = "another";
    assert_ne!(hash(&COMPLETE), hash(&other));
    let mut moved = COMPLETE;
    moved[1].1 = "elsewhere";
    assert_eq!(hash(&COMPLETE), hash(&moved));
    let mut twin = resource("");
    twin.metadata.uid = Some("u2".to_owned());
    let twin = validate(&twin, &facts(), &Settings { workload_image: String::new() });
    assert_ne!(twin.expect("the stack is sound").storage.credentials_hash, hash(&COMPLETE));
}

#[test]
fn protection_that_would_not_be_there_is_refused_and_not_left_out() {
    for spec in [
        "  tenants: {mode: static}\n  template: {gateway: {enabled: true}}",
        "  template: {distributor: {tls: {enabled: true, certName: c}}}",
    ] {
        let invalid = refusal(spec);
        assert_eq!(invalid.reason, Reason::NotServed);
        assert!(invalid.message.contains("is not served yet"), "{}", invalid.message);
    }
}

#[test]
fn what_is_asked_for_and_not_served_is_named_and_what_is_turned_off_is_not() {
    let stack = stack(
        "  observability: {metrics: {createServiceMonitors: true}, tracing: {sampling_fraction: ''}}\n  \
         template: {queryFrontend: {jaegerQuery: {enabled: true}, mcpServer: {enabled: false}}}\n  \
         images: {tempo: 'x:1', oauthProxy: 'y:1'}",
    );
    assert_eq!(stack.image, "x:1");
    assert_eq!(
        stack.warnings,
        [
            "spec.template.queryFrontend.jaegerQuery.enabled is not served yet",
            "spec.observability.metrics.createServiceMonitors is not served yet",
            "spec.images.oauthProxy is not served yet",
        ]
    );
}

#[test]
fn unknown_keys_of_the_extra_configuration_are_named_and_wrong_values_are_refused() {
    let odd = stack("  extraConfig: {tempo: {queryer: {x: 1}, querier: {max_concurrent_queries: 7}}}");
    assert_eq!(odd.warnings, ["spec.extraConfig.tempo: unknown key queryer, it has no effect"]);
    let wrong = refusal("  extraConfig: {tempo: {querier: {max_concurrent_queries: many}}}");
    assert!(wrong.message.starts_with("spec.extraConfig.tempo: "), "{}", wrong.message);
    assert!(wrong.message.contains("max_concurrent_queries"), "{}", wrong.message);
}

#[test]
fn a_variable_in_the_extra_configuration_is_left_to_the_pod() {
    let spec = "  extraConfig: {tempo: {ingester: {trace_idle_period: '${IDLE}'}}}";
    let stack = stack(spec);
    assert_eq!(stack.warnings, Vec::<String>::new());
    assert_eq!(stack.extra_config.expect("it is kept")["ingester"]["trace_idle_period"], "${IDLE}");
}

#[test]
fn a_size_sets_replicas_requests_replication_and_limits_and_gives_way_to_what_is_said() {
    let stack = stack(
        "  size: 1x.small\n  limits: {global: {ingestion: {maxTracesPerUser: 10}}}\n  \
         template: {querier: {replicas: 7, resources: {limits: {memory: 2Gi}}}}",
    );
    assert_eq!(stack.replication_factor, 2);
    assert_eq!(stack.workloads.ingester.replicas, ReplicaRule::Suggested(2));
    assert_eq!(stack.workloads.distributor.replicas, ReplicaRule::Suggested(3));
    assert_eq!(stack.workloads.querier.replicas, ReplicaRule::Fixed(7));
    let requests = stack.workloads.ingester.resources.requests.expect("a size sets requests");
    assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("2", "10Gi"));
    assert_eq!(stack.workloads.querier.resources.requests, None);
    assert_eq!(stack.limits.rate_bytes, Some(5_800_000));
    assert_eq!(stack.limits.traces_per_user, Some(10));
}

#[test]
fn the_total_is_split_to_the_byte_as_the_peer_splits_it() {
    let stack =
        stack("  resources: {total: {limits: {cpu: 4, memory: 8Gi}}}\n  template: {querier: {replicas: 2}}");
    let ingester = stack.workloads.ingester.resources;
    let limits = ingester.limits.expect("the total sets limits");
    assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("1520m", "4294967296"));
    let requests = ingester.requests.expect("the total sets requests");
    assert_eq!(requests["cpu"].0, "456m");
    let querier = stack.workloads.querier.resources.limits.expect("the total sets limits");
    assert_eq!(querier["cpu"].0, "200m");
}

#[test]
fn replication_needs_enough_ingesters() {
    let invalid = refusal("  replicationFactor: 2");
    assert!(invalid.message.contains("needs at least 2 ingesters"), "{}", invalid.message);
    assert_eq!(stack("  replicationFactor: 3\n  size: 1x.small").workloads.ingester.replicas.count(), 2);
}

#[test]
fn replication_is_served_and_needs_no_warning() {
    let stack = stack("  replicationFactor: 2\n  template: {ingester: {replicas: 2}}");
    assert_eq!((stack.replication_factor, stack.warnings), (2, Vec::<String>::new()));
}

#[test]
fn a_user_s_security_context_is_laid_over_ours_field_by_field() {
    let stack = stack("  template: {ingester: {podSecurityContext: {fsGroup: 7}}}");
    let context = stack.workloads.ingester.pod_security_context;
    assert_eq!(context.fs_group, Some(7));
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.run_as_user, Some(10001));
}

#[test]
fn values_out_of_range_are_refused_by_the_name_of_their_field() {
    for (spec, field) in [
        ("  search: {maxResultLimit: -1}", "spec.search.maxResultLimit"),
        ("  limits: {perTenant: {a: {ingestion: {maxBytesPerTrace: -5}}}}", "spec.limits.perTenant[a]"),
        ("  retention: {global: {traces: 2 days}}", "spec.retention.global.traces"),
        ("  storageSize: much", "spec.storageSize"),
        ("  template: {querier: {resources: {limits: {cpu: fast}}}}", "resources of the querier"),
    ] {
        let message = refusal(spec).message;
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn a_name_that_is_too_long_for_a_service_is_refused_with_the_limit() {
    let mut long = resource("");
    long.metadata.name = Some("x".repeat(33));
    let invalid = validate(&long, &facts(), &Settings { workload_image: String::new() });
    assert!(invalid.expect_err("the name is too long").message.contains("at most 32"));
}
