//! Versions and cipher suites by the names that Tempo's configuration has for them, which are Go's. Pure.

use std::sync::Arc;

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// What is spoken: versions, and a provider that has only the suites that were asked for.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// A range of versions in both notations.
const VERSIONS: [(&str, &str); 4] =
    [("VersionTLS10", "1.0"), ("VersionTLS11", "1.1"), ("VersionTLS12", "1.2"), ("VersionTLS13", "1.3")];

impl Protocol {
    /// `min` and `max` as `VersionTLS12` or `1.2`, empty for the default; `suites` empty for all.
    pub(super) fn new<'a>(
        (min_key, min): (&str, &str),
        max: &str,
        (suites_key, suites): (&str, impl Iterator<Item = &'a str>),
    ) -> Result<Self, (String, String)> {
        let place = |text: &str| VERSIONS.iter().position(|(go, plain)| *go == text || *plain == text);
        let wrong = |key: &str, text: &str| {
            (key.to_owned(), format!("expected VersionTLS12 or VersionTLS13, found `{text}`"))
        };
        let least = match min {
            "" => 2,
            text => place(text).ok_or_else(|| wrong(min_key, text))?,
        };
        let most = match max {
            "" => 3,
            text => place(text).ok_or_else(|| wrong("max_version", text))?,
        };
        // Below 1.2 nothing is spoken, whatever is allowed.
        let mut versions = Vec::new();
        if least <= 3 && most >= 3 {
            versions.push(&TLS13);
        }
        if least <= 2 && most >= 2 {
            versions.push(&TLS12);
        }
        if versions.is_empty() {
            return Err((min_key.to_owned(), "expected a range that holds TLS 1.2 or 1.3".to_owned()));
        }
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = chosen(suites_key, suites, provider.cipher_suites)?;
        versions.retain(|version| {
            provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
        });
        if versions.is_empty() {
            let message = format!("expected a suite of a version from {min} on, found none");
            return Err((suites_key.to_owned(), message));
        }
        Ok(Self { provider: Arc::new(provider), versions })
    }
}

/// As in Go, a list without a suite of TLS 1.3 says nothing of TLS 1.3.
fn chosen<'a>(
    key: &str,
    names: impl Iterator<Item = &'a str>,
    all: Vec<SupportedCipherSuite>,
) -> Result<Vec<SupportedCipherSuite>, (String, String)> {
    let names: Vec<&str> = names.map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(all);
    }
    for name in &names {
        if !all.iter().any(|suite| is(*suite, name)) && !is_dated(name) {
            let known: Vec<String> = all.iter().map(|suite| go_name(*suite)).collect();
            return Err((key.to_owned(), format!("expected some of {}, found `{name}`", known.join(", "))));
        }
    }
    let newest = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let of_13 = all.iter().any(|suite| newest(suite) && names.iter().any(|name| is(*suite, name)));
    let mut kept = all;
    kept.retain(|suite| names.iter().any(|name| is(*suite, name)) || (!of_13 && newest(suite)));
    Ok(kept)
}

/// `TLS_AES_128_GCM_SHA256`, where rustls says `TLS13_…`.
fn go_name(suite: SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replace("TLS13_", "TLS_")
}

/// Go leaves out the hash of ChaCha20 in some of its names.
fn is(suite: SupportedCipherSuite, name: &str) -> bool {
    let own = go_name(suite);
    own == name || own.strip_suffix("_SHA256") == Some(name)
}

/// Suites that Go knows and that nothing here speaks: without forward secrecy, or with CBC. A list may name them
/// beside others; they are passed over.
fn is_dated(name: &str) -> bool {
    let key_exchange = name.starts_with("TLS_RSA_WITH_") || name.starts_with("TLS_ECDHE_");
    key_exchange && (name.starts_with("TLS_RSA_WITH_") || name.contains("_CBC_") || name.contains("_RC4_"))
}
