//! Certificates for tests: an authority, what it signs, and files that Kubernetes would mount.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `names`, and for loopback.
    pub(crate) fn sign(&self, names: &[&str]) -> Signed {
        let mut all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        all.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(all).expect("the names are sound");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A directory of certificates that processes read.
pub(crate) struct Mount {
    pub(crate) dir: tempfile::TempDir,
}

impl Mount {
    pub(crate) fn new(signed: &Signed, bundle: &str) -> Self {
        let mount = Self { dir: tempfile::tempdir().expect("a directory") };
        mount.write("tls.crt", &signed.cert);
        mount.write("tls.key", &signed.key);
        mount.write("ca.crt", bundle);
        mount
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Exchanges one file whole.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let beside = self.path(&format!("{file}.new"));
        std::fs::write(&beside, text).expect("the file can be written");
        std::fs::rename(beside, self.path(file)).expect("the file can be moved");
    }

    fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Keys of a listener that asks for certificates, in Tempo's notation or the collector's.
    pub(crate) fn listener(&self) -> String {
        let (cert, key, ca) = (self.text("tls.crt"), self.text("tls.key"), self.text("ca.crt"));
        format!("cert_file: {cert}, key_file: {key}, client_ca_file: {ca}")
    }

    /// Keys of a client, or of gossip.
    pub(crate) fn client(&self, server_name: &str) -> String {
        let (cert, key, ca) = (self.text("tls.crt"), self.text("tls.key"), self.text("ca.crt"));
        format!(
            "tls_enabled: true, tls_cert_path: {cert}, tls_key_path: {key}, tls_ca_path: {ca}, \
             tls_server_name: {server_name}"
        )
    }
}

/// Swaps the directory that a link points at, as a kubelet does.
pub(crate) fn point(link: &Path, at: &Path) {
    let beside = link.with_extension("new");
    std::os::unix::fs::symlink(at, &beside).expect("a link");
    std::fs::rename(beside, link).expect("the link can be exchanged");
}
