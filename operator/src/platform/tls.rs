//! Profiles of TLS, as Mozilla and OpenShift name them. Pure.
//!
//! Cipher suites are named as IANA does; those that neither Go nor rustls speak are left out.

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl TlsVersion {
    /// As Go, Kubernetes and Tempo's servers write it: `VersionTLS12`.
    pub(crate) const fn long(self) -> &'static str {
        match self {
            Self::Tls10 => "VersionTLS10",
            Self::Tls11 => "VersionTLS11",
            Self::Tls12 => "VersionTLS12",
            Self::Tls13 => "VersionTLS13",
        }
    }

    /// As receivers write it: `1.2`.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::Tls10 => "1.0",
            Self::Tls11 => "1.1",
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    /// Either spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13]
            .into_iter()
            .find(|version| version.long() == text || version.short() == text)
    }
}

/// What TLS is spoken inside a stack, and by default with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsProfile {
    pub(crate) min_version: TlsVersion,
    pub(crate) ciphers: Vec<String>,
}

const MODERN: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const INTERMEDIATE: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
const OLD: [&str; 12] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
];

fn names(lists: &[&[&str]]) -> Vec<String> {
    lists.iter().flat_map(|list| list.iter()).map(|name| (*name).to_owned()).collect()
}

impl TlsProfile {
    pub(crate) fn modern() -> Self {
        Self { min_version: TlsVersion::Tls13, ciphers: names(&[&MODERN]) }
    }

    pub(crate) fn intermediate() -> Self {
        Self { min_version: TlsVersion::Tls12, ciphers: names(&[&MODERN, &INTERMEDIATE]) }
    }

    pub(crate) fn old() -> Self {
        Self { min_version: TlsVersion::Tls10, ciphers: names(&[&MODERN, &INTERMEDIATE, &OLD]) }
    }

    /// Of one of the three names, `Modern`, `Intermediate`, `Old`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "modern" => Some(Self::modern()),
            "intermediate" => Some(Self::intermediate()),
            "old" => Some(Self::old()),
            _ => None,
        }
    }

    /// The suites joined by commas.
    pub(crate) fn suites(&self) -> String {
        self.ciphers.join(",")
    }
}

/// The IANA name of a suite that OpenShift's APIServer names as OpenSSL does; `None` for one that nobody speaks.
pub(super) fn iana(openssl: &str) -> Option<String> {
    if openssl.starts_with("TLS_") {
        return Some(openssl.to_owned());
    }
    let guess = match openssl {
        "AES128-GCM-SHA256" => "TLS_RSA_WITH_AES_128_GCM_SHA256".to_owned(),
        "AES256-GCM-SHA384" => "TLS_RSA_WITH_AES_256_GCM_SHA384".to_owned(),
        "AES128-SHA256" => "TLS_RSA_WITH_AES_128_CBC_SHA256".to_owned(),
        "AES128-SHA" => "TLS_RSA_WITH_AES_128_CBC_SHA".to_owned(),
        "AES256-SHA" => "TLS_RSA_WITH_AES_256_CBC_SHA".to_owned(),
        "DES-CBC3-SHA" => "TLS_RSA_WITH_3DES_EDE_CBC_SHA".to_owned(),
        name => {
            let (exchange, rest) = ["ECDHE-ECDSA-", "ECDHE-RSA-"]
                .into_iter()
                .find_map(|exchange| Some((exchange, name.strip_prefix(exchange)?)))?;
            let cipher = match rest {
                "AES128-GCM-SHA256" => "AES_128_GCM_SHA256",
                "AES256-GCM-SHA384" => "AES_256_GCM_SHA384",
                "CHACHA20-POLY1305" => "CHACHA20_POLY1305_SHA256",
                "AES128-SHA256" => "AES_128_CBC_SHA256",
                "AES128-SHA" => "AES_128_CBC_SHA",
                "AES256-SHA" => "AES_256_CBC_SHA",
                _ => return None,
            };
            format!("TLS_{}WITH_{cipher}", exchange.replace('-', "_"))
        }
    };
    let known = MODERN.iter().chain(&INTERMEDIATE).chain(&OLD).any(|name| *name == guess);
    known.then_some(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_both_spellings() {
        assert_eq!(TlsVersion::parse("VersionTLS12"), Some(TlsVersion::Tls12));
        assert_eq!(TlsVersion::parse("1.3"), Some(TlsVersion::Tls13));
        assert_eq!(TlsVersion::parse("2.0"), None);
    }

    #[test]
    fn suites_of_openssl_get_their_iana_names_and_unknown_ones_are_left_out() {
        assert_eq!(
            iana("ECDHE-RSA-CHACHA20-POLY1305").as_deref(),
            Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
        );
        assert_eq!(iana("DHE-RSA-AES128-GCM-SHA256"), None);
    }
}
