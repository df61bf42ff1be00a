use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer};

use super::*;

mod over_time;

/// 2026-11-30T00:00:00Z
const BEGIN: i64 = 1_795_996_800;
const DAY: i64 = 86_400;

const COMPONENTS: [&str; 7] =
    ["distributor", "ingester", "querier", "query-frontend", "compactor", "gateway", "metrics-generator"];

fn wanted() -> Wanted {
    let component = |name: &&str| Component {
        secret: format!("tempo-t1-{name}-mtls"),
        hostnames: [
            "localhost",
            &format!("tempo-t1-{name}.ns.svc"),
            &format!("tempo-t1-{name}.ns.svc.cluster.local"),
        ]
        .map(str::to_owned)
        .into(),
    };
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Wanted {
        authority: "tempo-t1-signing-ca".to_owned(),
        bundle: "tempo-t1-ca-bundle".to_owned(),
        namespace: "ns".to_owned(),
        labels: [("app.kubernetes.io/instance", "t1")].map(label).into(),
        owners: Vec::new(),
        components: COMPONENTS.iter().map(component).collect(),
        rotation: Rotation::default(),
    }
}

fn at(seconds: i64, wanted: &Wanted, existing: &Existing) -> Plan {
    plan(time(seconds), wanted, existing, &mut generate_key).expect("keys can be made")
}

/// The cluster after all of a plan was written.
fn written(plan: &Plan) -> Existing {
    let mut secrets = vec![plan.authority.clone()];
    secrets.extend(plan.certificates.iter().cloned());
    Existing { secrets, config_maps: vec![plan.bundle.clone()] }
}

fn said(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(|change| format!("{}: {}", change.object, change.reason)).collect()
}

fn secret<'a>(existing: &'a mut Existing, name: &str) -> &'a mut Secret {
    let found = existing.secrets.iter_mut().find(|secret| secret.metadata.name.as_deref() == Some(name));
    found.expect("there is one")
}

fn put(secret: &mut Secret, key: &str, value: &[u8]) {
    secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.to_vec()));
}

fn bundle_of(plan: &Plan) -> &str {
    &plan.bundle.data.as_ref().expect("data")["service-ca.crt"]
}

fn count(plan: &Plan) -> usize {
    bundle_of(plan).matches("BEGIN CERTIFICATE").count()
}

#[test]
fn a_new_stack_gets_an_authority_a_bundle_and_seven_certificates_as_grafanas_operator_names_them() {
    let wanted = wanted();
    let plan = at(BEGIN, &wanted, &Existing::default());
    assert_eq!(plan.changes.len(), 9);
    assert!(plan.changes.iter().all(|change| change.reason == Reason::Missing), "{:?}", said(&plan));
    assert_eq!(plan.bundle.metadata.name.as_deref(), Some("tempo-t1-ca-bundle"));
    assert_eq!(plan.bundle.metadata.annotations, None);
    assert_eq!(plan.authority.metadata.name.as_deref(), Some("tempo-t1-signing-ca"));
    let keys: Vec<&String> = plan.authority.data.as_ref().unwrap().keys().collect();
    assert_eq!(keys, ["tls.crt", "tls.key"]);
    let names: Vec<_> = plan.certificates.iter().filter_map(|s| s.metadata.name.clone()).collect();
    assert_eq!(names[3], "tempo-t1-query-frontend-mtls");
    let ingester = &plan.certificates[1];
    assert_eq!(ingester.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(ingester.metadata.labels.as_ref(), Some(&wanted.labels));
    let annotations: Vec<(&str, &str)> = ingester
        .metadata
        .annotations
        .iter()
        .flatten()
        .map(|(key, value)| (key.trim_start_matches("tempo.grafana.com/certificate-"), value.as_str()))
        .collect();
    assert_eq!(
        annotations,
        [
            ("hostnames", "localhost,tempo-t1-ingester.ns.svc,tempo-t1-ingester.ns.svc.cluster.local"),
            ("issuer", "ns_tempo-t1-signing-ca@1795996800"),
            ("not-after", "2027-02-28T00:00:00Z"),
            ("not-before", "2026-11-29T23:55:00Z"),
        ]
    );
    let own = plan.authority.metadata.annotations.as_ref().unwrap();
    assert_eq!(own.len(), 3, "{own:?}");
    assert_eq!(plan.next.to_string(), "2027-02-09T23:55:00Z");
}

#[test]
fn what_is_sound_is_kept_to_the_byte() {
    let wanted = wanted();
    let first = at(BEGIN, &wanted, &Existing::default());
    for days in [0, 1, 71] {
        let again = at(BEGIN + days * DAY, &wanted, &written(&first));
        assert_eq!(said(&again), Vec::<String>::new());
        assert_eq!((&again.authority, &again.bundle), (&first.authority, &first.bundle));
        assert_eq!(again.certificates, first.certificates);
        assert_eq!(again.next, first.next);
    }
}

#[test]
fn a_certificate_is_renewed_after_its_time_and_the_authority_stays() {
    let wanted = wanted();
    let first = at(BEGIN, &wanted, &Existing::default());
    let renewed = plan(first.next, &wanted, &written(&first), &mut generate_key).unwrap();
    assert_eq!(renewed.changes.len(), 7);
    assert_eq!(
        said(&renewed)[0],
        "tempo-t1-distributor-mtls: renewed, the one before expires at 2027-02-28T00:00:00Z"
    );
    assert_eq!((&renewed.authority, &renewed.bundle), (&first.authority, &first.bundle));
}

#[test]
fn a_new_authority_is_shown_to_all_before_it_signs_and_the_old_one_goes_when_it_is_not_needed() {
    let mut wanted = wanted();
    wanted.components.truncate(1);
    let hours = |hours: u64| Some(vivace_config::Duration::from_secs(hours * 3600));
    wanted.rotation = Rotation::new(hours(1000), hours(800), hours(100), hours(80)).unwrap();
    let mut latest = at(BEGIN, &wanted, &Existing::default());
    let mut story = Vec::new();
    for _ in 0..16 {
        let now = latest.next;
        latest = plan(now, &wanted, &written(&latest), &mut generate_key).unwrap();
        let hour = (now.as_second() - BEGIN) as f64 / 3600.0;
        let reasons = latest.changes.iter().map(|change| match &change.reason {
            Reason::Staged(_) => "staged",
            Reason::Promoted => "promoted",
            Reason::Added(_) => "added",
            Reason::Removed(_) => "removed",
            Reason::Due(_) => "renewed",
            _ => "other",
        });
        story.push(format!("{hour:.1}: {} ({})", reasons.collect::<Vec<_>>().join(", "), count(&latest)));
    }
    insta::assert_snapshot!(story.join("\n"), @r"
    79.9: renewed (1)
    159.8: renewed (1)
    239.8: renewed (1)
    319.7: renewed (1)
    399.6: renewed (1)
    479.5: renewed (1)
    559.4: renewed (1)
    639.3: renewed (1)
    719.2: renewed (1)
    799.2: renewed (1)
    799.9: staged, added (2)
    800.0: promoted (2)
    879.1: renewed (2)
    880.0: removed (1)
    959.0: renewed (1)
    1038.9: renewed (1)
    ");
}

#[test]
fn what_cannot_be_used_is_replaced_and_the_reason_says_what_it_was() {
    let wanted = wanted();
    let first = at(BEGIN, &wanted, &Existing::default());
    let (distributor, ingester) = ("tempo-t1-distributor-mtls", "tempo-t1-ingester-mtls");
    let others_key = first.certificates[1].data.as_ref().unwrap()["tls.key"].0.clone();
    let not_after = "2027-02-28T00:00:00Z";
    for (key, value, expected) in [
        ("tls.crt", b"garbage".to_vec(), "replaced: tls.crt: expected certificates in PEM"),
        ("tls.key", b"garbage".to_vec(), "replaced: tls.key: expected a private key in PEM"),
        ("tls.key", others_key, "replaced: tls.key is not the key of the certificate beside it"),
    ] {
        let mut existing = written(&first);
        put(secret(&mut existing, distributor), key, &value);
        let mended = at(BEGIN + DAY, &wanted, &existing);
        assert_eq!(said(&mended), [format!("{distributor}: {expected}")]);
        assert_eq!(mended.bundle, first.bundle);
        assert_eq!(said(&at(BEGIN + DAY, &wanted, &written(&mended))), Vec::<String>::new());
    }
    let mut existing = written(&first);
    secret(&mut existing, ingester).data = None;
    assert_eq!(said(&at(BEGIN, &wanted, &existing)), [format!("{ingester}: replaced: tls.crt is missing")]);

    let mut other = wanted.clone();
    other.components[0].hostnames.insert("traces.example.org".to_owned());
    let renamed = at(BEGIN + DAY, &other, &written(&first));
    let names = "localhost,tempo-t1-distributor.ns.svc,tempo-t1-distributor.ns.svc.cluster.local";
    assert_eq!(said(&renamed), [format!("{distributor}: renewed, the one before was for {names}")]);

    let late = at(BEGIN + 100 * DAY, &wanted, &written(&first));
    assert_eq!(said(&late)[0], format!("{distributor}: replaced, the one before expired at {not_after}"));

    let mut existing = written(&first);
    existing.config_maps[0].data = Some([("service-ca.crt".to_owned(), "garbage".to_owned())].into());
    let mended = at(BEGIN + DAY, &wanted, &existing);
    assert_eq!(said(&mended), ["tempo-t1-ca-bundle: replaced: service-ca.crt: expected certificates in PEM"]);
    assert_eq!(bundle_of(&mended), bundle_of(&first));
}

#[test]
fn an_authority_that_was_lost_is_trusted_on_until_nothing_of_its_is_around() {
    let wanted = wanted();
    let first = at(BEGIN, &wanted, &Existing::default());
    let mut existing = written(&first);
    existing.secrets.remove(0);
    let second = at(BEGIN + DAY, &wanted, &existing);
    assert_eq!(
        said(&second),
        [
            "tempo-t1-signing-ca: created".to_owned(),
            format!("tempo-t1-ca-bundle: authority ns_tempo-t1-signing-ca@{} added", BEGIN + DAY),
        ]
    );
    assert_eq!((count(&second), &second.certificates), (2, &first.certificates));
    let due = at(first.next.as_second(), &wanted, &written(&second));
    assert_eq!((due.changes.len(), count(&due)), (7, 2));
    let settled = plan(due.next, &wanted, &written(&due), &mut generate_key).unwrap();
    assert_eq!(
        said(&settled),
        [format!("tempo-t1-ca-bundle: authority ns_tempo-t1-signing-ca@{BEGIN} removed")]
    );
}

/// Grafana's operator makes RSA keys, in PKCS #1.
fn peers(
    name: &str,
    issuer: Option<&(CertificateParams, KeyPair)>,
) -> (CertificateParams, KeyPair, String, String) {
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    // PKCS #8 of a key of 2048 bits is 26 bytes before that of PKCS #1.
    let pkcs1 = STANDARD.encode(&key.serialized_der()[26..]);
    let key_pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{pkcs1}\n-----END RSA PRIVATE KEY-----\n");
    let hostnames = wanted().components[0].hostnames.iter().cloned().collect::<Vec<_>>();
    let mut params = CertificateParams::new(if issuer.is_some() { hostnames } else { Vec::new() }).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = ::time::OffsetDateTime::from_unix_timestamp(BEGIN).unwrap();
    params.not_after = ::time::OffsetDateTime::from_unix_timestamp(BEGIN + 90 * DAY).unwrap();
    let pem = match issuer {
        None => {
            params.not_after = ::time::OffsetDateTime::from_unix_timestamp(BEGIN + 1826 * DAY).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap().pem()
        }
        Some((of, with)) => {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
            params.signed_by(&key, &Issuer::from_params(of, with)).unwrap().pem()
        }
    };
    (params, key, pem, key_pem)
}

#[test]
fn what_grafanas_operator_left_is_adopted_rsa_keys_included() {
    let mut wanted = wanted();
    wanted.components.truncate(1);
    let (params, key, ca, ca_key) = peers("ns_tempo-t1-signing-ca@1795996800", None);
    let (_, _, cert, cert_key) = peers("distributor", Some(&(params, key)));
    let made = |name: &str, cert: &str, key: &str| {
        let mut secret = Secret { type_: Some("kubernetes.io/tls".to_owned()), ..Secret::default() };
        secret.metadata.name = Some(name.to_owned());
        put(&mut secret, "tls.crt", cert.as_bytes());
        put(&mut secret, "tls.key", key.as_bytes());
        secret
    };
    let mut bundle =
        ConfigMap { data: Some([("service-ca.crt".to_owned(), ca.clone())].into()), ..ConfigMap::default() };
    bundle.metadata.name = Some("tempo-t1-ca-bundle".to_owned());
    let secrets =
        vec![made("tempo-t1-signing-ca", &ca, &ca_key), made("tempo-t1-distributor-mtls", &cert, &cert_key)];
    let existing = Existing { secrets: secrets.clone(), config_maps: vec![bundle] };
    let adopted = at(BEGIN + DAY, &wanted, &existing);
    assert_eq!(said(&adopted), Vec::<String>::new());
    assert_eq!(adopted.authority.data, secrets[0].data);
    assert_eq!(adopted.certificates[0].data, secrets[1].data);
    assert_eq!(bundle_of(&adopted).replace("\r\n", "\n"), ca.replace("\r\n", "\n"));

    // The authority with its RSA key signs what is due next.
    let renewed = plan(adopted.next, &wanted, &written(&adopted), &mut generate_key).unwrap();
    assert_eq!(said(&renewed).len(), 1, "{:?}", said(&renewed));
    over_time::assert_trusted(
        &renewed.certificates[0],
        &renewed.bundle,
        &wanted.components[0],
        adopted.next.as_second(),
    );
}

#[test]
fn times_that_do_not_fit_together_are_refused_by_name() {
    let hours = |hours: u64| Some(vivace_config::Duration::from_secs(hours * 3600));
    let said = |ca: u64, cert: u64| {
        Rotation::new(hours(ca), hours(ca), hours(cert), hours(1)).unwrap_err().to_string()
    };
    assert_eq!(said(5, 2), "caRefresh: expected less than caValidity, which is 5h0m0s, found 5h0m0s");
    let variable = |name: &str| name.ends_with("CERT_REFRESH").then(|| "soon".to_owned());
    assert_eq!(
        Rotation::of_environment(variable).unwrap_err().to_string(),
        "BUILT_IN_CERT_MANAGEMENT_CERT_REFRESH: expected a duration such as 30s or 1h30m, found `soon`"
    );
    assert_eq!(Rotation::of_environment(|_| None), Ok(Rotation::default()));
    let short = vivace_config::Duration::from_secs(5);
    let said = Rotation::new(None, None, Some(short), None).unwrap_err().to_string();
    assert_eq!(said, "certValidity: expected at least 10s, found 5s");
    // The peer's environment for tests of rotation.
    let minutes = |minutes: u64| Some(vivace_config::Duration::from_secs(minutes * 60));
    let rotation = Rotation::new(None, None, minutes(6), minutes(2)).unwrap();
    assert_eq!(rotation.propagation(), 60);
    assert_eq!(Rotation::default().propagation(), 300);
}
