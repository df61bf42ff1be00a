//! Certificates and keys: read from PEM, judged, and made.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use super::Seconds;

/// What is wrong with something that stands in a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A key of the object is not there.
    #[error("{0} is missing")]
    Absent(&'static str),
    /// There is something else.
    #[error("{key}: expected {expected} in PEM")]
    Unreadable {
        /// The key of the object.
        key: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// Certificate and key are of different pairs.
    #[error("{0} is not the key of the certificate beside it")]
    OtherKey(&'static str),
    /// It cannot sign.
    #[error("{0} is not the certificate of an authority")]
    NoAuthority(&'static str),
    /// It cannot be shown by servers and clients alike.
    #[error("{0} is not for servers and clients both")]
    Usage(&'static str),
}

/// A certificate, and what matters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cert {
    pub(super) der: CertificateDer<'static>,
    /// Common names of subject and issuer.
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: Seconds,
    pub(super) not_after: Seconds,
    pub(super) hostnames: BTreeSet<String>,
    pub(super) is_authority: bool,
    pub(super) for_both_sides: bool,
    public_key: Vec<u8>,
}

impl Cert {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        let usage = parsed.extended_key_usage().ok()?;
        let alternatives = parsed.subject_alternative_name().ok()?;
        let hostnames = alternatives.iter().flat_map(|names| &names.value.general_names);
        let hostnames = hostnames.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Some(Self {
            der: der.clone().into_owned(),
            subject: common_name(parsed.subject()),
            issuer: common_name(parsed.issuer()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            hostnames: hostnames.collect(),
            is_authority: parsed.is_ca(),
            for_both_sides: usage.is_some_and(|usage| usage.value.server_auth && usage.value.client_auth),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whether `authority` made it: by name and by signature.
    pub(super) fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, other))) =
            (parse_x509_certificate(&self.der), parse_x509_certificate(&authority.der))
        else {
            return false;
        };
        let named = |own: &X509Certificate<'_>, other: &X509Certificate<'_>| {
            own.issuer().as_raw() == other.subject().as_raw()
        };
        authority.is_authority
            && named(&own, &other)
            && own.verify_signature(Some(other.public_key())).is_ok()
    }

    pub(super) fn pem(&self) -> String {
        pem_of(&self.der)
    }
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let first = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    first.map_or_else(|| name.to_string(), str::to_owned)
}

/// Certificates in PEM; `None` where there is something else among them, or nothing.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<Cert>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let parsed: Option<Vec<Cert>> = found.ok()?.iter().map(Cert::parse).collect();
    parsed.filter(|found| !found.is_empty())
}

fn pem_of(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A certificate and its key, as they stand in a Secret.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) cert: Cert,
    /// Who signed it, where that stands behind it.
    pub(super) chain: Vec<Cert>,
    pub(super) cert_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Pair {
    /// Reads what stands at two keys of a Secret.
    pub(super) fn parse(
        (cert_name, cert_pem): (&'static str, &[u8]),
        (key_name, key_pem): (&'static str, &[u8]),
    ) -> Result<Self, Flaw> {
        let expected = "certificates";
        let mut chain =
            certificates(cert_pem).ok_or(Flaw::Unreadable { key: cert_name, expected })?.into_iter();
        let cert = chain.next().ok_or(Flaw::Unreadable { key: cert_name, expected })?;
        let key = key(key_pem).ok_or(Flaw::Unreadable { key: key_name, expected: "a private key" })?;
        if key.der_bytes() != cert.public_key.as_slice() {
            return Err(Flaw::OtherKey(key_name));
        }
        Ok(Self { cert, chain: chain.collect(), cert_pem: cert_pem.to_vec(), key_pem: key_pem.to_vec() })
    }

    /// An authority that signs itself.
    pub(super) fn authority(
        name: &str,
        (not_before, not_after): (Seconds, Seconds),
        key: &KeyPair,
    ) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        (params.not_before, params.not_after) = (moment(not_before), moment(not_after));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let cert = params.self_signed(key)?;
        Self::made(cert.der(), Vec::new(), key)
    }

    /// A certificate for `hostnames`, signed by this authority and valid no longer than it.
    pub(super) fn sign(
        &self,
        name: &str,
        hostnames: &BTreeSet<String>,
        (not_before, not_after): (Seconds, Seconds),
        key: &KeyPair,
    ) -> Result<Self, rcgen::Error> {
        let own = self::key(&self.key_pem).ok_or(rcgen::Error::CouldNotParseKeyPair)?;
        let issuer = Issuer::from_ca_cert_der(&self.cert.der, own)?;
        let mut params = CertificateParams::new(hostnames.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = named(name);
        params.not_before = moment(not_before);
        params.not_after = moment(not_after.min(self.cert.not_after));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(key, &issuer)?;
        Self::made(cert.der(), vec![self.cert.clone()], key)
    }

    fn made(der: &CertificateDer<'_>, chain: Vec<Cert>, key: &KeyPair) -> Result<Self, rcgen::Error> {
        let cert = Cert::parse(der).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let mut cert_pem = cert.pem();
        for link in &chain {
            cert_pem.push_str(&link.pem());
        }
        Ok(Self { cert, chain, cert_pem: cert_pem.into(), key_pem: key.serialize_pem().into() })
    }
}

/// ECDSA, Ed25519 or RSA, in PKCS #8, SEC 1 or PKCS #1: what Grafana's operator and cert-manager write.
fn key(pem: &[u8]) -> Option<KeyPair> {
    KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn moment(seconds: Seconds) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
