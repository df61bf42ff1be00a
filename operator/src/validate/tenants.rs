//! The gateway: tenants, how their users are known, and who may do what.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Secret};
use serde_json::Value;

use super::{Exposure, Invalid, Reason, said};
use crate::{
    api::{self, Authorization, Oidc, TenantMode},
    facts::Facts,
    kind::Kind,
    names::Identity,
    platform::Platform,
    role::Role,
};

/// The gateway in front of a stack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gateway {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) authority: Authority,
    /// Answers are cut down to the namespaces of who asks.
    pub(crate) query_rbac: bool,
    pub(crate) exposure: Exposure,
    /// Of the container of a monolithic stack; that of the others is in its workload.
    pub(crate) resources: ResourceRequirements,
    pub(crate) opa_resources: ResourceRequirements,
}

/// Whose roles hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Authority {
    /// Those of the resource.
    Static(Authorization),
    /// Those of the cluster.
    OpenShift,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) login: Login,
}

/// How the users of a tenant are known.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// By OpenID Connect: the keys of `tenants.yaml` and their values.
    Oidc(Vec<(&'static str, String)>),
    /// By OpenShift; where they come back to, and what their cookies are signed with.
    OpenShift { redirect: String, cookie: String },
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Oidc(_) => "Oidc",
            Self::OpenShift { .. } => "OpenShift",
        })
    }
}

/// What a resource says of its tenants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) mode: TenantMode,
    pub(super) authentication: &'a [api::Tenant],
    pub(super) authorization: Option<&'a Authorization>,
    /// `spec.tenants` or `spec.multitenancy`.
    pub(super) field: &'static str,
}

/// Refuses what contradicts itself.
pub(super) fn check(wanted: Wanted<'_>, has_gateway: bool) -> Result<(), Invalid> {
    let Wanted { mode, authentication, authorization, field } = wanted;
    let has_oidc = |tenant: &api::Tenant| tenant.oidc.is_some();
    let wrong = |part: &str, what: &str| Err(Invalid::tenants(format!("{field}{part}: {what}")));
    for (at, tenant) in authentication.iter().enumerate() {
        for (part, text) in [("tenantName", &tenant.tenant_name), ("tenantId", &tenant.tenant_id)] {
            if text.is_empty() {
                return wrong(&format!(".authentication[{at}].{part}"), "must not be empty");
            }
        }
    }
    match mode {
        TenantMode::OpenShift => {
            if !has_gateway {
                return wrong(".mode", "openshift mode requires the gateway to be enabled");
            }
            if authentication.is_empty() {
                return wrong(".authentication", "is required in openshift mode");
            }
            if authorization.is_some() {
                return wrong(
                    ".authorization",
                    "must not be set in openshift mode: the roles of the cluster hold",
                );
            }
            if authentication.iter().any(has_oidc) {
                return wrong(".authentication", "OIDC must not be set in openshift mode");
            }
        }
        TenantMode::Static if has_gateway => {
            if authentication.is_empty() {
                return wrong(".authentication", "is required in static mode");
            }
            let Some(authorization) = authorization else {
                return wrong(".authorization", "is required in static mode");
            };
            if authorization.roles.is_empty() {
                return wrong(".authorization.roles", "is required in static mode");
            }
            if authorization.role_bindings.is_empty() {
                return wrong(".authorization.roleBindings", "is required in static mode");
            }
            if !authentication.iter().all(has_oidc) {
                return wrong(".authentication", "each tenant needs OIDC in static mode");
            }
        }
        TenantMode::Static => {}
    }
    Ok(())
}

/// The tenants with all that the gateway has to know about them. `host` is where users come back to on OpenShift.
pub(super) fn resolve(
    wanted: Wanted<'_>,
    host: Option<&str>,
    route: &str,
    identity: &Identity,
    facts: &Facts,
    platform: &Platform,
) -> Result<Vec<Tenant>, Invalid> {
    let cookies = cookies(identity, facts);
    let mut all = Vec::new();
    for tenant in wanted.authentication {
        let name = tenant.tenant_name.clone();
        let login = match (wanted.mode, &tenant.oidc) {
            (TenantMode::OpenShift, _) => {
                let host =
                    host.map_or_else(|| route_host(route, identity, platform), |host| Ok(host.to_owned()))?;
                let cookie = cookies.get(&name).cloned().unwrap_or_else(|| facts.entropy.word(&name));
                Login::OpenShift { redirect: format!("https://{host}/openshift/{name}/callback"), cookie }
            }
            (TenantMode::Static, Some(oidc)) => Login::Oidc(oidc_of(&name, oidc, facts)?),
            (TenantMode::Static, None) => Login::Oidc(Vec::new()),
        };
        all.push(Tenant { name, id: tenant.tenant_id.clone(), login });
    }
    Ok(all)
}

/// How OpenShift's router calls a Route that names no host.
fn route_host(route: &str, identity: &Identity, platform: &Platform) -> Result<String, Invalid> {
    let Some(domain) = &platform.base_domain else {
        return Err(Invalid {
            reason: Reason::CouldNotGetOpenShiftBaseDomain,
            message: "the cluster does not say under which domain Routes are: expected spec.baseDomain of DNS/cluster, or the environment variable OPENSHIFT_BASE_DOMAIN".to_owned(),
        });
    };
    Ok(format!("{route}-{}.{domain}", identity.namespace))
}

fn oidc_of(tenant: &str, oidc: &Oidc, facts: &Facts) -> Result<Vec<(&'static str, String)>, Invalid> {
    let missing = |what: String| Invalid { reason: Reason::MissingGatewayTenantSecret, message: what };
    let secret = oidc.secret.clone().unwrap_or_default().name.unwrap_or_default();
    let Some(contents) = facts.secrets.get(&secret) else {
        return Err(missing(format!("missing secrets for tenant {tenant}: Secret `{secret}`")));
    };
    let Some(client) = contents.text("clientID") else {
        return Err(missing(format!("Secret {secret} of tenant {tenant}: must contain \"clientID\"")));
    };
    let mut keys = vec![("clientID", client)];
    let optional = [
        ("clientSecret", contents.text("clientSecret")),
        ("issuerCAPath", contents.text("issuerCAPath")),
        ("issuerURL", said(oidc.issuer_url.as_ref())),
        ("redirectURL", said(oidc.redirect_url.as_ref())),
        ("usernameClaim", said(oidc.username_claim.as_ref())),
        ("groupClaim", said(oidc.group_claim.as_ref())),
    ];
    keys.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    Ok(keys)
}

/// What cookies are signed with already, by tenant: another would log everybody out.
fn cookies(identity: &Identity, facts: &Facts) -> BTreeMap<String, String> {
    let live = facts.live.objects.get(&(Kind::Secret, identity.role(Role::Gateway)));
    let secret = live.and_then(|live| serde_json::from_value::<Secret>(live.clone()).ok());
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let Some(file) = data.get("tenants.yaml") else { return BTreeMap::new() };
    let file: Value = serde_yaml::from_slice(&file.0).unwrap_or_default();
    let tenants = file["tenants"].as_array().cloned().unwrap_or_default();
    let cookie = |tenant: &Value| {
        let word = tenant["openshift"]["cookieSecret"].as_str()?;
        Some((tenant["name"].as_str()?.to_owned(), word.to_owned()))
    };
    tenants.iter().filter_map(cookie).filter(|(_, word)| word.len() == 32).collect()
}
