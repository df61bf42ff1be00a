//! What cert-manager is asked for, held against what its `v1` kinds take.

use super::*;
use crate::{
    certificates::Rotation,
    platform::{CertManager, Signer},
};

/// Fields of a Certificate's spec that we use, and of what is below them (cert-manager.io/v1).
const CERTIFICATE: [(&str, &[&str]); 10] = [
    ("commonName", &[]),
    ("dnsNames", &[]),
    ("duration", &[]),
    ("isCA", &[]),
    ("issuerRef", &["group", "kind", "name"]),
    ("privateKey", &["algorithm", "rotationPolicy", "size"]),
    ("renewBefore", &[]),
    ("secretName", &[]),
    ("secretTemplate", &["labels"]),
    ("usages", &[]),
];
const USAGES: [&str; 5] = ["cert sign", "crl sign", "digital signature", "server auth", "client auth"];

fn with(signer: &str) -> Platform {
    let signer: Signer = signer.parse().expect("a signer");
    Platform {
        cert_manager: Some(CertManager { signer, rotation: Rotation::default() }),
        ..platform("-builtInCertManagement")
    }
}

fn of_stack(platform: &Platform, facts: &crate::facts::Facts) -> Vec<(String, Value)> {
    labelled(build(&validate(&resource(""), facts, platform).expect("the stack is sound")))
}

#[test]
fn cert_manager_is_asked_for_the_secrets_that_the_operator_would_make() {
    let all = of_stack(&with("own"), &facts());
    let needed = certificates::needed(&stack("").common.identity, &platform("")).expect("there are some");
    for leaf in &needed.leaves {
        let made = find(&all, &format!("Certificate/{}", leaf.secret));
        assert_eq!(made["spec"]["secretName"], *leaf.secret);
        assert_eq!(made["spec"]["dnsNames"], json!(leaf.hostnames));
        assert_eq!(made["spec"]["issuerRef"]["name"], "tempo-shop-signing-ca");
        assert_eq!(made["spec"]["secretTemplate"]["labels"]["app.kubernetes.io/instance"], "shop");
        assert_eq!(
            (&made["spec"]["duration"], &made["spec"]["renewBefore"]),
            (&json!("2160h0m0s"), &json!("432h0m0s"))
        );
    }
    let authority = find(&all, "Certificate/tempo-shop-signing-ca");
    assert_eq!(authority["spec"]["isCA"], true);
    assert_eq!(authority["spec"]["issuerRef"]["name"], "tempo-shop-self-signed");
    assert_eq!(find(&all, "Issuer/tempo-shop-self-signed")["spec"], json!({"selfSigned": {}}));
    let ca = json!({"ca": {"secretName": "tempo-shop-signing-ca"}});
    assert_eq!(find(&all, "Issuer/tempo-shop-signing-ca")["spec"], ca);
    assert!(all.iter().all(|(label, _)| !label.starts_with("Secret/")), "Secrets are cert-manager's");
}

#[test]
fn what_cert_manager_is_asked_for_has_the_fields_that_it_knows() {
    for (label, object) in of_stack(&with("own"), &facts()) {
        if !label.starts_with("Certificate/") {
            continue;
        }
        assert_eq!(object["apiVersion"], "cert-manager.io/v1");
        for (key, value) in object["spec"].as_object().expect("a spec") {
            let known = CERTIFICATE.iter().find(|(name, _)| name == key);
            let (_, below) = known.unwrap_or_else(|| panic!("{label} {key}"));
            for inner in value.as_object().into_iter().flatten() {
                assert!(below.contains(&inner.0.as_str()), "{label} {key}.{}", inner.0);
            }
        }
        let usages = object["spec"]["usages"].as_array().expect("usages");
        assert!(usages.iter().all(|usage| USAGES.iter().any(|known| usage == known)), "{label}");
        // No longer than 64 characters, or no authority signs it.
        assert!(object["spec"]["commonName"].as_str().is_none_or(|name| name.len() <= 64), "{label}");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u1");
    }
}

#[test]
fn an_issuer_that_is_given_signs_and_none_is_made() {
    let all = of_stack(&with("ClusterIssuer/corp"), &facts());
    assert!(all.iter().all(|(label, _)| !label.starts_with("Issuer/")));
    assert!(all.iter().all(|(label, _)| label != "Certificate/tempo-shop-signing-ca"));
    let leaf = find(&all, "Certificate/tempo-shop-ingester-mtls");
    let signer = json!({"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "corp"});
    assert_eq!(leaf["spec"]["issuerRef"], signer);
    let valid = monolithic("{}", &with("ClusterIssuer/corp")).expect("it is sound");
    find(&labelled(build_monolithic(&valid)), "Certificate/tempo-mono-mtls");
}

#[test]
fn pods_wait_for_the_authorities_until_there_is_one() {
    let bundle =
        |all: &[(String, Value)]| all.iter().any(|(label, _)| label == "ConfigMap/tempo-shop-ca-bundle");
    assert!(!bundle(&of_stack(&with("own"), &facts())));
    let mut facts = facts();
    // "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCngKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
    let secret = json!({"data": {"ca.crt": pem}});
    facts.live.objects.insert((Kind::Secret, "tempo-shop-ingester-mtls".to_owned()), secret);
    let all = of_stack(&with("own"), &facts);
    let made = find(&all, "ConfigMap/tempo-shop-ca-bundle");
    let text = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
    assert_eq!(made["data"]["service-ca.crt"], text);
}

#[test]
fn without_cert_manager_in_the_cluster_the_operator_makes_certificates_and_says_so() {
    let lacking = Platform { lacks_cert_manager: true, ..platform("") };
    let valid = validate(&resource(""), &facts(), &lacking).expect("the stack is sound");
    assert!(valid.common.warnings[0].starts_with("CERT_MANAGER_ISSUER: "), "{:?}", valid.common.warnings);
    assert!(certificates::needed(&valid.common.identity, &lacking).is_some());
}
