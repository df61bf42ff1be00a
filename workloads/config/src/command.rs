//! Tempo's command line: dotted flags with one dash or two, which override the file.

use crate::{
    Config,
    section::{Key, Keys, Kind},
};

/// What was asked for on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `-config.file`
    pub config_file: Option<String>,
    /// `-config.expand-env`
    pub expand_env: bool,
    /// `-config.verify`: read the configuration, say whether it is sound, and stop.
    pub verify: bool,
    /// `-version`
    pub version: bool,
    /// `-help`
    pub help: bool,
    /// Values for keys of the file.
    pub settings: Vec<Setting>,
}

/// A flag that sets a key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's path in the file.
    pub path: String,
    /// The value, as it was given.
    pub value: String,
    /// The flag, as it was written.
    pub flag: String,
    /// True when the flag may be given several times.
    pub list: bool,
}

/// Why a command line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// There is no such flag.
    #[error("unknown flag -{flag}{}; -help lists the flags", suggest(.nearest.as_deref()))]
    Unknown {
        /// As it was written, without dashes.
        flag: String,
        /// The flag that looks most like it.
        nearest: Option<String>,
    },
    /// The flag needs a value.
    #[error("flag -{0} needs a value")]
    NoValue(String),
    /// Only `true` and `false` will do.
    #[error("flag -{flag}: expected true or false, found `{value}`")]
    NotBool {
        /// Without dashes.
        flag: String,
        /// What was given.
        value: String,
    },
    /// A word that is no flag.
    #[error("expected a flag, found `{0}`")]
    NoFlag(String),
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean -{name}")).unwrap_or_default()
}

/// Flags whose names in Tempo are not the path of the key.
const ALIASES: [(&str, &str); 20] = [
    ("auth.enabled", "multitenancy_enabled"),
    ("multitenancy.enabled", "multitenancy_enabled"),
    ("log.format", "server.log_format"),
    ("log.level", "server.log_level"),
    ("memberlist.join", "memberlist.join_members"),
    ("querier.frontend-address", "querier.frontend_worker.frontend_address"),
    ("query-frontend.max-outstanding-requests-per-tenant", "query_frontend.max_outstanding_per_tenant"),
    ("ingester.max-block-bytes", "ingester.max_block_bytes"),
    ("mcp-server.enabled", "query_frontend.mcp_server.enabled"),
    ("reporting.enabled", "usage_report.reporting_enabled"),
    ("storage.trace.s3.session-token", "storage.trace.s3.session_token"),
    ("server.path-prefix", "server.http_path_prefix"),
    ("server.http-tls-cert-path", "server.http_tls_config.cert_file"),
    ("server.http-tls-key-path", "server.http_tls_config.key_file"),
    ("server.http-tls-client-auth", "server.http_tls_config.client_auth_type"),
    ("server.http-tls-ca-path", "server.http_tls_config.client_ca_file"),
    ("server.grpc-tls-cert-path", "server.grpc_tls_config.cert_file"),
    ("server.grpc-tls-key-path", "server.grpc_tls_config.key_file"),
    ("server.grpc-tls-client-auth", "server.grpc_tls_config.client_auth_type"),
    ("server.grpc-tls-ca-path", "server.grpc_tls_config.client_ca_file"),
];

/// Flags that are accepted because Tempo has them, and that mean nothing here.
const WITHOUT_EFFECT: [&str; 3] = ["mem-ballast-size-mbs", "mutex-profile-fraction", "block-profile-rate"];

/// Flags of the process itself: name, word for the value, what it does.
const OWN: [(&str, &str, &str); 6] = [
    ("config.file", "string", "read this configuration file"),
    ("config.expand-env", "bool", "replace ${NAME} and ${NAME:default} in the file by environment variables"),
    ("config.verify", "bool", "read the configuration, report, and stop"),
    ("help", "bool", "list the flags and stop"),
    ("mem-ballast-size-mbs", "int", "accepted, without effect"),
    ("version", "bool", "print the version and stop"),
];

impl CommandLine {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// A [`FlagError`] that names the flag.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, FlagError> {
        let (keys, mut out) = (keys(), Self::default());
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            out.argument(&keys, argument, &mut rest)?;
        }
        Ok(out)
    }

    /// Takes the flags of Tempo out of the arguments of a command that has others of its own: those whose name
    /// has a dot in it, such as `-config.file`. Answers with them and the rest.
    ///
    /// # Errors
    /// A [`FlagError`] that names the flag.
    pub fn extract(arguments: impl IntoIterator<Item = String>) -> Result<(Self, Vec<String>), FlagError> {
        let (keys, mut out, mut others) = (keys(), Self::default(), Vec::new());
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            let name = argument.split('=').next().unwrap_or_default();
            if name.starts_with('-') && name.contains('.') {
                out.argument(&keys, argument, &mut rest)?;
            } else {
                others.push(argument);
            }
        }
        Ok((out, others))
    }

    /// Reads one flag, with its value where that stands behind it.
    fn argument(
        &mut self,
        keys: &[Key],
        argument: String,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let Some(body) = body.filter(|body| !body.is_empty()) else {
            return Err(FlagError::NoFlag(argument));
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if let Some(switch) = self.switch(name) {
            *switch = truth(name, value.as_deref())?;
            return Ok(());
        }
        let key = find(keys, name);
        let is_bool = key.is_some_and(|key| key.kind == Kind::Bool);
        let known = key.is_some() || name == "config.file" || WITHOUT_EFFECT.contains(&name);
        if !known {
            return Err(FlagError::Unknown { flag: name.to_owned(), nearest: nearest(keys, name) });
        }
        let value = match value {
            Some(value) => value,
            None if is_bool => "true".to_owned(),
            None => rest.next().ok_or_else(|| FlagError::NoValue(name.to_owned()))?,
        };
        self.take(name, key, value);
        Ok(())
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "config.expand-env" => Some(&mut self.expand_env),
            "config.verify" => Some(&mut self.verify),
            "version" => Some(&mut self.version),
            "help" | "h" => Some(&mut self.help),
            _ => None,
        }
    }

    fn take(&mut self, name: &str, key: Option<&Key>, value: String) {
        if name == "config.file" {
            self.config_file = Some(value);
        } else if let Some(key) = key {
            let (path, list) = (key.path.clone(), key.kind == Kind::List);
            self.settings.push(Setting { path, value, flag: format!("-{name}"), list });
        }
    }
}

fn truth(flag: &str, value: Option<&str>) -> Result<bool, FlagError> {
    match value.unwrap_or("true") {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        value => Err(FlagError::NotBool { flag: flag.to_owned(), value: value.to_owned() }),
    }
}

fn keys() -> Vec<Key> {
    let mut out = Vec::new();
    Config::keys("", &mut out);
    out
}

/// The key of a flag: by alias, or by its path, `-` and `_` being the same.
fn find<'a>(keys: &'a [Key], flag: &str) -> Option<&'a Key> {
    let path = ALIASES.iter().find(|(alias, _)| *alias == flag).map_or(flag, |(_, path)| path);
    let path = path.replace('-', "_");
    keys.iter().find(|key| key.path == path)
}

/// The key whose last segment the flag shares, or that is a few letters away.
fn nearest(keys: &[Key], flag: &str) -> Option<String> {
    let wanted = flag.replace('-', "_");
    let far = |key: &Key| distance(&key.path, &wanted);
    let best = keys.iter().min_by_key(|key| far(key))?;
    (far(best) <= 3 + wanted.len() / 8).then(|| best.path.clone())
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        let mut next = vec![last];
        for (b, above) in right.bytes().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(a != b)).min(last + 1).min(above + 1);
            diagonal = *above;
            last = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(left.len())
}

/// The text of `-help`: every flag there is, with the form of its value.
pub fn help() -> String {
    let mut lines: Vec<String> = OWN.iter().map(|(name, word, what)| row(name, word, what)).collect();
    let keys = keys();
    for (alias, path) in ALIASES {
        if let Some(key) = keys.iter().find(|key| key.path == path && key.path != alias.replace('-', "_")) {
            lines.push(row(alias, key.kind.word(), &format!("the same as -{path}")));
        }
    }
    for key in &keys {
        lines.push(row(&key.path, key.kind.word(), ""));
    }
    lines.sort();
    format!(
        "usage: vivace [-flag=value …]\n\nEach flag overrides the key of the same name in the file. One dash or two, \
         `=value` or a separate value;\n`-` and `_` are the same in a name.\n\n{}\n",
        lines.join("\n")
    )
}

fn row(name: &str, word: &str, what: &str) -> String {
    let text = format!("  -{name} <{word}>");
    if what.is_empty() { text } else { format!("{text:<52} {what}") }
}
