//! Differences of two trees, and which of them are intended.

use std::{cell::RefCell, collections::BTreeSet, fmt};

use serde_json::Value;

/// A leaf that is not the same.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) path: String,
    recorded: String,
    ours: String,
}

impl Difference {
    pub(super) fn new(path: &str, recorded: impl Into<String>, ours: impl Into<String>) -> Self {
        Self { path: path.to_owned(), recorded: recorded.into(), ours: ours.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| text.chars().take(400).collect::<String>();
        write!(f, "{}: recorded {} | ours {}", self.path, short(&self.recorded), short(&self.ours))
    }
}

/// The leaves at which two trees differ; nothing, an empty map, list or text are the same.
pub(super) fn differences(recorded: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(recorded, ours, "", &mut found);
    found
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn walk(recorded: &Value, ours: &Value, path: &str, found: &mut Vec<Difference>) {
    match (recorded, ours) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let value = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                match (one.contains_key(key), other.contains_key(key)) {
                    (true, true) => walk(&value(one), &value(other), &below, found),
                    _ if is_empty(&value(one)) && is_empty(&value(other)) => {}
                    _ => {
                        found.push(Difference::new(&below, value(one).to_string(), value(other).to_string()));
                    }
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                walk(one, other, &format!("{path}[{at}]"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            let only = |these: &[Value], those: &[Value]| {
                let left: Vec<String> =
                    these.iter().filter(|value| !those.contains(value)).map(Value::to_string).collect();
                format!("{} entries, only there: {}", these.len(), left.join(", "))
            };
            found.push(Difference::new(path, only(one, other), only(other, one)));
        }
        (one, other) if one == other || (is_empty(one) && is_empty(other)) => {}
        (one, other) => found.push(Difference::new(path, one.to_string(), other.to_string())),
    }
}

/// Intended differences: case, object and path, each a pattern.
pub(super) struct Allowed {
    lines: Vec<[String; 3]>,
    used: RefCell<BTreeSet<usize>>,
}

/// What comes after it is about clusters alone: without the peer's webhook, a Secret is not looked at before a
/// resource is stored, and `kubectl` prints no warnings.
const CLUSTER_ONLY: &str = "# On a cluster only.";

impl Allowed {
    pub(super) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        };
        let lines =
            text.lines().take_while(|line| !line.starts_with(CLUSTER_ONLY)).filter_map(line).collect();
        Self { lines, used: RefCell::default() }
    }

    /// Lines about objects that no case needs.
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let unused = self.lines.iter().enumerate().filter(|(at, _)| !used.contains(at));
        unused.map(|(_, line)| line.join(" ")).collect()
    }

    pub(super) fn allows(&self, case: &str, object: &str, path: &str) -> bool {
        // Policies are compared pair by pair with what was added on purpose taken out, so nothing is left to allow.
        if object.starts_with("NetworkPolicy/") && path.starts_with("spec.") {
            return false;
        }
        let fits = |[cases, objects, paths]: &[String; 3]| {
            glob(cases, case) && glob(objects, object) && glob(paths, path)
        };
        let found: Vec<usize> =
            self.lines.iter().enumerate().filter(|(_, line)| fits(line)).map(|(at, _)| at).collect();
        self.used.borrow_mut().extend(&found);
        !found.is_empty()
    }
}

/// `*` is any text, `?` any character.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
            Some((wanted, rest)) => text
                .split_first()
                .is_some_and(|(found, left)| (*wanted == b'?' || wanted == found) && matches(rest, left)),
        }
    }
    matches(pattern.as_bytes(), text.as_bytes())
}

/// The fields that a message names.
pub(super) fn fields(message: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_alphanumeric() || "_.[]\"-".contains(c);
    let mut found = BTreeSet::new();
    for start in ["spec.", "metadata."] {
        for (at, _) in message.match_indices(start) {
            let before = message[..at].chars().next_back();
            if before.is_some_and(is_part) {
                continue;
            }
            let rest: String = message[at..].chars().take_while(|c| is_part(*c)).collect();
            found.insert(rest.trim_end_matches(['.', ':']).to_owned());
        }
    }
    found
}
