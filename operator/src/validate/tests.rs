use std::collections::BTreeMap;

use vivace_config::Duration;

use super::*;
use crate::{
    facts::Facts,
    fixture::{
        COMPLETE, checked, contents, facts, monolithic, openshift, plain, platform, resource, stack,
        with_secret,
    },
};

fn s3(stack: &Stack) -> &S3 {
    match &stack.storage.access {
        Access::S3(s3) => s3,
        other => panic!("not S3: {other:?}"),
    }
}

fn refusal(spec: &str) -> Invalid {
    checked(spec, &facts()).expect_err("the stack is refused")
}

#[test]
fn a_stack_that_says_nothing_but_its_storage_gets_the_defaults_of_the_peer() {
    let stack = stack("");
    assert_eq!(stack.common.images.tempo, "vivace:1");
    assert_eq!(stack.replication_factor, 1);
    assert_eq!(stack.retention, Duration::from_secs(48 * 3600));
    assert_eq!(stack.common.timeout, Duration::from_secs(30));
    assert_eq!(stack.volume, Volume { size: "10Gi".to_owned(), class: None });
    assert_eq!(stack.search.default_result_limit, 20);
    assert_eq!(stack.common.service_account, ServiceAccountName::Ours("tempo-shop".to_owned()));
    assert_eq!(stack.workloads.querier.replicas, ReplicaRule::Free);
    assert!(stack.network_policies);
    assert!(!stack.common.multitenancy);
    assert_eq!(stack.common.warnings, Vec::<String>::new());
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
        let s3 = s3(&stack);
        assert_eq!((s3.endpoint.as_str(), s3.insecure), (host, insecure));
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
    assert!(invalid.message.ends_with("could not fetch storage secret: Secret bucket is missing"));
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
fn every_way_of_getting_at_storage_is_told_by_the_keys_or_by_name() {
    let token = [("bucket", "b"), ("region", "eu-west-1"), ("role_arn", "arn")];
    let stack = checked("", &with_secret(&token)).expect("the Secret is complete");
    let found = s3(&stack);
    assert_eq!(found.credentials, S3Credentials::Role { arn: "arn".to_owned() });
    assert_eq!((found.endpoint.as_str(), found.insecure), ("s3.eu-west-1.amazonaws.com", false));
    let private =
        [("bucket", "b"), ("region", "eu"), ("role_arn", "arn"), ("endpoint", "https://vpce.example")];
    let stack = checked("", &with_secret(&private)).expect("the Secret is complete");
    assert_eq!((s3(&stack).endpoint.as_str(), s3(&stack).region.as_deref()), ("vpce.example", Some("eu")));
    for mode in ["default-chain", "pod-identity"] {
        let spec = format!("  storage: {{secret: {{name: b, type: s3, credentialMode: {mode}}}}}");
        let keys = [("bucket", "b"), ("region", "cn-north-1")];
        let stack = checked(&spec, &with_secret(&keys)).expect("the Secret is complete");
        assert_eq!(s3(&stack).credentials, S3Credentials::Ambient);
        assert_eq!(s3(&stack).endpoint, "s3.cn-north-1.amazonaws.com.cn");
    }
    let azure = [("container", "c"), ("account_name", "a"), ("client_id", "i"), ("tenant_id", "t")];
    let stack =
        checked("  storage: {secret: {name: b, type: azure}}", &with_secret(&azure)).expect("complete");
    assert!(matches!(
        stack.storage.access,
        Access::Azure { credentials: AzureCredentials::Token { .. }, .. }
    ));
}

#[test]
fn credentials_of_the_cloud_credential_operator_need_its_role() {
    let spec = "  storage: {secret: {name: b, type: s3, credentialMode: token-cco}}";
    let facts = with_secret(&[("bucket", "b"), ("region", "eu")]);
    let invalid = validate(&resource(spec), &facts, &plain()).expect_err("there is no role");
    assert!(invalid.message.contains("ROLEARN"), "{}", invalid.message);
    let platform = Platform { role_arn: Some("arn".to_owned()), ..plain() };
    let stack = validate(&resource(spec), &facts, &platform).expect("there is a role");
    assert!(matches!(s3(&stack).credentials, S3Credentials::CloudCredentials { .. }));
}

#[test]
fn defect_5_an_authority_for_storage_that_is_not_s3_is_refused_and_nothing_breaks() {
    for kind in ["azure", "gcs"] {
        let spec =
            format!("  storage: {{secret: {{name: b, type: {kind}}}, tls: {{enabled: false, caName: ca}}}}");
        let invalid = refusal(&spec);
        assert!(invalid.message.starts_with("spec.storage.tls.caName: "), "{}", invalid.message);
    }
}

#[test]
fn defect_6_an_endpoint_by_https_is_never_spoken_to_in_plain_and_uses_the_certificates_that_are_named() {
    let facts = with_secret(&[
        ("endpoint", "https://minio"),
        ("bucket", "x"),
        ("access_key_id", "a"),
        ("access_key_secret", "b"),
    ]);
    let spec = "  storage: {secret: {name: b, type: s3}, tls: {caName: ca}}";
    let stack = checked(spec, &facts).expect("the stack is sound");
    assert!(!s3(&stack).insecure);
    assert_eq!(
        s3(&stack).tls.as_ref().and_then(|tls| tls.ca.clone()),
        Some(("ca".to_owned(), "ca.crt".to_owned()))
    );
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
    let found = stack(spec);
    let tls = s3(&found).tls.clone().expect("TLS is on");
    assert_eq!(tls.ca, Some(("ca".to_owned(), "ca.crt".to_owned())));
    let gone =
        checked(spec, &Facts { config_maps: BTreeMap::default(), ..facts() }).expect_err("no ConfigMap");
    assert!(gone.message.contains("ConfigMap ca is missing"), "{}", gone.message);
    let mut odd = facts();
    odd.config_maps.insert("ca".to_owned(), contents(&[("x", "")]));
    assert!(checked(spec, &odd).expect_err("no key").message.contains("'ca.crt'"));
}

#[test]
fn the_hash_of_the_credentials_follows_them_alone_and_differs_between_stacks() {
    let hash =
        |pairs: &[(&str, &str)]| checked("", &with_secret(pairs)).expect("the stack is sound").storage.hash;
    let mut other = COMPLETE;
    other[3].1 = "another";
    assert_ne!(hash(&COMPLETE), hash(&other));
    let mut twin = resource("");
    twin.metadata.uid = Some("u2".to_owned());
    let twin = validate(&twin, &facts(), &plain());
    assert_ne!(twin.expect("the stack is sound").storage.hash, hash(&COMPLETE));
}

#[test]
fn what_contradicts_itself_is_refused_by_the_name_of_the_field() {
    let gateway = "  template: {gateway: {enabled: true}}";
    for (spec, field) in [
        (gateway.to_owned(), "spec.template.gateway.enabled"),
        (format!("{gateway}\n  tenants: {{mode: static}}"), "spec.tenants.authentication"),
        (
            "  tenants: {mode: openshift, authentication: [{tenantName: a, tenantId: b}]}".to_owned(),
            "spec.tenants.mode",
        ),
        (
            "  template: {distributor: {tls: {enabled: true}}}".to_owned(),
            "spec.template.distributor.tls.certName",
        ),
        (
            "  template: {metricsGenerator: {enabled: true}}".to_owned(),
            "spec.template.metricsGenerator.remoteWriteURLs",
        ),
        (
            "  template: {queryFrontend: {jaegerQuery: {enabled: true, monitorTab: {enabled: true}}}}"
                .to_owned(),
            "spec.template.queryFrontend.jaegerQuery.monitorTab.prometheusEndpoint",
        ),
        (
            "  replicationZones: [{topologyKey: z}, {topologyKey: z}]".to_owned(),
            "spec.replicationZones[1].topologyKey",
        ),
        (
            "  observability: {tracing: {sampling_fraction: '0.1'}}".to_owned(),
            "spec.observability.tracing.otlp_http_endpoint",
        ),
        (
            "  observability: {tracing: {sampling_fraction: lots}}".to_owned(),
            "spec.observability.tracing.sampling_fraction",
        ),
        ("  serviceAccount: ghost".to_owned(), "spec.serviceAccount"),
        ("  extraConfig: {tempo: text}".to_owned(), "spec.extraConfig.tempo"),
        (
            "  template: {distributor: {service: {loadBalancerClass: c}}}".to_owned(),
            "spec.template.distributor.service.loadBalancerClass",
        ),
        (
            "  template: {queryFrontend: {service: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/33]}}}"
                .to_owned(),
            "spec.template.queryFrontend.service.loadBalancerSourceRanges",
        ),
        (
            "  template: {gateway: {httpRoute: {parentRefs: [{name: g}]}}}".to_owned(),
            "spec.template.gateway.httpRoute",
        ),
        (
            "  template: {distributor: {grpcRoute: {parentRefs: []}}}".to_owned(),
            "spec.template.distributor.grpcRoute.parentRefs",
        ),
        ("  networkPolicy: {queryFrom: [{}]}".to_owned(), "spec.networkPolicy.queryFrom"),
        ("  networkPolicy: {queryFrom: [{ipBlock: {cidr: here}}]}".to_owned(), "spec.networkPolicy.queryFrom"),
    ] {
        let message = refusal(&spec).message;
        assert!(message.starts_with(field), "{message}");
    }
}

#[test]
fn where_the_cluster_lacks_a_kind_a_warning_names_the_field_and_the_stack_runs() {
    let stack = stack(
        "  observability: {metrics: {createServiceMonitors: true}, grafana: {createDatasource: true}}\n  \
         template: {queryFrontend: {httpRoute: {parentRefs: [{name: g}]}, \
         jaegerQuery: {enabled: true, ingress: {type: route}}}}",
    );
    let fields: Vec<&str> = stack.common.warnings.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(
        fields,
        [
            "spec.template.queryFrontend.jaegerQuery.ingress.type",
            "spec.template.queryFrontend.httpRoute",
            "spec.observability.metrics.createServiceMonitors",
            "spec.observability.grafana.createDatasource",
        ]
    );
    assert_eq!(stack.common.monitoring, Monitoring::default());
    assert_eq!(stack.common.jaeger.map(|jaeger| jaeger.exposure), Some(Exposure::Closed));
}

#[test]
fn two_resources_of_one_name_are_refused_since_they_would_have_the_same_objects() {
    let twin = Facts { has_twin: true, ..facts() };
    let invalid = checked("", &twin).expect_err("there is another");
    assert!(invalid.message.starts_with("metadata.name"), "{}", invalid.message);
}

#[test]
fn a_monolithic_stack_that_says_nothing_is_kept_in_memory_and_takes_otlp_in() {
    let valid = monolithic("{}", &platform("")).expect("it is sound");
    assert_eq!(valid.home, Home::Memory("2Gi".to_owned()));
    assert_eq!((valid.receivers.grpc, valid.receivers.http), (Receiver::Plain, Receiver::Plain));
}

#[test]
fn a_monolithic_stack_is_refused_by_the_names_of_its_own_fields() {
    for (spec, field) in [
        ("{storage: {traces: {backend: gcs}}}", "spec.storage.traces.gcs.secret"),
        ("{query: {rbac: {enabled: true}}}", "spec.query.rbac.enabled"),
        ("{jaegerui: {route: {enabled: true}}}", "spec.jaegerui.route.enabled"),
        ("{serviceAccount: ghost}", "spec.serviceAccount"),
        (
            "{observability: {metrics: {prometheusRules: {enabled: true}}}}",
            "spec.observability.metrics.prometheusRules.enabled",
        ),
        ("{multitenancy: {enabled: true}}", "spec.multitenancy.authentication"),
        ("{storage: {traces: {size: much}}}", "spec.storage.traces.size"),
    ] {
        let message = monolithic(spec, &openshift()).expect_err(spec).message;
        assert!(message.starts_with(field), "{message}");
    }
}

#[test]
fn openshift_without_a_domain_for_routes_is_named() {
    let spec = "  template: {gateway: {enabled: true}}\n  \
                tenants: {mode: openshift, authentication: [{tenantName: a, tenantId: b}]}";
    let platform = Platform { base_domain: None, ..openshift() };
    let invalid = validate(&resource(spec), &facts(), &platform).expect_err("there is no domain");
    assert_eq!(invalid.reason, Reason::CouldNotGetOpenShiftBaseDomain);
}

#[test]
fn unknown_keys_of_the_extra_configuration_are_named_and_wrong_values_are_refused() {
    let odd = stack("  extraConfig: {tempo: {queryer: {x: 1}, querier: {max_concurrent_queries: 7}}}");
    assert_eq!(odd.common.warnings, ["spec.extraConfig.tempo: unknown key queryer, it has no effect"]);
    let wrong = refusal("  extraConfig: {tempo: {querier: {max_concurrent_queries: many}}}");
    assert!(wrong.message.starts_with("spec.extraConfig.tempo: "), "{}", wrong.message);
    assert!(wrong.message.contains("max_concurrent_queries"), "{}", wrong.message);
}

#[test]
fn a_variable_in_the_extra_configuration_is_left_to_the_pod() {
    let spec = "  extraConfig: {tempo: {ingester: {trace_idle_period: '${IDLE}'}}}";
    let stack = stack(spec);
    assert_eq!(stack.common.warnings, Vec::<String>::new());
    assert_eq!(stack.common.extra_config.expect("it is kept")["ingester"]["trace_idle_period"], "${IDLE}");
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
    let ingester = stack.workloads.ingester.resources.clone();
    let limits = ingester.limits.expect("the total sets limits");
    assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("1520m", "4Gi"));
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
    assert_eq!((stack.replication_factor, stack.common.warnings), (2, Vec::<String>::new()));
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
    long.metadata.name = Some("x".repeat(64));
    let invalid = validate(&long, &facts(), &plain());
    assert!(invalid.expect_err("the name is too long").message.contains("no more than 63"));
}

#[test]
fn a_gateway_without_an_image_is_refused_and_the_variable_is_named() {
    let spec = "  template: {gateway: {enabled: true}}\n  \
                tenants: {mode: openshift, authentication: [{tenantName: a, tenantId: b}]}";
    let mut platform = openshift();
    platform.images.opa.clear();
    let invalid = validate(&resource(spec), &facts(), &platform).expect_err("there is no image");
    assert!(invalid.message.contains("RELATED_IMAGE_TEMPO_GATEWAY_OPA"), "{}", invalid.message);
}

#[test]
fn who_scales_is_one_and_an_autoscaler_keeps_enough_ingesters() {
    let both = refusal("  template: {querier: {replicas: 2, autoscaling: {maxReplicas: 3}}}");
    assert!(both.message.contains("not together with replicas"), "{}", both.message);
    let few = refusal("  replicationFactor: 3\n  template: {ingester: {autoscaling: {maxReplicas: 9}}}");
    assert!(few.message.contains("needs at least 2 ingesters"), "{}", few.message);
    let enough =
        "  replicationFactor: 3\n  template: {ingester: {autoscaling: {minReplicas: 2, maxReplicas: 9}}}";
    assert_eq!(stack(enough).workloads.ingester.replicas, ReplicaRule::Free);
}
