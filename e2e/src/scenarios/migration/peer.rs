//! A cluster as Grafana's operator leaves it: the objects that it was recorded to make of a `TempoStack`, written by `Update` under its
//! field manager and owned by the resource, with certificates that are valid. Its image is not at hand: ours stands in for it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::progress::output;
use crate::scenarios::text;
use crate::stack::{NAMESPACE, Stack};

/// The recorded case.
const CASE: &str = "data/operator-objects/objects/ts-minimal";
/// Its resource.
pub(super) const NAME: &str = "t1";
/// Its bucket.
pub(super) const BUCKET: &str = "spans";
/// Under which name the operator's fields are recorded: that of its program.
pub(super) const MANAGER: &str = "manager";
/// The workloads' image.
const IMAGE: &str = "vivace.local/vivace:e2e";
/// What it left behind when a gateway was switched off: it never prunes ConfigMaps.
pub(super) const LEFTOVER: &str = "tempo-t1-gateway";
/// A ConfigMap of a user's, with the labels of the stack.
pub(super) const BYSTANDER: &str = "of-a-user";

/// The recorded objects, as they would stand on this cluster.
#[derive(Debug)]
pub(super) struct Peer {
    /// As the operator writes them.
    pub(super) objects: Vec<Value>,
}

impl Peer {
    /// The resource with the defaults that the peer's webhook writes into it, its Secret, and then the objects.
    pub(super) fn install(stack: &Stack<'_>) -> Result<Self> {
        let part = |file: &str| stack.cluster.home.part(&format!("{CASE}/{file}"));
        let mut given = documents(&fs::read_to_string(part("in.yaml"))?)?;
        given.retain(|object| object["kind"] == "Secret");
        given.extend(documents(&fs::read_to_string(part("cr.yaml"))?)?);
        for object in &mut given {
            object["metadata"]["namespace"] = json!(NAMESPACE);
            if object["kind"] == "Secret" {
                object["stringData"]["endpoint"] = json!("http://minio:9000");
                object["stringData"]["access_key_id"] = json!("tempo");
                object["stringData"]["access_key_secret"] = json!("supersecret");
            }
        }
        stack.kubectl_with(&["apply", "--filename"], &list(&given))?;
        let resource = stack.resource()?;
        let uid = text(&resource, "/metadata/uid").to_owned();
        stack.kubectl(&[
            "patch",
            "tempostack",
            NAME,
            "--subresource=status",
            "--type=merge",
            &format!("--field-manager={MANAGER}"),
            "--patch",
            &json!({"status": {
                "operatorVersion": "0.22.0", "tempoVersion": "2.10.8",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-11-01T00:00:00Z",
                    "message": "All components are operational"}],
            }})
            .to_string(),
        ])?;
        let mut peer = Self { objects: recorded(&fs::read_to_string(part("owned.yaml"))?, &uid)? };
        let authority = Authority::make()?;
        for object in &mut peer.objects {
            authority.fill(object)?;
        }
        let config_map = |name: &str, owners: &Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"rbac.yaml": "roles: []\n"}, "metadata": {
                "name": name, "namespace": NAMESPACE, "ownerReferences": owners, "labels": peer.objects[0]["metadata"]["labels"],
            }})
        };
        let left = [
            config_map(LEFTOVER, &peer.objects[0]["metadata"]["ownerReferences"]),
            config_map(BYSTANDER, &json!([])),
        ];
        let all: Vec<Value> = peer.objects.iter().chain(&left).cloned().collect();
        let manager = format!("--field-manager={MANAGER}");
        stack.kubectl_with(&["create", &manager, "--filename"], &list(&all))?;
        Ok(peer)
    }

    /// Writes the objects again, as the operator does when it finds others' values in them. Certificates that are valid it leaves.
    pub(super) fn write(&self, stack: &Stack<'_>) -> Result<()> {
        let all: Vec<Value> =
            self.objects.iter().filter(|o| o["kind"] != "Secret" && !is_bundle(o)).cloned().collect();
        let manager = format!("--field-manager={MANAGER}");
        stack.kubectl_with(&["replace", &manager, "--filename"], &list(&all)).map(drop)
    }
}

fn is_bundle(object: &Value) -> bool {
    text(object, "/metadata/name").ends_with("-ca-bundle")
}

fn list(objects: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let all =
        text.split("\n---\n").map(|one| serde_yaml::from_str::<Value>(one).context("a recorded object"));
    all.filter(|one| !matches!(one, Ok(Value::Null))).collect()
}

/// What the recording replaced by placeholders is put back.
fn recorded(text: &str, uid: &str) -> Result<Vec<Value>> {
    let text = text
        .replace("ts-minimal", NAMESPACE)
        .replace("objects.storage.svc:9000", "minio:9000")
        .replace("<default image tempo>", IMAGE)
        .replace("<uid>", uid)
        .replace("<hash>", "recorded")
        .replace("<issuer>", ISSUER)
        .replace("<time>", "2026-11-01T00:00:00Z");
    let mut objects = documents(&text)?;
    for spec in
        objects.iter_mut().filter_map(|object| object.pointer_mut("/spec/template/spec/securityContext"))
    {
        // Tempo's image does that by itself
        spec["runAsUser"] = json!(10001);
        spec["runAsGroup"] = json!(10001);
    }
    ensure!(objects.len() > 30, "only {} recorded objects", objects.len());
    Ok(objects)
}

/// The peer names its authorities so: namespace, Secret, time.
const ISSUER: &str = "vivace-e2e_tempo-t1-signing-ca@1793491200";

/// An authority for the certificates that the recording left out.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn make() -> Result<Self> {
        let authority = Self { folder: tempfile::tempdir()? };
        authority.openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 1095 -subj /CN={ISSUER} \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"
        ))?;
        Ok(authority)
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split_whitespace()).current_dir(self.folder.path());
        output(&mut openssl).map(drop)
    }

    fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.folder.path().join(file)).with_context(|| format!("read {file}"))
    }

    /// Puts certificates where the recording says `<PEM>`.
    fn fill(&self, object: &mut Value) -> Result<()> {
        let name = text(object, "/metadata/name").to_owned();
        if is_bundle(object) {
            object["data"]["service-ca.crt"] = json!(self.read("ca.crt")?);
        } else if name.ends_with("-signing-ca") {
            object.as_object_mut().context("an object")?.remove("data");
            object["stringData"] = json!({"tls.crt": self.read("ca.crt")?, "tls.key": self.read("ca.key")?});
        } else if object["kind"] == "Secret" {
            let hosts = text(object, "/metadata/annotations/tempo.grafana.com~1certificate-hostnames");
            let names: Vec<String> = hosts.split(',').map(|host| format!("DNS:{host}")).collect();
            self.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.crt -days 90 -subj /CN={name} -CA ca.crt -CAkey ca.key \
                 -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth,clientAuth \
                 -addext subjectAltName={}",
                names.join(",")
            ))?;
            let chain = format!("{}{}", self.read("leaf.crt")?, self.read("ca.crt")?);
            object.as_object_mut().context("an object")?.remove("data");
            object["stringData"] = json!({"tls.crt": chain, "tls.key": self.read("leaf.key")?});
        }
        Ok(())
    }
}
