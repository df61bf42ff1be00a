//! Which namespaces the operator serves. Pure.

use std::{collections::BTreeSet, str::FromStr};

/// All namespaces, or some of them: then nothing is asked of the cluster that a Role in these does not grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Cluster,
    Namespaces(BTreeSet<String>),
}

/// Something that cannot be a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "WATCH_NAMESPACE: `{0}` is no namespace, expected names such as team-a,team-b, or nothing for all of them"
)]
pub(crate) struct NoNamespace(String);

impl FromStr for Scope {
    type Err = NoNamespace;

    fn from_str(text: &str) -> Result<Self, NoNamespace> {
        let mut namespaces = BTreeSet::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let is_name = word.len() <= 63
                && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !(word.starts_with('-') || word.ends_with('-'));
            if !is_name {
                return Err(NoNamespace(word.to_owned()));
            }
            namespaces.insert(word.to_owned());
        }
        Ok(if namespaces.is_empty() { Self::Cluster } else { Self::Namespaces(namespaces) })
    }
}

impl Scope {
    /// Whether what lives outside of namespaces may be made.
    pub(crate) fn is_cluster_wide(&self) -> bool {
        *self == Self::Cluster
    }

    /// Where to list and watch: each namespace, or once everywhere (`None`).
    pub(crate) fn places(&self) -> Vec<Option<String>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(all) => all.iter().cloned().map(Some).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_all_namespaces_are_served_and_with_names_only_these() {
        let all: Scope = " , ".parse().expect("nothing is everything");
        assert!(all.is_cluster_wide() && all.places() == [None]);
        let some: Scope = "b, a,b".parse().expect("two namespaces");
        assert!(!some.is_cluster_wide());
        assert_eq!(some.places(), [Some("a".to_owned()), Some("b".to_owned())]);
        for wrong in ["A", "a/b", "-a", "a,*", &"a".repeat(64)] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong} passes for a namespace");
        }
    }
}
