//! Which Secrets, ConfigMaps and ServiceAccounts a resource names: read before it is validated, and watched. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar};

use crate::api::{Protocol, ServerTls, StorageTls, TempoMonolithicSpec, TempoStackSpec, Tenant};

/// Names in the namespace of the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) service_accounts: BTreeSet<String>,
}

impl References {
    fn secret(&mut self, name: Option<&String>) {
        self.secrets.extend(name.filter(|name| !name.is_empty()).cloned());
    }

    fn config_map(&mut self, name: Option<&String>) {
        self.config_maps.extend(name.filter(|name| !name.is_empty()).cloned());
    }

    fn storage_tls(&mut self, tls: Option<&StorageTls>) {
        self.config_map(tls.and_then(|tls| tls.ca_name.as_ref()));
        self.secret(tls.and_then(|tls| tls.cert_name.as_ref()));
    }

    fn server_tls(&mut self, tls: Option<&ServerTls>) {
        self.config_map(tls.and_then(|tls| tls.ca_name.as_ref()));
        self.secret(tls.and_then(|tls| tls.cert_name.as_ref()));
    }

    fn tenants(&mut self, tenants: &[Tenant]) {
        for tenant in tenants {
            let secret = tenant.oidc.as_ref().and_then(|oidc| oidc.secret.as_ref());
            self.secret(secret.and_then(|secret| secret.name.as_ref()));
        }
    }

    fn environment(&mut self, env: &[EnvVar], env_from: &[EnvFromSource]) {
        let (secrets, config_maps) = of_environment(env, env_from);
        self.secrets.extend(secrets.into_iter().map(str::to_owned));
        self.config_maps.extend(config_maps.into_iter().map(str::to_owned));
    }
}

/// Secrets and ConfigMaps that environment variables come from.
pub(crate) fn of_environment<'a>(
    env: &'a [EnvVar],
    env_from: &'a [EnvFromSource],
) -> (Vec<&'a str>, Vec<&'a str>) {
    let values = || env.iter().filter_map(|variable| variable.value_from.as_ref());
    let mut secrets: Vec<&str> =
        values().filter_map(|value| Some(value.secret_key_ref.as_ref()?.name.as_str())).collect();
    let mut config_maps: Vec<&str> =
        values().filter_map(|value| Some(value.config_map_key_ref.as_ref()?.name.as_str())).collect();
    secrets.extend(env_from.iter().filter_map(|source| Some(source.secret_ref.as_ref()?.name.as_str())));
    config_maps
        .extend(env_from.iter().filter_map(|source| Some(source.config_map_ref.as_ref()?.name.as_str())));
    for names in [&mut secrets, &mut config_maps] {
        names.sort_unstable();
        names.dedup();
    }
    (secrets, config_maps)
}

/// What a `TempoStack` names.
pub(crate) fn of_stack(spec: &TempoStackSpec) -> References {
    let mut all = References::default();
    all.secret(Some(&spec.storage.secret.name));
    all.storage_tls(spec.storage.tls.as_ref());
    let distributor = spec.template.as_ref().and_then(|template| template.distributor.as_ref());
    all.server_tls(distributor.and_then(|distributor| distributor.tls.as_ref()));
    all.tenants(spec.tenants.as_ref().map_or(&[], |tenants| &tenants.authentication));
    all.environment(&spec.env, &spec.env_from);
    all.service_accounts.extend(spec.service_account.clone());
    all
}

/// What a `TempoMonolithic` names.
pub(crate) fn of_monolithic(spec: &TempoMonolithicSpec) -> References {
    let mut all = References::default();
    if let Some(traces) = spec.storage.as_ref().and_then(|storage| storage.traces.as_ref()) {
        all.secret(traces.azure.as_ref().map(|bucket| &bucket.secret));
        all.secret(traces.gcs.as_ref().map(|bucket| &bucket.secret));
        all.secret(traces.s3.as_ref().map(|bucket| &bucket.secret));
        all.storage_tls(traces.s3.as_ref().and_then(|bucket| bucket.tls.as_ref()));
    }
    let otlp = spec.ingestion.as_ref().and_then(|ingestion| ingestion.otlp.as_ref());
    for protocol in otlp.into_iter().flat_map(|otlp| [&otlp.grpc, &otlp.http]) {
        all.server_tls(protocol.as_ref().and_then(|Protocol { tls, .. }| tls.as_ref()));
    }
    all.tenants(spec.multitenancy.as_ref().map_or(&[], |tenants| &tenants.authentication));
    all.environment(&spec.env, &spec.env_from);
    all.service_accounts.extend(spec.service_account.clone());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::resource;

    #[test]
    fn defect_6_every_secret_and_config_map_that_a_stack_names_is_read_and_watched() {
        let stack = resource(
            "  storage: {secret: {name: a, type: s3}, tls: {caName: ca, certName: b}}\n  \
             template: {distributor: {tls: {certName: c, caName: cb}}}\n  \
             tenants: {authentication: [{tenantName: t, tenantId: i, oidc: {secret: {name: d}}}]}\n  \
             env: [{name: X, valueFrom: {secretKeyRef: {name: e, key: k}}}]\n  \
             envFrom: [{configMapRef: {name: cc}}, {secretRef: {name: f}}]\n  serviceAccount: sa",
        );
        let found = of_stack(&stack.spec);
        assert_eq!(found.secrets.into_iter().collect::<String>(), "abcdef");
        assert_eq!(found.config_maps.into_iter().collect::<Vec<_>>(), ["ca", "cb", "cc"]);
        assert_eq!(found.service_accounts.into_iter().collect::<Vec<_>>(), ["sa"]);
    }

    #[test]
    fn defect_6_so_are_those_that_a_monolithic_stack_names() {
        let spec: TempoMonolithicSpec = serde_yaml::from_str(
            "storage: {traces: {backend: s3, s3: {secret: a, tls: {caName: ca, certName: b}}}}\n\
             ingestion: {otlp: {grpc: {tls: {certName: c, caName: cb}}, http: {tls: {certName: d}}}}\n\
             multitenancy: {authentication: [{tenantName: t, tenantId: i, oidc: {secret: {name: e}}}]}\n\
             envFrom: [{configMapRef: {name: cc}}, {secretRef: {name: f}}]\n",
        )
        .expect("a spec");
        let found = of_monolithic(&spec);
        assert_eq!(found.secrets.into_iter().collect::<String>(), "abcdef");
        assert_eq!(found.config_maps.into_iter().collect::<Vec<_>>(), ["ca", "cb", "cc"]);
    }
}
