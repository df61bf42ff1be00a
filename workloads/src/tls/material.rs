//! From files to configurations of rustls. IO: reads files.

use std::{io::Read as _, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};

use tracing_core::store::Anyone;

use super::{
    settings::{ClientAuth, ClientSettings, Place, ServerSettings, Source, Trust},
    verify::Unverified,
};

/// Longest file that is read, bytes: a bundle of authorities of the whole world is a third of it.
const MAX_FILE: u64 = 1 << 20;

/// What is spoken within TLS; gRPC's clients insist on it.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A file that cannot be used, with the key of the configuration that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct LoadError {
    place: String,
    message: String,
}

impl LoadError {
    fn new(place: &Place, message: impl std::fmt::Display) -> Self {
        Self { place: format!("{place:?}"), message: message.to_string() }
    }
}

/// A configuration, and until when its certificate is valid: seconds since 1970.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    pub(super) config: Arc<T>,
    pub(super) not_after: Option<i64>,
}

/// A listener's configuration, from its files.
pub(super) fn server(settings: &ServerSettings) -> Result<Loaded<ServerConfig>, LoadError> {
    let provider = &settings.protocol.provider;
    let (identity, not_after) = identity(&settings.cert, &settings.key, provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&settings.protocol.versions)
        .map_err(|error| LoadError::new(&settings.cert, error))?;
    let verified = |ca: &Place| {
        let roots = Arc::new(authorities(ca)?);
        Ok::<_, LoadError>(WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)))
    };
    let builder = match &settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Request => builder.with_client_cert_verifier(Unverified::welcome(Arc::clone(provider))),
        ClientAuth::Any => builder.with_client_cert_verifier(Unverified::required(Arc::clone(provider))),
        ClientAuth::Given(ca) => {
            let verifier = verified(ca)?.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| LoadError::new(ca, error))?)
        }
        ClientAuth::Verified(ca) => {
            let verifier = verified(ca)?.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| LoadError::new(ca, error))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = HTTP.map(<[u8]>::to_vec).to_vec();
    Ok(Loaded { config: Arc::new(config), not_after: Some(not_after) })
}

/// A client's configuration, from its files.
pub(super) fn client(settings: &ClientSettings) -> Result<Loaded<ClientConfig>, LoadError> {
    let provider = &settings.protocol.provider;
    let nowhere = Place { key: settings.name.clone(), source: Source::Inline(String::new()) };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&settings.protocol.versions)
        .map_err(|error| LoadError::new(&nowhere, error))?
        .dangerous();
    let builder = match &settings.trust {
        Trust::Everyone => builder.with_custom_certificate_verifier(Arc::new(Anyone(Arc::clone(provider)))),
        Trust::System => {
            let system = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
            let system = system.map_err(|error| LoadError::new(&nowhere, error))?;
            builder.with_custom_certificate_verifier(Arc::new(system))
        }
        Trust::Authorities(ca) => {
            let roots = Arc::new(authorities(ca)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            builder.with_custom_certificate_verifier(verifier.map_err(|error| LoadError::new(ca, error))?)
        }
    };
    let (mut config, not_after) = match &settings.identity {
        None => (builder.with_no_client_auth(), None),
        Some((cert, key)) => {
            let (identity, not_after) = identity(cert, key, provider)?;
            (builder.with_client_cert_resolver(Arc::new(identity)), Some(not_after))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Loaded { config: Arc::new(config), not_after })
}

fn read(place: &Place) -> Result<Vec<u8>, LoadError> {
    let path = match &place.source {
        Source::Inline(text) => return Ok(text.clone().into_bytes()),
        Source::File(path) => path,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| LoadError::new(place, error))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| LoadError::new(place, error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(LoadError::new(place, format!("expected at most {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

fn certificates(place: &Place) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read(place)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(LoadError::new(place, "expected certificates in PEM, found none"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(LoadError::new(place, format!("expected certificates in PEM: {error}"))),
    }
}

/// Certificates that cannot be an authority are passed over, as long as one can: bundles hold odd ones.
fn authorities(place: &Place) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates(place)?);
    if added == 0 {
        let message = format!("expected authorities, found {ignored} certificates that cannot be read");
        return Err(LoadError::new(place, message));
    }
    Ok(roots)
}

fn identity(
    cert: &Place,
    key: &Place,
    provider: &CryptoProvider,
) -> Result<(SingleCertAndKey, i64), LoadError> {
    let chain = certificates(cert)?;
    let not_after = chain.first().map(|first| not_after(first)).transpose();
    let not_after = not_after.map_err(|message| LoadError::new(cert, message))?.unwrap_or_default();
    let der = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| LoadError::new(key, format!("expected a private key in PEM: {error}")))?;
    let signing = provider.key_provider.load_private_key(der);
    let signing = signing.map_err(|error| LoadError::new(key, format!("expected a private key: {error}")))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| {
        LoadError::new(key, format!("expected the key of the certificate in {cert:?}: {error}"))
    })?;
    Ok((SingleCertAndKey::from(certified), not_after))
}

fn not_after(cert: &CertificateDer<'_>) -> Result<i64, String> {
    match x509_parser::parse_x509_certificate(cert) {
        Ok((_, parsed)) => Ok(parsed.validity().not_after.timestamp()),
        Err(error) => Err(format!("expected a certificate: {error}")),
    }
}
