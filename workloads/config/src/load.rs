//! From the text of a file and the flags to a [`Config`].

use std::fmt;

use crate::{
    Config, Overrides, TenantLimits,
    command::Setting,
    decode::{self, DecodeError, Unknown},
    tree::{self, Node, Placement, TreeError},
};

pub use crate::tree::Origin;

/// A configuration, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// What was read.
    pub config: T,
    /// Keys that are not known: they have no effect.
    pub warnings: Vec<Warning>,
}

/// A key that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The keys down to it, joined by dots.
    pub path: String,
    /// Where it stands.
    pub origin: Origin,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unknown key {}, it has no effect", self.origin, self.path)
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no YAML that we read.
    #[error("line {line}: {message}")]
    Yaml {
        /// The first line is 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A value of the wrong type or form.
    #[error("{origin}: {path}: {message}")]
    Value {
        /// The keys down to it, joined by dots.
        path: String,
        /// Where it stands.
        origin: Origin,
        /// What was expected, and what was found.
        message: String,
    },
}

impl From<TreeError> for ConfigError {
    fn from(error: TreeError) -> Self {
        Self::Yaml { line: error.line, message: error.message }
    }
}

impl From<DecodeError> for ConfigError {
    fn from(error: DecodeError) -> Self {
        let (path, origin) = error.at.unwrap_or((String::new(), Origin::Line(1)));
        let path = if path.is_empty() { "the document".to_owned() } else { path };
        Self::Value { path, origin, message: error.message }
    }
}

/// Reads a configuration file's text, after [`expand`](crate::expand) where that is asked for, and lays the
/// flags over it.
///
/// # Errors
/// [`ConfigError`] names the line or the flag, the path of keys, and what was expected.
pub fn load(text: &str, settings: &[Setting]) -> Result<Loaded<Config>, ConfigError> {
    let mut root = tree::parse(text)?;
    apply(&mut root, settings);
    read(&root)
}

/// Reads the file that `overrides.per_tenant_override_config` names, in whose sections the groups and the flat
/// keys of old may both stand; a group's wins.
///
/// # Errors
/// As [`load`].
pub fn load_overrides(text: &str) -> Result<Loaded<TenantLimits>, ConfigError> {
    let root = tree::parse(text)?;
    let mut grouped: Loaded<TenantLimits> = read(&root)?;
    let flat: Loaded<FlatLimits> = read(&root)?;
    for (tenant, limits) in &mut grouped.config.overrides {
        if let Some(flat) = flat.config.overrides.get(tenant) {
            *limits = limits.over(&flat.base());
        }
    }
    // Unknown is what neither of the two knows.
    grouped.warnings.retain(|warning| flat.warnings.contains(warning));
    Ok(grouped)
}

/// The same file, as far as it is in the notation of old.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct FlatLimits {
    overrides: std::collections::BTreeMap<String, Overrides>,
}

fn read<T: serde::de::DeserializeOwned>(root: &Node) -> Result<Loaded<T>, ConfigError> {
    let (config, unknown) = decode::decode(root)?;
    let warn = |Unknown { path, origin }| Warning { path, origin };
    Ok(Loaded { config, warnings: unknown.into_iter().map(warn).collect() })
}

fn apply(root: &mut Node, settings: &[Setting]) {
    for (at, setting) in settings.iter().enumerate() {
        let earlier = settings.iter().take(at).any(|other| other.path == setting.path);
        let how = match (setting.list, earlier) {
            (false, _) => Placement::Replace,
            (true, false) => Placement::First,
            (true, true) => Placement::Append,
        };
        root.set(&setting.path, &setting.value, &Origin::Flag(setting.flag.clone()), how);
    }
}
