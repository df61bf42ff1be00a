//! Which authorities pods trust, where cert-manager makes the certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    build::certificates::{BUNDLE_KEY, needed},
    facts::Facts,
    kind::Kind,
    names::Identity,
    platform::Platform,
};

/// Authorities that are kept at the most. One that is no longer needed leaves when so many newer ones have come.
const KEPT: usize = 8;
const END: &str = "-----END CERTIFICATE-----";

/// PEM of the authorities, the newest first: those that stand behind the certificates there are, and before them in the bundle. `None`
/// while there is none, and where the operator keeps the bundle by itself.
pub(super) fn trusted(identity: &Identity, facts: &Facts, platform: &Platform) -> Option<String> {
    platform.cert_manager.as_ref()?;
    let wanted = needed(identity, platform)?;
    let object = |kind: Kind, name: &str| facts.live.objects.get(&(kind, name.to_owned()));
    let secrets = std::iter::once(wanted.authority.as_str())
        .chain(wanted.leaves.iter().map(|leaf| leaf.secret.as_str()))
        .filter_map(|name| object(Kind::Secret, name));
    let mut all: Vec<String> = Vec::new();
    let behind = secrets.filter_map(|secret| decoded(&secret["data"]["ca.crt"]));
    let before = object(Kind::ConfigMap, &wanted.bundle).and_then(|map| map["data"][BUNDLE_KEY].as_str());
    for text in behind.chain(before.map(str::to_owned)) {
        for one in certificates(&text) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all.truncate(KEPT);
    (!all.is_empty()).then(|| all.concat())
}

fn decoded(data: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(data.as_str()?).ok()?).ok()
}

/// Each certificate of a text, without what stands between them.
fn certificates(text: &str) -> Vec<String> {
    let one = |part: &str| {
        let begin = part.find("-----BEGIN CERTIFICATE-----")?;
        Some(format!("{}\n", &part[begin..]))
    };
    text.split_inclusive(END).filter(|part| part.ends_with(END)).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        certificates::Rotation,
        fixture,
        platform::{CertManager, Signer},
    };

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n{END}\n")
    }

    #[test]
    fn the_authorities_behind_the_certificates_come_first_and_those_before_stay() {
        let identity = Identity::from(&fixture::resource(""));
        let mut platform = fixture::platform("");
        let mut facts = fixture::facts();
        let mut secret = |name: &str, ca: &str| {
            let data = json!({"data": {"ca.crt": STANDARD.encode(format!("# x\n{ca}"))}});
            facts.live.objects.insert((Kind::Secret, name.to_owned()), data);
        };
        secret("tempo-shop-signing-ca", &pem("new"));
        secret("tempo-shop-ingester-mtls", &pem("old"));
        secret("tempo-shop-other", &pem("theirs"));
        assert_eq!(trusted(&identity, &facts, &platform), None);
        platform.cert_manager = Some(CertManager { signer: Signer::Own, rotation: Rotation::default() });
        let both = format!("{}{}", pem("new"), pem("old"));
        assert_eq!(trusted(&identity, &facts, &platform), Some(both.clone()));
        let bundle = json!({"data": {"service-ca.crt": format!("{}{}", pem("old"), pem("older"))}});
        facts.live.objects.insert((Kind::ConfigMap, "tempo-shop-ca-bundle".to_owned()), bundle);
        assert_eq!(trusted(&identity, &facts, &platform), Some(format!("{both}{}", pem("older"))));
        facts.live.objects.clear();
        assert_eq!(trusted(&identity, &facts, &platform), None);
    }
}
