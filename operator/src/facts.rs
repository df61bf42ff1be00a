//! What the first step of a reconcile read from the cluster. Plain values; nothing after it reads the cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::kind::Kind;

/// What a spec points at, and what is there already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) secret: Option<StorageSecretData>,
    /// Keys of the ConfigMap with the storage's certificate authority; `None` when it is missing or not named.
    pub(crate) ca_keys: Option<Vec<String>>,
    pub(crate) live: Live,
}

/// The data of the storage Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct StorageSecretData(pub(crate) BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for StorageSecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// The stack's objects in the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Objects with the labels of the stack, as the API server gave them.
    pub(crate) objects: BTreeMap<(Kind, String), Value>,
    pub(crate) pods: Vec<Pod>,
    /// Workloads whose number of pods a HorizontalPodAutoscaler sets.
    pub(crate) autoscaled: BTreeSet<(Kind, String)>,
}
