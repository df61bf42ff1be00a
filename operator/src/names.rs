//! Names and labels of a stack's objects: those of Grafana's operator, so that either can take over from the other.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use kube::ResourceExt;

use crate::{api::TempoStack, role::Role};

/// Labels of a set of objects.
pub(crate) type Labels = BTreeMap<String, String>;

/// Who made the object. The peer's value, since selectors cannot be changed afterwards.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tempo-operator");
/// The stack that the object belongs to.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// The component that the object is of.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
const NAME: (&str, &str) = ("app.kubernetes.io/name", "tempo");
/// On every pod that gossips.
pub(crate) const GOSSIP_MEMBER: (&str, &str) = ("tempo-gossip-member", "true");

/// Whose objects they are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

impl Identity {
    /// Of a resource whose name may be too long for objects; good enough to write its status.
    pub(crate) fn unchecked(resource: &TempoStack) -> Self {
        Self {
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
        }
    }

    /// `tempo-<stack>`: the name of the ConfigMap and of the ServiceAccount.
    pub(crate) fn base(&self) -> String {
        dns_name(&format!("tempo-{}", self.name))
    }

    /// `tempo-<stack>-<suffix>`.
    pub(crate) fn object(&self, suffix: &str) -> String {
        dns_name(&format!("tempo-{}-{suffix}", self.name))
    }

    /// `tempo-<stack>-<component>`.
    pub(crate) fn role(&self, role: Role) -> String {
        self.object(role.as_str())
    }

    /// Name of the headless Service by which members find each other.
    pub(crate) fn gossip(&self) -> String {
        self.object("gossip-ring")
    }

    /// Name of the headless Service by which queriers find every frontend.
    pub(crate) fn discovery(&self) -> String {
        self.object("query-frontend-discovery")
    }

    /// Labels that every pod of the stack carries, whatever else it does.
    pub(crate) fn instance_labels(&self) -> Labels {
        labels([(INSTANCE, self.name.as_str()), MANAGED_BY])
    }

    /// Labels of every object of the stack.
    pub(crate) fn common_labels(&self) -> Labels {
        labels([(INSTANCE, self.name.as_str()), MANAGED_BY, NAME])
    }

    /// Labels of the objects of one component.
    pub(crate) fn labels(&self, component: &str) -> Labels {
        let mut all = self.common_labels();
        all.insert(COMPONENT.to_owned(), component.to_owned());
        all
    }

    /// Selects the pods of one component.
    pub(crate) fn selector(&self, role: Role) -> LabelSelector {
        LabelSelector { match_labels: Some(self.labels(role.as_str())), ..LabelSelector::default() }
    }

    /// Names an object of this stack and says who owns it.
    pub(crate) fn meta(&self, name: String, labels: Labels) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "tempo.grafana.com/v1alpha1".to_owned(),
            block_owner_deletion: Some(true),
            controller: Some(true),
            kind: "TempoStack".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
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

    #[test]
    fn a_dot_in_the_name_of_a_stack_becomes_a_dash_in_the_names_of_objects_but_stays_in_labels() {
        let stack =
            Identity { name: "my.stack.v2".to_owned(), namespace: "n".to_owned(), uid: "u".to_owned() };
        assert_eq!(stack.role(Role::QueryFrontend), "tempo-my-stack-v2-query-frontend");
        assert_eq!(stack.labels("x")[INSTANCE], "my.stack.v2");
    }

    #[test]
    fn the_longest_name_of_a_stack_gives_names_that_a_service_can_have() {
        let stack = Identity {
            name: "n".repeat(crate::api::NAME_LIMIT),
            namespace: "n".to_owned(),
            uid: "u".to_owned(),
        };
        assert_eq!(stack.discovery().len(), 63);
    }
}
