//! `storage.trace.azure`.

use std::env;

use anyhow::{bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tracing_core::store::{Access, AzureLogin, AzureOptions, Backend};
use vivace_config::Azure;

use super::{Keys, text};

const KEYS: Keys = Keys("azure");

pub(super) fn options(config: &Azure) -> anyhow::Result<(Backend, Access)> {
    let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
    let account = config.storage_account_name.clone().filter(|name| !name.is_empty());
    let account = account.or_else(|| variable("AZURE_STORAGE_ACCOUNT"));
    let suffix = text(config.endpoint_suffix.as_ref());
    let host = suffix.split('/').next().unwrap_or_default();
    ensure!(
        host == suffix && suffix.chars().all(|c| c.is_ascii_graphic()),
        "{}: expected a host's name such as blob.core.windows.net, found `{suffix}`",
        KEYS.name("endpoint_suffix")
    );
    let options = AzureOptions {
        account: KEYS.required("storage_account_name", account.as_ref(), "the account's name")?,
        container: KEYS.required("container_name", config.container_name.as_ref(), "the container's name")?,
        prefix: KEYS.prefix(config.prefix.as_ref())?,
        endpoint_suffix: suffix.to_owned(),
        login: login(config)?,
    };
    let access = Access {
        hedge: KEYS.hedge(config.hedge_requests_at, config.hedge_requests_up_to)?,
        part_bytes: KEYS.part("buffer_size", config.buffer_size, 1)?,
        ..Access::default()
    };
    Ok((Backend::Azure(Box::new(options)), access))
}

fn login(config: &Azure) -> anyhow::Result<AzureLogin> {
    let key = KEYS.secret("storage_account_key", config.storage_account_key.as_ref())?;
    let client_id = text(config.user_assigned_id.as_ref());
    let managed = config.use_managed_identity.unwrap_or(false) || !client_id.is_empty();
    let federated = config.use_federated_token.unwrap_or(false);
    if managed && federated {
        bail!("{}: expected false with a managed identity", KEYS.name("use_federated_token"));
    }
    if !key.is_empty() {
        let name = KEYS.name("storage_account_key");
        ensure!(!managed, "{name}: expected none with use_managed_identity or user_assigned_id");
        ensure!(!federated, "{name}: expected none with use_federated_token");
        // Not what was found: it is a secret.
        ensure!(STANDARD.decode(&key).is_ok_and(|key| !key.is_empty()), "{name}: expected base64");
        return Ok(AzureLogin::Key(key));
    }
    if managed {
        return Ok(AzureLogin::Managed { client_id: client_id.to_owned() });
    }
    if federated {
        return Ok(AzureLogin::Federated);
    }
    match env::var("AZURE_STORAGE_KEY").ok().filter(|key| !key.is_empty()) {
        Some(key) => {
            ensure!(STANDARD.decode(&key).is_ok(), "AZURE_STORAGE_KEY: expected base64");
            Ok(AzureLogin::Key(key))
        }
        None => Ok(AzureLogin::Environment),
    }
}
