//! The certificate of one component.

use k8s_openapi::api::core::v1::Secret;

use super::{
    Component, Context, Flaw, PlanError, Reason, Seconds, Wanted,
    authority::Authority,
    bundle::Bundle,
    material::{Cert, Pair},
    objects, time,
};

/// A certificate that is to be there, and when it has to be looked at again.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) pair: Pair,
    pub(super) due: Seconds,
    pub(super) is_new: bool,
}

/// How soon a certificate must be replaced.
enum Need {
    /// It serves nobody as it is.
    Now(Reason),
    /// As soon as all pods trust whoever signs the next one.
    Soon(Reason),
    /// Not before.
    At(Seconds),
}

/// The certificate that is there, or another one.
pub(super) fn decide(
    component: &Component,
    secret: Option<&Secret>,
    authority: &Authority,
    shown: &Bundle,
    context: &mut Context<'_>,
) -> Result<Leaf, PlanError> {
    let (wanted, now) = (context.wanted, context.now);
    let name = component.secret.clone();
    let pair = match secret {
        None => Err(Reason::Missing),
        Some(secret) => objects::pair(secret, objects::CERT, objects::KEY).map_err(Reason::Flawed),
    };
    let reason = match pair {
        Err(reason) => reason,
        Ok(pair) => match need(component, &pair.cert, authority, shown, context) {
            Need::At(due) => return Ok(Leaf { pair, due, is_new: false }),
            Need::Now(reason) => reason,
            Need::Soon(reason) => {
                // Not told yet: the bundle that goes out now starts the time.
                let settled = shown.settles(&authority.signer.cert, wanted);
                let settled = settled.unwrap_or(now + wanted.rotation.propagation());
                if now < settled && settled < pair.cert.not_after {
                    return Ok(Leaf { pair, due: settled, is_new: false });
                }
                reason
            }
        },
    };
    context.note(&name, reason);
    let key = context.key(&name)?;
    let life = wanted.rotation.cert_life(now);
    let pair = authority.signer.sign(&name, &component.hostnames, life, &key);
    let pair = pair.map_err(|source| PlanError { object: name, source })?;
    let due = wanted.rotation.cert_due(pair.cert.not_before, pair.cert.not_after);
    Ok(Leaf { pair, due, is_new: true })
}

fn need(
    component: &Component,
    cert: &Cert,
    authority: &Authority,
    shown: &Bundle,
    context: &Context<'_>,
) -> Need {
    let by_signer = cert.is_signed_by(&authority.signer.cert).then_some(&authority.signer.cert);
    let Some(issuer) = by_signer.or_else(|| shown.issuer_of(cert)) else {
        return Need::Now(Reason::UnknownIssuer(cert.issuer.clone()));
    };
    // It is worth nothing without who signed it.
    let end = cert.not_after.min(issuer.not_after);
    if end <= context.now {
        return Need::Now(Reason::Expired(time(end)));
    }
    if !cert.for_both_sides {
        return Need::Soon(Reason::Flawed(Flaw::Usage(objects::CERT)));
    }
    if cert.hostnames != component.hostnames {
        let names: Vec<&str> = cert.hostnames.iter().map(String::as_str).collect();
        return Need::Soon(Reason::Hostnames(names.join(",")));
    }
    match context.wanted.rotation.cert_due(cert.not_before, end) {
        due if due <= context.now => Need::Soon(Reason::Due(time(end))),
        due => Need::At(due),
    }
}

impl Leaf {
    pub(super) fn secret(&self, component: &Component, wanted: &Wanted, existing: Option<&Secret>) -> Secret {
        let data =
            vec![(objects::CERT, self.pair.cert_pem.clone()), (objects::KEY, self.pair.key_pem.clone())];
        let name = component.secret.clone();
        objects::secret(wanted, name, &self.pair.cert, data, existing)
    }
}
