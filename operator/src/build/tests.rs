use serde_json::{Value, json};

use super::*;
use crate::{
    fixture::{checked, facts, monolithic, openshift, plain, platform, resource, stack},
    platform::Platform,
    validate::validate,
};

/// The objects of a stack, by `Kind/name`.
fn objects(spec: &str) -> Vec<(String, Value)> {
    labelled(build(&stack(spec)))
}

fn labelled(prepared: Prepared) -> Vec<(String, Value)> {
    let ordered = prepared.into_ordered().expect("objects are JSON");
    let label = |desired: &Desired| format!("{}/{}", desired.kind.as_str(), desired.name);
    ordered.into_iter().map(|desired| (label(&desired), desired.object)).collect()
}

/// As `object`, on some platform.
fn object_on(platform: &Platform, spec: &str, label: &str) -> Value {
    let valid = validate(&resource(spec), &facts(), platform).expect("the stack is sound");
    let found = labelled(build(&valid)).into_iter().find(|(name, _)| name == label);
    found.unwrap_or_else(|| panic!("there is no {label}")).1
}

fn object(spec: &str, label: &str) -> Value {
    let found = objects(spec).into_iter().find(|(name, _)| name == label);
    found.unwrap_or_else(|| panic!("there is no {label}")).1
}

fn container(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

fn config(spec: &str) -> Value {
    let map = object(spec, "ConfigMap/tempo-shop");
    let text = map["data"]["tempo.yaml"].as_str().expect("the file is text").to_owned();
    serde_yaml::from_str(&text).expect("the file is YAML")
}

#[test]
fn a_stack_is_made_of_these_objects_in_this_order() {
    let names: Vec<String> = objects("").into_iter().map(|(label, _)| label).collect();
    assert_eq!(
        names,
        [
            "ServiceAccount/tempo-shop",
            "ConfigMap/tempo-shop",
            "NetworkPolicy/tempo-shop-allow-dns",
            "NetworkPolicy/tempo-shop-compactor",
            "NetworkPolicy/tempo-shop-distributor",
            "NetworkPolicy/tempo-shop-gossip",
            "NetworkPolicy/tempo-shop-ingester",
            "NetworkPolicy/tempo-shop-ingress-to-operand-metrics",
            "NetworkPolicy/tempo-shop-querier",
            "NetworkPolicy/tempo-shop-query-frontend",
            "Service/tempo-shop-compactor",
            "Service/tempo-shop-distributor",
            "Service/tempo-shop-gossip-ring",
            "Service/tempo-shop-ingester",
            "Service/tempo-shop-querier",
            "Service/tempo-shop-query-frontend",
            "Service/tempo-shop-query-frontend-discovery",
            "PodDisruptionBudget/tempo-shop-distributor",
            "PodDisruptionBudget/tempo-shop-ingester",
            "PodDisruptionBudget/tempo-shop-querier",
            "PodDisruptionBudget/tempo-shop-query-frontend",
            "StatefulSet/tempo-shop-ingester",
            "Deployment/tempo-shop-compactor",
            "Deployment/tempo-shop-distributor",
            "Deployment/tempo-shop-querier",
            "Deployment/tempo-shop-query-frontend",
        ]
    );
}

#[test]
fn services_have_the_peer_s_ports_in_the_peer_s_order_and_target_them_by_name() {
    let receivers = "thrift-http 14268, thrift-compact 6831/UDP, thrift-binary 6832/UDP, jaeger-grpc 14250, http-zipkin 9411";
    let distributor = format!("otlp-http 4318, otlp-grpc 4317, http 3200, {receivers}");
    for (name, ports) in [
        ("compactor", "http-memberlist 7946, http 3200"),
        ("distributor", distributor.as_str()),
        ("gossip-ring", "http-memberlist 7946"),
        ("ingester", "http 3200, grpc 9095"),
        ("querier", "http-memberlist 7946, http 3200, grpc 9095"),
        ("query-frontend", "http 3200, grpc 9095"),
        ("query-frontend-discovery", "http 3200, grpc 9095, grpclb 9096"),
    ] {
        let service = object("", &format!("Service/tempo-shop-{name}"));
        let listed: Vec<String> = service["spec"]["ports"]
            .as_array()
            .expect("a Service has ports")
            .iter()
            .map(|port| {
                assert_eq!(port["targetPort"], port["name"]);
                let udp = if port["protocol"] == "UDP" { "/UDP" } else { "" };
                format!("{} {}{udp}", port["name"].as_str().unwrap_or_default(), port["port"])
            })
            .collect();
        assert_eq!(listed.join(", "), ports, "{name}");
    }
}

#[test]
fn the_services_for_finding_others_are_headless_and_show_pods_that_are_not_ready() {
    for name in ["gossip-ring", "query-frontend-discovery"] {
        let spec = &object("", &format!("Service/tempo-shop-{name}"))["spec"];
        assert_eq!(spec["clusterIP"], "None");
        assert_eq!(spec["publishNotReadyAddresses"], true);
    }
    let gossip = object("", "Service/tempo-shop-gossip-ring");
    assert_eq!(gossip["spec"]["selector"]["tempo-gossip-member"], "true");
    let discovery = object("", "Service/tempo-shop-query-frontend-discovery");
    assert_eq!(discovery["spec"]["selector"]["app.kubernetes.io/component"], "query-frontend");
}

#[test]
fn every_object_has_the_peer_s_labels_and_is_owned_by_the_resource() {
    for (label, object) in objects("") {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/instance"], "shop", "{label}");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "tempo-operator", "{label}");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u1", "{label}");
        assert_eq!(object["metadata"]["ownerReferences"][0]["controller"], true, "{label}");
    }
}

#[test]
fn selectors_match_the_pods_that_they_are_for() {
    for (label, object) in objects("") {
        let Some(selector) = object.pointer("/spec/selector/matchLabels") else { continue };
        let Some(labels) = object.pointer("/spec/template/metadata/labels") else { continue };
        for (key, value) in selector.as_object().expect("a selector is a map") {
            assert_eq!(labels.get(key), Some(value), "{label}");
        }
        assert_eq!(labels["tempo-gossip-member"], "true", "{label}");
    }
}

#[test]
fn a_component_that_uses_storage_gets_the_keys_by_reference_and_the_distributor_does_not() {
    let querier = object("", "Deployment/tempo-shop-querier");
    assert_eq!(
        container(&querier)["args"],
        json!([
            "-target=querier",
            "-config.file=/conf/tempo.yaml",
            "-log.level=info",
            "-config.expand-env=true",
            "--storage.trace.s3.secret_key=$(S3_SECRET_KEY)",
            "--storage.trace.s3.access_key=$(S3_ACCESS_KEY)",
        ])
    );
    let key = json!({"name": "bucket", "key": "access_key_secret"});
    assert_eq!(container(&querier)["env"][0]["valueFrom"]["secretKeyRef"], key);
    let distributor = object("", "Deployment/tempo-shop-distributor");
    assert_eq!(container(&distributor)["args"].as_array().map(Vec::len), Some(4));
    assert_eq!(container(&distributor)["env"], Value::Null);
    let frontend = object("", "Deployment/tempo-shop-query-frontend");
    assert_eq!(container(&frontend)["args"][1], "-config.file=/conf/tempo-query-frontend.yaml");
}

#[test]
fn pods_fulfil_the_restricted_standard() {
    for (label, object) in objects("") {
        let Some(pod) = object.pointer("/spec/template/spec") else { continue };
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{label}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{label}");
        assert_eq!(pod["securityContext"]["fsGroup"], 10001, "{label}");
        let context = &container(&object)["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{label}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{label}");
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{label}");
        assert!(container(&object)["livenessProbe"].is_object(), "{label}");
        assert_eq!(container(&object)["readinessProbe"]["httpGet"]["port"], "http", "{label}");
        assert_eq!(container(&object)["readinessProbe"]["periodSeconds"], 1, "{label}");
    }
}

#[test]
fn ingesters_start_side_by_side_keep_their_volume_and_have_time_to_leave() {
    let set = object("  storageSize: 5Gi\n  storageClassName: fast", "StatefulSet/tempo-shop-ingester");
    let spec = &set["spec"];
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["serviceName"], "tempo-shop-gossip-ring");
    assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 300);
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["name"], "data");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "5Gi");
    assert_eq!(claim["spec"]["storageClassName"], "fast");
    let mounts = &container(&set)["volumeMounts"];
    assert_eq!(mounts[1], json!({"name": "data", "mountPath": "/var/tempo"}));
}

#[test]
fn replicas_are_written_only_where_the_resource_says_them() {
    let free = object("", "Deployment/tempo-shop-querier");
    assert_eq!(free["spec"].get("replicas"), None);
    let fixed = object("  template: {querier: {replicas: 3}}", "Deployment/tempo-shop-querier");
    assert_eq!(fixed["spec"]["replicas"], 3);
}

#[test]
fn only_a_number_of_pods_that_the_resource_names_is_kept_from_autoscalers() {
    let stack = stack("  size: 1x.pico\n  template: {querier: {replicas: 3}}");
    let ordered = build(&stack).into_ordered().expect("objects are JSON");
    let may =
        |name: &str| ordered.iter().find(|desired| desired.name == name && desired.kind >= Kind::StatefulSet);
    assert_eq!(may("tempo-shop-querier").map(|desired| desired.may_be_scaled), Some(false));
    assert_eq!(may("tempo-shop-ingester").map(|desired| desired.may_be_scaled), Some(true));
}

#[test]
fn pods_roll_with_the_configuration_and_with_the_credentials_and_not_with_limits_of_tenants() {
    let annotations = |spec: &str| {
        object(spec, "StatefulSet/tempo-shop-ingester")["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let before = annotations("");
    assert!(before.get(pod::CREDENTIALS_HASH).is_some());
    let retention = annotations("  retention: {global: {traces: 24h}}");
    assert_ne!(before[pod::CONFIG_HASH], retention[pod::CONFIG_HASH]);
    let one = "  limits: {perTenant: {a: {ingestion: {maxTracesPerUser: 1}}}}";
    let two = "  limits: {perTenant: {a: {ingestion: {maxTracesPerUser: 2}}}}";
    assert_eq!(annotations(one), annotations(two));
}

#[test]
fn the_configuration_of_the_smallest_stack_is_this() {
    let map = object("", "ConfigMap/tempo-shop");
    insta::assert_snapshot!(map["data"]["tempo.yaml"].as_str().expect("the file is text"));
    assert_eq!(map["data"]["tempo.yaml"], map["data"]["tempo-query-frontend.yaml"]);
}

#[test]
fn the_workload_reads_the_configuration_without_a_complaint() {
    let all = "  template: {queryFrontend: {mcpServer: {enabled: true}}, metricsGenerator: {enabled: true, remoteWriteURLs: ['http://p:9090/w']}}\n  \
               replicationZones: [{topologyKey: z}]\n  \
               limits: {global: {ingestion: {maxBytesPerTrace: 5}, query: {maxSearchDuration: 12h}}}\n  \
               hashRing: {memberlist: {enableIPv6: true, instanceAddrType: podIP}}\n  \
               storage: {secret: {name: b, type: s3}, tls: {enabled: true, caName: ca, certName: c}}";
    for (platform, spec) in [(plain(), ""), (platform(""), all), (openshift(), all)] {
        let map = object_on(&platform, spec, "ConfigMap/tempo-shop");
        for file in ["tempo.yaml", "tempo-query-frontend.yaml"] {
            let text = map["data"][file].as_str().expect("the file is text");
            let loaded = vivace_config::load(text, &[]).expect("the workload reads it");
            assert_eq!(loaded.warnings, []);
        }
    }
    for spec in
        ["{}", "{query: {mcpServer: {enabled: true}}, storage: {traces: {backend: s3, s3: {secret: b}}}}"]
    {
        let valid = monolithic(spec, &platform("")).expect("it is sound");
        let loaded =
            vivace_config::load(&config::monolithic_yaml(&valid, None), &[]).expect("the workload reads it");
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn extra_configuration_is_merged_key_by_key_and_lists_are_replaced() {
    let config = config(
        "  extraConfig: {tempo: {querier: {max_concurrent_queries: 7}, \
         memberlist: {join_members: ['other:7946']}, storage: {trace: {s3: {prefix: p}}}}}",
    );
    assert_eq!(config["querier"]["max_concurrent_queries"], 7);
    assert!(config["querier"]["frontend_worker"]["frontend_address"].is_string());
    assert_eq!(config["memberlist"]["join_members"], json!(["other:7946"]));
    assert_eq!(config["storage"]["trace"]["s3"]["prefix"], "p");
    assert_eq!(config["storage"]["trace"]["s3"]["bucket"], "traces");
}

#[test]
fn limits_of_tenants_go_into_the_file_that_is_read_again() {
    let spec = "  limits: {perTenant: {a: {ingestion: {ingestionRateLimitBytes: 9}}}}\n  \
                retention: {perTenant: {a: {traces: 24h}}}";
    let map = object(spec, "ConfigMap/tempo-shop");
    let text = map["data"]["overrides.yaml"].as_str().expect("the file is text");
    let overrides: Value = serde_yaml::from_str(text).expect("the file is YAML");
    assert_eq!(overrides["overrides"]["a"]["ingestion"]["rate_limit_bytes"], 9);
    assert_eq!(overrides["overrides"]["a"]["compaction"]["block_retention"], "24h0m0s");
    assert_eq!(config(spec)["overrides"]["per_tenant_override_config"], "/conf/overrides.yaml");
    vivace_config::load_overrides(text).expect("the workload reads it");
}

#[test]
fn certificates_of_the_storage_are_mounted_where_the_configuration_looks_for_them() {
    let spec = "  storage: {secret: {name: b, type: s3}, tls: {enabled: true, caName: own, certName: own}}";
    let pod = object(spec, "Deployment/tempo-shop-compactor");
    let mounts = container(&pod)["volumeMounts"].as_array().expect("there are mounts").clone();
    assert_eq!(mounts[2], json!({"name": "own", "mountPath": "/var/run/tls/storage/ca", "readOnly": true}));
    assert_eq!(mounts[3]["name"], "own-cert");
    let s3 = &config(spec)["storage"]["trace"]["s3"];
    assert_eq!(s3["tls_ca_path"], "/var/run/tls/storage/ca/ca.crt");
    assert_eq!(s3["tls_cert_path"], "/var/run/tls/storage/cert/tls.crt");
    let distributor = object(spec, "Deployment/tempo-shop-distributor");
    assert_eq!(container(&distributor)["volumeMounts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_account_of_someone_else_s_is_used_and_not_made() {
    let all = objects("  serviceAccount: mine");
    assert!(all.iter().all(|(label, _)| !label.starts_with("ServiceAccount/")));
    let pod = object("  serviceAccount: mine", "Deployment/tempo-shop-querier");
    assert_eq!(pod["spec"]["template"]["spec"]["serviceAccountName"], "mine");
}

/// `from -> to` over the ports that a policy opens between two components.
fn lets_through(policy: &str, direction: &str, component: &str) -> Vec<i64> {
    let policy = object("", &format!("NetworkPolicy/tempo-shop-{policy}"));
    let peers = if direction == "ingress" { "from" } else { "to" };
    let rules = policy["spec"][direction].as_array().cloned().unwrap_or_default();
    let of_component = |rule: &&Value| {
        rule[peers]
            .as_array()
            .into_iter()
            .flatten()
            .any(|peer| peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component)
    };
    let ports = rules.iter().filter(of_component).filter_map(|rule| rule["ports"].as_array().cloned());
    ports.flatten().filter_map(|port| port["port"].as_i64()).collect()
}

#[test]
fn policies_let_every_connection_between_the_roles_through_at_both_ends() {
    for (from, to) in [("distributor", "ingester"), ("querier", "ingester"), ("querier", "query-frontend")] {
        assert!(lets_through(from, "egress", to).contains(&9095), "{from} may not go to {to}");
        assert!(lets_through(to, "ingress", from).contains(&9095), "{to} may not be reached by {from}");
    }
}

#[test]
fn policies_reach_storage_and_name_servers_by_either_family() {
    for role in ["ingester", "querier", "query-frontend", "compactor", "allow-dns"] {
        let text = object("", &format!("NetworkPolicy/tempo-shop-{role}"))["spec"]["egress"].to_string();
        assert!(text.contains("0.0.0.0/0") && text.contains("::/0"), "{role}");
    }
}

#[test]
fn policies_can_be_turned_off() {
    let all = objects("  networkPolicy: {enabled: false}");
    assert!(all.iter().all(|(label, _)| !label.starts_with("NetworkPolicy/")));
}

const TENANTS: &str = "  tenants:\n    mode: static\n    authentication: [{tenantName: dev, tenantId: d1, oidc: {issuerURL: 'https://id:8443/x', secret: {name: oidc}}}]\n    \
    authorization: {roles: [{name: r, resources: [traces], tenants: [dev], permissions: [read]}], roleBindings: [{name: b, roles: [r], subjects: [{kind: user, name: u}]}]}\n";

/// Objects of a stack behind the gateway.
fn behind_gateway(platform: &Platform, template: &str) -> Vec<(String, Value)> {
    let mut facts = facts();
    facts.secrets.insert("oidc".to_owned(), crate::fixture::contents(&[("clientID", "me")]));
    let spec = format!("{TENANTS}  template: {{gateway: {{enabled: true{template}}}}}");
    labelled(build(&validate(&resource(&spec), &facts, platform).expect("the stack is sound")))
}

fn find(all: &[(String, Value)], label: &str) -> Value {
    all.iter().find(|(name, _)| name == label).unwrap_or_else(|| panic!("there is no {label}")).1.clone()
}

#[test]
fn ports_of_issuers_and_of_remote_writes_are_opened() {
    let gateway = find(&behind_gateway(&platform(""), ""), "NetworkPolicy/tempo-shop-gateway").to_string();
    assert!(gateway.contains(r#""port":8443"#), "{gateway}");
    let spec = "  template: {metricsGenerator: {enabled: true, remoteWriteURLs: ['http://mimir:8080/push']}}";
    let generator = object(spec, "NetworkPolicy/tempo-shop-metrics-generator").to_string();
    assert!(generator.contains(r#""port":8080"#), "{generator}");
}

#[test]
fn a_cookie_secret_that_is_there_is_kept_and_a_new_one_is_made_up() {
    let spec = "  template: {gateway: {enabled: true}}\n  \
                tenants: {mode: openshift, authentication: [{tenantName: dev, tenantId: d1}]}";
    let made = |facts: &crate::facts::Facts| {
        find(
            &labelled(build(&validate(&resource(spec), facts, &openshift()).expect("it is sound"))),
            "Secret/tempo-shop-gateway",
        )
    };
    let mut later = facts();
    later.entropy = crate::facts::Entropy([7; 32]);
    let first = made(&facts());
    assert_ne!(made(&later)["data"], first["data"]);
    later.live.objects.insert((Kind::Secret, "tempo-shop-gateway".to_owned()), first.clone());
    assert_eq!(made(&later)["data"], first["data"]);
}

#[test]
fn a_long_name_of_a_stack_gives_objects_that_refer_to_each_other() {
    let mut long = resource("");
    long.metadata.name = Some("a-rather-long-name-of-a-stack-that-someone-chose".to_owned());
    let all = labelled(build(&validate(&long, &facts(), &platform("")).expect("it is sound")));
    for (label, object) in &all {
        let name = object["metadata"]["name"].as_str().expect("an object has a name");
        assert!(name.len() <= 63, "{label}");
        for volume in object["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten() {
            assert!(volume["name"].as_str().is_some_and(|name| name.len() <= 63), "{label}");
        }
    }
    let discovery =
        all.iter().find(|(label, _)| label.ends_with("-query-frontend-discovery")).expect("it is there");
    let name = discovery.1["metadata"]["name"].as_str().expect("a name").to_owned();
    let map = all.iter().find(|(label, _)| label.starts_with("ConfigMap/")).expect("it is there");
    assert!(map.1["data"]["tempo.yaml"].as_str().is_some_and(|text| text.contains(&name)));
}

#[test]
fn what_a_stack_of_other_kinds_needs_is_listed_for_whoever_makes_certificates() {
    let identity = stack("").common.identity;
    assert_eq!(certificates::needed(&identity, &plain()), None);
    assert_eq!(certificates::needed(&identity, &platform("-builtInCertManagement")), None);
    let needed = certificates::needed(&identity, &platform("")).expect("there are some");
    assert_eq!(
        (needed.authority.as_str(), needed.bundle.as_str()),
        ("tempo-shop-signing-ca", "tempo-shop-ca-bundle")
    );
    assert_eq!(needed.leaves.len(), 7);
}

#[test]
fn a_component_may_be_scaled_placed_and_marked_in_the_ways_of_other_operators() {
    let spec = "  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}\n  template:\n    querier:\n      \
                autoscaling: {minReplicas: 2, maxReplicas: 9, targetMemoryUtilizationPercentage: 70}\n      \
                priorityClassName: high\n      affinity: {nodeAffinity: {}}\n      \
                podMetadata: {labels: {team: obs, app.kubernetes.io/name: mine}, annotations: {a: b}}\n      \
                topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]";
    let scaler = object(spec, "HorizontalPodAutoscaler/tempo-shop-querier");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "tempo-shop-querier");
    assert_eq!(scaler["spec"]["minReplicas"], 2);
    assert_eq!(scaler["spec"]["metrics"].as_array().map(Vec::len), Some(1));
    let workload = object(spec, "Deployment/tempo-shop-querier");
    assert_eq!(workload["spec"].get("replicas"), None);
    let template = &workload["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "obs");
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/name"], "tempo");
    assert_eq!(template["metadata"]["annotations"]["a"], "b");
    assert_eq!(template["spec"]["priorityClassName"], "high");
    assert_eq!(template["spec"]["affinity"], json!({"nodeAffinity": {}}));
    assert_eq!(template["spec"]["topologySpreadConstraints"][0]["topologyKey"], "rack");
    let ingester = object(spec, "StatefulSet/tempo-shop-ingester");
    let retention = &ingester["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(*retention, json!({"whenDeleted": "Retain", "whenScaled": "Delete"}));
}

mod cert_manager;
mod defects;
mod network;
