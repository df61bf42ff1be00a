//! (resource, facts, platform) -> [`Stack`] or [`Monolith`], types that cannot be wrong: names parsed, defaults filled
//! in, Secrets checked. Pure.
//!
//! Builders see nothing else; they cannot fail for a reason that a user could mend. What the CRD's rules refuse is
//! refused here as well, since a resource may be older than the rule.

mod exposure;
mod extra;
mod limits;
mod monolith;
mod network;
mod observability;
mod receivers;
mod sizing;
mod stack;
mod storage;
mod tenants;
mod trust;
mod workload;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar};
use kube::ResourceExt;
use serde_json::Value;
use vivace_config::Duration;

pub(crate) use exposure::{Exposure, Jaeger, Monitor, Oauth};
pub(crate) use limits::{SearchLimits, TenantLimits, TenantOverrides};
pub(crate) use monolith::{Home, Monolith, Receiver, validate as validate_monolithic};
pub(crate) use network::{Entrance, Protocol, Route};
pub(crate) use observability::{Monitoring, Tracing, port_of};
pub(crate) use receivers::ReceiverTls;
pub(crate) use stack::{Generator, Stack, Zone, validate};
pub(crate) use storage::{
    Access, AzureCredentials, GcsCredentials, ObjectStorage, S3, S3Credentials, TOKEN_FILE,
};
pub(crate) use tenants::{Authority, Gateway, Login, Tenant};
pub(crate) use workload::{ReplicaRule, ServiceAccountName, Volume, Workload};

use crate::{
    api::{ManagementState, NAME_LIMIT, TempoMonolithic, TempoStack},
    facts::Facts,
    names::{Identity, Owner},
    platform::{Images, Platform},
    references,
};

/// Why a resource cannot be served; someone has to correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Invalid {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Kinds of [`Invalid`], as they stand in the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The storage section, or the Secret or ConfigMap it names.
    InvalidStorageConfig,
    /// The tenants, or what the gateway knows of them.
    InvalidTenantsConfiguration,
    /// A Secret of a tenant that is not there, or lacks something.
    MissingGatewayTenantSecret,
    /// OpenShift does not say under which domain Routes are.
    CouldNotGetOpenShiftBaseDomain,
    /// Any other field of the resource.
    InvalidSpec,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidStorageConfig => "InvalidStorageConfig",
            Self::InvalidTenantsConfiguration => "InvalidTenantsConfiguration",
            Self::MissingGatewayTenantSecret => "ReasonMissingGatewayTenantSecret",
            Self::CouldNotGetOpenShiftBaseDomain => "CouldNotGetOpenShiftBaseDomain",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}

impl Invalid {
    fn spec(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidSpec, message: message.into() }
    }

    fn storage(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidStorageConfig, message: message.into() }
    }

    fn tenants(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidTenantsConfiguration, message: message.into() }
    }
}

/// What both kinds of stack have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Common {
    pub(crate) identity: Identity,
    pub(crate) platform: Platform,
    /// The resource's, or the platform's.
    pub(crate) images: Images,
    pub(crate) service_account: ServiceAccountName,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) env_from: Vec<EnvFromSource>,
    /// Changes with the Secrets and ConfigMaps that the environment comes from.
    pub(crate) environment_hash: Option<String>,
    pub(crate) extra_config: Option<Value>,
    pub(crate) timeout: Duration,
    pub(crate) mcp: bool,
    /// Requests carry a tenant.
    pub(crate) multitenancy: bool,
    pub(crate) jaeger: Option<Jaeger>,
    pub(crate) gateway: Option<Gateway>,
    /// Of the Gateway API.
    pub(crate) routes: Vec<Route>,
    pub(crate) monitoring: Monitoring,
    /// PEM of the authorities to trust, where cert-manager makes certificates and has made one.
    pub(crate) trusted: Option<String>,
    /// What the resource asks for and does not get, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Common {
    /// Refuses what would need an image that nobody has named: pods would wait for it for ever.
    fn with_images(self) -> Result<Self, Invalid> {
        let images = &self.images;
        let (has_ui, has_proxy) =
            (self.jaeger.is_some(), self.jaeger.as_ref().is_some_and(|ui| ui.oauth.is_some()));
        let is_openshift =
            self.gateway.as_ref().is_some_and(|gateway| gateway.authority == Authority::OpenShift);
        let needed = [
            (self.gateway.is_some(), &images.gateway, "the gateway", "TEMPO_GATEWAY"),
            (is_openshift, &images.opa, "the gateway's policy agent", "TEMPO_GATEWAY_OPA"),
            (has_ui, &images.jaeger_query, "the Jaeger UI", "JAEGER_QUERY"),
            (has_ui, &images.tempo_query, "the bridge to Jaeger", "TEMPO_QUERY"),
            (has_proxy, &images.oauth_proxy, "OpenShift's proxy", "OAUTH_PROXY"),
        ];
        for (is_needed, image, what, variable) in needed {
            if is_needed && image.is_empty() {
                return Err(Invalid::spec(format!(
                    "there is no image of {what}: expected one in spec.images, or in the operator's environment variable RELATED_IMAGE_{variable}"
                )));
            }
        }
        Ok(self)
    }

    /// How a Service of the stack is found from anywhere in the cluster.
    pub(crate) fn host(&self, service: &str) -> String {
        self.identity.host(service, &self.platform.cluster_domain)
    }
}

/// Whether the operator may write.
pub(crate) fn is_managed(resource: &TempoStack) -> bool {
    resource.spec.management_state.unwrap_or_default() == ManagementState::Managed
}

/// Whether the operator may write.
pub(crate) fn is_managed_monolithic(resource: &TempoMonolithic) -> bool {
    resource.spec.management.unwrap_or_default() == ManagementState::Managed
}

/// Said where the operator was told to leave certificates to cert-manager.
const NO_CERT_MANAGER: &str =
    "CERT_MANAGER_ISSUER: the cluster has no API cert-manager.io, certificates are made by the operator";

/// Refuses names that objects cannot carry, and a second resource for the same objects.
fn check_name(resource: &impl ResourceExt, owner: Owner, facts: &Facts) -> Result<(), Invalid> {
    let length = resource.name_any().len();
    if length > NAME_LIMIT {
        return Err(Invalid::spec(format!(
            "metadata.name: {length} characters, must be no more than {NAME_LIMIT}"
        )));
    }
    if facts.has_twin {
        let (own, other) = match owner {
            Owner::TempoStack => (Owner::TempoStack, Owner::TempoMonolithic),
            Owner::TempoMonolithic => (Owner::TempoMonolithic, Owner::TempoStack),
        };
        return Err(Invalid::spec(format!(
            "metadata.name: there is a {} of the same name in the namespace, and a {} would have the same objects",
            other.as_str(),
            own.as_str()
        )));
    }
    Ok(())
}

fn duration(field: &str, text: Option<&str>) -> Result<Option<Duration>, Invalid> {
    text.map(|text| text.parse().map_err(|error| Invalid::spec(format!("{field}: {error}")))).transpose()
}

/// As `duration`, where 0 means that nothing is said.
fn positive_duration(field: &str, text: Option<&str>) -> Result<Option<Duration>, Invalid> {
    Ok(duration(field, text)?.filter(|length| *length != Duration::default()))
}

fn count(field: &str, value: Option<i64>) -> Result<Option<u64>, Invalid> {
    value
        .map(|value| {
            u64::try_from(value).map_err(|_| Invalid::spec(format!("{field}: {value}, expected 0 or more")))
        })
        .transpose()
}

fn small_count(field: &str, value: Option<i64>) -> Result<Option<u32>, Invalid> {
    count(field, value)?
        .map(|value| {
            u32::try_from(value)
                .map_err(|_| Invalid::spec(format!("{field}: {value}, expected at most {}", u32::MAX)))
        })
        .transpose()
}

/// Text that is there and not empty.
fn said(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// The hash by which pods roll when something that their environment comes from changes.
fn environment_hash(
    identity: &Identity,
    env: &[EnvVar],
    env_from: &[EnvFromSource],
    facts: &Facts,
) -> Option<String> {
    let (secrets, config_maps) = references::of_environment(env, env_from);
    facts.digest(&identity.uid, &secrets, &config_maps)
}

#[cfg(test)]
mod tests;
