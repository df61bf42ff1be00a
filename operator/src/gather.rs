//! `must-gather`: the state of the operator and of its stacks, for somebody who cannot look at the cluster, with secrets left out. IO.
//!
//! # Flow
//! Secrets are read first, so that what they hold is known and can be taken out of everything else (`redact`). Then the definitions,
//! the operator, and each namespace that has one of our resources: the resources, what they own and name, pods, events and logs.
//!
//! # Errors
//! What cannot be read is named in `problems.txt` and does not stop the rest. Only an API server that does not answer, or an output
//! that cannot be written, is an error.

mod archive;
mod redact;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Context as _;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        coordination::v1::Lease,
        core::v1::{Event, PersistentVolumeClaim, Pod, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, LogParams},
};
use serde_json::Value;

use self::{archive::Archive, redact::Known};
use crate::{
    api::{TempoMonolithic, TempoStack},
    kind::Kind,
    names::{INSTANCE, MANAGED_BY},
    references,
};

/// Objects in one answer of the API server, and answers that are asked for.
const PAGE: (u32, usize) = (500, 20);
/// Label of the operator's own objects.
const OPERATOR: &str = "app.kubernetes.io/name=vivace-operator";
/// Lines of a log that are asked for; those behind the limit in bytes are cut off.
const LOG_LINES: i64 = 20_000;

/// What `must-gather` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A folder that is not there yet; a file whose name ends in .tar; `-` for a tar archive on standard output.
    #[arg(long, default_value = "vivace-must-gather")]
    output: PathBuf,
    /// Namespaces to look at; without it, all that have a TempoStack or TempoMonolithic. In the pod of an operator that
    /// serves some namespaces, these.
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    namespace: Vec<String>,
    /// Namespace of the operator.
    #[arg(long, env = "POD_NAMESPACE", default_value = "vivace-operator")]
    operator_namespace: String,
    /// Last bytes of each container's log, and as many of the one before a restart.
    #[arg(long, default_value_t = 1 << 20)]
    log_bytes: usize,
    /// Bytes of everything.
    #[arg(long, default_value_t = 256 << 20)]
    max_bytes: u64,
}

/// Everything that is needed to collect.
struct Gatherer {
    client: Client,
    known: Known,
    archive: Archive,
    log_bytes: usize,
}

/// Collects, and says where it is and what is missing.
pub async fn gather(options: Options) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let client = Client::try_default().await.context("cannot find the API server")?;
    let version = client.apiserver_version().await.context("cannot reach the API server")?;
    let archive = Archive::create(&options.output, options.max_bytes)?;
    let mut gatherer = Gatherer { client, known: Known::default(), archive, log_bytes: options.log_bytes };
    let namespaces = gatherer.namespaces(&options).await;
    for namespace in namespaces.iter().chain([&options.operator_namespace]) {
        gatherer.learn(namespace).await;
    }
    gatherer.known.prepare().context("cannot search for what the Secrets hold")?;
    let about = format!(
        "vivace-operator {}\nkubernetes {}\nnamespaces {}\n",
        env!("CARGO_PKG_VERSION"),
        version.git_version,
        namespaces.iter().cloned().collect::<Vec<_>>().join(" ")
    );
    gatherer.archive.put("version.txt", about.as_bytes())?;
    gatherer.definitions().await?;
    gatherer.operator(&options.operator_namespace).await?;
    for namespace in &namespaces {
        gatherer.namespace(namespace).await?;
    }
    let problems = gatherer.archive.problems.len();
    let files = gatherer.archive.finish()?;
    tracing::info!(output = %options.output.display(), files, problems, "collected; what could not be read is in problems.txt");
    Ok(())
}

fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

impl Gatherer {
    /// Those that were named, or all that have a resource of ours.
    async fn namespaces(&mut self, options: &Options) -> BTreeSet<String> {
        let named = options.namespace.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let mut all: BTreeSet<String> = named.map(str::to_owned).collect();
        if !all.is_empty() {
            return all;
        }
        for resource in [of::<TempoStack>(), of::<TempoMonolithic>()] {
            let found = self.list(&resource, None, "").await;
            all.extend(found.iter().filter_map(ResourceExt::namespace));
        }
        if all.is_empty() {
            self.archive.problem(
                "no namespace has a TempoStack or TempoMonolithic that can be read; name some by --namespace"
                    .to_owned(),
            );
        }
        all
    }

    /// Objects of a kind, in a namespace or anywhere. What cannot be listed is a problem, and nothing.
    async fn list(
        &mut self,
        resource: &ApiResource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Vec<DynamicObject> {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        let place = namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(labels).limit(PAGE.0);
        for _ in 0..PAGE.1 {
            match api.list(&params).await {
                Ok(list) => {
                    found.extend(list.items);
                    match list.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => params = params.continue_token(&token),
                        None => return found,
                    }
                }
                Err(error) => {
                    self.archive.problem(format!(
                        "{}{place}: cannot be listed: {}",
                        resource.plural,
                        reason(&error)
                    ));
                    return found;
                }
            }
        }
        self.archive.problem(format!(
            "{}{place}: more than {}, the others are left out",
            resource.plural,
            found.len()
        ));
        found
    }

    /// Takes in what the Secrets of a namespace hold.
    async fn learn(&mut self, namespace: &str) {
        let before = self.archive.problems.len();
        for secret in self.list(&of::<Secret>(), Some(namespace), "").await {
            if let Ok(value) = serde_json::to_value(secret) {
                self.known.learn(&value);
            }
        }
        if self.archive.problems.len() > before {
            self.archive.problem(format!(
                "namespace {namespace}: without its Secrets, logs were searched for secrets by name and not by value: look at them before they go on"
            ));
        }
    }

    /// Puts an object where it belongs.
    fn put(&mut self, folder: &str, resource: &ApiResource, object: DynamicObject) -> anyhow::Result<()> {
        let name = object.name_any();
        let mut value = serde_json::to_value(object)?;
        value["apiVersion"] = resource.api_version.clone().into();
        value["kind"] = resource.kind.clone().into();
        let text = serde_yaml::to_string(&redact::object(value, &self.known))?;
        self.archive.put(&format!("{folder}/{}/{name}.yaml", resource.plural), text.as_bytes())
    }

    async fn put_all(
        &mut self,
        folder: &str,
        resource: &ApiResource,
        namespace: Option<&str>,
        labels: &str,
    ) -> anyhow::Result<()> {
        for object in self.list(resource, namespace, labels).await {
            self.put(folder, resource, object)?;
        }
        Ok(())
    }

    async fn definitions(&mut self) -> anyhow::Result<()> {
        let resource = of::<CustomResourceDefinition>();
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        for name in [TempoStack::plural(&()), TempoMonolithic::plural(&())]
            .map(|name| format!("{name}.{}", crate::api::GROUP))
        {
            match api.get(&name).await {
                Ok(object) => self.put("cluster", &resource, object)?,
                Err(error) => {
                    self.archive.problem(format!("CustomResourceDefinition {name}: {}", reason(&error)));
                }
            }
        }
        let labels = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_cluster_wide()) {
            self.put_all("cluster", &kind.api_resource(), None, &labels).await?;
        }
        Ok(())
    }

    async fn operator(&mut self, namespace: &str) -> anyhow::Result<()> {
        let folder = format!("operator/{namespace}");
        let kinds =
            [Kind::Deployment.api_resource(), Kind::Service.api_resource(), of::<Pod>(), of::<ReplicaSet>()];
        for resource in kinds {
            self.put_all(&folder, &resource, Some(namespace), OPERATOR).await?;
        }
        self.put_all(&folder, &of::<Lease>(), Some(namespace), "").await?;
        self.events(&folder, namespace).await?;
        self.logs(&folder, namespace, OPERATOR).await
    }

    async fn namespace(&mut self, namespace: &str) -> anyhow::Result<()> {
        let folder = format!("namespaces/{namespace}");
        let mut secrets = BTreeSet::new();
        let mut config_maps = BTreeSet::new();
        for resource in [of::<TempoStack>(), of::<TempoMonolithic>()] {
            for object in self.list(&resource, Some(namespace), "").await {
                match names(&resource, &object) {
                    Ok(named) => {
                        secrets.extend(named.secrets);
                        config_maps.extend(named.config_maps);
                    }
                    Err(error) => {
                        let name = object.name_any();
                        self.archive.problem(format!(
                            "{} {name} in namespace {namespace}: what it names is not known: {error}",
                            resource.kind
                        ));
                    }
                }
                self.put(&folder, &resource, object)?;
            }
        }
        let labels = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let mut kinds: Vec<ApiResource> =
            vec![of::<Pod>(), of::<ReplicaSet>(), of::<PersistentVolumeClaim>()];
        let known = Kind::ALL.into_iter().filter(|kind| !kind.is_cluster_wide() && !kind.is_of_others());
        kinds.extend(known.map(Kind::api_resource));
        kinds.extend(self.served(namespace).await);
        for resource in &kinds {
            self.put_all(&folder, resource, Some(namespace), &labels).await?;
        }
        for (resource, named) in
            [(Kind::Secret.api_resource(), secrets), (Kind::ConfigMap.api_resource(), config_maps)]
        {
            self.named(&folder, namespace, &resource, &named).await?;
        }
        self.events(&folder, namespace).await?;
        self.logs(&folder, namespace, &format!("{labels},{INSTANCE}")).await
    }

    /// Kinds of other operators, where the cluster has them.
    async fn served(&mut self, namespace: &str) -> Vec<ApiResource> {
        let groups: BTreeSet<String> = match self.client.list_api_groups().await {
            Ok(list) => list.groups.into_iter().map(|group| group.name).collect(),
            Err(error) => {
                self.archive.problem(format!(
                    "kinds of other operators in namespace {namespace}: {}",
                    reason(&error)
                ));
                BTreeSet::new()
            }
        };
        let others = Kind::ALL.into_iter().filter(|kind| kind.is_of_others());
        others.map(Kind::api_resource).filter(|resource| groups.contains(&resource.group)).collect()
    }

    /// What resources name and do not own: that it is there, and which keys it has.
    async fn named(
        &mut self,
        folder: &str,
        namespace: &str,
        resource: &ApiResource,
        names: &BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        for name in names {
            match api.get(name).await {
                Ok(object) if object.labels().get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1) => {}
                Ok(object) => self.put(folder, resource, object)?,
                Err(error) => self.archive.problem(format!(
                    "{} {name} in namespace {namespace}: {}",
                    resource.kind,
                    reason(&error)
                )),
            }
        }
        Ok(())
    }

    async fn events(&mut self, folder: &str, namespace: &str) -> anyhow::Result<()> {
        let events = self.list(&of::<Event>(), Some(namespace), "").await;
        let mut lines: Vec<String> =
            events.iter().filter_map(|event| Some(line(&serde_json::to_value(event).ok()?))).collect();
        lines.sort();
        let text = redact::log(&lines.concat(), &self.known);
        self.archive.put(&format!("{folder}/events.txt"), text.as_bytes())
    }

    /// Of every container, also of the one before a restart.
    async fn logs(&mut self, folder: &str, namespace: &str, labels: &str) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = match pods.list(&ListParams::default().labels(labels).limit(PAGE.0)).await {
            Ok(list) => list.items,
            Err(error) => {
                self.archive.problem(format!(
                    "logs in namespace {namespace}: pods cannot be listed: {}",
                    reason(&error)
                ));
                return Ok(());
            }
        };
        for pod in found {
            let status = pod.status.clone().unwrap_or_default();
            let containers = [status.init_container_statuses, status.container_statuses];
            for container in containers.into_iter().flatten().flatten() {
                let previous = container.restart_count > 0;
                for previous in [Some(false), previous.then_some(true)].into_iter().flatten() {
                    self.log(folder, &pods, (&pod.name_any(), &container.name), previous).await?;
                }
            }
        }
        Ok(())
    }

    async fn log(
        &mut self,
        folder: &str,
        pods: &Api<Pod>,
        (pod, container): (&str, &str),
        previous: bool,
    ) -> anyhow::Result<()> {
        let limit = i64::try_from(self.log_bytes.saturating_mul(4)).unwrap_or(i64::MAX);
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(limit),
            timestamps: true,
            ..LogParams::default()
        };
        let suffix = if previous { ".previous" } else { "" };
        match pods.logs(pod, &params).await {
            Ok(text) => {
                let text = redact::log(&text, &self.known);
                let path = format!("{folder}/logs/{pod}/{container}{suffix}.log");
                self.archive.put(&path, last(&text, self.log_bytes).as_bytes())
            }
            Err(error) => {
                self.archive.problem(format!("log{suffix} of {container} in pod {pod}: {}", reason(&error)));
                Ok(())
            }
        }
    }
}

/// What the API server says, without the debug output of the client.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

fn names(
    resource: &ApiResource,
    object: &DynamicObject,
) -> Result<references::References, serde_json::Error> {
    let spec = object.data["spec"].clone();
    if resource.kind == TempoStack::kind(&()) {
        return Ok(references::of_stack(&serde_json::from_value(spec)?));
    }
    Ok(references::of_monolithic(&serde_json::from_value(spec)?))
}

/// The end of a text, from the beginning of a line.
fn last(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let start = text.len() - bytes;
    text.as_bytes()[start..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or("", |line| &text[start + line + 1..])
}

/// An event in a line, the time first.
fn line(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    let time = times.into_iter().map(text).find(|time| !time.is_empty()).unwrap_or_default();
    let count = event["count"].as_i64().or_else(|| event.pointer("/series/count")?.as_i64()).unwrap_or(1);
    let message = text("/message").replace('\n', " ");
    let object = ["/involvedObject/kind", "/involvedObject/name"].map(text).join("/");
    format!("{time} {} {} {object} x{count}: {message}\n", text("/type"), text("/reason"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_long_log_whole_lines_of_the_end_are_kept() {
        assert_eq!(last("one\ntwo\nthree\n", 100), "one\ntwo\nthree\n");
        assert_eq!(last("one\ntwo\nthree\n", 8), "three\n");
        assert_eq!(last("one\nzwölf\nthree\n", 11), "three\n");
        assert_eq!(last("a line without an end", 4), "");
    }

    #[test]
    fn an_event_is_a_line_that_sorts_by_time() {
        let event = json!({
            "type": "Warning", "reason": "BackOff", "message": "back-off\nrestarting", "count": 3, "lastTimestamp": "2026-11-30T10:00:00Z",
            "involvedObject": {"kind": "Pod", "name": "p"}, "metadata": {"creationTimestamp": "2026-11-30T09:00:00Z"},
        });
        assert_eq!(line(&event), "2026-11-30T10:00:00Z Warning BackOff Pod/p x3: back-off restarting\n");
    }
}
