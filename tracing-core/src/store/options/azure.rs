//! Azure Blob Storage.

use std::{env, fmt, sync::Arc};

use object_store::{
    ObjectStore,
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
};

use super::{Access, checked, client, host};
use crate::store::{StoreError, connect::Connector, requests::RequestStats, tls::Tls};

/// A container and how to reach it.
#[derive(Clone, Debug, Default)]
pub struct AzureOptions {
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// What all keys begin with; empty for none.
    pub prefix: String,
    /// `blob.core.windows.net` or another cloud's; a name that does not begin with `blob.` is a server of its
    /// own (Azurite), spoken to by plain http, with the account in the path: as Tempo reads it.
    pub endpoint_suffix: String,
    /// Who we are.
    pub login: AzureLogin,
}

/// Credentials of Azure.
#[derive(Clone, Default)]
pub enum AzureLogin {
    /// The account's key, in base64.
    Key(String),
    /// The machine's identity.
    Managed {
        /// Client id of an identity that was assigned by a user; the system's where empty.
        client_id: String,
    },
    /// A token of the cluster, exchanged: workload identity. `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and
    /// `AZURE_FEDERATED_TOKEN_FILE` say whose.
    Federated,
    /// What the environment offers: a federated token, else the machine's identity.
    #[default]
    Environment,
}

impl AzureOptions {
    pub(super) fn open(
        &self,
        access: &Access,
        stats: Arc<RequestStats>,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let url = self.url();
        let connector =
            Connector { tls: Tls::default(), endpoint: host(&url).to_owned(), stats, context: None };
        checked(&connector, "azure")?;
        let builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_endpoint(url.clone())
            .with_retry(access.retry())
            .with_client_options(client(url.starts_with("http://")))
            .with_http_connector(connector);
        let federated = env::var("AZURE_FEDERATED_TOKEN_FILE").is_ok_and(|path| !path.is_empty());
        let builder = match &self.login {
            AzureLogin::Key(key) => builder.with_access_key(key).with_credential_type("access_key"),
            AzureLogin::Managed { client_id } => managed(builder, client_id),
            AzureLogin::Environment if !federated => managed(builder, ""),
            AzureLogin::Federated | AzureLogin::Environment => federation(builder)?,
        };
        let store = builder.build().map_err(|e| StoreError::Options(format!("azure: {e}")))?;
        Ok(Arc::new(store))
    }

    fn url(&self) -> String {
        let suffix =
            if self.endpoint_suffix.is_empty() { "blob.core.windows.net" } else { &self.endpoint_suffix };
        if suffix.starts_with("blob.") {
            format!("https://{}.{suffix}", self.account)
        } else {
            format!("http://{suffix}/{}", self.account)
        }
    }
}

fn managed(builder: MicrosoftAzureBuilder, client_id: &str) -> MicrosoftAzureBuilder {
    let builder = builder.with_credential_type("managed_identity");
    if client_id.is_empty() { builder } else { builder.with_client_id(client_id) }
}

fn federation(mut builder: MicrosoftAzureBuilder) -> Result<MicrosoftAzureBuilder, StoreError> {
    for (name, key, needed) in [
        ("AZURE_CLIENT_ID", AzureConfigKey::ClientId, true),
        ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId, true),
        ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile, true),
        ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost, false),
    ] {
        match env::var(name).ok().filter(|value| !value.is_empty()) {
            Some(value) => builder = builder.with_config(key, value),
            None if needed => {
                let expected = "expected the environment of workload identity";
                return Err(StoreError::Options(format!(
                    "azure.use_federated_token: {expected}, {name} is not set"
                )));
            }
            None => {}
        }
    }
    Ok(builder.with_credential_type("workload_identity"))
}

impl fmt::Debug for AzureLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(<secret>)",
            Self::Managed { .. } => "Managed",
            Self::Federated => "Federated",
            Self::Environment => "Environment",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_stands_in_the_hosts_name_or_for_servers_of_ones_own_in_the_path() {
        let url = |suffix: &str| {
            let options = AzureOptions { account: "acc".into(), ..AzureOptions::default() };
            AzureOptions { endpoint_suffix: suffix.into(), ..options }.url()
        };
        assert_eq!(url(""), "https://acc.blob.core.windows.net");
        assert_eq!(url("blob.core.chinacloudapi.cn"), "https://acc.blob.core.chinacloudapi.cn");
        assert_eq!(url("127.0.0.1:10000"), "http://127.0.0.1:10000/acc");
    }

    #[test]
    fn the_accounts_key_is_not_printed() {
        let login = AzureLogin::Key("aHVzaA==".to_owned());
        let options =
            AzureOptions { account: "acc".into(), container: "c".into(), login, ..Default::default() };
        let store = options.open(&Access::default(), Arc::default()).unwrap();
        let printed = format!("{options:?} {store}");
        assert!(!printed.contains("aHVzaA"), "{printed}");
    }
}
