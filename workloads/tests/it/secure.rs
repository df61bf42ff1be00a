//! A client that speaks HTTP/1.1 over TLS, one connection a request, and says what it saw.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::authority::Signed;

/// Trusts some authorities, and shows a certificate or none.
#[derive(Clone)]
pub(crate) struct Caller(TlsConnector);

/// An answer, and the certificate of who gave it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) code: u16,
    pub(crate) body: String,
    pub(crate) certificate: Vec<u8>,
}

impl Caller {
    pub(crate) fn new(bundle: &str, identity: Option<&Signed>) -> Self {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(cert.expect("a certificate")).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(signed) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(signed.cert.as_bytes()).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they fit together")
            }
        };
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn get(&self, to: SocketAddr, path: &str) -> io::Result<Seen> {
        self.ask(
            to,
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await
    }

    /// `POST /v1/traces`
    pub(crate) async fn export(&self, to: SocketAddr, body: &[u8]) -> io::Result<Seen> {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
             application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.ask(to, &[head.as_bytes(), body].concat()).await
    }

    async fn ask(&self, to: SocketAddr, request: &[u8]) -> io::Result<Seen> {
        let asked = async {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = self.0.connect(name, TcpStream::connect(to).await?).await?;
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = certificates.first().map(|first| first.to_vec()).unwrap_or_default();
            stream.write_all(request).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(seen(&answer, certificate))
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await?
    }
}

fn seen(answer: &[u8], certificate: Vec<u8>) -> Seen {
    let text = String::from_utf8_lossy(answer);
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Seen { code, body, certificate }
}
