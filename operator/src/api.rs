//! The custom resources of group `tempo.grafana.com`: their shape, their rules and their status. Pure.
//!
//! Field names and meaning are those of Grafana's tempo-operator, so that existing manifests keep working.

mod component;
mod crd;
mod jaeger;
mod limits;
mod monolithic;
mod network;
mod observability;
mod quantity;
mod rules;
mod schema;
mod status;
mod storage;
mod table;
mod tempostack;
mod tenants;

pub use component::{
    Autoscaling, Component, Distributor, Gateway, MetricsGenerator, PodMetadata, QueryFrontend, QueryRbac,
    Template,
};
pub use crd::{CrdError, definitions, yaml};
pub use jaeger::{
    Ingress, IngressType, JaegerQuery, McpServer, MonitorTab, RouteSettings, TempoQuery, Termination,
    UiAuthentication,
};
pub use limits::{
    IngestionLimits, LimitSet, Limits, QueryLimits, RetentionConfig, RetentionSpec, TenantRetention,
};
pub use monolithic::{
    Backend, Bucket, DataSource, Ingestion, IngestionOtlp, JaegerUi, Monitored, MonolithicGrafana,
    MonolithicMetrics, MonolithicObservability, MonolithicStorage, Multitenancy, Protocol, Query, S3Bucket,
    TempoMonolithic, TempoMonolithicSpec, TracesStorage, UiIngress, UiRoute,
};
pub use network::{GatewayRoute, IngressTls, NetworkPolicy, ParentRef, ServiceSettings, ServiceType};
pub use observability::{Grafana, Metrics, Observability, Tracing};
pub use quantity::{Quantity, Resources};
pub use status::{
    ComponentPods, ConditionType, MonolithicPods, PodsByPhase, ReplicaCount, Replicas, TempoMonolithicStatus,
    TempoStackStatus,
};
pub use storage::{CredentialMode, SecretType, ServerTls, Storage, StorageSecret, StorageTls};
pub use table::fields;
pub use tempostack::{
    ClaimRetention, ClaimRetentionPolicy, ExtraConfig, HashRing, Images, InstanceAddrType, ManagementState,
    Memberlist, ReplicationZone, Search, Size, TempoStack, TempoStackSpec, TotalResources,
};
pub use tenants::{
    Authorization, Oidc, OidcSecret, Permission, Role, RoleBinding, Subject, SubjectKind, Tenant, TenantMode,
    Tenants,
};

/// The API group of all resources.
pub const GROUP: &str = "tempo.grafana.com";

/// Longest name of a resource, in bytes: that of a label's value.
pub const NAME_LIMIT: usize = 63;
