//! Ways in, and whom they let in.

use super::*;

const GATEWAY_API: &str = "gatewayAPI.httpRoute,gatewayAPI.grpcRoute,-httpEncryption,-grpcEncryption";

#[test]
fn a_service_may_be_of_another_type_and_its_policy_lets_in_who_comes_from_outside() {
    let spec = "  template: {distributor: {service: {type: LoadBalancer, loadBalancerClass: c, \
                loadBalancerSourceRanges: [192.0.2.0/24], annotations: {a: b}}}}";
    let made = object(spec, "Service/tempo-shop-distributor");
    assert_eq!(made["spec"]["type"], "LoadBalancer");
    assert_eq!(made["spec"]["loadBalancerClass"], "c");
    assert_eq!(made["spec"]["loadBalancerSourceRanges"], json!(["192.0.2.0/24"]));
    assert_eq!(made["metadata"]["annotations"], json!({"a": "b"}));
    let peers = |spec: &str, role: &str| {
        let policy = object(spec, &format!("NetworkPolicy/tempo-shop-{role}"));
        policy["spec"]["ingress"][0]["from"].clone()
    };
    let any = json!({"namespaceSelector": {}});
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    assert_eq!(peers(spec, "distributor"), json!([any, block("192.0.2.0/24")]));
    let node = "  template: {queryFrontend: {service: {type: NodePort}}}";
    assert_eq!(object(node, "Service/tempo-shop-query-frontend")["spec"]["type"], "NodePort");
    assert_eq!(peers(node, "query-frontend"), json!([any, block("0.0.0.0/0"), block("::/0")]));
    let plain = object("", "Service/tempo-shop-distributor");
    assert_eq!(plain["spec"].get("type"), None);
    assert_eq!(peers("", "distributor"), json!([any]));
}

#[test]
fn annotations_of_ours_on_a_service_stay_as_they_are() {
    let spec = "  template: {gateway: {enabled: true, service: {annotations: \
                {service.beta.openshift.io/serving-cert-secret-name: mine, a: b}}}}\n  \
                tenants: {mode: openshift, authentication: [{tenantName: dev, tenantId: d1}]}";
    let made = object_on(&openshift(), spec, "Service/tempo-shop-gateway");
    let notes = &made["metadata"]["annotations"];
    assert_eq!(notes["service.beta.openshift.io/serving-cert-secret-name"], "tempo-shop-gateway-tls");
    assert_eq!(notes["a"], "b");
}

#[test]
fn an_ingress_has_the_certificates_that_are_named_for_its_own_name_where_they_say_none() {
    let spec = "  template: {queryFrontend: {jaegerQuery: {enabled: true, ingress: {type: ingress, \
                host: traces.example.org, tls: [{secretName: one}, {secretName: two, hosts: [b.example.org]}]}}}}";
    let tls = &object(spec, "Ingress/tempo-shop-query-frontend")["spec"]["tls"];
    assert_eq!(
        *tls,
        json!([
            {"secretName": "one", "hosts": ["traces.example.org"]},
            {"secretName": "two", "hosts": ["b.example.org"]},
        ])
    );
    let ui = "{jaegerui: {enabled: true, ingress: {enabled: true, host: h, tls: [{secretName: one}]}}}";
    let all = labelled(build_monolithic(&monolithic(ui, &platform("")).expect("it is sound")));
    let made = find(&all, "Ingress/tempo-mono-jaegerui");
    assert_eq!(made["spec"]["tls"], json!([{"secretName": "one", "hosts": ["h"]}]));
}

#[test]
fn routes_of_the_gateway_api_lead_to_the_services_of_ingestion_and_query() {
    let route =
        "{parentRefs: [{name: public, namespace: infra, sectionName: https}], hostnames: [t.example.org]}";
    let spec = format!(
        "  template: {{distributor: {{httpRoute: {route}, grpcRoute: {route}}}, queryFrontend: {{httpRoute: {route}}}}}"
    );
    let platform = platform(GATEWAY_API);
    for (label, port) in [
        ("HTTPRoute/tempo-shop-distributor", 4318),
        ("GRPCRoute/tempo-shop-distributor", 4317),
        ("HTTPRoute/tempo-shop-query-frontend", 3200),
    ] {
        let made = object_on(&platform, &spec, label);
        let name = label.split('/').next_back().expect("a name");
        assert_eq!(made["apiVersion"], "gateway.networking.k8s.io/v1");
        let parent = json!({"name": "public", "namespace": "infra", "sectionName": "https"});
        assert_eq!(made["spec"]["parentRefs"], json!([parent]));
        assert_eq!(made["spec"]["hostnames"], json!(["t.example.org"]));
        assert_eq!(made["spec"]["rules"], json!([{"backendRefs": [{"name": name, "port": port}]}]));
        let service = object(&spec, &format!("Service/{name}"));
        let ports = service["spec"]["ports"].as_array().expect("a Service has ports");
        assert!(ports.iter().any(|found| found["port"] == port), "{label}");
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u1");
    }
}

#[test]
fn routes_lead_to_the_gateway_where_there_is_one() {
    let platform = platform(GATEWAY_API);
    let routes = ", httpRoute: {parentRefs: [{name: g}]}, grpcRoute: {parentRefs: [{name: g}]}";
    let all = behind_gateway(&platform, routes);
    let backend =
        |all: &[(String, Value)], label: &str| find(all, label)["spec"]["rules"][0]["backendRefs"][0].clone();
    assert_eq!(
        backend(&all, "HTTPRoute/tempo-shop-gateway"),
        json!({"name": "tempo-shop-gateway", "port": 8080})
    );
    assert_eq!(
        backend(&all, "GRPCRoute/tempo-shop-gateway"),
        json!({"name": "tempo-shop-gateway", "port": 8090})
    );
    let spec = "{query: {httpRoute: {parentRefs: [{name: g}]}}, ingestion: {otlp: {grpcRoute: {parentRefs: [{name: g}]}}}}";
    let all = labelled(build_monolithic(&monolithic(spec, &platform).expect("it is sound")));
    assert_eq!(backend(&all, "HTTPRoute/tempo-mono-query"), json!({"name": "tempo-mono", "port": 3200}));
    assert_eq!(backend(&all, "GRPCRoute/tempo-mono-ingestion"), json!({"name": "tempo-mono", "port": 4317}));
}

#[test]
fn policies_let_in_whom_the_resource_names() {
    let spec = "  networkPolicy:\n    ingestionFrom: [{namespaceSelector: {matchLabels: {sends: 'yes'}}}]\n    \
                queryFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]\n    \
                metricsFrom: [{podSelector: {matchLabels: {app: scraper}}}]\n    \
                extraEgress: [{to: [{ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: 443}]}]";
    let peers = |role: &str| {
        object(spec, &format!("NetworkPolicy/tempo-shop-{role}"))["spec"]["ingress"][0]["from"].clone()
    };
    assert_eq!(peers("distributor"), json!([{"namespaceSelector": {"matchLabels": {"sends": "yes"}}}]));
    assert_eq!(peers("query-frontend"), json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]));
    assert_eq!(
        peers("ingress-to-operand-metrics")[2],
        json!({"podSelector": {"matchLabels": {"app": "scraper"}}})
    );
    let extra = object(spec, "NetworkPolicy/tempo-shop-extra");
    assert_eq!(extra["spec"]["policyTypes"], json!(["Egress"]));
    assert_eq!(extra["spec"]["egress"][0]["ports"][0]["port"], 443);
}

#[test]
fn behind_the_gateway_its_policy_tells_who_sends_from_who_asks() {
    let mut facts = facts();
    facts.secrets.insert("oidc".to_owned(), crate::fixture::contents(&[("clientID", "me")]));
    let ports_of = |lists: &str| -> Vec<(i64, usize)> {
        let spec =
            format!("{TENANTS}  template: {{gateway: {{enabled: true}}}}\n  networkPolicy: {{{lists}}}");
        let stack = validate(&resource(&spec), &facts, &platform("")).expect("the stack is sound");
        let policy = find(&labelled(build(&stack)), "NetworkPolicy/tempo-shop-gateway");
        let rules = policy["spec"]["ingress"].as_array().cloned().unwrap_or_default();
        let counted = rules.iter().flat_map(|rule| {
            let peers = rule["from"].as_array().map_or(0, Vec::len);
            rule["ports"].as_array().cloned().unwrap_or_default().into_iter().map(move |port| (port, peers))
        });
        counted.filter_map(|(port, peers)| Some((port["port"].as_i64()?, peers))).collect()
    };
    assert_eq!(ports_of(""), [(8080, 1), (8081, 1), (8090, 1)]);
    let two = "ingestionFrom: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}]";
    // Whoever asks comes by the same port, and may be anybody.
    assert_eq!(ports_of(two), [(8080, 1), (8090, 2), (8081, 1)]);
    assert_eq!(
        ports_of(&format!("{two}, queryFrom: [{{podSelector: {{}}}}]")),
        [(8080, 3), (8090, 2), (8081, 1)]
    );
}

#[test]
fn all_pods_may_be_marked_and_a_component_has_the_last_word() {
    let spec = "  podMetadata: {labels: {team: obs, cost: low}, annotations: {a: b}}\n  \
                template: {querier: {podMetadata: {labels: {cost: high}}}}";
    let labels = |label: &str| object(spec, label)["spec"]["template"]["metadata"]["labels"].clone();
    let querier = labels("Deployment/tempo-shop-querier");
    assert_eq!((&querier["team"], &querier["cost"]), (&json!("obs"), &json!("high")));
    assert_eq!(labels("StatefulSet/tempo-shop-ingester")["cost"], "low");
    let own = "{podMetadata: {labels: {team: obs, app.kubernetes.io/name: mine}, annotations: {a: b}}, \
               priorityClassName: high, service: {type: LoadBalancer}}";
    let all = labelled(build_monolithic(&monolithic(own, &platform("")).expect("it is sound")));
    let set = find(&all, "StatefulSet/tempo-mono");
    let template = &set["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "obs");
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/name"], "tempo-monolithic");
    assert_eq!(template["metadata"]["annotations"]["a"], "b");
    assert_eq!(template["spec"]["priorityClassName"], "high");
    assert_eq!(find(&all, "Service/tempo-mono")["spec"]["type"], "LoadBalancer");
}
