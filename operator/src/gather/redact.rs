//! What must not leave the cluster, taken out of what is collected. Pure.
//!
//! # Flow
//! Three nets, one behind the other. By place: the values of Secrets go, whatever they are. By name: values of keys, variables and
//! arguments whose names say that they are secret. By value: wherever something that a Secret of the namespace holds turns up, in a
//! log or elsewhere, it goes too.
//!
//! # Guarantees
//! Nothing that a Secret we could read holds is in the output, but for the few keys of a storage Secret that only say where the
//! storage is, and for values too short to tell from ordinary words.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// In the place of what was taken out.
pub(super) const REDACTED: &str = "<redacted>";
/// Keys of storage Secrets that say where something is, and no more.
const PLACES: [&str; 9] = [
    "bucket",
    "bucketname",
    "container",
    "endpoint",
    "region",
    "audience",
    "account_name",
    "tenant_id",
    "client_id",
];
/// What the name of something secret has in it, without regard to case, dots, dashes and underscores.
const SECRET_WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "accesskey",
    "accountkey",
    "apikey",
    "privatekey",
    "encryptionkey",
    "credential",
    "authorization",
    "cookie",
    "connectionstring",
];
/// With such an end it only says where that is, or how it is used.
const HARMLESS_ENDS: [&str; 17] = [
    "name",
    "namespace",
    "file",
    "path",
    "ref",
    "type",
    "mode",
    "url",
    "uri",
    "hash",
    "ttl",
    "expiry",
    "duration",
    "seconds",
    "audience",
    "policy",
    "version",
];
/// Shorter values are also ordinary words, and stay.
const SHORTEST: usize = 8;
/// Of values of many lines, what looks like something random in them.
const SHORTEST_PART: usize = 20;
/// Longer values are looked for as a whole alone.
const LONGEST_IN_PARTS: usize = 64 << 10;
/// Deeper than this nobody nests configuration.
const DEEPEST: usize = 64;

/// Whether a value of this name is secret.
fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
        && !HARMLESS_ENDS.iter().any(|end| plain.ends_with(end))
}

/// What Secrets hold, to be found wherever it turns up.
#[derive(Default)]
pub(super) struct Known {
    values: BTreeSet<Vec<u8>>,
    search: Option<AhoCorasick>,
}

impl Known {
    /// Takes in a Secret as the API server gives it.
    pub(super) fn learn(&mut self, secret: &Value) {
        let data = secret["data"].as_object().into_iter().flatten();
        for (_, value) in data.filter(|(key, _)| !PLACES.contains(&key.as_str())) {
            let Some(encoded) = value.as_str() else { continue };
            let Ok(bytes) = STANDARD.decode(encoded) else { continue };
            self.add(encoded.as_bytes(), SHORTEST);
            // what is no text cannot stand in one, and would match the halves of characters
            if str::from_utf8(&bytes).is_ok() {
                self.add(bytes.trim_ascii(), SHORTEST);
            }
            if bytes.len() > LONGEST_IN_PARTS {
                continue;
            }
            let is_part = |byte: &u8| {
                !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
            };
            for part in bytes.split(is_part).filter(|part| is_random(part)) {
                self.add(part, SHORTEST_PART);
            }
        }
        self.search = None;
    }

    fn add(&mut self, value: &[u8], shortest: usize) {
        if value.len() >= shortest && !value.iter().all(|byte| *byte == b'-') {
            self.values.insert(value.to_vec());
        }
    }

    /// Makes ready to be asked.
    pub(super) fn prepare(&mut self) -> Result<(), aho_corasick::BuildError> {
        self.search =
            Some(AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&self.values)?);
        Ok(())
    }

    fn scrub(&self, text: &str) -> String {
        match &self.search {
            Some(search) => {
                let nothing = vec![REDACTED; self.values.len()];
                search.replace_all(text, &nothing)
            }
            None => text.to_owned(),
        }
    }
}

/// A line of base64 or a word of hexadecimal digits, and not the name of an object.
fn is_random(part: &[u8]) -> bool {
    part.iter().any(u8::is_ascii_digit) && (part.iter().any(u8::is_ascii_uppercase) || !part.contains(&b'-'))
}

/// An object as it may be shown.
pub(super) fn object(mut object: Value, known: &Known) -> Value {
    let is_secret = object["kind"] == "Secret";
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            // the whole object once more, as somebody applied it
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if is_secret {
        of_each_value(&mut object, |_, value| size(value));
    }
    // before anything takes a value apart, and again when the structure has shown what was written in another way
    scrub(&mut object, known);
    if !is_secret {
        of_each_value(&mut object, file_of);
    }
    below(&mut object, 0);
    scrub(&mut object, known);
    object
}

/// Values of a Secret or ConfigMap.
fn of_each_value(object: &mut Value, show: impl Fn(&str, &str) -> Value) {
    for section in ["data", "stringData", "binaryData"] {
        for (key, value) in object.get_mut(section).and_then(Value::as_object_mut).into_iter().flatten() {
            *value = show(key, value.as_str().unwrap_or_default());
        }
    }
}

/// All that is said of what a Secret holds.
fn size(value: &str) -> Value {
    let size = STANDARD.decode(value).map_or(value.len(), |bytes| bytes.len());
    format!("<{size} bytes>").into()
}

fn file_of(key: &str, text: &str) -> Value {
    if is_secret(key) { REDACTED.into() } else { file(text).into() }
}

/// A file of a ConfigMap: by its structure where it has one.
fn file(text: &str) -> String {
    let parsed: Result<Value, _> = serde_yaml::from_str(text);
    match parsed {
        Ok(mut value) if value.is_object() || value.is_array() => {
            below(&mut value, 0);
            serde_yaml::to_string(&value).unwrap_or_else(|_| REDACTED.to_owned())
        }
        _ => words(text),
    }
}

/// Whatever a name says is secret, at any depth.
fn below(value: &mut Value, depth: usize) {
    if depth > DEEPEST {
        *value = REDACTED.into();
        return;
    }
    match value {
        Value::Object(map) => {
            variable(map);
            for (key, value) in map {
                match value {
                    Value::String(text) if is_secret(key) && !is_reference(text) => {
                        REDACTED.clone_into(text);
                    }
                    Value::Array(list) if is_secret(key) => {
                        for one in list {
                            match one {
                                Value::String(text) => REDACTED.clone_into(text),
                                other => below(other, depth + 1),
                            }
                        }
                    }
                    value => below(value, depth + 1),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| below(one, depth + 1)),
        Value::String(text) => *text = words(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `{name: S3_SECRET_KEY, value: …}`, as the variables of a container are written, and headers elsewhere.
fn variable(map: &mut Map<String, Value>) {
    let is_secret = map.get("name").and_then(Value::as_str).is_some_and(is_secret);
    if let Some(Value::String(text)) = map.get_mut("value").filter(|_| is_secret)
        && !is_reference(text)
    {
        REDACTED.clone_into(text);
    }
}

/// `$(VARIABLE)` and `${VARIABLE}` stand for something that is elsewhere.
fn is_reference(text: &str) -> bool {
    text.is_empty() || text.starts_with("$(") || text.starts_with("${") || text.starts_with('<')
}

fn scrub(value: &mut Value, known: &Known) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| scrub(value, known)),
        Value::Array(list) => list.iter_mut().for_each(|value| scrub(value, known)),
        Value::String(text) => *text = known.scrub(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A log, or another text without a structure.
pub(super) fn log(text: &str, known: &Known) -> String {
    words(&known.scrub(text))
}

/// `secret_key=…`, `"password": "…"`, `Bearer …`, `https://user:password@host` and private keys, wherever they stand.
fn words(text: &str) -> String {
    let text = without_keys(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        out.push_str(name);
        rest = behind;
        if let Some(credentials) = user_info(rest).filter(|_| !name.is_empty()) {
            out.push_str("://");
            out.push_str(REDACTED);
            rest = &rest["://".len() + credentials..];
        } else if let Some((between, value)) = assigned(name, rest) {
            out.push_str(&rest[..between]);
            out.push_str(REDACTED);
            rest = &rest[between + value..];
        }
    }
    out.push_str(rest);
    out
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// How long the user's part of an address is, with its password, when the text goes on with it.
fn user_info(rest: &str) -> Option<usize> {
    let address = rest.strip_prefix("://")?;
    let authority = address.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'));
    let authority = &address[..authority.unwrap_or(address.len())];
    let at = authority.rfind('@')?;
    authority[..at].contains(':').then_some(at)
}

/// After a secret name, or the scheme of an Authorization header: how far it is to its value, and how long that is.
fn assigned(name: &str, rest: &str) -> Option<(usize, usize)> {
    let between = if is_scheme(name) {
        rest.len() - rest.strip_prefix(' ')?.trim_start_matches(' ').len()
    } else if is_secret(name) {
        let closed = rest.trim_start_matches(['"', '\'']);
        let sign = closed.trim_start_matches(' ').strip_prefix([':', '='])?;
        rest.len() - sign.trim_start_matches(' ').len()
    } else {
        return None;
    };
    let value = &rest[between..];
    let (quote, inner) = match value.chars().next()? {
        quote @ ('"' | '\'') => (Some(quote), &value[1..]),
        _ => (None, value),
    };
    let end = inner.find(|c: char| match quote {
        Some(quote) => c == quote,
        None => c.is_whitespace() || matches!(c, ',' | ';' | '&' | '}' | ']' | ')'),
    });
    let inner = &inner[..end.unwrap_or(inner.len())];
    // what a scheme is followed by may be an ordinary word, and what follows a scheme is what is secret
    let ordinary = is_scheme(name) && inner.len() < SHORTEST;
    if is_reference(inner) || ordinary || (quote.is_none() && is_scheme(inner)) {
        return None;
    }
    Some((between + quote.map_or(0, char::len_utf8), inner.len()))
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Private keys in PEM, also where their lines are joined by `\n`.
fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("PRIVATE KEY-----") {
        let (before, behind) = rest.split_at(at + "PRIVATE KEY-----".len());
        out.push_str(before);
        out.push_str(REDACTED);
        // without an end, all that follows may be the key
        let Some(end) = behind.find("-----END") else { return out };
        rest = &behind[end..];
        let Some(line) = rest.find("PRIVATE KEY-----") else { break };
        let (last, behind) = rest.split_at(line + "PRIVATE KEY-----".len());
        out.push_str(last);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
