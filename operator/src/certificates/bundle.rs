//! The authorities that pods trust, and since when.

use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    jiff::Timestamp,
};

use super::{
    Context, Flaw, Reason, Seconds, Wanted,
    authority::Authority,
    leaf::Leaf,
    material::{Cert, certificates},
    objects, time,
};

/// The key of the ConfigMap.
pub(super) const KEY: &str = "service-ca.crt";
/// Our own annotation, there while more than one authority is: when the bundle last got another one.
const SINCE: &str = "tempo.grafana.com/ca-bundle-extended-at";

/// Authorities, and when the last of them was added; `None` is long ago.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    authorities: Vec<Cert>,
    since: Option<Seconds>,
    /// False where there was nothing to read.
    found: bool,
}

impl Bundle {
    /// What pods were shown. Where that is lost, the authorities that stand behind certificates tell.
    pub(super) fn read(
        config_map: Option<&ConfigMap>,
        leaves: &[Option<&Secret>],
        context: &mut Context<'_>,
    ) -> Self {
        let text = config_map.and_then(|config_map| config_map.data.as_ref()?.get(KEY));
        let parsed = text.and_then(|text| certificates(text.as_bytes()));
        let name = context.wanted.bundle.clone();
        match (&parsed, config_map) {
            (Some(_), _) => {}
            (None, None) => context.note(&name, Reason::Missing),
            (None, Some(_)) if text.is_none() => {
                context.note(&name, Reason::Flawed(Flaw::Absent(KEY)));
            }
            (None, Some(_)) => {
                let flaw = Flaw::Unreadable { key: KEY, expected: "certificates" };
                context.note(&name, Reason::Flawed(flaw));
            }
        }
        let found = parsed.is_some();
        let mut authorities = parsed.unwrap_or_else(|| behind(leaves, context.wanted));
        authorities.retain(|authority| {
            let useful = authority.is_authority && authority.not_after > context.now;
            if !useful {
                context.note(&name, Reason::Removed(authority.subject.clone()));
            }
            useful
        });
        let annotations = config_map.and_then(|config_map| config_map.metadata.annotations.as_ref());
        let since = annotations.and_then(|annotations| annotations.get(SINCE)).map(|text| {
            // What cannot be read, or is yet to come, is as of now: to wait is never wrong.
            let read: Option<Timestamp> = text.parse().ok();
            read.map_or(context.now, |since| since.as_second().min(context.now))
        });
        Self { authorities, since, found }
    }

    pub(super) fn holds(&self, authority: &Cert) -> bool {
        self.authorities.iter().any(|one| one.der == authority.der)
    }

    /// Who made a certificate.
    pub(super) fn issuer_of(&self, cert: &Cert) -> Option<&Cert> {
        self.authorities.iter().find(|authority| cert.is_signed_by(authority))
    }

    /// When all pods will have read that this authority is to be trusted, if they were told already.
    pub(super) fn settles(&self, authority: &Cert, wanted: &Wanted) -> Option<Seconds> {
        let told = self.found && self.holds(authority);
        told.then(|| self.since.map_or(Seconds::MIN, |since| since + wanted.rotation.propagation()))
    }

    /// What pods are to be shown from now on.
    pub(super) fn next(self, authority: &Authority, leaves: &[Leaf], context: &mut Context<'_>) -> Self {
        let (now, name) = (context.now, context.wanted.bundle.clone());
        let lingering = now < lingers_until(leaves, context.wanted);
        let mut next = Self { authorities: Vec::new(), since: self.since, found: true };
        for old in &self.authorities {
            let current = authority.signers().any(|signer| signer.der == old.der);
            if current || lingering || leaves.iter().any(|leaf| leaf.pair.cert.is_signed_by(old)) {
                next.authorities.push(old.clone());
            } else {
                context.note(&name, Reason::Removed(old.subject.clone()));
            }
        }
        let mut added = false;
        for signer in authority.signers().filter(|signer| !self.holds(signer)) {
            if self.found {
                context.note(&name, Reason::Added(signer.subject.clone()));
            }
            next.authorities.push(signer.clone());
            added = true;
        }
        // Whoever runs already may have read another bundle; at the first start nobody does.
        let others = self.found || leaves.iter().any(|leaf| !leaf.is_new);
        if (added || !self.found) && others {
            next.since = Some(now);
        }
        let settled = next.since.is_none_or(|since| now >= since + context.wanted.rotation.propagation());
        if settled && next.authorities.len() == 1 {
            next.since = None;
        }
        next
    }

    /// When the next authority can be taken out.
    pub(super) fn due(&self, authority: &Authority, leaves: &[Leaf], wanted: &Wanted) -> Seconds {
        let used = |old: &Cert| {
            authority.signers().any(|signer| signer.der == old.der)
                || leaves.iter().any(|leaf| leaf.pair.cert.is_signed_by(old))
        };
        let lingers = |old: &Cert| {
            let until = lingers_until(leaves, wanted);
            if used(old) { Seconds::MAX } else { until }.min(old.not_after)
        };
        let settled = match self.since {
            Some(since) if self.authorities.len() == 1 => since + wanted.rotation.propagation(),
            _ => Seconds::MAX,
        };
        self.authorities.iter().map(lingers).min().unwrap_or(Seconds::MAX).min(settled)
    }

    pub(super) fn config_map(&self, wanted: &Wanted) -> ConfigMap {
        let mut metadata = objects::meta(wanted, wanted.bundle.clone());
        let since = self.since.map(|since| (SINCE.to_owned(), time(since).to_string()));
        metadata.annotations = since.map(|since| [since].into());
        let text: String = self.authorities.iter().map(Cert::pem).collect();
        let data = Some([(KEY.to_owned(), text)].into());
        ConfigMap { metadata, data, ..ConfigMap::default() }
    }
}

/// Until when pods may still show a certificate that was replaced.
fn lingers_until(leaves: &[Leaf], wanted: &Wanted) -> Seconds {
    let made = leaves.iter().map(|leaf| leaf.pair.cert.not_before).max().unwrap_or(Seconds::MIN);
    made.saturating_add(wanted.rotation.linger())
}

/// Our own authorities that stand behind the certificates that they signed.
fn behind(leaves: &[Option<&Secret>], wanted: &Wanted) -> Vec<Cert> {
    let mut found: Vec<Cert> = Vec::new();
    for secret in leaves.iter().flatten() {
        let Ok(pair) = objects::pair(secret, objects::CERT, objects::KEY) else { continue };
        for link in pair.chain {
            let ours = link.subject.starts_with(&wanted.authority_prefix()) && pair.cert.is_signed_by(&link);
            if ours && !found.contains(&link) {
                found.push(link);
            }
        }
    }
    found
}
