//! `TempoStack` -> [`Stack`].

use std::collections::BTreeMap;

use vivace_config::Duration;

use super::{
    Authority, Common, Exposure, Gateway, Invalid, ObjectStorage, ReceiverTls, SearchLimits, TenantLimits,
    TenantOverrides, Tracing, Volume, Workload, check_name, environment_hash, exposure, extra, limits,
    network, observability, positive_duration, receivers, said,
    sizing::{self, Layout, Part, Sizing},
    storage,
    tenants::{self, Wanted},
    trust, workload,
};
use crate::{
    api::{
        self, ClaimRetention, IngressType, InstanceAddrType, ServiceSettings, Template, TempoStack,
        TempoStackSpec, TenantMode, Tenants, Termination,
    },
    build::config,
    facts::Facts,
    names::{Identity, Owner},
    platform::{Feature, Images, Platform},
    role::{ByRole, Role},
};

/// A stack that can be built.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stack {
    pub(crate) common: Common,
    pub(crate) workloads: ByRole<Workload>,
    pub(crate) storage: ObjectStorage,
    /// Each ingester's.
    pub(crate) volume: Volume,
    /// What becomes of the volumes, `whenDeleted` and `whenScaled`.
    pub(crate) claim_retention: Option<[&'static str; 2]>,
    pub(crate) replication_factor: u32,
    pub(crate) retention: Duration,
    pub(crate) limits: TenantLimits,
    pub(crate) tenants: BTreeMap<String, TenantOverrides>,
    pub(crate) search: SearchLimits,
    pub(crate) ring: Ring,
    pub(crate) zones: Vec<Zone>,
    pub(crate) receiver_tls: Option<ReceiverTls>,
    pub(crate) generator: Option<Generator>,
    pub(crate) tracing: Option<Tracing>,
    pub(crate) network_policies: bool,
    /// Whom the policies let in.
    pub(crate) policy: api::NetworkPolicy,
    /// What is said of Services.
    pub(crate) services: ByRole<ServiceSettings>,
}

impl Stack {
    /// The components that it has.
    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> {
        let (generator, gateway) = (self.generator.is_some(), self.common.gateway.is_some());
        Role::ALL.into_iter().filter(move |role| match role {
            Role::MetricsGenerator => generator,
            Role::Gateway => gateway,
            _ => true,
        })
    }
}

/// How members tell each other their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) ipv6: Option<bool>,
    pub(crate) pod_ip: bool,
}

/// A dimension over which pods are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Label of nodes.
    pub(crate) key: String,
    pub(crate) max_skew: i32,
}

/// The metrics-generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generator {
    pub(crate) processors: Vec<String>,
    pub(crate) remote_write: Vec<String>,
}

const DEFAULT_PROCESSORS: [&str; 3] = ["span-metrics", "service-graphs", "local-blocks"];

/// What the parts of a stack are worked out from.
struct Ground<'a> {
    spec: &'a TempoStackSpec,
    template: Template,
    identity: Identity,
    sizing: Sizing<'a>,
    workloads: ByRole<Workload>,
    facts: &'a Facts,
    platform: &'a Platform,
}

/// Checks a resource against what it points at.
pub(crate) fn validate(resource: &TempoStack, facts: &Facts, platform: &Platform) -> Result<Stack, Invalid> {
    let spec = &resource.spec;
    check_name(resource, Owner::TempoStack, facts)?;
    check_combinations(spec)?;
    let template = spec.template.clone().unwrap_or_default();
    let replication_factor = replication_factor(spec)?;
    let sizing = Sizing::new(spec, layout(&template, platform), replication_factor);
    let workloads = ByRole::try_from_fn(|role| workload::workload(role, spec, &sizing, platform))?;
    let least = replication_factor / 2 + 1;
    let scaled = workloads.ingester.autoscaling.as_ref().map(|scaling| scaling.min_replicas.unwrap_or(1));
    if scaled.unwrap_or(workloads.ingester.replicas.count()) < least {
        return Err(Invalid::spec(format!(
            "spec.template.ingester.replicas: replicationFactor {replication_factor} needs at least {least} ingesters"
        )));
    }
    let identity = Identity::from(resource);
    let ground = Ground { spec, template, identity, sizing, workloads, facts, platform };
    stack(ground, replication_factor)
}

fn stack(ground: Ground<'_>, replication_factor: i32) -> Result<Stack, Invalid> {
    let spec = ground.spec;
    let mut warnings = warnings(spec, &ground.template, ground.platform);
    let receiver_tls = receiver_tls(&ground, &mut warnings)?;
    let storage = object_storage(&ground, &mut warnings)?;
    let memberlist = spec.hash_ring.clone().unwrap_or_default().memberlist.unwrap_or_default();
    let observability = spec.observability.clone().unwrap_or_default();
    let mut stack = Stack {
        common: common(&ground, warnings)?.with_images()?,
        volume: workload::volume(
            "spec.storageSize",
            spec.storage_size.as_ref(),
            spec.storage_class_name.as_ref(),
        )?,
        claim_retention: spec.persistent_volume_claim_retention_policy.as_ref().map(|policy| {
            [policy.when_deleted, policy.when_scaled]
                .map(|what| what.unwrap_or(ClaimRetention::Retain).as_str())
        }),
        storage,
        replication_factor: u32::try_from(replication_factor).unwrap_or(1),
        retention: limits::retention(spec)?,
        limits: limits::global(spec)?,
        tenants: limits::of_tenants(spec)?,
        search: limits::search(spec)?,
        ring: Ring {
            ipv6: memberlist.enable_ipv6,
            pod_ip: memberlist.instance_addr_type == Some(InstanceAddrType::PodIp),
        },
        zones: zones(spec)?,
        receiver_tls,
        generator: generator(&ground.template)?,
        tracing: observability::tracing(observability.tracing.as_ref())?,
        policy: network::policy(spec.network_policy.as_ref())?,
        services: services(&ground.template)?,
        network_policies: spec.network_policy.as_ref().and_then(|policy| policy.enabled).unwrap_or(true),
        workloads: ground.workloads,
    };
    let left = no_zones(&mut stack.common.images, &stack.zones, ground.platform);
    stack.common.warnings.extend(left);
    let extra = stack.common.extra_config.clone();
    let unknown = extra::check(extra.as_ref(), |extra| config::tempo_yaml(&stack, Some(extra)))?;
    stack.common.warnings.extend(unknown);
    Ok(stack)
}

/// Who may not read nodes cannot tell pods their zone, so these do not wait for it. Answers what is not done.
fn no_zones(images: &mut Images, zones: &[Zone], platform: &Platform) -> Option<String> {
    if zones.is_empty() || platform.scope.is_cluster_wide() {
        return None;
    }
    images.operator.clear();
    let why = "pods are spread over spec.replicationZones and are not told their zone: \
               the operator serves single namespaces (WATCH_NAMESPACE) and may not read nodes";
    Some(why.to_owned())
}

fn receiver_tls(ground: &Ground<'_>, warnings: &mut Vec<String>) -> Result<Option<ReceiverTls>, Invalid> {
    let given = ground.template.distributor.as_ref().and_then(|distributor| distributor.tls.as_ref());
    let serving_cert = ground.identity.object("distributor-serving-cert");
    let field = "spec.template.distributor.tls";
    receivers::resolve(field, given, &serving_cert, ground.facts, ground.platform, warnings)
}

fn object_storage(ground: &Ground<'_>, warnings: &mut Vec<String>) -> Result<ObjectStorage, Invalid> {
    let storage = &ground.spec.storage;
    let wanted = storage::Wanted {
        kind: storage.secret.secret_type,
        secret: &storage.secret.name,
        mode: storage.secret.credential_mode,
        tls: storage.tls.as_ref(),
        fields: ["spec.storage.secret.name", "spec.storage.tls"],
    };
    storage::resolve(wanted, ground.facts, &ground.identity, ground.platform, warnings)
}

fn common(ground: &Ground<'_>, mut warnings: Vec<String>) -> Result<Common, Invalid> {
    let Ground { spec, identity, workloads, facts, platform, .. } = ground;
    let frontend = ground.template.query_frontend.clone().unwrap_or_default();
    let counts = [workloads.query_frontend.replicas.count(), workloads.querier.replicas.count()];
    let given = frontend.jaeger_query.unwrap_or_default();
    let jaeger = exposure::of_stack(&given, identity, platform, &ground.sizing, counts, &mut warnings)?;
    let gateway = gateway(ground, &mut warnings)?;
    let routes =
        network::of_stack(&ground.template, gateway_is_on(&ground.template), platform, &mut warnings)?;
    let observability = spec.observability.clone().unwrap_or_default();
    let wanted = observability::Wanted::of_stack(&observability);
    Ok(Common {
        images: images(spec, platform),
        service_account: workload::service_account(spec.service_account.as_deref(), identity, facts)?,
        env: spec.env.clone(),
        env_from: spec.env_from.clone(),
        environment_hash: environment_hash(identity, &spec.env, &spec.env_from, facts),
        extra_config: spec.extra_config.clone().unwrap_or_default().tempo,
        timeout: positive_duration("spec.timeout", spec.timeout.as_deref())?
            .unwrap_or(Duration::from_secs(30)),
        trusted: trust::trusted(identity, facts, platform),
        multitenancy: spec.tenants.is_some(),
        mcp: frontend.mcp_server.unwrap_or_default().enabled == Some(true),
        jaeger,
        monitoring: observability::monitoring(wanted, gateway.is_some(), platform, &mut warnings)?,
        gateway,
        routes,
        platform: (*platform).clone(),
        warnings,
        identity: identity.clone(),
    })
}

/// Services that are reached from outside of the stack.
fn services(template: &Template) -> Result<ByRole<ServiceSettings>, Invalid> {
    ByRole::try_from_fn(|role| {
        let (field, given) = match role {
            Role::Distributor => {
                ("distributor", template.distributor.as_ref().and_then(|part| part.service.as_ref()))
            }
            Role::QueryFrontend => {
                ("queryFrontend", template.query_frontend.as_ref().and_then(|part| part.service.as_ref()))
            }
            Role::Gateway => ("gateway", template.gateway.as_ref().and_then(|part| part.service.as_ref())),
            _ => return Ok(ServiceSettings::default()),
        };
        network::service(&format!("spec.template.{field}.service"), given)
    })
}

fn gateway_is_on(template: &Template) -> bool {
    template.gateway.as_ref().is_some_and(|gateway| gateway.enabled == Some(true))
}

fn layout(template: &Template, platform: &Platform) -> Layout {
    let ui = template.query_frontend.clone().unwrap_or_default().jaeger_query.unwrap_or_default();
    let is_route = ui.ingress.unwrap_or_default().ingress_type == Some(IngressType::Route);
    let authentication = ui.authentication.unwrap_or_default().enabled;
    Layout {
        gateway: gateway_is_on(template),
        oauth_proxy: ui.enabled == Some(true)
            && authentication.unwrap_or(is_route && platform.has(Feature::OauthProxy)),
        generator: template.metrics_generator.as_ref().is_some_and(|part| part.enabled == Some(true)),
    }
}

/// What contradicts itself, whatever it points at.
fn check_combinations(spec: &TempoStackSpec) -> Result<(), Invalid> {
    let template = spec.template.clone().unwrap_or_default();
    let has_gateway = gateway_is_on(&template);
    let gateway = template.gateway.unwrap_or_default();
    let ui = template.query_frontend.unwrap_or_default().jaeger_query.unwrap_or_default();
    let exposed = matches!(
        ui.ingress.unwrap_or_default().ingress_type,
        Some(IngressType::Ingress | IngressType::Route)
    );
    let receiver_tls = template
        .distributor
        .and_then(|distributor| distributor.tls)
        .is_some_and(|tls| tls.enabled == Some(true));
    let clash = |what: &str| {
        Err(Invalid::spec(format!(
            "spec.template.gateway.enabled: the gateway and {what} exclude each other"
        )))
    };
    if has_gateway && spec.tenants.is_none() {
        return Err(Invalid::spec(
            "spec.template.gateway.enabled: the gateway needs tenants to be configured",
        ));
    }
    if has_gateway && exposed {
        return clash("an ingress of the Jaeger UI");
    }
    if has_gateway && receiver_tls {
        return clash("TLS of the receivers");
    }
    if gateway.rbac.unwrap_or_default().enabled == Some(true) && ui.enabled == Some(true) {
        return Err(Invalid::spec(
            "spec.template.gateway.rbac.enabled: the Jaeger UI does not support it and must be off",
        ));
    }
    spec.tenants.as_ref().map_or(Ok(()), |tenants| tenants::check(wanted(tenants), has_gateway))
}

fn wanted(tenants: &Tenants) -> Wanted<'_> {
    Wanted {
        mode: tenants.mode.unwrap_or_default(),
        authentication: &tenants.authentication,
        authorization: tenants.authorization.as_ref(),
        field: "spec.tenants",
    }
}

fn gateway(ground: &Ground<'_>, warnings: &mut Vec<String>) -> Result<Option<Gateway>, Invalid> {
    let Ground { spec, template, identity, sizing, workloads, facts, platform } = ground;
    let Some(tenants) = &spec.tenants else { return Ok(None) };
    let given = template.gateway.clone().unwrap_or_default();
    let mode = tenants.mode.unwrap_or_default();
    let mut ingress = given.ingress.unwrap_or_default();
    if mode == TenantMode::OpenShift && matches!(ingress.ingress_type, None | Some(IngressType::Unset)) {
        ingress.ingress_type = Some(IngressType::Route);
    }
    let route = identity.role(Role::Gateway);
    let host = said(ingress.host.as_ref());
    // Secrets of tenants are asked for even where nothing looks at them yet, as the peer does.
    let resolved = tenants::resolve(wanted(tenants), host.as_deref(), &route, identity, facts, platform)?;
    if !gateway_is_on(template) {
        return Ok(None);
    }
    let count = workloads.gateway.replicas.count();
    Ok(Some(Gateway {
        tenants: resolved,
        authority: match mode {
            TenantMode::Static => Authority::Static(tenants.authorization.clone().unwrap_or_default()),
            TenantMode::OpenShift => Authority::OpenShift,
        },
        query_rbac: given.rbac.unwrap_or_default().enabled == Some(true),
        exposure: expose(&ingress, platform, warnings),
        resources: workloads.gateway.resources.clone(),
        opa_resources: sizing.resources(Part::Opa, "opa", None, count)?,
    }))
}

fn expose(ingress: &api::Ingress, platform: &Platform, warnings: &mut Vec<String>) -> Exposure {
    exposure::exposure(
        "spec.template.gateway.ingress.type",
        ingress,
        Termination::Reencrypt,
        platform,
        warnings,
    )
}

fn images(spec: &TempoStackSpec, platform: &Platform) -> Images {
    let given = spec.images.clone().unwrap_or_default();
    let or = |own: Option<String>, default: &str| {
        own.filter(|image| !image.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let default = &platform.images;
    Images {
        tempo: or(given.tempo, &default.tempo),
        tempo_query: or(given.tempo_query, &default.tempo_query),
        jaeger_query: or(given.jaeger_query, &default.jaeger_query),
        gateway: or(given.tempo_gateway, &default.gateway),
        opa: or(given.tempo_gateway_opa, &default.opa),
        oauth_proxy: or(given.oauth_proxy, &default.oauth_proxy),
        operator: default.operator.clone(),
    }
}

fn replication_factor(spec: &TempoStackSpec) -> Result<i32, Invalid> {
    match spec.replication_factor {
        Some(factor) if factor < 1 => {
            Err(Invalid::spec(format!("spec.replicationFactor: {factor}, expected at least 1")))
        }
        Some(factor) => Ok(factor),
        None => Ok(spec.size.map_or(1, sizing::replication_factor)),
    }
}

fn zones(spec: &TempoStackSpec) -> Result<Vec<Zone>, Invalid> {
    let mut zones: Vec<Zone> = Vec::new();
    for (at, zone) in spec.replication_zones.iter().enumerate() {
        let field = format!("spec.replicationZones[{at}]");
        if zone.topology_key.is_empty() {
            return Err(Invalid::spec(format!("{field}.topologyKey: must not be empty")));
        }
        if zones.iter().any(|other| other.key == zone.topology_key) {
            return Err(Invalid::spec(format!(
                "{field}.topologyKey: `{}` is there twice",
                zone.topology_key
            )));
        }
        let max_skew = zone.max_skew.unwrap_or(1);
        if max_skew < 1 {
            return Err(Invalid::spec(format!("{field}.maxSkew: {max_skew}, expected at least 1")));
        }
        zones.push(Zone { key: zone.topology_key.clone(), max_skew });
    }
    Ok(zones)
}

fn generator(template: &Template) -> Result<Option<Generator>, Invalid> {
    const FIELD: &str = "spec.template.metricsGenerator.remoteWriteURLs";
    let given = template.metrics_generator.clone().unwrap_or_default();
    if given.enabled != Some(true) {
        return Ok(None);
    }
    if given.remote_write_urls.is_empty() {
        return Err(Invalid::spec(format!(
            "{FIELD}: at least one is required when the metrics-generator is enabled"
        )));
    }
    let processors = if given.processors.is_empty() {
        DEFAULT_PROCESSORS.map(str::to_owned).to_vec()
    } else {
        given.processors
    };
    Ok(Some(Generator { processors, remote_write: given.remote_write_urls }))
}

/// What is accepted and does not do what it seems to.
fn warnings(spec: &TempoStackSpec, template: &Template, platform: &Platform) -> Vec<String> {
    let mut all = Vec::new();
    let total = spec.resources.as_ref().and_then(|resources| resources.total.as_ref());
    if spec.size.is_some() && total.is_some() {
        all.push("spec.resources.total: has no effect beside spec.size".to_owned());
    }
    if platform.has(Feature::NoAuthWarning) && !gateway_is_on(template) {
        all.push(
            "spec.template.gateway.enabled: without the gateway, whoever reaches the stack may send and read traces"
                .to_owned(),
        );
    }
    if platform.lacks_cert_manager {
        all.push(super::NO_CERT_MANAGER.to_owned());
    }
    all
}
