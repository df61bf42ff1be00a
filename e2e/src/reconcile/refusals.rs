//! What the API server refuses by itself: a quota, a policy of the cluster's, a namespace that is going. Each is said, and clears by itself.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{LIMIT, RECONCILES, Subject, proxy::Proxy, specs::NAME, wait};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1";

/// A stack that may not have more than two Services, and then as many as it needs.
pub(super) fn quota(subject: &Subject<'_>, proxy: &Proxy) -> Result<String> {
    proxy.storm(&subject.namespace, 0, false);
    subject.prepare()?;
    let quotas = subject.in_namespace("resourcequotas");
    let quota = json!({"metadata": {"name": "small"}, "spec": {"hard": {"count/services": "2"}}});
    subject.api.must("POST", &quotas, Some(&quota))?;
    wait(LIMIT, "the quota counts", || {
        let found = subject.api.must("GET", &format!("{quotas}/small"), None)?;
        ensure!(found["status"]["used"].is_object(), "not yet");
        Ok(())
    })?;
    subject.apply(&subject.kind.last())?;
    let said = until_failed(subject, "exceeded quota")?;
    subject.api.must("DELETE", &format!("{quotas}/small"), None)?;
    wait(LIMIT, "it goes on without the quota", || subject.says("Pending"))?;
    Ok(said)
}

/// A policy of the cluster's that takes no Deployments, and then is gone.
pub(super) fn policy(subject: &Subject<'_>) -> Result<String> {
    let rules = json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]);
    let policy = json!({"metadata": {"name": "none"}, "spec": {
        "failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false", "message": "no Deployments today"}],
    }});
    let only = json!({"matchLabels": {"kubernetes.io/metadata.name": subject.namespace}});
    let binding = json!({"metadata": {"name": "none"}, "spec": {
        "policyName": "none", "validationActions": ["Deny"], "matchResources": {"namespaceSelector": only},
    }});
    let (policies, bindings) = (
        format!("{POLICIES}/validatingadmissionpolicies"),
        format!("{POLICIES}/validatingadmissionpolicybindings"),
    );
    subject.api.must("POST", &policies, Some(&policy))?;
    subject.api.must("POST", &bindings, Some(&binding))?;
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", subject.namespace);
    let querier = format!("{deployments}/tempo-{NAME}-querier");
    let said = wait(LIMIT, "a Deployment is refused", || {
        // until the policy holds, the operator makes it anew
        subject.api.request("DELETE", &querier, None)?;
        said(subject, "no Deployments today")
    })?;
    for path in [bindings, policies] {
        subject.api.must("DELETE", &format!("{path}/none"), None)?;
    }
    wait(LIMIT, "it goes on without the policy", || {
        subject.api.must("GET", &querier, None)?;
        subject.says("Pending")
    })?;
    Ok(said)
}

/// The namespace goes, and the operator neither holds it up nor spins on what it may no longer make there.
pub(super) fn going(subject: &Subject<'_>, proxy: &Proxy) -> Result<String> {
    let namespace = format!("/api/v1/namespaces/{}", subject.namespace);
    let before = proxy.seen(&subject.namespace).reconciles;
    subject.api.must("DELETE", &namespace, None)?;
    wait(LIMIT, "the namespace is gone", || {
        ensure!(subject.api.find(&namespace)?.is_none(), "it is still there");
        Ok(())
    })?;
    let reconciles = proxy.seen(&subject.namespace).reconciles - before;
    ensure!(reconciles <= RECONCILES * LIMIT.as_secs(), "{reconciles} reconciles while it went");
    Ok(format!("{reconciles} reconciles while it went"))
}

fn until_failed(subject: &Subject<'_>, word: &str) -> Result<String> {
    wait(LIMIT, word, || said(subject, word))
}

/// What `Failed` says, if it is true and has a word in it.
fn said(subject: &Subject<'_>, word: &str) -> Result<String> {
    subject.says("Failed")?;
    let resource = subject.resource()?;
    let all = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let failed = all.iter().find(|condition| condition["type"] == "Failed").context("no such condition")?;
    let message = failed["message"].as_str().map(str::to_owned).unwrap_or_default();
    ensure!(message.contains(word), "it says: {message}");
    Ok(message.chars().take(120).collect())
}
