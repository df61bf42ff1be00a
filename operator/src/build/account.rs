//! Accounts of the pods, and what they may do on OpenShift, where gateway and user interface ask who comes.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{
        ClusterRole, ClusterRoleBinding, PolicyRule, Role as RbacRole, RoleBinding, RoleRef, Subject,
    },
};

use super::{gateway, oauth};
use crate::{
    names::{Identity, Owner, dns_name},
    role::Role,
    validate::{Authority, Common, Gateway, ServiceAccountName},
};

/// The component on the labels of an account.
const COMPONENT: &str = "serviceaccount";

/// Every account that is made. `annotations` are those by which a provider knows the pods.
pub(super) fn accounts(common: &Common, annotations: Vec<(String, String)>) -> Vec<ServiceAccount> {
    let identity = &common.identity;
    let mut annotations: BTreeMap<String, String> = annotations.into_iter().collect();
    let mut all = Vec::new();
    let redirects = redirects(common);
    match identity.owner {
        Owner::TempoMonolithic => annotations.extend(redirects.into_iter().flat_map(|(_, pairs)| pairs)),
        Owner::TempoStack => {
            for (role, pairs) in redirects {
                let mut metadata = identity.meta(identity.role(role), identity.labels(role.as_str()));
                metadata.annotations = Some(pairs.into_iter().collect());
                let automount = (role == Role::Gateway).then_some(true);
                let account = ServiceAccount {
                    metadata,
                    automount_service_account_token: automount,
                    ..Default::default()
                };
                all.push(account);
            }
        }
    }
    if let ServiceAccountName::Ours(name) = &common.service_account {
        let mut metadata = identity.meta(name.clone(), identity.labels(COMPONENT));
        metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        all.insert(0, ServiceAccount { metadata, ..ServiceAccount::default() });
    }
    all
}

/// Where users may come back to after they logged in, by the component that they come to.
fn redirects(common: &Common) -> Vec<(Role, Vec<(String, String)>)> {
    let identity = &common.identity;
    let mut all = Vec::new();
    if let Some(Gateway { authority: Authority::OpenShift, tenants, .. }) = &common.gateway {
        let route = match identity.owner {
            Owner::TempoStack => identity.role(Role::Gateway),
            Owner::TempoMonolithic => identity.object("jaegerui"),
        };
        let pairs = tenants.iter().map(|tenant| oauth::redirect(&tenant.name, &route)).collect();
        all.push((Role::Gateway, pairs));
    }
    if common.jaeger.as_ref().is_some_and(|jaeger| jaeger.oauth.is_some()) {
        let route = match identity.owner {
            Owner::TempoStack => identity.role(Role::QueryFrontend),
            Owner::TempoMonolithic => identity.object("jaegerui"),
        };
        all.push((Role::QueryFrontend, vec![oauth::redirect("primary", &route)]));
    }
    all
}

/// Lets the gateway ask the cluster who comes, and with query RBAC what they may see.
pub(super) fn gateway_rules(common: &Common, gateway: &Gateway) -> Option<(ClusterRole, ClusterRoleBinding)> {
    if gateway.authority != Authority::OpenShift {
        return None;
    }
    let identity = &common.identity;
    let component = Role::Gateway.as_str();
    let name = dns_name(&format!("{}-{}", identity.role(Role::Gateway), identity.namespace));
    let mut rules = vec![rule("authentication.k8s.io", "tokenreviews", &["create"])];
    if gateway.query_rbac {
        rules.push(rule("authorization.k8s.io", "subjectaccessreviews", &["create"]));
    }
    let role = ClusterRole {
        metadata: identity.cluster_meta(name.clone(), component),
        rules: Some(rules),
        ..ClusterRole::default()
    };
    let binding = ClusterRoleBinding {
        metadata: identity.cluster_meta(name.clone(), component),
        role_ref: reference("ClusterRole", name),
        subjects: Some(vec![subject(identity, gateway::account(common))]),
    };
    Some((role, binding))
}

/// Lets the user interface ask OpenShift's own monitoring for metrics.
pub(super) fn monitor_rules(common: &Common) -> Option<(RbacRole, RoleBinding)> {
    let jaeger = common.jaeger.as_ref()?;
    if !jaeger.monitor.as_ref().is_some_and(|monitor| monitor.is_cluster_monitoring) {
        return None;
    }
    let identity = &common.identity;
    let component = Role::QueryFrontend.as_str();
    let name = identity.object("metrics-reader");
    let account = match &jaeger.oauth {
        Some(_) => identity.role(Role::QueryFrontend),
        None => common.service_account.as_str().to_owned(),
    };
    let role = RbacRole {
        metadata: identity.meta(name.clone(), identity.labels(component)),
        rules: Some(vec![rule("metrics.k8s.io", "pods", &["get", "create"])]),
    };
    let binding = RoleBinding {
        metadata: identity.meta(name.clone(), identity.labels(component)),
        role_ref: reference("Role", name),
        subjects: Some(vec![subject(identity, account)]),
    };
    Some((role, binding))
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn reference(kind: &str, name: String) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: kind.to_owned(), name }
}

fn subject(identity: &Identity, account: String) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: account,
        namespace: Some(identity.namespace.clone()),
        ..Subject::default()
    }
}
