//! `TempoMonolithic` -> [`Monolith`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, ResourceRequirements, Toleration};
use vivace_config::Duration;

use super::{
    Authority, Common, Gateway, Invalid, ObjectStorage, ReceiverTls, Volume, check_name, environment_hash,
    exposure, extra, network, observability, positive_duration, receivers, said, storage,
    tenants::{self, Wanted},
    trust, workload,
};
use crate::{
    api::{
        Backend, CredentialMode, Multitenancy, PodMetadata, SecretType, ServiceSettings, StorageTls,
        TempoMonolithic, TempoMonolithicSpec, TenantMode, TracesStorage,
    },
    build::config,
    facts::Facts,
    names::{Identity, Owner},
    platform::Platform,
};

/// A monolithic stack that can be built.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Monolith {
    pub(crate) common: Common,
    pub(crate) home: Home,
    pub(crate) receivers: OtlpReceivers,
    pub(crate) resources: ResourceRequirements,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) pod_security_context: PodSecurityContext,
    pub(crate) priority_class: Option<String>,
    pub(crate) metadata: PodMetadata,
    pub(crate) service: ServiceSettings,
}

/// Where traces are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Home {
    /// In memory, at most so much.
    Memory(String),
    Volume(Volume),
    /// In object storage, with a volume for what is not there yet.
    Objects(Box<ObjectStorage>, Volume),
}

/// How traces come in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OtlpReceivers {
    pub(crate) grpc: Receiver,
    pub(crate) http: Receiver,
}

/// A way in for traces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Receiver {
    #[default]
    Off,
    Plain,
    Tls(ReceiverTls),
}

impl Receiver {
    pub(crate) fn is_on(&self) -> bool {
        *self != Self::Off
    }

    pub(crate) fn tls(&self) -> Option<&ReceiverTls> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Off | Self::Plain => None,
        }
    }
}

/// Checks a resource against what it points at.
pub(crate) fn validate(
    resource: &TempoMonolithic,
    facts: &Facts,
    platform: &Platform,
) -> Result<Monolith, Invalid> {
    let spec = &resource.spec;
    let identity = Identity::from(resource);
    check_name(resource, Owner::TempoMonolithic, facts)?;
    check_combinations(spec)?;
    let mut warnings = Vec::new();
    if platform.lacks_cert_manager {
        warnings.push(super::NO_CERT_MANAGER.to_owned());
    }
    let monolith = Monolith {
        home: home(spec, &identity, facts, platform, &mut warnings)?,
        receivers: otlp(spec, &identity, facts, platform, &mut warnings)?,
        resources: exposure::own_resources("tempo", spec.resources.as_ref())?,
        node_selector: spec.node_selector.clone(),
        tolerations: spec.tolerations.clone(),
        affinity: spec.affinity.clone(),
        priority_class: said(spec.priority_class_name.as_ref()),
        metadata: spec.pod_metadata.clone().unwrap_or_default(),
        service: network::service("spec.service", spec.service.as_ref())?,
        pod_security_context: workload::security_context(spec.pod_security_context.clone(), platform),
        common: common(spec, identity, facts, platform, warnings)?.with_images()?,
    };
    let unknown = extra::check(monolith.common.extra_config.as_ref(), |extra| {
        config::monolithic_yaml(&monolith, Some(extra))
    })?;
    let mut monolith = monolith;
    monolith.common.warnings.extend(unknown);
    Ok(monolith)
}

fn has_gateway(spec: &TempoMonolithicSpec) -> bool {
    spec.multitenancy.as_ref().is_some_and(|tenants| tenants.enabled == Some(true))
}

fn check_combinations(spec: &TempoMonolithicSpec) -> Result<(), Invalid> {
    let query = spec.query.clone().unwrap_or_default();
    let wants_rbac = query.rbac.unwrap_or_default().enabled == Some(true);
    let has_ui = spec.jaegerui.as_ref().is_some_and(|ui| ui.enabled == Some(true));
    if wants_rbac && !has_gateway(spec) {
        return Err(Invalid::spec("spec.query.rbac.enabled: needs multitenancy to be enabled"));
    }
    if wants_rbac && has_ui {
        return Err(Invalid::spec(
            "spec.query.rbac.enabled: the Jaeger UI does not support it and must be off",
        ));
    }
    let Some(tenants) = spec.multitenancy.as_ref().filter(|tenants| tenants.enabled == Some(true)) else {
        return Ok(());
    };
    let is_openshift = tenants.mode == Some(TenantMode::OpenShift);
    if is_openshift && said(spec.service_account.as_ref()).is_some() {
        return Err(Invalid::spec(
            "spec.serviceAccount: a custom ServiceAccount is not supported with multitenancy of mode openshift",
        ));
    }
    tenants::check(wanted(tenants), true)
}

fn wanted(tenants: &Multitenancy) -> Wanted<'_> {
    Wanted {
        mode: tenants.mode.unwrap_or_default(),
        authentication: &tenants.authentication,
        authorization: tenants.authorization.as_ref(),
        field: "spec.multitenancy",
    }
}

fn common(
    spec: &TempoMonolithicSpec,
    identity: Identity,
    facts: &Facts,
    platform: &Platform,
    mut warnings: Vec<String>,
) -> Result<Common, Invalid> {
    let query = spec.query.clone().unwrap_or_default();
    let behind_gateway = has_gateway(spec);
    let ui = spec.jaegerui.clone().unwrap_or_default();
    let jaeger = exposure::of_monolithic(&ui, &identity, platform, behind_gateway, &mut warnings)?;
    let gateway = gateway(spec, &identity, facts, platform)?;
    let routes = network::of_monolithic(spec, platform, &mut warnings)?;
    let observability = spec.observability.clone().unwrap_or_default();
    let wanted = observability::Wanted::of_monolithic(&observability);
    Ok(Common {
        images: platform.images.clone(),
        service_account: workload::service_account(spec.service_account.as_deref(), &identity, facts)?,
        env: spec.env.clone(),
        env_from: spec.env_from.clone(),
        environment_hash: environment_hash(&identity, &spec.env, &spec.env_from, facts),
        extra_config: spec.extra_config.clone().unwrap_or_default().tempo,
        timeout: positive_duration("spec.timeout", spec.timeout.as_deref())?
            .unwrap_or(Duration::from_secs(30)),
        trusted: trust::trusted(&identity, facts, platform),
        multitenancy: behind_gateway,
        mcp: query.mcp_server.unwrap_or_default().enabled == Some(true),
        jaeger,
        monitoring: observability::monitoring(wanted, behind_gateway, platform, &mut warnings)?,
        gateway,
        routes,
        platform: platform.clone(),
        warnings,
        identity,
    })
}

fn gateway(
    spec: &TempoMonolithicSpec,
    identity: &Identity,
    facts: &Facts,
    platform: &Platform,
) -> Result<Option<Gateway>, Invalid> {
    let Some(tenants) = spec.multitenancy.as_ref().filter(|tenants| tenants.enabled == Some(true)) else {
        return Ok(None);
    };
    let route = spec.jaegerui.clone().unwrap_or_default().route.unwrap_or_default();
    let host = said(route.host.as_ref());
    let name = identity.object("jaegerui");
    Ok(Some(Gateway {
        tenants: tenants::resolve(wanted(tenants), host.as_deref(), &name, identity, facts, platform)?,
        authority: match tenants.mode.unwrap_or_default() {
            TenantMode::Static => Authority::Static(tenants.authorization.clone().unwrap_or_default()),
            TenantMode::OpenShift => Authority::OpenShift,
        },
        query_rbac: spec.query.clone().unwrap_or_default().rbac.unwrap_or_default().enabled == Some(true),
        // It is reached as the user interface is.
        exposure: exposure::Exposure::Closed,
        resources: exposure::own_resources("tempo-gateway", tenants.resources.as_ref())?,
        opa_resources: ResourceRequirements::default(),
    }))
}

/// What a backend of object storage names.
struct Named<'a> {
    kind: SecretType,
    secret: Option<&'a str>,
    mode: Option<CredentialMode>,
    tls: Option<&'a StorageTls>,
    fields: [&'static str; 2],
}

fn named(traces: &TracesStorage) -> Option<Named<'_>> {
    let bucket = |kind, bucket: Option<&'_ crate::api::Bucket>, field| Named {
        kind,
        secret: None,
        mode: bucket.and_then(|bucket| bucket.credential_mode),
        tls: None,
        fields: [field, "spec.storage.traces"],
    };
    match traces.backend.unwrap_or_default() {
        Backend::Memory | Backend::Pv => None,
        Backend::Azure => Some(Named {
            secret: traces.azure.as_ref().map(|azure| azure.secret.as_str()),
            ..bucket(SecretType::Azure, traces.azure.as_ref(), "spec.storage.traces.azure.secret")
        }),
        Backend::Gcs => Some(Named {
            secret: traces.gcs.as_ref().map(|gcs| gcs.secret.as_str()),
            ..bucket(SecretType::Gcs, traces.gcs.as_ref(), "spec.storage.traces.gcs.secret")
        }),
        Backend::S3 => Some(Named {
            kind: SecretType::S3,
            secret: traces.s3.as_ref().map(|s3| s3.secret.as_str()),
            mode: traces.s3.as_ref().and_then(|s3| s3.credential_mode),
            tls: traces.s3.as_ref().and_then(|s3| s3.tls.as_ref()),
            fields: ["spec.storage.traces.s3.secret", "spec.storage.traces.s3.tls"],
        }),
    }
}

fn home(
    spec: &TempoMonolithicSpec,
    identity: &Identity,
    facts: &Facts,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<Home, Invalid> {
    const SIZE: &str = "spec.storage.traces.size";
    let traces = spec.storage.clone().unwrap_or_default().traces.unwrap_or_default();
    if traces.backend.unwrap_or_default() == Backend::Memory {
        let size = traces.size.unwrap_or_else(|| "2Gi".into());
        return match size.milli() {
            None => Err(Invalid::spec(format!("{SIZE}: `{size}`, expected a quantity such as 2Gi"))),
            Some(_) => Ok(Home::Memory(size.to_string())),
        };
    }
    let volume = workload::volume(SIZE, traces.size.as_ref(), traces.storage_class_name.as_ref())?;
    let Some(Named { kind, secret, mode, tls, fields }) = named(&traces) else {
        return Ok(Home::Volume(volume));
    };
    let wanted = storage::Wanted { kind, secret: secret.unwrap_or_default(), mode, tls, fields };
    let objects = storage::resolve(wanted, facts, identity, platform, warnings)?;
    Ok(Home::Objects(Box::new(objects), volume))
}

fn otlp(
    spec: &TempoMonolithicSpec,
    identity: &Identity,
    facts: &Facts,
    platform: &Platform,
    warnings: &mut Vec<String>,
) -> Result<OtlpReceivers, Invalid> {
    let otlp = spec.ingestion.clone().unwrap_or_default().otlp.unwrap_or_default();
    let serving_cert = identity.object("serving-cert");
    let mut one = |field: &str, given: Option<crate::api::Protocol>| {
        let given = given.unwrap_or_default();
        if given.enabled == Some(false) {
            return Ok(Receiver::Off);
        }
        let tls = receivers::resolve(field, given.tls.as_ref(), &serving_cert, facts, platform, warnings)?;
        Ok(tls.map_or(Receiver::Plain, Receiver::Tls))
    };
    Ok(OtlpReceivers {
        grpc: one("spec.ingestion.otlp.grpc.tls", otlp.grpc)?,
        http: one("spec.ingestion.otlp.http.tls", otlp.http)?,
    })
}
