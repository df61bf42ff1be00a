//! [`Stack`] -> the complete desired objects. Pure, and cannot fail for a reason that a user could mend.

mod compactor;
pub(crate) mod config;
mod distributor;
mod gossip;
mod ingester;
mod network_policy;
mod pod;
mod querier;
mod query_frontend;
mod service;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::Value;

use crate::{
    kind::{Kind, name_of},
    names::Identity,
    role::Role,
    validate::{ReplicaRule, ServiceAccountName, Stack},
};

/// Every object that a stack shall have, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) service_accounts: Vec<ServiceAccount>,
    pub(crate) config_maps: Vec<ConfigMap>,
    pub(crate) network_policies: Vec<NetworkPolicy>,
    pub(crate) services: Vec<Service>,
    pub(crate) disruption_budgets: Vec<PodDisruptionBudget>,
    pub(crate) stateful_sets: Vec<StatefulSet>,
    pub(crate) deployments: Vec<Deployment>,
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

/// Makes the objects of a stack.
pub(crate) fn build(stack: &Stack) -> Prepared {
    let rendered = config::render(stack);
    let pod = pod::Context { stack, config_hash: &rendered.hash };
    let identity = &stack.identity;
    Prepared {
        service_accounts: match &stack.service_account {
            ServiceAccountName::Ours(name) => vec![ServiceAccount {
                metadata: identity.meta(name.clone(), identity.labels("serviceaccount")),
                ..ServiceAccount::default()
            }],
            ServiceAccountName::Given(_) => Vec::new(),
        },
        config_maps: vec![config::config_map(identity, &rendered)],
        network_policies: network_policy::all(stack),
        services: vec![
            compactor::service(identity),
            distributor::service(identity),
            gossip::service(identity),
            ingester::service(identity),
            querier::service(identity),
            query_frontend::service(identity),
            query_frontend::discovery(identity),
        ],
        disruption_budgets: [Role::Distributor, Role::Ingester, Role::Querier, Role::QueryFrontend]
            .map(|role| disruption_budget(identity, role))
            .to_vec(),
        stateful_sets: vec![ingester::stateful_set(&pod)],
        deployments: vec![
            compactor::deployment(&pod),
            distributor::deployment(&pod),
            querier::deployment(&pod),
            query_frontend::deployment(&pod),
        ],
    }
}

/// One pod of a component may be away at a time.
fn disruption_budget(identity: &Identity, role: Role) -> PodDisruptionBudget {
    use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
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
    /// The objects in the order in which they are applied. Taking the struct apart without `..` makes it impossible
    /// to build a kind and forget to apply it.
    pub(crate) fn into_ordered(self, stack: &Stack) -> Result<Vec<Desired>, serde_json::Error> {
        let Self {
            service_accounts,
            config_maps,
            network_policies,
            services,
            disruption_budgets,
            stateful_sets,
            deployments,
        } = self;
        let mut all = Vec::new();
        push(&mut all, Kind::ServiceAccount, service_accounts, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::ConfigMap, config_maps, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::NetworkPolicy, network_policies, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::Service, services, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::PodDisruptionBudget, disruption_budgets, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::StatefulSet, stateful_sets, |object| name_of(&object.metadata))?;
        push(&mut all, Kind::Deployment, deployments, |object| name_of(&object.metadata))?;
        for role in Role::ALL {
            let fixed = matches!(stack.workloads.get(role).replicas, ReplicaRule::Fixed(_));
            let name = stack.identity.role(role);
            for desired in &mut all {
                if matches!(desired.kind, Kind::StatefulSet | Kind::Deployment) && desired.name == name {
                    desired.may_be_scaled = !fixed;
                }
            }
        }
        Ok(all)
    }
}

fn push<K: Serialize>(
    all: &mut Vec<Desired>,
    kind: Kind,
    objects: Vec<K>,
    name: impl Fn(&K) -> String,
) -> Result<(), serde_json::Error> {
    for object in objects {
        all.push(Desired {
            kind,
            name: name(&object),
            object: serde_json::to_value(&object)?,
            may_be_scaled: false,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
