//! What can go wrong between the operator and the API server, and when. Pure: the same seed gives the same choices.

use serde_json::{Value, json};

use crate::shop::Shop;

/// A request of the operator, as far as faults depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) target: String,
}

/// A fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// The API server answers with this instead.
    Refused(u16, Value),
    /// No answer comes, and nothing has happened.
    LostBefore,
    /// No answer comes, though it has happened.
    LostAfter,
    /// A gateway's time ran out, though it has happened.
    LateAfter,
    /// Half of the answer comes.
    CutShort,
    /// Somebody changes the object just before, by this merge patch.
    Edited(Value),
    /// Somebody deletes the object just before.
    Deleted,
    /// A watch that ends after so many milliseconds, with or without word that its version has expired.
    WatchEnds { milliseconds: u64, expired: bool },
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The namespace that it is about, also where that stands in a selector only.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let selector = "app.kubernetes.io%2Fnamespace%3D";
        let from = |start: &str, ends: &[char]| {
            let (_, rest) = self.target.split_once(start)?;
            rest.split(ends).next()
        };
        from("/namespaces/", &['/', '?']).or_else(|| from(selector, &['&', '%']))
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.target.contains("watch=true") || self.target.contains("watch=1")
    }

    /// Server-side apply, patches, creations and deletions; events too.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// The plural of what it is about.
    pub(crate) fn resource(&self) -> &str {
        let mut parts = self.path().split('/').skip_while(|part| *part != "namespaces").skip(2);
        parts.next().unwrap_or_default()
    }

    /// A write to one object as a whole, not to its status.
    fn is_of_object(&self) -> bool {
        self.method == "PATCH" && self.path().rsplit('/').next() != Some("status")
    }

    /// The reading of a resource of ours, with which each reconcile begins.
    pub(crate) fn begins_reconcile(&self) -> bool {
        let names = ["tempostacks", "tempomonolithics"];
        let is_one = self.path().split('/').count() == 8; // "", apis, group, version, namespaces, one, plural, name
        self.method == "GET" && is_one && names.contains(&self.resource()) && !self.is_watch()
    }
}

/// Out of a hundred reads and writes, so many go wrong. A reconcile reads some twenty-five times: were it more, none would
/// ever come to its writes.
const READS: u64 = 1;
const WRITES: u64 = 22;

/// Whether a request goes wrong, and how.
pub(crate) fn choose(dice: &mut Shop, request: &Request) -> Option<Fault> {
    if request.is_watch() {
        let milliseconds = 200 + dice.below(2500);
        return Some(match dice.below(5) {
            0 => Fault::Refused(410, status(410, "Expired", "too old resource version")),
            1 => Fault::LostBefore,
            2 => Fault::WatchEnds { milliseconds, expired: true },
            _ => Fault::WatchEnds { milliseconds, expired: false },
        });
    }
    if !request.is_write() {
        return (dice.below(100) < READS).then(|| match dice.below(5) {
            0 => Fault::LostBefore,
            1 => Fault::CutShort,
            2 => refused(429, "TooManyRequests", "the server has received too many requests"),
            3 => refused(500, "InternalError", "etcdserver: leader changed"),
            _ => refused(503, "ServiceUnavailable", "apiserver is shutting down"),
        });
    }
    if dice.below(100) >= WRITES {
        return None;
    }
    Some(match dice.below(if request.is_of_object() { 16 } else { 10 }) {
        0 => Fault::LostBefore,
        1 => Fault::LostAfter,
        2 => Fault::LateAfter,
        3 => refused(429, "TooManyRequests", "the server has received too many requests"),
        4 => refused(500, "InternalError", "etcdserver: request timed out"),
        5 => refused(503, "ServiceUnavailable", "apiserver is shutting down"),
        6 => refused(
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version",
        ),
        7 => refused(
            403,
            "Forbidden",
            "forbidden: exceeded quota: small, requested: pods=1, used: pods=9, limited: pods=9",
        ),
        8 => refused(
            403,
            "Forbidden",
            "forbidden: unable to create new content because it is being terminated",
        ),
        9 => refused(
            400,
            "BadRequest",
            "admission webhook \"policy.example.org\" denied the request: not today",
        ),
        10 | 11 => Fault::Deleted,
        _ => Fault::Edited(meddling(dice, request.path())),
    })
}

fn refused(code: u16, reason: &str, message: &str) -> Fault {
    Fault::Refused(code, status(code, reason, message))
}

/// The API server's words for an error.
pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// Parts that come and go with the spec. Without its labels an object is not found by a reconcile that no longer wants it; it goes
/// with its owner.
const OPTIONAL: [&str; 3] = ["gateway", "metrics-generator", "-extra"];

/// What somebody does to an object: also to its labels, by which the operator finds it.
pub(crate) fn meddling(dice: &mut Shop, path: &str) -> Value {
    let request = Request { method: "PATCH".to_owned(), target: path.to_owned() };
    let label = |key: &str, value: Value| json!({"metadata": {"labels": {format!("app.kubernetes.io/{key}"): value}}});
    let own = match request.resource() {
        "configmaps" => {
            vec![json!({"data": {"tempo.yaml": "edited"}}), json!({"data": {"surplus": "edited"}})]
        }
        "secrets" => vec![json!({"data": {"tls.key": "ZWRpdGVk"}}), json!({"data": {"ca.crt": null}})],
        "services" => vec![
            json!({"spec": {"ports": [{"name": "edited", "port": 1}]}}),
            json!({"spec": {"selector": {"edited": "edited"}}}),
        ],
        "networkpolicies" => vec![
            json!({"spec": {"policyTypes": ["Egress"]}}),
            json!({"spec": {"podSelector": {"matchLabels": {"edited": "edited"}}}}),
        ],
        "deployments" | "statefulsets" => {
            vec![
                json!({"spec": {"template": {"spec": {"containers": [{"name": "edited", "image": "edited"}]}}}}),
            ]
        }
        "poddisruptionbudgets" => vec![json!({"spec": {"maxUnavailable": 9}})],
        "ingresses" => vec![json!({"spec": {"rules": [{"host": "edited.example.org"}]}})],
        _ => Vec::new(),
    };
    let mut all = own;
    // Of the others anybody may set it: the spec says nothing of it.
    all.extend(path.ends_with("-querier").then(|| json!({"spec": {"replicas": 7}})));
    if !OPTIONAL.iter().any(|part| path.contains(part)) {
        all.extend([label("managed-by", json!("nobody")), label("instance", Value::Null)]);
    }
    if all.is_empty() {
        return json!({});
    }
    let index = dice.below(all.len() as u64) as usize;
    all.swap_remove(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> Request {
        Request { method: method.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn a_request_says_what_it_is_about() {
        let read = request("GET", "/apis/tempo.grafana.com/v1alpha1/namespaces/a/tempostacks/s");
        assert!(read.begins_reconcile() && !read.is_write());
        assert_eq!((read.namespace(), read.resource()), (Some("a"), "tempostacks"));
        let list =
            request("GET", "/apis/rbac/v1/clusterroles?&labelSelector=x%2Capp.kubernetes.io%2Fnamespace%3Da");
        assert_eq!(list.namespace(), Some("a"));
        let watch = request("GET", "/api/v1/pods?&watch=true&allowWatchBookmarks=true");
        assert!(watch.is_watch() && watch.namespace().is_none());
        let status = request("PATCH", "/apis/g/v1/namespaces/a/tempostacks/s/status?force=true");
        assert!(status.is_write() && !status.is_of_object());
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_every_fault_comes_up() {
        let patch = request("PATCH", "/api/v1/namespaces/a/configmaps/c?&force=true");
        let all = |seed| -> Vec<_> {
            let mut dice = Shop::new(seed);
            (0..2000).map(|_| choose(&mut dice, &patch)).collect()
        };
        let faults = all(1);
        assert_eq!(faults, all(1));
        assert_ne!(faults, all(2));
        assert!(faults.contains(&None) && faults.contains(&Some(Fault::Deleted)));
        assert!(faults.contains(&Some(Fault::LostAfter)) && faults.contains(&Some(Fault::LateAfter)));
        for code in [400, 403, 409, 429, 500, 503] {
            let came = faults
                .iter()
                .flatten()
                .any(|fault| matches!(fault, Fault::Refused(found, _) if *found == code));
            assert!(came, "{code}");
        }
    }
}
