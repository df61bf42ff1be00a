//! Events on a stack: what was changed, and how its condition changed. A lost event is logged and nothing more.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client,
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    apply::Changes,
    status::{UNSERVED, active},
};

/// Longest note of an event, in bytes, as the API has it.
const NOTE_LIMIT: usize = 1000;

pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "vivace-operator".to_owned(), instance: Some(instance) };
        Self(Recorder::new(client, reporter))
    }

    /// Objects that were written.
    pub(super) async fn changes(&self, about: &ObjectReference, changes: &Changes) {
        for (reason, names) in
            [("Created", &changes.created), ("Updated", &changes.updated), ("Deleted", &changes.deleted)]
        {
            if !names.is_empty() {
                self.publish(about, EventType::Normal, reason, "Apply", &names.join(", ")).await;
            }
        }
    }

    /// A condition that became true, or says something else than before.
    pub(super) async fn transition(&self, about: &ObjectReference, old: &[Condition], new: &[Condition]) {
        for (type_, reason, message) in transitions(old, new) {
            self.publish(about, type_, &reason, "Reconcile", &message).await;
        }
    }

    /// A resource that is none of its kind, whatever its schema let pass.
    pub(super) async fn unreadable(&self, kind: &str, namespace: &str, name: &str, invalid: &InvalidObject) {
        let about = ObjectReference {
            api_version: Some("tempo.grafana.com/v1alpha1".to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: invalid.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.publish(&about, EventType::Warning, "Unreadable", "Reconcile", &invalid.error).await;
    }

    async fn publish(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: action.to_owned(),
            secondary: None,
        };
        tracing::info!(namespace = about.namespace, name = about.name, reason, note, "event");
        if let Err(error) = self.0.publish(&event, about).await {
            tracing::warn!(%error, reason, "cannot publish an event");
        }
    }
}

fn shorten(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    let mut end = NOTE_LIMIT;
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &note[..end])
}

/// What to tell about the step from one status to the next.
fn transitions(old: &[Condition], new: &[Condition]) -> Vec<(EventType, String, String)> {
    let mut all = Vec::new();
    if let Some(now) = active(new) {
        let is_trouble = matches!(now.type_.as_str(), "Failed" | "ConfigurationError");
        let before = active(old);
        let changed = before.is_none_or(|before| {
            before.type_ != now.type_
                || before.reason != now.reason
                || (is_trouble && before.message != now.message)
        });
        if changed {
            let type_ = if is_trouble { EventType::Warning } else { EventType::Normal };
            all.push((type_, now.reason.clone(), now.message.clone()));
        }
    }
    let unserved =
        |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == UNSERVED).cloned();
    if let Some(now) = unserved(new)
        && unserved(old).is_none_or(|before| before.message != now.message)
    {
        all.push((EventType::Warning, now.reason, now.message));
    }
    all
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn status(type_: &str, message: &str) -> [Condition; 1] {
        [Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message: message.to_owned(),
            observed_generation: None,
            reason: format!("{type_}Reason"),
            status: "True".to_owned(),
            type_: type_.to_owned(),
        }]
    }

    #[test]
    fn a_change_of_condition_is_told_once_and_progress_within_pending_is_not() {
        let pending = status("Pending", "0 of 5");
        assert_eq!(transitions(&[], &pending).len(), 1);
        assert!(transitions(&pending, &status("Pending", "3 of 5")).is_empty());
        assert_eq!(transitions(&pending, &status("Ready", "")).len(), 1);
    }

    #[test]
    fn another_cause_of_the_same_trouble_is_told_as_a_warning() {
        let told = transitions(&status("ConfigurationError", "a"), &status("ConfigurationError", "b"));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, EventType::Warning);
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let long = shorten(&"ü".repeat(NOTE_LIMIT));
        assert!(long.len() <= NOTE_LIMIT + 3 && long.ends_with('…'));
    }
}
