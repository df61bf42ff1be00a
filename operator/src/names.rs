//! Names and labels of a stack's objects: those of Grafana's operator, so that either can take over from the other.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};

use crate::{
    api::{TempoMonolithic, TempoStack},
    role::Role,
};

/// Labels of a set of objects.
pub(crate) type Labels = BTreeMap<String, String>;

/// Who made the object. The peer's value, since selectors cannot be changed afterwards.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tempo-operator");
/// The stack that the object belongs to.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// The component that the object is of.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
/// The namespace of the stack, on objects that are in none.
pub(crate) const NAMESPACE: &str = "app.kubernetes.io/namespace";
const NAME: &str = "app.kubernetes.io/name";
/// On every pod that gossips.
pub(crate) const GOSSIP_MEMBER: (&str, &str) = ("tempo-gossip-member", "true");
/// Longest name of a Service, and of a volume.
const NAME_LIMIT: usize = 63;
/// Longest name of a StatefulSet: its pods carry it with a hash in a label.
const SET_LIMIT: usize = 52;

/// Which of our resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    TempoStack,
    TempoMonolithic,
}

impl Owner {
    /// As in `kind`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TempoStack => "TempoStack",
            Self::TempoMonolithic => "TempoMonolithic",
        }
    }

    /// The label `name` of its objects.
    const fn label(self) -> &'static str {
        match self {
            Self::TempoStack => "tempo",
            Self::TempoMonolithic => "tempo-monolithic",
        }
    }
}

/// Whose objects they are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) owner: Owner,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

impl From<&TempoStack> for Identity {
    fn from(resource: &TempoStack) -> Self {
        Self::of(Owner::TempoStack, resource)
    }
}

impl From<&TempoMonolithic> for Identity {
    fn from(resource: &TempoMonolithic) -> Self {
        Self::of(Owner::TempoMonolithic, resource)
    }
}

impl Identity {
    /// Of a resource; the API server gives each a namespace and a uid.
    fn of(owner: Owner, resource: &impl Resource) -> Self {
        Self {
            owner,
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
        }
    }

    /// `tempo-<stack>`: the name of the ConfigMap and of the ServiceAccount.
    pub(crate) fn base(&self) -> String {
        self.fit("", NAME_LIMIT)
    }

    /// `tempo-<stack>-<suffix>`.
    pub(crate) fn object(&self, suffix: &str) -> String {
        self.fit(&format!("-{suffix}"), NAME_LIMIT)
    }

    /// `tempo-<stack>-<component>`.
    pub(crate) fn role(&self, role: Role) -> String {
        let limit = if role == Role::Ingester { SET_LIMIT } else { NAME_LIMIT };
        self.fit(&format!("-{}", role.as_str()), limit)
    }

    /// Name of the StatefulSet of a monolithic stack, and of the Service before it.
    pub(crate) fn monolith(&self) -> String {
        self.fit("", SET_LIMIT)
    }

    /// A stack's name that is too long gives way to the beginning of it and a hash, so that the component stays
    /// readable and two long names stay apart.
    fn fit(&self, suffix: &str, limit: usize) -> String {
        let full = dns_name(&format!("tempo-{}{suffix}", self.name));
        if full.len() <= limit {
            return full;
        }
        let hash = format!("{:x}", Sha256::digest(self.name.as_bytes()));
        let hash = &hash[..8];
        let room = limit.saturating_sub("tempo--".len() + hash.len() + suffix.len());
        let start: String = self.name.chars().filter(char::is_ascii).take(room).collect();
        dns_name(&format!("tempo-{start}-{hash}{suffix}"))
    }

    /// Name of the headless Service by which members find each other.
    pub(crate) fn gossip(&self) -> String {
        self.object("gossip-ring")
    }

    /// Name of the headless Service by which queriers find every frontend.
    pub(crate) fn discovery(&self) -> String {
        self.object("query-frontend-discovery")
    }

    /// The name by which a Service of the stack is found from anywhere in the cluster.
    pub(crate) fn host(&self, service: &str, cluster_domain: &str) -> String {
        format!("{service}.{}.svc.{cluster_domain}", self.namespace)
    }

    /// Labels that every pod of the stack carries, whatever else it does.
    pub(crate) fn instance_labels(&self) -> Labels {
        labels([(INSTANCE, self.name.as_str()), MANAGED_BY])
    }

    /// Labels of every object of the stack.
    pub(crate) fn common_labels(&self) -> Labels {
        labels([(INSTANCE, self.name.as_str()), MANAGED_BY, (NAME, self.owner.label())])
    }

    /// Labels of the objects of one component.
    pub(crate) fn labels(&self, component: &str) -> Labels {
        let mut all = self.common_labels();
        all.insert(COMPONENT.to_owned(), component.to_owned());
        all
    }

    /// Labels of Secrets and the ConfigMap with certificates, which are the same for both resources.
    pub(crate) fn certificate_labels(&self) -> Labels {
        labels([(INSTANCE, self.name.as_str()), MANAGED_BY, (NAME, Owner::TempoStack.label())])
    }

    /// Selects the pods of one component.
    pub(crate) fn selector(&self, role: Role) -> LabelSelector {
        self.selector_of(role.as_str())
    }

    /// As `selector`, by the name of the component.
    pub(crate) fn selector_of(&self, component: &str) -> LabelSelector {
        LabelSelector { match_labels: Some(self.labels(component)), ..LabelSelector::default() }
    }

    /// Names an object of this stack and says who owns it.
    pub(crate) fn meta(&self, name: String, labels: Labels) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![self.owner_reference()]),
            ..ObjectMeta::default()
        }
    }

    /// Names an object that is in no namespace: nothing in a namespace can own it, labels have to do.
    pub(crate) fn cluster_meta(&self, name: String, component: &str) -> ObjectMeta {
        let mut labels = self.labels(component);
        labels.insert(NAMESPACE.to_owned(), self.namespace.clone());
        ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() }
    }

    fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "tempo.grafana.com/v1alpha1".to_owned(),
            block_owner_deletion: Some(true),
            controller: Some(true),
            kind: self.owner.as_str().to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// Name of a volume after something that its user named: no dots, and short enough.
pub(crate) fn volume_name(text: &str) -> String {
    let name = dns_name(text);
    if name.len() <= NAME_LIMIT {
        return name;
    }
    let hash = format!("{:x}", Sha256::digest(text.as_bytes()));
    format!("{}-{}", &name[..NAME_LIMIT - 9], &hash[..8])
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Lower-case letters, digits and `-` stay, anything else becomes `-`; `a` stands in for a `-` at either end.
pub(crate) fn dns_name(text: &str) -> String {
    let mut name: String =
        text.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    if name.starts_with('-') {
        name.insert(0, 'a');
    }
    if name.ends_with('-') {
        name.push('a');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        Identity {
            owner: Owner::TempoStack,
            name: name.to_owned(),
            namespace: "n".to_owned(),
            uid: "u".to_owned(),
        }
    }

    #[test]
    fn a_dot_in_the_name_of_a_stack_becomes_a_dash_in_the_names_of_objects_but_stays_in_labels() {
        let stack = identity("my.stack.v2");
        assert_eq!(stack.role(Role::QueryFrontend), "tempo-my-stack-v2-query-frontend");
        assert_eq!(stack.labels("x")[INSTANCE], "my.stack.v2");
    }

    #[test]
    fn a_name_that_the_peer_can_run_gives_the_names_of_the_peer() {
        let stack = identity(&"n".repeat(24));
        let n = &stack.name;
        assert_eq!(stack.discovery(), format!("tempo-{n}-query-frontend-discovery"));
        assert_eq!(stack.object("metrics-generator-mtls"), format!("tempo-{n}-metrics-generator-mtls"));
        assert_eq!(stack.role(Role::Ingester), format!("tempo-{n}-ingester"));
    }

    #[test]
    fn the_longest_name_of_a_stack_gives_names_that_objects_can_have_and_that_stay_apart() {
        let longest = "n".repeat(crate::api::NAME_LIMIT - 1);
        let (one, two) = (identity(&format!("{longest}1")), identity(&format!("{longest}2")));
        for name in [one.discovery(), one.gossip(), one.object("metrics-generator-mtls"), one.base()] {
            assert!(name.len() <= NAME_LIMIT, "{name}");
        }
        assert!(one.role(Role::Ingester).len() <= SET_LIMIT && one.monolith().len() <= SET_LIMIT);
        assert_ne!(one.discovery(), two.discovery());
        assert!(one.discovery().ends_with("-query-frontend-discovery"));
    }

    #[test]
    fn a_volume_may_be_named_after_anything() {
        assert_eq!(volume_name("my.ca"), "my-ca");
        assert!(volume_name(&"x".repeat(200)).len() <= NAME_LIMIT);
    }
}
