//! How a server's certificate is checked, and which one we show.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

/// TLS to the object store. The default trusts what the system trusts.
#[derive(Clone, Default)]
pub struct Tls {
    /// PEM certificates to trust besides the system's; empty for none.
    pub ca_pem: Vec<u8>,
    /// PEM certificates to show; empty for none.
    pub cert_pem: Vec<u8>,
    /// PEM key of the first of them.
    pub key_pem: Vec<u8>,
    /// The name that the server's certificate must have, instead of the endpoint's.
    pub server_name: String,
    /// Trust any certificate.
    pub insecure_skip_verify: bool,
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca_pem, cert_pem, key_pem: _, server_name, insecure_skip_verify, only_tls13 } = self;
        f.debug_struct("Tls")
            .field("ca_pem", &ca_pem.len())
            .field("cert_pem", &cert_pem.len())
            .field("server_name", server_name)
            .field("insecure_skip_verify", insecure_skip_verify)
            .field("only_tls13", only_tls13)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// The client's side of TLS; [`Tls::server_name`] holds for `endpoint` alone, since keys come from
    /// elsewhere.
    pub(super) fn client(&self, endpoint: &str) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] =
            if self.only_tls13 { &[&rustls::version::TLS13] } else { rustls::DEFAULT_VERSIONS };
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
        let builder = builder.map_err(|e| format!("tls_min_version: {e}"))?.dangerous();
        let builder = builder.with_custom_certificate_verifier(self.verifier(endpoint, provider)?);
        if self.cert_pem.is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let chain = certificates("tls_cert_path", &self.cert_pem)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem);
        let key = key.map_err(|e| format!("tls_key_path: expected a private key in PEM: {e}"))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| format!("tls_cert_path, tls_key_path: expected a certificate and its key: {e}"))
    }

    fn verifier(
        &self,
        endpoint: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, String> {
        if self.insecure_skip_verify {
            return Ok(Arc::new(Anyone(provider)));
        }
        let roots = match self.ca_pem.as_slice() {
            [] => Vec::new(),
            pem => certificates("tls_ca_path", pem)?,
        };
        let platform = Verifier::new_with_extra_roots(roots, provider)
            .map_err(|e| format!("tls_ca_path: the certificates to trust: {e}"))?;
        if self.server_name.is_empty() {
            return Ok(Arc::new(platform));
        }
        let name = ServerName::try_from(self.server_name.clone())
            .map_err(|e| format!("tls_server_name: expected a host name: {e}"))?;
        Ok(Arc::new(Named { platform, endpoint: endpoint.to_ascii_lowercase(), name }))
    }
}

fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{key}: expected certificates in PEM, found none")),
        Err(e) => Err(format!("{key}: expected certificates in PEM: {e}")),
    }
}

/// Checks the endpoint's certificate under another name.
#[derive(Debug)]
struct Named {
    platform: Verifier,
    endpoint: String,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let asked = server_name.to_str();
        // A bucket may stand in front of the endpoint's name.
        let ours = asked == self.endpoint.as_str() || asked.ends_with(&format!(".{}", self.endpoint));
        let name = if ours { &self.name } else { server_name };
        self.platform.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

/// Trusts whoever answers; asked for by `tls_insecure_skip_verify`, of an object store and between roles.
#[derive(Debug)]
pub struct Anyone(pub Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
