//! The stack's own authority and certificates: which Secrets and which ConfigMap there should be now, and when to
//! look again. Pure: time and keys are given, objects go in and come out.
//!
//! # Flow
//! A certificate is made anew when it is missing, cannot be used, or is old enough. So is the authority, in steps:
//! the next one is made and shown to all in the bundle, while the one before still signs; when every pod has had the
//! time to read that, it takes over; the old one stays in the bundle while a certificate of its is around.
//!
//! # Guarantees
//! Whatever pods have read of this, the old or the new, they trust each other: no order of updates, and no stop of the
//! operator between two of them, breaks that. What is sound is kept to the byte, whoever made it.
//!
//! # Assumptions
//! A pod reads what has changed within [`Rotation::propagation`]. Objects are written in the order in which a [`Plan`]
//! has them: the authority before the bundle that shows it, the bundle before certificates that need it.

mod authority;
mod bundle;
mod leaf;
mod material;
mod objects;
mod rotation;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
    jiff::Timestamp,
};
use rcgen::KeyPair;

pub use material::Flaw;
pub use rotation::{Rotation, RotationError};

use authority::Authority;
use bundle::Bundle;

/// What there is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Secret with the authority.
    pub authority: String,
    /// ConfigMap with the authorities to trust.
    pub bundle: String,
    /// Where the objects are.
    pub namespace: String,
    /// On every object.
    pub labels: BTreeMap<String, String>,
    /// Of every object.
    pub owners: Vec<OwnerReference>,
    /// Who gets a certificate.
    pub components: Vec<Component>,
    /// How long things last.
    pub rotation: Rotation,
}

/// Who gets a certificate, and for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Secret with the certificate.
    pub secret: String,
    /// What it is called by those who connect to it.
    pub hostnames: BTreeSet<String>,
}

/// What is there. Objects of other names may be among them.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// Secrets of the namespace.
    pub secrets: Vec<Secret>,
    /// ConfigMaps of the namespace.
    pub config_maps: Vec<ConfigMap>,
}

/// What there should be now.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who signs. To be written first.
    pub authority: Secret,
    /// The authorities that pods trust. To be written second.
    pub bundle: ConfigMap,
    /// One a component, in the order in which they were wanted. To be written last.
    pub certificates: Vec<Secret>,
    /// What is not as it was, and why; empty when nothing is to be written.
    pub changes: Vec<Change>,
    /// When to plan anew, if nothing happens before.
    pub next: Timestamp,
}

/// Something that is made anew, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the Secret or ConfigMap.
    pub object: String,
    /// Why.
    pub reason: Reason,
}

/// Why something is made anew, or goes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There was none.
    #[error("created")]
    Missing,
    /// What stood there could not be used.
    #[error("replaced: {0}")]
    Flawed(Flaw),
    /// It was old enough.
    #[error("renewed, the one before expires at {0}")]
    Due(Timestamp),
    /// It was too late.
    #[error("replaced, the one before expired at {0}")]
    Expired(Timestamp),
    /// Nobody who is trusted signed it.
    #[error("replaced, its issuer {0} is not trusted")]
    UnknownIssuer(String),
    /// It was for other names.
    #[error("renewed, the one before was for {0}")]
    Hostnames(String),
    /// A new authority is shown to all; it signs from the time on that is named.
    #[error("next authority made, which signs from {0} on")]
    Staged(Timestamp),
    /// It signs now.
    #[error("the next authority signs now")]
    Promoted,
    /// The bundle holds it now.
    #[error("authority {0} added")]
    Added(String),
    /// Nothing that it signed is around, or it has expired.
    #[error("authority {0} removed")]
    Removed(String),
}

/// A key or a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("certificate of {object}")]
pub struct PlanError {
    /// Name of the Secret.
    pub object: String,
    /// What the library says.
    pub source: rcgen::Error,
}

/// Where keys come from: [`generate_key`], or what a test has ready.
pub type Keys<'a> = dyn FnMut() -> Result<KeyPair, rcgen::Error> + 'a;

/// An ECDSA key on P-256, from the system's randomness.
///
/// # Errors
/// When the system gives none.
pub fn generate_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// Seconds since 1970, as everything within counts time.
type Seconds = i64;

/// What every step needs.
struct Context<'a> {
    now: Seconds,
    wanted: &'a Wanted,
    keys: &'a mut Keys<'a>,
    changes: Vec<Change>,
}

impl Context<'_> {
    fn note(&mut self, object: &str, reason: Reason) {
        self.changes.push(Change { object: object.to_owned(), reason });
    }

    fn key(&mut self, object: &str) -> Result<KeyPair, PlanError> {
        (self.keys)().map_err(|source| PlanError { object: object.to_owned(), source })
    }
}

/// What there should be `now`.
///
/// # Errors
/// [`PlanError`]; what exists never is an error, it is used or replaced.
pub fn plan<'a>(
    now: Timestamp,
    wanted: &'a Wanted,
    existing: &Existing,
    keys: &'a mut Keys<'a>,
) -> Result<Plan, PlanError> {
    let mut context = Context { now: now.as_second(), wanted, keys, changes: Vec::new() };
    let secret = |name: &str| existing.secrets.iter().find(|s| s.metadata.name.as_deref() == Some(name));
    let name = wanted.bundle.clone();
    let config_map = existing.config_maps.iter().find(|c| c.metadata.name.as_deref() == Some(&name));
    let found: Vec<_> = wanted.components.iter().map(|c| secret(&c.secret.clone())).collect();
    let shown = Bundle::read(config_map, &found, &mut context);
    let ca_secret = secret(&wanted.authority.clone());
    let authority = Authority::decide(ca_secret, &shown, &mut context)?;
    let mut leaves = Vec::new();
    for (component, secret) in wanted.components.iter().zip(&found) {
        leaves.push(leaf::decide(component, *secret, &authority, &shown, &mut context)?);
    }
    let bundle = shown.next(&authority, &leaves, &mut context);
    let next = [authority.due(&bundle, wanted), bundle.due(&authority, &leaves, wanted)]
        .into_iter()
        .chain(leaves.iter().map(|leaf| leaf.due))
        .min()
        .unwrap_or(i64::MAX)
        .max(context.now + 1);
    let objects = wanted.components.iter().zip(&found).zip(&leaves);
    Ok(Plan {
        authority: authority.secret(wanted, ca_secret),
        bundle: bundle.config_map(wanted),
        certificates: objects.map(|((component, old), leaf)| leaf.secret(component, wanted, *old)).collect(),
        changes: context.changes,
        next: time(next),
    })
}

/// Times beyond what can be written are the last that can.
fn time(seconds: Seconds) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
