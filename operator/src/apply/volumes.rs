//! Volumes grow in place. A StatefulSet's templates are only for claims that it has yet to make; those that are there are
//! asked to grow one by one, while their pods run. IO.

use std::{cmp::Ordering, collections::BTreeMap};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Applied, text};
use crate::{api::Quantity, compare::FIELD_MANAGER, kind::Kind, names::Identity};

/// A template of claims, and what those that it made shall be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// How the names of its claims begin.
    prefix: String,
    size: String,
}

/// What a claim shall become.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    Grow(&'a str),
    /// Volumes do not shrink.
    Shrink(&'a str),
}

/// Asks for larger volumes where a StatefulSet wants them. One that cannot grow is a failure with what the API server
/// says.
pub(crate) async fn grow(
    client: &Client,
    identity: &Identity,
    found: &[PersistentVolumeClaim],
    applied: &mut Applied,
) {
    let wanted = wanted(&applied.objects);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &identity.namespace);
    for claim in found {
        let name = claim.name_any();
        let Some(Change::Grow(size)) = change(claim, &wanted) else { continue };
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

/// What is not done: a volume that is larger than wanted stays as it is.
pub(crate) fn left(
    found: &[PersistentVolumeClaim],
    objects: &BTreeMap<(Kind, String), Value>,
) -> Vec<String> {
    let wanted = wanted(objects);
    let larger = |claim: &PersistentVolumeClaim| match change(claim, &wanted) {
        Some(Change::Shrink(size)) => {
            Some(format!("volumes do not shrink: {} is larger than {size}, and stays so", claim.name_any()))
        }
        Some(Change::Grow(_)) | None => None,
    };
    found.iter().filter_map(larger).collect()
}

fn wanted(objects: &BTreeMap<(Kind, String), Value>) -> Vec<Wanted> {
    let sets = objects.iter().filter(|((kind, _), _)| *kind == Kind::StatefulSet);
    sets.flat_map(|((_, name), object)| templates(name, object)).collect()
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

/// What is to be done about a claim of a set.
fn change<'a>(claim: &PersistentVolumeClaim, wanted: &'a [Wanted]) -> Option<Change<'a>> {
    let name = claim.name_any();
    let is_of = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|ordinal| ordinal.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let Wanted { size, .. } = wanted.iter().find(|wanted| is_of(&wanted.prefix))?;
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let bytes = |text: &str| Quantity::from(text).units();
    match bytes(&requests.get("storage")?.0)?.cmp(&bytes(size)?) {
        Ordering::Less => Some(Change::Grow(size)),
        Ordering::Equal => None,
        Ordering::Greater => Some(Change::Shrink(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_the_set_grow_and_do_not_shrink_and_others_stay() {
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
        for (name, size, expected) in [
            ("data-tempo-s-ingester-0", "1Gi", Some(Change::Grow("2Gi"))),
            ("data-tempo-s-ingester-11", "1536Mi", Some(Change::Grow("2Gi"))),
            ("data-tempo-s-ingester-0", "2048Mi", None),
            ("data-tempo-s-ingester-0", "3Gi", Some(Change::Shrink("2Gi"))),
            ("data-tempo-s-ingester-zone-0", "1Gi", None),
            ("other-tempo-s-ingester-0", "1Gi", None),
        ] {
            assert_eq!(change(&claim(name, size), &wanted), expected, "{name} {size}");
        }
        assert_eq!(templates("s", &json!({})), []);
    }
}
