//! Who signs, and who will.

use k8s_openapi::api::core::v1::Secret;

use super::{
    Context, Flaw, PlanError, Reason, Seconds, Wanted,
    bundle::Bundle,
    material::{Cert, Pair},
    objects, time,
};

/// Where the next authority waits, in the Secret of the one that signs.
const NEXT_CERT: &str = "next.crt";
const NEXT_KEY: &str = "next.key";

/// The authority that signs, and the one that will when all pods trust it.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) signer: Pair,
    next: Option<Pair>,
}

impl Authority {
    /// The authority that is there, or another one.
    pub(super) fn decide(
        secret: Option<&Secret>,
        shown: &Bundle,
        context: &mut Context<'_>,
    ) -> Result<Self, PlanError> {
        let (wanted, now) = (context.wanted, context.now);
        let name = wanted.authority.clone();
        let staged = secret.and_then(|secret| objects::pair(secret, NEXT_CERT, NEXT_KEY).ok());
        let next = staged.filter(|next| next.cert.is_authority && next.cert.not_after > now);
        let signer = match sound(secret, now) {
            Ok(signer) => signer,
            Err(reason) => {
                context.note(&name, reason);
                // One that waits may be trusted by all already.
                let signer = next.map_or_else(|| make(context), Ok)?;
                return Ok(Self { signer, next: None });
            }
        };
        match next {
            Some(next) if shown.settles(&next.cert, wanted).is_some_and(|settled| now >= settled) => {
                context.note(&name, Reason::Promoted);
                Ok(Self { signer: next, next: None })
            }
            None if now >= wanted.rotation.ca_due(signer.cert.not_before, signer.cert.not_after) => {
                context.note(&name, Reason::Staged(time(now + wanted.rotation.propagation())));
                let next = make(context)?;
                Ok(Self { signer, next: Some(next) })
            }
            next => Ok(Self { signer, next }),
        }
    }

    /// Whom pods are to trust for what is signed now and next.
    pub(super) fn signers(&self) -> impl Iterator<Item = &Cert> {
        [Some(&self.signer), self.next.as_ref()].into_iter().flatten().map(|pair| &pair.cert)
    }

    /// When there is something to do about it, with `shown` in the cluster.
    pub(super) fn due(&self, shown: &Bundle, wanted: &Wanted) -> Seconds {
        match &self.next {
            Some(next) => shown.settles(&next.cert, wanted).unwrap_or(Seconds::MIN),
            None => wanted.rotation.ca_due(self.signer.cert.not_before, self.signer.cert.not_after),
        }
    }

    pub(super) fn secret(&self, wanted: &Wanted, existing: Option<&Secret>) -> Secret {
        let mut data =
            vec![(objects::CERT, self.signer.cert_pem.clone()), (objects::KEY, self.signer.key_pem.clone())];
        if let Some(next) = &self.next {
            data.extend([(NEXT_CERT, next.cert_pem.clone()), (NEXT_KEY, next.key_pem.clone())]);
        }
        objects::secret(wanted, wanted.authority.clone(), &self.signer.cert, data, existing)
    }
}

fn sound(secret: Option<&Secret>, now: Seconds) -> Result<Pair, Reason> {
    let secret = secret.ok_or(Reason::Missing)?;
    let pair = objects::pair(secret, objects::CERT, objects::KEY).map_err(Reason::Flawed)?;
    if !pair.cert.is_authority {
        return Err(Reason::Flawed(Flaw::NoAuthority(objects::CERT)));
    }
    if pair.cert.not_after <= now {
        return Err(Reason::Expired(time(pair.cert.not_after)));
    }
    Ok(pair)
}

fn make(context: &mut Context<'_>) -> Result<Pair, PlanError> {
    let object = context.wanted.authority.clone();
    let key = context.key(&object)?;
    // The time tells authorities of one stack apart by name.
    let name = format!("{}{}", context.wanted.authority_prefix(), context.now);
    let life = context.wanted.rotation.ca_life(context.now);
    Pair::authority(&name, life, &key).map_err(|source| PlanError { object, source })
}
