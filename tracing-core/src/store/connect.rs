//! The HTTP client below the object store's: TLS as configured, time limits, measured requests, and the one
//! header that the object store's client does not know. IO.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderValue, Method, header::AUTHORIZATION};
use object_store::{
    ClientConfigKey, ClientOptions, Error, Result,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};

use super::{requests::RequestStats, tls::Tls};

/// A connection is made within this.
const CONNECT: Duration = Duration::from_secs(5);
/// A request and its answer, body included.
const REQUEST: Duration = Duration::from_mins(1);
/// Between two pieces of a body.
const PIECE: Duration = Duration::from_secs(20);

const CONTEXT: &str = "x-amz-server-side-encryption-context";
const DIGEST: &str = "x-amz-content-sha256";

/// Makes HTTP clients.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tls: Tls,
    /// Host of the endpoint.
    pub(super) endpoint: String,
    pub(super) stats: Arc<RequestStats>,
    /// What puts are encrypted with besides the key, where that is asked for.
    pub(super) context: Option<Arc<KmsContext>>,
}

/// The encryption context of SSE-KMS: signed, and on requests that create objects alone. S3 refuses it on
/// others, so it cannot be one of the client's default headers.
#[derive(Debug)]
pub(super) struct KmsContext {
    pub(super) header: HeaderValue,
    pub(super) region: String,
    /// Set once the client is built, before the first request.
    pub(super) credentials: OnceLock<AwsCredentialProvider>,
}

impl Connector {
    /// A client that speaks plain HTTP only where `options` allow it, as for metadata servers.
    pub(super) fn client(&self, options: &ClientOptions) -> std::result::Result<reqwest::Client, String> {
        let plain =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        reqwest::Client::builder()
            .user_agent(concat!("vivace/", env!("CARGO_PKG_VERSION")))
            .https_only(!plain)
            .http1_only()
            .connect_timeout(CONNECT)
            .read_timeout(PIECE)
            .timeout(REQUEST)
            .tls_backend_preconfigured(self.tls.client(&self.endpoint)?)
            .build()
            .map_err(|e| format!("the HTTP client: {e}"))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let client = self.client(options).map_err(|e| Error::Generic { store: "HTTP", source: e.into() })?;
        let inner = HttpClient::new(client);
        let (stats, context) = (self.stats.clone(), self.context.clone());
        Ok(HttpClient::new(Measured { inner, stats, context }))
    }
}

#[derive(Debug)]
struct Measured {
    inner: HttpClient,
    stats: Arc<RequestStats>,
    context: Option<Arc<KmsContext>>,
}

#[async_trait]
impl HttpService for Measured {
    async fn call(&self, mut request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        if let Some(context) = &self.context {
            context.add(&mut request).await?;
        }
        let (method, begin) = (request.method().clone(), Instant::now());
        let answer = self.inner.execute(request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        self.stats.note(&method, status, begin.elapsed());
        answer
    }
}

impl KmsContext {
    /// Adds the context to a request that creates an object, and signs that anew.
    async fn add(&self, request: &mut HttpRequest) -> std::result::Result<(), HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let creates = match *request.method() {
            Method::PUT => !has("partNumber"),
            Method::POST => has("uploads"),
            _ => false,
        };
        // Requests for credentials are not signed.
        if !creates || !request.headers().contains_key(AUTHORIZATION) {
            return Ok(());
        }
        let Some(credentials) = self.credentials.get() else { return Ok(()) };
        let failed = |e: Error| HttpError::new(HttpErrorKind::Unknown, e);
        let credential = credentials.get_credential().await.map_err(failed)?;
        let headers = request.headers_mut();
        headers.insert(CONTEXT, self.header.clone());
        headers.remove(AUTHORIZATION);
        // The client has computed it already, and cannot see into the body any more.
        let digest = headers.get(DIGEST).and_then(|value| unhex(value.as_bytes()));
        let signer = AwsAuthorizer::new(&credential, "s3", &self.region);
        signer.try_authorize(request, digest.as_deref()).map_err(failed)
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let nibble = |c: u8| (c as char).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((nibble(*high)? * 16 + nibble(*low)?) as u8),
        _ => None,
    };
    text.chunks(2).map(byte).collect()
}
