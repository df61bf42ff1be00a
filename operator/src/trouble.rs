//! Why a pod does not run, in Kubernetes' own words. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// Why a container does not run. Where Kubernetes alternates between two states, one word keeps the message still.
fn waits_for(container: &ContainerStatus) -> Option<&str> {
    let state = container.state.as_ref()?;
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    match state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()) {
        Some("ContainerCreating" | "PodInitializing") | None => {
            let failed = state.terminated.as_ref().or(ended).is_some_and(|ended| ended.exit_code != 0);
            (failed && !container.ready).then_some("CrashLoopBackOff")
        }
        Some("ErrImagePull") => Some("ImagePullBackOff"),
        reason => reason,
    }
}

/// What keeps a pod from running, with its name; nothing while it is merely on its way.
pub(crate) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let reason = lists.into_iter().flatten().flatten().find_map(waits_for);
    let unscheduled = || {
        let conditions = status.conditions.iter().flatten();
        conditions
            .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
            .find_map(|condition| condition.reason.as_deref())
    };
    Some(format!("{} {}", pod.name_any(), reason.or_else(unscheduled)?))
}
