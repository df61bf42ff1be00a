//! Credentials of Google for a workload that another issuer vouches for: the `external_account` kind of key
//! file, whose token from a file or a URL is exchanged for one of Google's. IO.
//!
//! Format and steps: RFC 8693 and Google's documentation of workload identity federation.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderMap, Method, header};
use object_store::{ClientOptions, CredentialProvider, Error, gcp::GcpCredential};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::connect::Connector;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A token is renewed so long before it ends.
const MARGIN: Duration = Duration::from_mins(4);

/// Answers are small; what is longer is none.
const MAX_ANSWER: usize = 1 << 20;

/// What a key file of kind `external_account` says, and the token that it last came to.
pub(super) struct Federation {
    account: Account,
    client: reqwest::Client,
    current: Mutex<Option<(Arc<GcpCredential>, Instant)>>,
}

#[derive(Deserialize)]
struct Account {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: Source,
}

#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: jiff::Timestamp,
}

#[derive(Serialize)]
struct Impersonate {
    scope: [&'static str; 1],
    lifetime: &'static str,
}

impl Federation {
    /// Reads a key file; `None` for one of another kind.
    pub(super) fn from_json(json: &[u8], connector: &Connector) -> Result<Option<Self>, String> {
        let kind: Kind = serde_json::from_slice(json).map_err(|e| format!("expected a key file: {e}"))?;
        if kind.r#type != "external_account" {
            return Ok(None);
        }
        let account: Account = serde_json::from_slice(json).map_err(|e| format!("external_account: {e}"))?;
        let Source { file, url, format, .. } = &account.credential_source;
        if file.is_some() == url.is_some() {
            return Err("credential_source: expected file or url; other sources are not served".to_owned());
        }
        let named = |f: &Format| f.r#type == "text" || f.subject_token_field_name.is_some();
        if !format.as_ref().is_none_or(named) {
            return Err(
                "credential_source.format: expected type text, or subject_token_field_name".to_owned()
            );
        }
        let plain = ClientOptions::new().with_allow_http(true);
        let client = connector.client(&plain)?;
        Ok(Some(Self { account, client, current: Mutex::default() }))
    }

    async fn renew(&self) -> Result<(Arc<GcpCredential>, Instant), String> {
        let subject = self.subject().await.map_err(|e| format!("credential_source: {e}"))?;
        let Account { audience, subject_token_type, token_url, .. } = &self.account;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", audience),
            ("scope", SCOPE),
            ("subject_token_type", subject_token_type),
            ("subject_token", &subject),
        ];
        let body = Url::parse_with_params("http://form", form).map_err(|e| e.to_string())?;
        let mut headers = HeaderMap::new();
        let kind = "application/x-www-form-urlencoded";
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        let body = body.query().unwrap_or_default().to_owned().into_bytes();
        let answer =
            self.ask(Method::POST, token_url, headers, body).await.map_err(|e| format!("token_url: {e}"))?;
        let token: Exchanged = serde_json::from_slice(&answer).map_err(|e| format!("token_url: {e}"))?;
        let seconds = token.expires_in.unwrap_or(3600).min(86_400);
        match &self.account.service_account_impersonation_url {
            None => Ok(current(token.access_token, Duration::from_secs(seconds))),
            Some(url) => self
                .impersonate(url, &token.access_token)
                .await
                .map_err(|e| format!("service_account_impersonation_url: {e}")),
        }
    }

    async fn impersonate(&self, url: &str, token: &str) -> Result<(Arc<GcpCredential>, Instant), String> {
        let mut headers = HeaderMap::new();
        let mut bearer: header::HeaderValue = format!("Bearer {token}").parse().map_err(odd_token)?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(&Impersonate { scope: [SCOPE], lifetime: "3600s" });
        let answer = self.ask(Method::POST, url, headers, body.map_err(|e| e.to_string())?).await?;
        let token: Impersonated = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        let left = token.expire_time.duration_since(jiff::Timestamp::now());
        Ok(current(token.access_token, Duration::try_from(left).unwrap_or_default()))
    }

    /// The other issuer's token. Read each time: it is renewed where it lies.
    async fn subject(&self) -> Result<String, String> {
        let Source { file, url, headers, format } = &self.account.credential_source;
        let raw = match (file, url) {
            (Some(file), _) => tokio::fs::read(file).await.map_err(|e| format!("{}: {e}", file.display()))?,
            (None, Some(url)) => {
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    let name: header::HeaderName = name.parse().map_err(|e| format!("headers: {e}"))?;
                    map.insert(name, value.parse().map_err(|e| format!("headers: {e}"))?);
                }
                self.ask(Method::GET, url, map, Vec::new()).await?
            }
            (None, None) => return Err("expected file or url".to_owned()),
        };
        let field =
            format.as_ref().filter(|f| f.r#type == "json").and_then(|f| f.subject_token_field_name.as_ref());
        let Some(field) = field else {
            let text = String::from_utf8(raw).map_err(|_| "expected a token in text".to_owned())?;
            return Ok(text.trim().to_owned());
        };
        let json: serde_json::Value = serde_json::from_slice(&raw).map_err(|e| e.to_string())?;
        let token = json.get(field).and_then(|token| token.as_str());
        token.map(str::to_owned).ok_or_else(|| format!("expected a field {field} with the token"))
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let sent = self.client.request(method, url).headers(headers).body(body).send().await;
        let mut answer = sent.map_err(|e| e.to_string())?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| e.to_string())? {
            if bytes.len() + piece.len() > MAX_ANSWER {
                return Err(format!("expected an answer of at most {MAX_ANSWER} bytes"));
            }
            bytes.extend_from_slice(&piece);
        }
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&bytes).chars().take(300).collect();
            return Err(format!("HTTP {status}: {said}"));
        }
        Ok(bytes)
    }
}

fn current(bearer: String, lives: Duration) -> (Arc<GcpCredential>, Instant) {
    (Arc::new(GcpCredential { bearer }), Instant::now() + lives.saturating_sub(MARGIN))
}

fn odd_token(_: header::InvalidHeaderValue) -> String {
    "expected a token of printable characters".to_owned()
}

#[async_trait]
impl CredentialProvider for Federation {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let mut current = self.current.lock().await;
        if let Some((credential, until)) = current.as_ref()
            && Instant::now() < *until
        {
            return Ok(credential.clone());
        }
        let renewed = self.renew().await.map_err(|e| Error::Generic { store: "GCS", source: e.into() })?;
        Ok(current.insert(renewed).0.clone())
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation").field("audience", &self.account.audience).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::store::tls::Tls;

    /// A server of one connection after the other that answers each request with the next body.
    async fn server(answers: Vec<String>) -> (String, Arc<StdMutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, asked) =
            (format!("http://{}", listener.local_addr().unwrap()), Arc::new(StdMutex::default()));
        let noted: Arc<StdMutex<Vec<String>>> = Arc::clone(&asked);
        tokio::spawn(async move {
            for body in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.contains("\r\n\r\n") || !complete(&request) {
                    let mut piece = [0; 4096];
                    let n = socket.read(&mut piece).await.unwrap();
                    request.push_str(std::str::from_utf8(&piece[..n]).unwrap());
                }
                noted.lock().unwrap().push(request);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, asked)
    }

    fn complete(request: &str) -> bool {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
        body.len() >= length.unwrap_or(0)
    }

    fn connector() -> Connector {
        Connector { tls: Tls::default(), endpoint: String::new(), stats: Arc::default(), context: None }
    }

    #[tokio::test]
    async fn a_token_of_the_cluster_is_exchanged_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "cluster.token\n").unwrap();
        let exchange = r#"{"access_token":"exchanged","expires_in":3600,"token_type":"Bearer"}"#.to_owned();
        let hour = jiff::Timestamp::now() + Duration::from_hours(1);
        let final_token = format!(r#"{{"accessToken":"final","expireTime":"{hour}"}}"#);
        let (url, asked) = server(vec![exchange, final_token]).await;
        let json = format!(
            r#"{{"type":"external_account","audience":"//iam/pool & more","subject_token_type":"jwt",
                "token_url":"{url}/token","service_account_impersonation_url":"{url}/account",
                "credential_source":{{"file":"{}","format":{{"type":"text"}}}}}}"#,
            token.display()
        );
        let federation = Federation::from_json(json.as_bytes(), &connector()).unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(federation.get_credential().await.unwrap().bearer, "final");
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        assert!(asked[0].contains("subject_token=cluster.token"), "{}", asked[0]);
        assert!(asked[0].contains("audience=%2F%2Fiam%2Fpool+%26+more"), "{}", asked[0]);
        assert!(asked[1].to_ascii_lowercase().contains("authorization: bearer exchanged"), "{}", asked[1]);
    }

    #[test]
    fn a_key_file_of_another_kind_is_left_to_the_client_and_a_broken_one_is_named() {
        assert!(Federation::from_json(br#"{"type":"service_account"}"#, &connector()).unwrap().is_none());
        let error = |json: &[u8]| Federation::from_json(json, &connector()).unwrap_err();
        assert!(error(b"{").starts_with("expected a key file"));
        let aws = br#"{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"u","credential_source":{"environment_id":"aws1"}}"#;
        assert!(error(aws).starts_with("credential_source: expected file or url"));
    }
}
