//! Keeps the certificates of a stack: what there is -> what there shall be (`crate::certificates`) -> applied. IO.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::Context;
use crate::{
    apply::{self, Applied},
    build::{Desired, certificates as needed},
    certificates::{Component, Existing, Wanted, generate_key, plan},
    facts::Live,
    kind::Kind,
    names::Identity,
};

/// Makes and renews what is due. Answers how long the rest lasts; nothing where there are no certificates to keep.
pub(super) async fn keep(
    context: &Context,
    identity: &Identity,
    live: &Live,
    applied: &mut Applied,
) -> Option<Duration> {
    if context.platform.cert_manager.is_some() {
        return None;
    }
    let names = needed::needed(identity, &context.platform)?;
    let meta = identity.meta(String::new(), identity.certificate_labels());
    let wanted = Wanted {
        authority: names.authority,
        bundle: names.bundle,
        namespace: identity.namespace.clone(),
        labels: meta.labels.unwrap_or_default(),
        owners: meta.owner_references.unwrap_or_default(),
        components: names
            .leaves
            .into_iter()
            .map(|leaf| Component { secret: leaf.secret, hostnames: leaf.hostnames.into_iter().collect() })
            .collect(),
        rotation: context.rotation,
    };
    let existing =
        Existing { secrets: of_kind(live, Kind::Secret), config_maps: of_kind(live, Kind::ConfigMap) };
    let now = Timestamp::now();
    let made = plan(now, &wanted, &existing, &mut generate_key).map_err(|error| error.to_string()).and_then(
        |plan| {
            for change in &plan.changes {
                tracing::info!(
                    namespace = identity.namespace,
                    name = identity.name,
                    object = change.object,
                    reason = %change.reason,
                    "certificates"
                );
            }
            let next = Duration::try_from(plan.next.duration_since(now)).unwrap_or_default();
            let secrets = std::iter::once(&plan.authority).chain(&plan.certificates);
            let mut all = Vec::new();
            for secret in secrets {
                all.push(Desired::of(Kind::Secret, secret.name_any(), secret)?);
            }
            // The authority before the bundle that shows it, the bundle before certificates that need it.
            all.insert(1, Desired::of(Kind::ConfigMap, plan.bundle.name_any(), &plan.bundle)?);
            Ok((all, next))
        },
    );
    match made {
        Ok((objects, next)) => {
            applied.add(apply::write(&context.client, identity, objects, live).await);
            // A clock that jumps, or a plan that is due at once, is no reason to spin.
            Some(next.max(Duration::from_secs(1)))
        }
        Err(error) => {
            applied.failures.push(format!("certificates: {error}"));
            None
        }
    }
}

fn of_kind<K: DeserializeOwned>(live: &Live, kind: Kind) -> Vec<K> {
    let of_kind = live.objects.iter().filter(|((found, _), _)| *found == kind);
    of_kind.filter_map(|(_, object)| serde_json::from_value(object.clone()).ok()).collect()
}
