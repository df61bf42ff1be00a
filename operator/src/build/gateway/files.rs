//! `rbac.yaml` and `tenants.yaml`, in the notation of observatorium's API gateway.

use serde_json::{Map, Value, json};

use crate::validate::{Authority, Gateway, Login, Tenant};

/// Who may do what; nothing where the cluster says it.
pub(super) fn rbac(authority: &Authority) -> String {
    let Authority::Static(authorization) = authority else { return String::new() };
    // The notation is that of the resource.
    let tree = json!({"roleBindings": authorization.role_bindings, "roles": authorization.roles});
    serde_yaml::to_string(&tree).unwrap_or_default()
}

/// Who the tenants are.
pub(super) fn tenants(gateway: &Gateway, package: &str, account: &str) -> String {
    let tenants: Vec<Value> = gateway.tenants.iter().map(|one| tenant(one, package, account)).collect();
    serde_yaml::to_string(&json!({"tenants": tenants})).unwrap_or_default()
}

fn tenant(tenant: &Tenant, package: &str, account: &str) -> Value {
    let Tenant { name, id, login } = tenant;
    match login {
        Login::Oidc(keys) => {
            let oidc: Map<String, Value> =
                keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
            json!({"name": name, "id": id, "oidc": oidc})
        }
        Login::OpenShift { redirect, cookie } => json!({
            "name": name,
            "id": id,
            "openshift": {"serviceAccount": account, "redirectURL": redirect, "cookieSecret": cookie},
            "opa": {
                "url": format!("http://localhost:8082/v1/data/{package}/allow"),
                "withAccessToken": true,
            },
        }),
    }
}
