//! The custom resources of group `tempo.grafana.com`: their shape, their rules and their status. Pure.
//!
//! Field names and meaning are those of Grafana's tempo-operator, so that existing manifests keep working.

mod component;
mod crd;
mod limits;
mod quantity;
mod schema;
mod status;
mod storage;
mod tempostack;

pub use component::{
    Component, Distributor, DistributorTls, Gateway, MetricsGenerator, QueryFrontend, Template, Wrapped,
};
pub use crd::{CrdError, definitions, yaml};
pub use limits::{
    IngestionLimits, LimitSet, Limits, QueryLimits, RetentionConfig, RetentionSpec, TenantRetention,
};
pub use quantity::{Quantity, Resources};
pub use status::{ComponentPods, ConditionType, PodsByPhase, ReplicaCount, Replicas, TempoStackStatus};
pub use storage::{CredentialMode, SecretType, Storage, StorageSecret, StorageTls};
pub use tempostack::{
    ExtraConfig, HashRing, Images, InstanceAddrType, ManagementState, Memberlist, NetworkPolicy,
    ReplicationZone, Search, Size, TempoStack, TempoStackSpec, TotalResources,
};

/// The API group of all resources.
pub const GROUP: &str = "tempo.grafana.com";

/// Longest name of a stack, in bytes: `tempo-<name>-query-frontend-discovery` must fit into the 63 of a Service.
pub const NAME_LIMIT: usize = 32;
