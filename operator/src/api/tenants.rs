//! Tenants: who they are, and who may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tenants of a stack. Naming any turns multitenancy on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenants {
    /// The tenants, and how their users are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub authentication: Vec<Tenant>,
    /// Who may do what; of mode `static`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// `static`: OpenID Connect and roles given here; `openshift`: the cluster's accounts and roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "mode")]
    pub mode: Option<TenantMode>,
}

fn mode(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["static", "openshift"], "default": "static"})
}

/// Whose accounts and roles hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantMode {
    /// OpenID Connect, and the roles of the resource.
    #[default]
    Static,
    /// Those of OpenShift.
    OpenShift,
}

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// How its users are known; of mode `static`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// What stands in the header that the stack is sent.
    #[schemars(length(min = 1))]
    pub tenant_id: String,
    /// What stands in the path of a request.
    #[schemars(length(min = 1))]
    pub tenant_name: String,
}

/// OpenID Connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// Claim that lists the groups of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_claim: Option<String>,
    /// Who vouches for users.
    #[serde(rename = "issuerURL", skip_serializing_if = "Option::is_none")]
    pub issuer_url: Option<String>,
    /// Where users come back to.
    #[serde(rename = "redirectURL", skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<String>,
    /// Secret with `clientID`, and where needed `clientSecret` and `issuerCAPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<OidcSecret>,
    /// Claim that names a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_claim: Option<String>,
}

/// Names a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcSecret {
    /// In the namespace of the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Roles and who has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Who has which roles.
    pub role_bindings: Vec<RoleBinding>,
    /// What may be done with which tenants.
    pub roles: Vec<Role>,
}

/// What may be done with which tenants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// By which bindings refer to it.
    pub name: String,
    /// `read`, `write`.
    pub permissions: Vec<Permission>,
    /// `traces`.
    pub resources: Vec<String>,
    /// Names of tenants.
    pub tenants: Vec<String>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Permission {
    /// Ask for traces.
    Read,
    /// Send traces.
    Write,
}

/// Who has which roles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleBinding {
    /// Of the binding.
    pub name: String,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Who has them.
    pub subjects: Vec<Subject>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Which of the two.
    pub kind: SubjectKind,
    /// As the claim says it.
    pub name: String,
}

/// A user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SubjectKind {
    /// One user.
    User,
    /// All users of a group.
    Group,
}
