//! The defects of Grafana's operator that show in its objects, one test a clause. Numbers and clauses: docs/defects.md.

use super::*;

#[test]
fn defect_2_what_decides_about_an_ingress_is_in_it_and_nothing_else() {
    let spec = |class: &str| {
        format!(
            "  template: {{queryFrontend: {{jaegerQuery: {{enabled: true, ingress: {{type: ingress, ingressClassName: {class}}}}}}}}}"
        )
    };
    for class in ["one", "two"] {
        let made = object(&spec(class), "Ingress/tempo-shop-query-frontend");
        assert_eq!(made["spec"]["ingressClassName"], class);
        assert_eq!(made["spec"]["defaultBackend"]["service"]["port"]["name"], "jaeger-ui");
    }
}

#[test]
fn defect_3_an_address_of_the_api_server_is_one_address_in_either_family() {
    let mut platform = platform("");
    platform.api_server =
        vec![("10.0.0.1".parse().expect("an address"), 6443), ("fd00::1".parse().expect("an address"), 6443)];
    let policy = find(&behind_gateway(&platform, ""), "NetworkPolicy/tempo-shop-gateway").to_string();
    assert!(policy.contains("10.0.0.1/32") && policy.contains("fd00::1/128"), "{policy}");
    assert!(!policy.contains("fd00::1/32"), "{policy}");
}

#[test]
fn defect_3_policies_are_owned_and_storage_may_be_reached_by_ipv6() {
    for (label, object) in objects("") {
        if label.starts_with("NetworkPolicy/") {
            assert_eq!(object["metadata"]["ownerReferences"][0]["controller"], true, "{label}");
        }
    }
    let policy = object("", "NetworkPolicy/tempo-shop-compactor");
    assert!(policy["spec"]["egress"].to_string().contains("::/0"));
}

#[test]
fn defect_3_a_prometheus_outside_of_openshift_may_scrape() {
    let policy = object("", "NetworkPolicy/tempo-shop-ingress-to-operand-metrics");
    let peers = policy["spec"]["ingress"][0]["from"].to_string();
    assert!(peers.contains("openshift.io/cluster-monitoring") && peers.contains("prometheus"), "{peers}");
}

#[test]
fn defect_4_the_metrics_generator_is_monitored_sized_secured_and_has_the_environment() {
    let spec = "  env: [{name: X, value: y}]\n  envFrom: [{secretRef: {name: b}}]\n  \
                resources: {total: {limits: {cpu: 4, memory: 8Gi}}}\n  \
                observability: {metrics: {createServiceMonitors: true}}\n  \
                template: {metricsGenerator: {enabled: true, remoteWriteURLs: ['http://p:9090/w']}}";
    let platform = platform("prometheusOperator");
    let workload = object_on(&platform, spec, "Deployment/tempo-shop-metrics-generator");
    let own = container(&workload);
    assert!(own["env"].to_string().contains(r#""name":"X""#));
    assert_eq!(own["envFrom"][0]["secretRef"]["name"], "b");
    assert!(own["resources"]["limits"]["memory"].is_string());
    assert_eq!(workload["spec"]["template"]["spec"]["securityContext"]["fsGroup"], 10001);
    object_on(&platform, spec, "ServiceMonitor/tempo-shop-metrics-generator");
}

#[test]
fn defect_4_a_remote_write_may_show_credentials_that_come_from_a_secret() {
    let spec = "  envFrom: [{secretRef: {name: b}}]\n  \
                template: {metricsGenerator: {enabled: true, remoteWriteURLs: ['http://p:9090/w']}}\n  \
                extraConfig: {tempo: {metrics_generator: {storage: {remote_write: \
                [{url: 'http://p:9090/w', basic_auth: {username: me, password: '${PASSWORD}'}}]}}}}";
    let remote = &config(spec)["metrics_generator"]["storage"]["remote_write"];
    assert_eq!(remote[0]["basic_auth"]["password"], "${PASSWORD}");
    let workload = object(spec, "Deployment/tempo-shop-metrics-generator");
    assert_eq!(container(&workload)["envFrom"][0]["secretRef"]["name"], "b");
    assert!(container(&workload)["args"].to_string().contains("-config.expand-env=true"));
}

#[test]
fn defect_5_resources_of_the_bridge_are_its_own_with_or_without_those_of_jaeger() {
    let spec = "  template: {queryFrontend: {jaegerQuery: {enabled: true, tempoQuery: {resources: {limits: {memory: 70Mi}}}}}}";
    let frontend = object(spec, "Deployment/tempo-shop-query-frontend");
    let containers = &frontend["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[2]["name"], "tempo-query");
    assert_eq!(containers[2]["resources"]["limits"]["memory"], "70Mi");
    assert_eq!(containers[1]["resources"], json!({}));
}

#[test]
fn defect_5_the_image_of_the_policy_agent_may_be_another() {
    let spec = "  images: {tempoGatewayOpa: 'opa:7'}\n  template: {gateway: {enabled: true}}\n  \
                tenants: {mode: openshift, authentication: [{tenantName: dev, tenantId: d1}]}";
    let gateway = object_on(&openshift(), spec, "Deployment/tempo-shop-gateway");
    assert_eq!(gateway["spec"]["template"]["spec"]["containers"][1]["image"], "opa:7");
}

#[test]
fn defect_6_a_change_of_what_pods_use_rolls_them_and_no_others() {
    let annotations = |facts: &crate::facts::Facts, spec: &str, label: &str| {
        let stack = checked(spec, facts).expect("the stack is sound");
        find(&labelled(build(&stack)), label)["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let mut other = facts();
    other.secrets.insert(
        "bucket".to_owned(),
        crate::fixture::contents(&[
            ("endpoint", "http://minio.storage.svc:9000"),
            ("bucket", "traces"),
            ("access_key_id", "id"),
            ("access_key_secret", "rotated"),
        ]),
    );
    let (ingester, distributor) = ("StatefulSet/tempo-shop-ingester", "Deployment/tempo-shop-distributor");
    assert_ne!(annotations(&facts(), "", ingester), annotations(&other, "", ingester));
    assert_eq!(annotations(&facts(), "", distributor), annotations(&other, "", distributor));
    let spec = "  envFrom: [{secretRef: {name: own}}]";
    let mut changed = facts();
    changed.secrets.insert("own".to_owned(), crate::fixture::contents(&[("X", "other")]));
    assert_ne!(annotations(&facts(), spec, distributor), annotations(&changed, spec, distributor));
}

#[test]
fn defect_7_no_pod_carries_the_hash_of_a_certificate() {
    let valid = validate(&resource(""), &facts(), &platform("")).expect("the stack is sound");
    for (label, object) in labelled(build(&valid)) {
        let annotations = object["spec"]["template"]["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("cert-hash"), "{label}");
    }
}

#[test]
fn defect_8_stacks_tell_each_other_apart_when_they_gossip() {
    assert_eq!(config("")["memberlist"]["cluster_label"], "prod/shop");
}

#[test]
fn defect_9_pods_keep_apart_by_the_label_that_nodes_have_and_the_domain_of_the_cluster_is_no_constant() {
    let text = object("", "Deployment/tempo-shop-querier").to_string();
    assert!(text.contains("topology.kubernetes.io/zone") && !text.contains("failure-domain.beta"));
    let mut platform = platform("");
    platform.cluster_domain = "corp.example".to_owned();
    let map = object_on(&platform, "", "ConfigMap/tempo-shop").to_string();
    assert!(map.contains("tempo-shop-ingester.prod.svc.corp.example") && !map.contains("cluster.local"));
    let needed = certificates::needed(&stack("").common.identity, &platform).expect("there are some");
    assert!(needed.leaves[0].hostnames.iter().any(|name| name.ends_with(".svc.corp.example")));
}

#[test]
fn defect_11_a_size_set_later_holds_at_once_since_nothing_is_written_into_the_resource() {
    let workload = object("  size: 1x.small", "Deployment/tempo-shop-distributor");
    assert_eq!(workload["spec"]["replicas"], 3);
    assert_eq!(config("  size: 1x.small")["ingester"]["lifecycler"]["ring"]["replication_factor"], 2);
    assert_eq!(config("")["ingester"]["lifecycler"]["ring"]["replication_factor"], 1);
    let later = object("  size: 1x.medium", "Deployment/tempo-shop-distributor");
    assert_ne!(later["spec"]["replicas"], workload["spec"]["replicas"]);
}

#[test]
fn defect_11_what_a_webhook_would_have_refused_is_refused_here_as_well_and_nothing_panics() {
    for spec in [
        "  template: {metricsGenerator: {enabled: true}}",
        "  template: {gateway: {enabled: true}}",
        "  template: {querier: {replicas: -1}}",
        "  storageSize: much",
        "  replicationFactor: -3",
        "  tenants: {mode: openshift}",
        "  timeout: soon",
    ] {
        assert!(checked(spec, &facts()).is_err(), "{spec}");
    }
}

#[test]
fn defect_13_every_pod_of_ours_is_looked_after_while_it_runs_and_has_time_to_leave() {
    let valid = monolithic("{}", &platform("")).expect("it is sound");
    let set = find(&labelled(build_monolithic(&valid)), "StatefulSet/tempo-mono");
    for workload in [set, object("", "StatefulSet/tempo-shop-ingester")] {
        assert!(container(&workload)["livenessProbe"].is_object());
        assert_eq!(workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 300);
    }
}
