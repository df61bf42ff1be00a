//! HorizontalPodAutoscalers of components that scale by themselves.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

use crate::{api::Autoscaling, role::Role, validate::Stack};

/// CPU to aim at where no target is said, in percent of what is requested.
const DEFAULT_CPU: i32 = 80;

/// One for each component that has `autoscaling`.
pub(super) fn all(stack: &Stack) -> Vec<HorizontalPodAutoscaler> {
    let scaled =
        stack.roles().filter_map(|role| Some((role, stack.workloads.get(role).autoscaling.as_ref()?)));
    scaled.map(|(role, given)| autoscaler(stack, role, given)).collect()
}

fn autoscaler(stack: &Stack, role: Role, given: &Autoscaling) -> HorizontalPodAutoscaler {
    let identity = &stack.common.identity;
    let kind = if role == Role::Ingester { "StatefulSet" } else { "Deployment" };
    let cpu = given.target_cpu.or_else(|| given.target_memory.is_none().then_some(DEFAULT_CPU));
    let metrics = [("cpu", cpu), ("memory", given.target_memory)];
    HorizontalPodAutoscaler {
        metadata: identity.meta(identity.role(role), identity.labels(role.as_str())),
        spec: Some(HorizontalPodAutoscalerSpec {
            behavior: (role == Role::Ingester).then(one_at_a_time),
            max_replicas: given.max_replicas,
            min_replicas: Some(given.min_replicas.unwrap_or(1)),
            metrics: Some(
                metrics.into_iter().filter_map(|(name, target)| Some(metric(name, target?))).collect(),
            ),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: kind.to_owned(),
                name: identity.role(role),
            },
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

fn metric(resource: &str, percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: resource.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

/// An ingester uploads what it holds before it is gone; the next waits for it.
fn one_at_a_time() -> HorizontalPodAutoscalerBehavior {
    HorizontalPodAutoscalerBehavior {
        scale_down: Some(HPAScalingRules {
            policies: Some(vec![HPAScalingPolicy {
                period_seconds: 600,
                type_: "Pods".to_owned(),
                value: 1,
            }]),
            ..HPAScalingRules::default()
        }),
        scale_up: None,
    }
}
