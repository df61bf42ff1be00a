//! What the configuration asks for, checked: files are named here and read elsewhere. Pure.

use std::{path::PathBuf, time::Duration};

use rustls::pki_types::ServerName;
use vivace_config::{ClientTls, InternalServer, ReceiverTls, Server, ServerTls};

use super::names::Protocol;

/// How often files are looked at, unless a receiver says otherwise.
const PERIOD: Duration = Duration::from_secs(2);

/// A key of the configuration whose value will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct SettingError {
    /// The keys down to it, joined by dots.
    pub key: String,
    /// What was expected, and what was found.
    pub message: String,
}

/// Where a certificate or a key is, and which key of the configuration says so.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) source: Source,
}

#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    /// PEM in the configuration itself.
    Inline(String),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Source::File(path) => write!(f, "{}: {}", self.key, path.display()),
            Source::Inline(_) => write!(f, "{}", self.key),
        }
    }
}

/// Which certificates a listener asks its clients for.
#[derive(Clone, Debug)]
pub(super) enum ClientAuth {
    None,
    /// Any at all; `Request` can do without.
    Request,
    Any,
    /// One that these authorities signed; `Given` can do without.
    Given(Place),
    Verified(Place),
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub(super) name: String,
    pub(super) cert: Place,
    pub(super) key: Place,
    pub(super) client_auth: ClientAuth,
    pub(super) protocol: Protocol,
    pub(super) period: Duration,
}

/// Whom a client trusts.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// Whom the system trusts.
    System,
    Authorities(Place),
    Everyone,
}

/// TLS of a client.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub(super) name: String,
    pub(super) identity: Option<(Place, Place)>,
    pub(super) trust: Trust,
    /// The name in servers' certificates, where it is not the one that is dialled.
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) protocol: Protocol,
    pub(super) period: Duration,
}

impl ServerSettings {
    /// Of `server.http_tls_config` or `server.grpc_tls_config`, which `name` is; `None` where it asks for nothing.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn of_listener(name: &str, server: &Server, tls: &ServerTls) -> Result<Option<Self>, SettingError> {
        let (min, suites) = (text(server.tls_min_version.as_ref()), text(server.tls_cipher_suites.as_ref()));
        Self::of_section("server", name, tls, min, suites)
    }

    /// Of `internal_server.http_tls_config`.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn of_internal(server: &InternalServer) -> Result<Option<Self>, SettingError> {
        let (min, suites) = (text(server.tls_min_version.as_ref()), text(server.tls_cipher_suites.as_ref()));
        let name = "internal_server.http_tls_config";
        Self::of_section("internal_server", name, &server.http_tls_config, min, suites)
    }

    fn of_section(
        server: &str,
        name: &str,
        tls: &ServerTls,
        min: &str,
        suites: &str,
    ) -> Result<Option<Self>, SettingError> {
        let inline_key = tls.key.as_ref().map(vivace_config::Secret::expose).unwrap_or_default();
        let cert =
            place(name, ("cert_file", text(tls.cert_file.as_ref())), ("cert", text(tls.cert.as_ref())));
        let key = place(name, ("key_file", text(tls.key_file.as_ref())), ("key", inline_key));
        let ca_file = ("client_ca_file", text(tls.client_ca_file.as_ref()));
        let ca = place(name, ca_file, ("client_ca", text(tls.client_ca.as_ref())));
        let auth = text(tls.client_auth_type.as_ref());
        let Some((cert, key)) = pair(name, ("cert_file", cert), ("key_file", key))? else {
            if ca.is_some() || !matches!(auth, "" | "NoClientCert") {
                return Err(wrong(name, "cert_file", "expected the listener's own certificate"));
            }
            return Ok(None);
        };
        let client_auth = client_auth(name, auth, ca)?;
        let (min_key, suites_key) =
            (format!("{server}.tls_min_version"), format!("{server}.tls_cipher_suites"));
        let protocol = Protocol::new((&min_key, min), "", (&suites_key, suites.split(',')))
            .map_err(|(key, message)| SettingError { key, message })?;
        Ok(Some(Self { name: name.to_owned(), cert, key, client_auth, protocol, period: PERIOD }))
    }

    /// Of a receiver's `tls`, in the collector's notation.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn of_receiver(name: &str, tls: &ReceiverTls) -> Result<Option<Self>, SettingError> {
        let inline_key = tls.key_pem.as_ref().map(vivace_config::Secret::expose).unwrap_or_default();
        let cert_pem = ("cert_pem", text(tls.cert_pem.as_ref()));
        let cert = place(name, ("cert_file", text(tls.cert_file.as_ref())), cert_pem);
        let key = place(name, ("key_file", text(tls.key_file.as_ref())), ("key_pem", inline_key));
        let ca = place(name, ("client_ca_file", text(tls.client_ca_file.as_ref())), ("", ""));
        let Some((cert, key)) = pair(name, ("cert_file", cert), ("key_file", key))? else {
            if *tls != ReceiverTls::default() {
                return Err(wrong(name, "cert_file", "expected the receiver's own certificate"));
            }
            return Ok(None);
        };
        let (min_key, suites_key) = (format!("{name}.min_version"), format!("{name}.cipher_suites"));
        let suites = tls.cipher_suites.0.iter().map(String::as_str);
        let max = text(tls.max_version.as_ref());
        let protocol = Protocol::new((&min_key, text(tls.min_version.as_ref())), max, (&suites_key, suites))
            .map_err(|(key, message)| SettingError { key, message })?;
        let client_auth = ca.map_or(ClientAuth::None, ClientAuth::Verified);
        let period = tls.reload_interval.map(vivace_config::Duration::get).filter(|period| !period.is_zero());
        let period = period.map_or(PERIOD, |period| period.max(Duration::from_millis(100)));
        Ok(Some(Self { name: name.to_owned(), cert, key, client_auth, protocol, period }))
    }

    /// The listening side of gossip, whose keys are those of a client: whoever calls is a member, too, and must
    /// show a certificate wherever authorities are named.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn of_gossip(client: &ClientSettings) -> Result<Self, SettingError> {
        let name = client.name.clone();
        let Some((cert, key)) = client.identity.clone() else {
            let message = "expected a certificate: members call each other, and each has to show one";
            return Err(wrong(&name, "tls_cert_path", message));
        };
        let client_auth = match &client.trust {
            Trust::Authorities(ca) => ClientAuth::Verified(ca.clone()),
            Trust::System | Trust::Everyone => ClientAuth::None,
        };
        Ok(Self { name, cert, key, client_auth, protocol: client.protocol.clone(), period: client.period })
    }
}

impl ClientSettings {
    /// Of the section `name`; `None` where it does not enable TLS.
    ///
    /// # Errors
    /// The key and what was expected.
    pub fn of<'a>(name: &str, tls: impl Into<ClientTls<'a>>) -> Result<Option<Self>, SettingError> {
        let tls = tls.into();
        if !tls.enabled {
            return Ok(None);
        }
        let none = ("", "");
        let cert = place(name, ("tls_cert_path", tls.cert), none);
        let key = place(name, ("tls_key_path", tls.key), none);
        let identity = pair(name, ("tls_cert_path", cert), ("tls_key_path", key))?;
        let trust = match place(name, ("tls_ca_path", tls.ca), none) {
            _ if tls.insecure_skip_verify => Trust::Everyone,
            Some(ca) => Trust::Authorities(ca),
            None => Trust::System,
        };
        let server_name = match tls.server_name {
            "" => None,
            text => Some(ServerName::try_from(text.to_owned()).map_err(|_| {
                wrong(name, "tls_server_name", &format!("expected a host name or an address, found `{text}`"))
            })?),
        };
        let (min_key, suites_key) = (format!("{name}.tls_min_version"), format!("{name}.tls_cipher_suites"));
        let suites = tls.cipher_suites.split(',');
        let protocol = Protocol::new((&min_key, tls.min_version), "", (&suites_key, suites))
            .map_err(|(key, message)| SettingError { key, message })?;
        let name = name.to_owned();
        Ok(Some(Self { name, identity, trust, server_name, protocol, period: PERIOD }))
    }
}

fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

fn wrong(section: &str, key: &str, message: &str) -> SettingError {
    SettingError { key: format!("{section}.{key}"), message: message.to_owned() }
}

/// A file, or else what stands in the configuration itself.
fn place(section: &str, (file_key, file): (&str, &str), (key, inline): (&str, &str)) -> Option<Place> {
    let place = |key: &str, source| Some(Place { key: format!("{section}.{key}"), source });
    match (file, inline) {
        ("", "") => None,
        ("", text) => place(key, Source::Inline(text.to_owned())),
        (path, _) => place(file_key, Source::File(path.into())),
    }
}

/// Both or neither.
fn pair(
    section: &str,
    (cert_key, cert): (&str, Option<Place>),
    (key_key, key): (&str, Option<Place>),
) -> Result<Option<(Place, Place)>, SettingError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(wrong(section, key_key, &format!("expected one beside {cert_key}, found none")))
        }
        (None, Some(_)) => {
            Err(wrong(section, cert_key, &format!("expected one beside {key_key}, found none")))
        }
    }
}

fn client_auth(section: &str, kind: &str, ca: Option<Place>) -> Result<ClientAuth, SettingError> {
    let needed = |ca: Option<Place>| {
        ca.ok_or_else(|| wrong(section, "client_ca_file", &format!("expected one for {kind}, found none")))
    };
    Ok(match kind {
        // Whoever names authorities wants them to be heeded.
        "" | "NoClientCert" if ca.is_some() => {
            let message =
                "expected VerifyClientCertIfGiven or RequireAndVerifyClientCert with client_ca_file";
            return Err(wrong(section, "client_auth_type", message));
        }
        "" | "NoClientCert" => ClientAuth::None,
        "RequestClientCert" => ClientAuth::Request,
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::Any,
        "VerifyClientCertIfGiven" => ClientAuth::Given(needed(ca)?),
        "RequireAndVerifyClientCert" => ClientAuth::Verified(needed(ca)?),
        other => {
            let message = format!(
                "expected NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                 RequireAndVerifyClientCert, found `{other}`"
            );
            return Err(wrong(section, "client_auth_type", &message));
        }
    })
}
