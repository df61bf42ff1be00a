//! Google Cloud Storage.

use std::{env, fs, sync::Arc};

use object_store::{
    Attribute, ObjectStore, StaticCredentialProvider,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};

use super::{Access, Labels, checked, client, host};
use crate::store::{
    StoreError, connect::Connector, federation::Federation, label::labelled, requests::RequestStats, tls::Tls,
};

/// A bucket and how to reach it. Credentials are what `GOOGLE_APPLICATION_CREDENTIALS` names (a service account's
/// key, a user's, or a federation with another issuer of tokens), else those of the machine or the workload.
#[derive(Clone, Debug, Default)]
pub struct GcsOptions {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with; empty for none.
    pub prefix: String,
    /// URL of another server, with or without the path of the JSON API; Google's where empty.
    pub endpoint: String,
    /// Send no credentials, and trust any certificate.
    pub insecure: bool,
    /// `Cache-Control` of every object; none where empty.
    pub cache_control: String,
    /// Custom metadata of every object.
    pub metadata: Vec<(String, String)>,
}

const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

impl GcsOptions {
    pub(super) fn open(
        &self,
        access: &Access,
        stats: Arc<RequestStats>,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let url = self.url();
        let tls = Tls { insecure_skip_verify: self.insecure, ..Tls::default() };
        let connector = Connector { tls, endpoint: host(&url).to_owned(), stats, context: None };
        checked(&connector, "gcs")?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket)
            .with_retry(access.retry())
            .with_client_options(client(url.starts_with("http://")))
            .with_http_connector(connector.clone());
        if !url.is_empty() {
            builder = builder.with_base_url(&url);
        }
        if self.insecure {
            let nobody = GcpCredential { bearer: String::new() };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
        } else if let Some(path) = env::var(CREDENTIALS).ok().filter(|path| !path.is_empty()) {
            let json = fs::read(&path)
                .map_err(|e| StoreError::Options(format!("gcs: {CREDENTIALS}={path}: {e}")))?;
            builder = match Federation::from_json(&json, &connector) {
                Ok(Some(federation)) => builder.with_credentials(Arc::new(federation)),
                Ok(None) => builder.with_application_credentials(path),
                Err(e) => return Err(StoreError::Options(format!("gcs: {CREDENTIALS}={path}: {e}"))),
            };
        }
        let store = builder.build().map_err(|e| StoreError::Options(format!("gcs: {e}")))?;
        let mut labels = Labels::new(&[], &self.metadata);
        labels.set(Attribute::CacheControl, &self.cache_control);
        Ok(labelled(store, labels))
    }

    /// Objects stand directly below this; empty for Google's own.
    fn url(&self) -> String {
        let endpoint = self.endpoint.trim_end_matches('/');
        // Tempo speaks the JSON API and names its path.
        let endpoint = endpoint.strip_suffix("/storage/v1").unwrap_or(endpoint);
        match endpoint {
            "" | "https://storage.googleapis.com" | "https://www.googleapis.com" => String::new(),
            endpoint if endpoint.contains("://") => endpoint.to_owned(),
            endpoint if self.insecure => format!("http://{endpoint}"),
            endpoint => format!("https://{endpoint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_the_json_api_is_one_of_objects() {
        let url = |endpoint: &str, insecure| {
            GcsOptions { endpoint: endpoint.to_owned(), insecure, ..GcsOptions::default() }.url()
        };
        assert_eq!(url("https://storage.googleapis.com/storage/v1/", false), "");
        assert_eq!(url("http://127.0.0.1:4443/storage/v1/", true), "http://127.0.0.1:4443");
        assert_eq!(url("gcs.example", false), "https://gcs.example");
        assert_eq!(url("gcs:4443", true), "http://gcs:4443");
    }
}
