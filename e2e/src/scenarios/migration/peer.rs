//! A cluster as Grafana's operator leaves it: the objects that it was recorded to make of a `TempoStack`, written by `Update` under its
//! field manager and owned by the resource, with certificates that are valid. Its image is not at hand: ours stands in for it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::progress::output;
use crate::scenarios::text;
use crate::stack::{NAMESPACE, Stack};

/// A recorded case, and the resource in it.
#[derive(Debug)]
pub(super) struct Case {
    folder: &'static str,
    /// As kubectl calls it.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
}

/// One of each kind.
pub(super) const CASES: [Case; 2] = [
    Case { folder: "ts-minimal", kind: "tempostack", name: "t1" },
    Case { folder: "tm-pv", kind: "tempomonolithic", name: "mono" },
];
/// The bucket of the first.
pub(super) const BUCKET: &str = "spans";
/// Under which name the operator's fields are recorded: that of its program.
pub(super) const MANAGER: &str = "manager";
/// The workloads' image.
const IMAGE: &str = "vivace.local/vivace:e2e";
/// A resource and its recorded objects, as they would stand on this cluster.
#[derive(Debug)]
pub(super) struct Peer<'a> {
    pub(super) stack: Stack<'a>,
    /// As the operator writes them.
    pub(super) objects: Vec<Value>,
}

impl<'a> Peer<'a> {
    /// The resource with the defaults that the peer's webhook writes into it, its Secret, and then the objects.
    pub(super) fn install(stack: Stack<'a>, case: &Case) -> Result<Self> {
        let part = |file: &str| {
            stack.cluster.home.part(&format!("data/operator-objects/objects/{}/{file}", case.folder))
        };
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
            case.kind,
            case.name,
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
        let mut peer =
            Self { stack, objects: recorded(&fs::read_to_string(part("owned.yaml"))?, case, &uid)? };
        let authority = Authority::make(case)?;
        for object in &mut peer.objects {
            authority.fill(object)?;
        }
        let meta = &peer.objects[0]["metadata"];
        let config_map = |name: String, owners: &Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"rbac.yaml": "roles: []\n"},
                "metadata": {"name": name, "ownerReferences": owners, "labels": meta["labels"]}})
        };
        let left =
            [config_map(peer.leftover(), &meta["ownerReferences"]), config_map(peer.bystander(), &json!([]))];
        let all: Vec<Value> = peer.objects.iter().chain(&left).cloned().collect();
        let manager = format!("--field-manager={MANAGER}");
        peer.stack.kubectl_with(&["create", &manager, "--filename"], &list(&all))?;
        Ok(peer)
    }

    /// What the operator left behind when a gateway was switched off: it never prunes ConfigMaps.
    pub(super) fn leftover(&self) -> String {
        format!("tempo-{}-gateway", self.stack.name)
    }

    /// A ConfigMap of a user's, with the labels of the stack.
    pub(super) fn bystander(&self) -> String {
        format!("of-a-user-{}", self.stack.name)
    }

    /// Writes the objects again, as the operator does when it finds others' values in them. Certificates that are valid it leaves.
    pub(super) fn write(&self) -> Result<()> {
        let all: Vec<Value> =
            self.objects.iter().filter(|o| o["kind"] != "Secret" && !is_bundle(o)).cloned().collect();
        let manager = format!("--field-manager={MANAGER}");
        self.stack.kubectl_with(&["replace", &manager, "--filename"], &list(&all)).map(drop)
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
fn recorded(text: &str, case: &Case, uid: &str) -> Result<Vec<Value>> {
    let text = text
        .replace(case.folder, NAMESPACE)
        .replace("objects.storage.svc:9000", "minio:9000")
        .replace("<default image tempo>", IMAGE)
        .replace("<uid>", uid)
        .replace("<hash>", "recorded")
        .replace("<issuer>", &issuer(case))
        .replace("<time>", "2026-11-01T00:00:00Z");
    let mut objects = documents(&text)?;
    for spec in objects.iter_mut().filter_map(|object| object.pointer_mut("/spec/template/spec")) {
        // Tempo's image does that by itself
        spec["securityContext"]["runAsUser"] = json!(10001);
        spec["securityContext"]["runAsGroup"] = json!(10001);
    }
    ensure!(objects.len() > 6, "only {} recorded objects", objects.len());
    Ok(objects)
}

/// The peer names its authorities so: namespace, Secret, time.
fn issuer(case: &Case) -> String {
    format!("{NAMESPACE}_tempo-{}-signing-ca@1793491200", case.name)
}

/// An authority for the certificates that the recording left out.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn make(case: &Case) -> Result<Self> {
        let authority = Self { folder: tempfile::tempdir()? };
        authority.openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 1095 -subj /CN={} \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign",
            issuer(case)
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
