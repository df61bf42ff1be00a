//! The two kinds that the operator serves, as the controller sees them: the steps of a reconcile that are pure, each
//! with its own types behind one shape. Pure.

use std::fmt::Debug;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{TempoMonolithic, TempoMonolithicStatus, TempoStack, TempoStackStatus},
    build::{self, Prepared},
    facts::Facts,
    names::{Identity, Owner},
    platform::Platform,
    references::{self, References},
    status::{self, Evidence},
    validate::{self, Invalid},
};

/// A resource that is reconciled.
pub(crate) trait Managed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    type Status: Observed;
    const OWNER: Owner;

    fn identity(&self) -> Identity;
    /// What it names.
    fn references(&self) -> References;
    /// Whether the operator may write.
    fn is_managed(&self) -> bool;
    fn observed(&self) -> Self::Status;
    /// Second and third step: the objects that shall be, and what of the resource is not served.
    fn prepare(&self, facts: &Facts, platform: &Platform) -> Result<(Prepared, Vec<String>), Invalid>;
    /// Fifth step.
    fn derive(old: &Self::Status, evidence: &Evidence<'_>, now: Timestamp) -> Self::Status;
}

/// A status.
pub(crate) trait Observed: Clone + Debug + Default + PartialEq + Serialize + Send + Sync {
    fn conditions(&self) -> &[Condition];
}

fn within(mut prepared: Prepared, mut warnings: Vec<String>, platform: &Platform) -> (Prepared, Vec<String>) {
    warnings.extend(prepared.keep_within(platform));
    (prepared, warnings)
}

impl Managed for TempoStack {
    type Status = TempoStackStatus;
    const OWNER: Owner = Owner::TempoStack;

    fn identity(&self) -> Identity {
        Identity::from(self)
    }

    fn references(&self) -> References {
        references::of_stack(&self.spec)
    }

    fn is_managed(&self) -> bool {
        validate::is_managed(self)
    }

    fn observed(&self) -> Self::Status {
        self.status.clone().unwrap_or_default()
    }

    fn prepare(&self, facts: &Facts, platform: &Platform) -> Result<(Prepared, Vec<String>), Invalid> {
        let stack = validate::validate(self, facts, platform)?;
        Ok(within(build::build(&stack), stack.common.warnings, platform))
    }

    fn derive(old: &Self::Status, evidence: &Evidence<'_>, now: Timestamp) -> Self::Status {
        status::derive(old, evidence, now)
    }
}

impl Managed for TempoMonolithic {
    type Status = TempoMonolithicStatus;
    const OWNER: Owner = Owner::TempoMonolithic;

    fn identity(&self) -> Identity {
        Identity::from(self)
    }

    fn references(&self) -> References {
        references::of_monolithic(&self.spec)
    }

    fn is_managed(&self) -> bool {
        validate::is_managed_monolithic(self)
    }

    fn observed(&self) -> Self::Status {
        self.status.clone().unwrap_or_default()
    }

    fn prepare(&self, facts: &Facts, platform: &Platform) -> Result<(Prepared, Vec<String>), Invalid> {
        let monolith = validate::validate_monolithic(self, facts, platform)?;
        Ok(within(build::build_monolithic(&monolith), monolith.common.warnings, platform))
    }

    fn derive(old: &Self::Status, evidence: &Evidence<'_>, now: Timestamp) -> Self::Status {
        status::derive_monolithic(old, evidence, now)
    }
}

impl Observed for TempoStackStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Observed for TempoMonolithicStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build::certificates,
        fixture::{self, facts, openshift, resource},
        kind::Kind,
    };

    #[test]
    fn an_operator_of_single_namespaces_makes_nothing_outside_of_them_and_says_so() {
        let spec = "  template: {gateway: {enabled: true}}\n  \
                    tenants: {mode: openshift, authentication: [{tenantName: dev, tenantId: d1}]}";
        let single = Platform { scope: "prod,test".parse().expect("two namespaces"), ..openshift() };
        for (platform, made) in [(openshift(), true), (single, false)] {
            let (prepared, unserved) = resource(spec).prepare(&facts(), &platform).expect("it is sound");
            let said =
                unserved.iter().any(|text| text.contains("ClusterRoleBinding tempo-shop-gateway-prod"));
            assert_eq!((prepared.is_cluster_wide(), said), (made, !made), "{unserved:?}");
            assert_eq!((Kind::ClusterRole.is_on(&platform), Kind::Role.is_on(&platform)), (made, true));
        }
    }

    #[test]
    fn defect_12_a_monolithic_stack_that_says_nothing_of_its_management_has_its_certificates_kept() {
        let said = |spec: &str| -> TempoMonolithic {
            let yaml = format!("metadata: {{name: m, namespace: n, uid: u}}\nspec: {spec}\n");
            serde_yaml::from_str(&yaml).expect("a resource")
        };
        let resource = said("{}");
        // What a reconcile asks before it looks after certificates, and when it looks again.
        assert!(resource.is_managed() && said("{management: Managed}").is_managed());
        assert!(!said("{management: Unmanaged}").is_managed());
        let needed =
            certificates::needed(&resource.identity(), &fixture::platform("")).expect("there are some");
        assert_eq!(needed.leaves.len(), 1);
    }
}
