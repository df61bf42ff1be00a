//! Volumes grow in place. A StatefulSet's templates are only for claims that it has yet to make; those that are there are
//! asked to grow one by one, while their pods run. IO.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Applied, text};
use crate::{
    api::Quantity,
    compare::FIELD_MANAGER,
    kind::Kind,
    names::{INSTANCE, Identity, MANAGED_BY},
};

/// A template of claims, and what those that it made shall be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// How the names of its claims begin.
    prefix: String,
    size: String,
}

/// Asks for larger volumes where a StatefulSet wants them. One that cannot grow is a failure with what the API server
/// says; a volume that is larger than wanted stays as it is.
pub(crate) async fn grow(client: &Client, identity: &Identity, applied: &mut Applied) {
    let sets = applied.objects.iter().filter(|((kind, _), _)| *kind == Kind::StatefulSet);
    let wanted: Vec<Wanted> = sets.flat_map(|((_, name), object)| templates(name, object)).collect();
    if wanted.is_empty() {
        return;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &identity.namespace);
    let selector = format!("{INSTANCE}={},{}={}", identity.name, MANAGED_BY.0, MANAGED_BY.1);
    let found = match claims.list(&ListParams::default().labels(&selector)).await {
        Ok(found) => found.items,
        Err(error) => return applied.failures.push(format!("PersistentVolumeClaims: {}", text(&error))),
    };
    for claim in &found {
        let name = claim.name_any();
        let Some(size) = larger(claim, &wanted) else { continue };
        let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match claims.patch(&name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => applied.changes.updated.push(format!("PersistentVolumeClaim {name} (grows to {size})")),
            Err(error) => {
                applied
                    .failures
                    .push(format!("PersistentVolumeClaim {name}: cannot grow to {size}: {}", text(&error)));
            }
        }
    }
}

fn templates(set: &str, object: &Value) -> Vec<Wanted> {
    let templates = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let wanted = |template: &Value| {
        let name = template.pointer("/metadata/name")?.as_str()?;
        let size = template.pointer("/spec/resources/requests/storage")?.as_str()?;
        Some(Wanted { prefix: format!("{name}-{set}-"), size: size.to_owned() })
    };
    templates.into_iter().flatten().filter_map(wanted).collect()
}

/// The size that a claim shall grow to, where it shall.
fn larger<'a>(claim: &PersistentVolumeClaim, wanted: &'a [Wanted]) -> Option<&'a str> {
    let name = claim.name_any();
    let is_of = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|ordinal| ordinal.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let wanted = wanted.iter().find(|wanted| is_of(&wanted.prefix))?;
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let bytes = |text: &str| Quantity::from(text).units();
    (bytes(&requests.get("storage")?.0)? < bytes(&wanted.size)?).then_some(&wanted.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_the_set_grow_and_others_and_larger_ones_stay() {
        let set = json!({"spec": {"volumeClaimTemplates": [{
            "metadata": {"name": "data"},
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        }]}});
        let wanted = templates("tempo-s-ingester", &set);
        let claim = |name: &str, size: &str| {
            let spec = json!({"resources": {"requests": {"storage": size}}});
            let claim = json!({"metadata": {"name": name}, "spec": spec});
            serde_json::from_value::<PersistentVolumeClaim>(claim).expect("a claim")
        };
        for (name, size, grows) in [
            ("data-tempo-s-ingester-0", "1Gi", true),
            ("data-tempo-s-ingester-11", "1536Mi", true),
            ("data-tempo-s-ingester-0", "2048Mi", false),
            ("data-tempo-s-ingester-0", "3Gi", false),
            ("data-tempo-s-ingester-zone-0", "1Gi", false),
            ("other-tempo-s-ingester-0", "1Gi", false),
        ] {
            assert_eq!(larger(&claim(name, size), &wanted), grows.then_some("2Gi"), "{name} {size}");
        }
        assert_eq!(templates("s", &json!({})), []);
    }
}
