//! [`Stack`] or [`Monolith`] -> the complete desired objects. Pure, and cannot fail for a reason that a user could mend.

mod account;
mod alerts;
mod autoscaler;
mod cert_manager;
pub(crate) mod certificates;
pub(crate) mod components;
pub(crate) mod config;
mod container;
mod gateway;
mod ingress;
mod jaeger;
mod monitoring;
mod monolith;
mod network_policy;
mod oauth;
mod objects;
pub(crate) mod pod;
mod routes;
mod service;

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role as RbacRole, RoleBinding},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;
use serde_json::Value;

use self::certificates::Certificates;
use crate::{
    kind::Kind,
    names::Identity,
    platform::{Feature, Platform},
    role::Role,
    validate::{Common, Home, Monolith, ReplicaRule, Stack},
};

/// Every object that a stack shall have, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) service_accounts: Vec<ServiceAccount>,
    pub(crate) roles: Vec<RbacRole>,
    pub(crate) role_bindings: Vec<RoleBinding>,
    pub(crate) cluster_roles: Vec<ClusterRole>,
    pub(crate) cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub(crate) config_maps: Vec<ConfigMap>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) network_policies: Vec<NetworkPolicy>,
    pub(crate) services: Vec<Service>,
    pub(crate) disruption_budgets: Vec<PodDisruptionBudget>,
    pub(crate) stateful_sets: Vec<StatefulSet>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) autoscalers: Vec<HorizontalPodAutoscaler>,
    pub(crate) ingresses: Vec<Ingress>,
    /// Of kinds that only some clusters have.
    pub(crate) others: Vec<(Kind, Value)>,
    /// What whoever makes certificates makes; no less a part of the stack.
    pub(crate) certificates: Option<Certificates>,
    /// Workloads whose number of pods the resource does not fix.
    pub(crate) may_be_scaled: BTreeSet<String>,
}

/// One desired object, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) object: Value,
    /// The resource does not fix the number of pods: an autoscaler may.
    pub(crate) may_be_scaled: bool,
}

impl Desired {
    /// Of an object whose number of pods is no matter.
    pub(crate) fn of(kind: Kind, name: String, object: &impl Serialize) -> Result<Self, String> {
        let object = serde_json::to_value(object).map_err(|error| error.to_string())?;
        Ok(Self { kind, name, object, may_be_scaled: false })
    }
}

/// Makes the objects of a stack.
pub(crate) fn build(stack: &Stack) -> Prepared {
    let rendered = config::render(stack);
    let pod = pod::Context { stack, rendered: &rendered };
    let common = &stack.common;
    let identity = &common.identity;
    let mut all = Prepared {
        config_maps: vec![config::config_map(identity, identity.base(), &rendered)],
        network_policies: network_policy::all(stack),
        services: components::services(stack),
        disruption_budgets: stack
            .roles()
            .filter(|role| *role != Role::Compactor)
            .map(|role| disruption_budget(identity, role))
            .collect(),
        stateful_sets: vec![components::ingester(&pod)],
        deployments: components::deployments(&pod),
        autoscalers: autoscaler::all(stack),
        may_be_scaled: stack
            .roles()
            .filter(|role| !matches!(stack.workloads.get(*role).replicas, ReplicaRule::Fixed(_)))
            .map(|role| identity.role(role))
            .collect(),
        ..Prepared::default()
    };
    if let Some(given) = &common.gateway {
        let files = gateway::files(given, identity.owner, &gateway::account(common));
        all.config_maps.push(gateway::config_map(identity, &files));
        all.secrets.push(gateway::secret(identity, &files));
        let ports = [service::GATEWAY_GRPC, service::GATEWAY_INTERNAL, service::GATEWAY_HTTP];
        let mut made = gateway::service(common, Role::Gateway.as_str(), &ports);
        service::open(&mut made, &stack.services.gateway);
        all.services.push(made);
        all.deployments.push(gateway::deployment(&pod, given, &files));
        if gateway::has_serving_cert(common) {
            all.config_maps.push(gateway::serving_bundle(identity));
        }
    }
    add_common(&mut all, common, objects::account_annotations(&stack.storage));
    all.others.extend(monitoring::of_stack(stack).into_iter().map(|object| (Kind::ServiceMonitor, object)));
    let accounts = [common.service_account.as_str()];
    let request = objects::credentials_request(&stack.storage, identity, &accounts);
    all.others.extend(request.map(|object| (Kind::CredentialsRequest, object)));
    all
}

/// Makes the objects of a monolithic stack.
pub(crate) fn build_monolithic(monolith: &Monolith) -> Prepared {
    let rendered = config::render_monolithic(monolith);
    let common = &monolith.common;
    let identity = &common.identity;
    let mut all = Prepared {
        config_maps: vec![config::config_map(identity, identity.object("config"), &rendered)],
        services: monolith::services(monolith),
        ..Prepared::default()
    };
    let files = common
        .gateway
        .as_ref()
        .map(|given| gateway::files(given, identity.owner, common.service_account.as_str()));
    if let Some(files) = &files {
        all.config_maps.push(gateway::config_map(identity, files));
        all.secrets.push(gateway::secret(identity, files));
    }
    if common.platform.has(Feature::ServingCerts) {
        all.config_maps.push(gateway::serving_bundle(identity));
    }
    all.stateful_sets.push(monolith::stateful_set(monolith, &rendered, files.as_ref()));
    let objects = match &monolith.home {
        Home::Objects(objects, _) => Some(&**objects),
        Home::Memory(_) | Home::Volume(_) => None,
    };
    add_common(&mut all, common, objects.map(objects::account_annotations).unwrap_or_default());
    all.others.extend(monitoring::of_monolith(monolith).map(|object| (Kind::ServiceMonitor, object)));
    let accounts = [common.service_account.as_str()];
    let request = objects.and_then(|objects| objects::credentials_request(objects, identity, &accounts));
    all.others.extend(request.map(|object| (Kind::CredentialsRequest, object)));
    all
}

/// What both kinds of stack have.
fn add_common(all: &mut Prepared, common: &Common, account_annotations: Vec<(String, String)>) {
    all.service_accounts = account::accounts(common, account_annotations);
    if let Some((role, binding)) =
        common.gateway.as_ref().and_then(|gateway| account::gateway_rules(common, gateway))
    {
        all.cluster_roles.push(role);
        all.cluster_role_bindings.push(binding);
    }
    if let Some((role, binding)) = account::monitor_rules(common) {
        all.roles.push(role);
        all.role_bindings.push(binding);
    }
    let (ingresses, routes) = ingress::ways_in(common);
    all.ingresses = ingresses;
    all.others.extend(routes.into_iter().map(|object| (Kind::Route, object)));
    all.others.extend(routes::all(common));
    all.others.extend(monitoring::prometheus_rule(common).map(|object| (Kind::PrometheusRule, object)));
    all.others.extend(monitoring::datasource(common).map(|object| (Kind::GrafanaDatasource, object)));
    all.certificates = certificates::needed(&common.identity, &common.platform);
    if let Some(wanted) = &all.certificates {
        all.others.extend(cert_manager::objects(common, wanted));
        all.config_maps.extend(cert_manager::bundle(common, wanted));
    }
}

/// One pod of a component may be away at a time.
fn disruption_budget(identity: &Identity, role: Role) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: identity.meta(identity.role(role), identity.labels(role.as_str())),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(identity.selector(role)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

impl Prepared {
    /// Whether some of it lives outside of namespaces.
    pub(crate) fn is_cluster_wide(&self) -> bool {
        !(self.cluster_roles.is_empty() && self.cluster_role_bindings.is_empty())
    }

    /// Leaves out what lives outside of namespaces where the operator serves single ones. Answers what is left out.
    pub(crate) fn keep_within(&mut self, platform: &Platform) -> Option<String> {
        if platform.scope.is_cluster_wide() || !self.is_cluster_wide() {
            return None;
        }
        self.cluster_role_bindings.clear();
        let roles = std::mem::take(&mut self.cluster_roles);
        let names: Vec<String> = roles.into_iter().filter_map(|role| role.metadata.name).collect();
        Some(format!(
            "ClusterRole and ClusterRoleBinding {} are not made, the operator serves single namespaces \
             (WATCH_NAMESPACE); `vivace-operator generate` prints them for who may",
            names.join(", ")
        ))
    }

    /// The objects in the order in which they are applied. Taking the struct apart without `..` makes it impossible
    /// to build a kind and forget to apply it.
    pub(crate) fn into_ordered(self) -> Result<Vec<Desired>, serde_json::Error> {
        let Self {
            service_accounts,
            roles,
            role_bindings,
            cluster_roles,
            cluster_role_bindings,
            config_maps,
            secrets,
            network_policies,
            services,
            disruption_budgets,
            stateful_sets,
            deployments,
            autoscalers,
            ingresses,
            others,
            certificates: _,
            may_be_scaled,
        } = self;
        let mut all = Vec::new();
        push(&mut all, Kind::ServiceAccount, service_accounts)?;
        push(&mut all, Kind::Role, roles)?;
        push(&mut all, Kind::RoleBinding, role_bindings)?;
        push(&mut all, Kind::ClusterRole, cluster_roles)?;
        push(&mut all, Kind::ClusterRoleBinding, cluster_role_bindings)?;
        push(&mut all, Kind::ConfigMap, config_maps)?;
        push(&mut all, Kind::Secret, secrets)?;
        push(&mut all, Kind::NetworkPolicy, network_policies)?;
        push(&mut all, Kind::Service, services)?;
        push(&mut all, Kind::PodDisruptionBudget, disruption_budgets)?;
        push(&mut all, Kind::StatefulSet, stateful_sets)?;
        push(&mut all, Kind::Deployment, deployments)?;
        push(&mut all, Kind::HorizontalPodAutoscaler, autoscalers)?;
        push(&mut all, Kind::Ingress, ingresses)?;
        for (kind, object) in others {
            push(&mut all, kind, vec![object])?;
        }
        all.sort_by_key(|desired| desired.kind);
        for desired in &mut all {
            desired.may_be_scaled = matches!(desired.kind, Kind::StatefulSet | Kind::Deployment)
                && may_be_scaled.contains(&desired.name);
        }
        Ok(all)
    }
}

fn push<K: Serialize>(all: &mut Vec<Desired>, kind: Kind, objects: Vec<K>) -> Result<(), serde_json::Error> {
    for object in objects {
        let object = serde_json::to_value(&object)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        all.push(Desired { kind, name, object, may_be_scaled: false });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
