//! What the first step of a reconcile read from the cluster. Plain values; nothing after it reads the cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kind::Kind;

/// What a spec points at, and what is there already. Names that are not in a map are not in the namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) secrets: BTreeMap<String, Contents>,
    pub(crate) config_maps: BTreeMap<String, Contents>,
    pub(crate) service_accounts: BTreeSet<String>,
    /// The other of our two kinds has a resource of the same name here, and with it the same objects.
    pub(crate) has_twin: bool,
    /// For secrets that have to be made up.
    pub(crate) entropy: Entropy,
    pub(crate) live: Live,
}

/// The data of a Secret or ConfigMap.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents(pub(crate) BTreeMap<String, Vec<u8>>);

impl Contents {
    /// A value that is there, is text and is not empty.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let value = self.0.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        value.filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Random bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Entropy(pub(crate) [u8; 32]);

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// Thirty-two letters and digits that nobody can guess, another for each purpose.
    pub(crate) fn word(&self, purpose: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(purpose.as_bytes());
        format!("{:x}", hash.finalize())[..32].to_owned()
    }
}

/// The stack's objects in the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Objects with the labels of the stack, as the API server gave them.
    pub(crate) objects: BTreeMap<(Kind, String), Value>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    /// Workloads whose number of pods a HorizontalPodAutoscaler sets.
    pub(crate) autoscaled: BTreeSet<(Kind, String)>,
}

impl Facts {
    /// A hash over what Secrets and ConfigMaps hold, `None` for no names. Salted, so that equal contents of two
    /// stacks do not show as equal, and nothing is told about them.
    pub(crate) fn digest(&self, salt: &str, secrets: &[&str], config_maps: &[&str]) -> Option<String> {
        if secrets.is_empty() && config_maps.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        let mut feed = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        feed(salt.as_bytes());
        for (names, all) in [(secrets, &self.secrets), (config_maps, &self.config_maps)] {
            for name in names {
                feed(name.as_bytes());
                for (key, value) in all.get(*name).into_iter().flat_map(|contents| &contents.0) {
                    feed(key.as_bytes());
                    feed(value);
                }
            }
        }
        Some(format!("{:x}", hash.finalize()))
    }
}
