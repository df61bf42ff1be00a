//! What the operator counts about itself.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{api::ConditionType, apply::Changes, names::Owner};

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Success,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Operation {
    Create,
    Update,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    operation: Operation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    stack_namespace: String,
    stack_name: String,
    condition: &'static str,
}

/// The metrics and where they are kept.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    duration: Histogram,
    writes: Family<WriteLabels, Counter>,
    /// Of stacks and of monolithic ones.
    conditions: [Family<StatusLabels, Gauge>; 2],
    leader: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            duration: Histogram::new(buckets),
            writes: Family::default(),
            conditions: Default::default(),
            leader: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("vivace_operator_reconciles", "Reconciles by result", metrics.reconciles.clone());
        registry.register(
            "vivace_operator_reconcile_duration_seconds",
            "Time of a reconcile",
            metrics.duration.clone(),
        );
        registry.register(
            "vivace_operator_object_writes",
            "Objects created, updated and deleted",
            metrics.writes.clone(),
        );
        registry.register(
            "vivace_operator_leader",
            "1 on the instance that reconciles",
            metrics.leader.clone(),
        );
        let [stacks, monolithic] = &metrics.conditions;
        for (name, family) in
            [("tempostack_status_condition", stacks), ("tempomonolithic_status_condition", monolithic)]
        {
            registry.register(name, "Conditions of each resource: 1 where true", family.clone());
        }
        metrics
    }

    pub(crate) fn reconciled(&self, result: Outcome, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn wrote(&self, changes: &Changes) {
        for (operation, objects) in [
            (Operation::Create, &changes.created),
            (Operation::Update, &changes.updated),
            (Operation::Delete, &changes.deleted),
        ] {
            let count = u64::try_from(objects.len()).unwrap_or(u64::MAX);
            self.writes.get_or_create(&WriteLabels { operation }).inc_by(count);
        }
    }

    pub(crate) fn status(&self, owner: Owner, namespace: &str, name: &str, conditions: &[Condition]) {
        for condition in ConditionType::ALL {
            let is_true =
                conditions.iter().any(|found| found.type_ == condition.as_str() && found.status == "True");
            self.of(owner).get_or_create(&labels(namespace, name, condition)).set(i64::from(is_true));
        }
    }

    fn of(&self, owner: Owner) -> &Family<StatusLabels, Gauge> {
        let [stacks, monolithic] = &self.conditions;
        match owner {
            Owner::TempoStack => stacks,
            Owner::TempoMonolithic => monolithic,
        }
    }

    /// A resource that is gone is not reported any more.
    pub(crate) fn forget(&self, owner: Owner, namespace: &str, name: &str) {
        for condition in ConditionType::ALL {
            self.of(owner).remove(&labels(namespace, name, condition));
        }
    }

    pub(crate) fn leading(&self, is_leader: bool) {
        self.leader.set(i64::from(is_leader));
    }

    /// The text that `/metrics` answers.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn labels(namespace: &str, name: &str, condition: ConditionType) -> StatusLabels {
    StatusLabels {
        stack_namespace: namespace.to_owned(),
        stack_name: name.to_owned(),
        condition: condition.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_reported_until_the_stack_is_gone() {
        let metrics = Metrics::new();
        metrics.status(Owner::TempoStack, "ns", "s", &[]);
        let line = r#"tempostack_status_condition{stack_namespace="ns",stack_name="s",condition="Ready"} 0"#;
        assert!(metrics.text().expect("metrics are text").contains(line));
        metrics.forget(Owner::TempoStack, "ns", "s");
        assert!(!metrics.text().expect("metrics are text").contains(line));
    }

    #[test]
    fn the_dashboard_asks_for_metrics_that_there_are() {
        let metrics = Metrics::new();
        // families without values are not shown
        metrics.status(Owner::TempoStack, "ns", "s", &[]);
        metrics.status(Owner::TempoMonolithic, "ns", "m", &[]);
        metrics.reconciled(Outcome::Success, Duration::ZERO);
        metrics.wrote(&Changes { created: vec!["Service x".to_owned()], ..Changes::default() });
        let page = metrics.text().expect("metrics are text");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vivace-operator/dashboards/operator.json");
        let board = std::fs::read_to_string(path).expect("the dashboard is there");
        let words = board.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let ours = ["vivace_operator_", "tempostack_", "tempomonolithic_"];
        let names: Vec<&str> =
            words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).collect();
        assert!(names.len() > 6, "{names:?}");
        for name in names {
            let mut families = ["_total", "_bucket", ""].iter().filter_map(|end| name.strip_suffix(end));
            assert!(families.any(|family| page.contains(&format!("# TYPE {family} "))), "{name}");
        }
    }
}
