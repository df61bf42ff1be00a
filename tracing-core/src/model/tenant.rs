//! The tenant's name: the object-key prefix below which its blocks stand.

use std::{fmt, sync::Arc};

/// A checked tenant name: 1 to 150 characters of `A-Za-z0-9` and `!-_.*'()`, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

/// Why a name is refused, in dskit's words, on which clients match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// No name at all.
    #[error("no org id")]
    Missing,
    /// Longer than [`Tenant::MAX_LEN`] characters.
    #[error("tenant ID is too long: max 150 characters")]
    TooLong,
    /// A character that must not stand in an object key.
    #[error("tenant ID '{name}' contains unsupported character '{character}'")]
    Character {
        /// The name as it came.
        name: String,
        /// Its first unsupported character.
        character: char,
    },
    /// `.` or `..`.
    #[error("tenant ID is '.' or '..'")]
    Path,
}

impl Tenant {
    /// Longest name, in characters.
    pub const MAX_LEN: usize = 150;

    /// The one tenant of an installation without multitenancy.
    #[must_use]
    pub fn single() -> Self {
        Self(Arc::from("single-tenant"))
    }

    /// Checks a name, as it came in `X-Scope-OrgID`.
    ///
    /// # Errors
    /// A [`TenantError`] that says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, TenantError> {
        if name.is_empty() {
            return Err(TenantError::Missing);
        }
        let bad = |c: &char| !(c.is_ascii_alphanumeric() || "!-_.*'()".contains(*c));
        if let Some(character) = name.chars().find(bad) {
            return Err(TenantError::Character { name: name.to_owned(), character });
        }
        if name.len() > Self::MAX_LEN {
            return Err(TenantError::TooLong);
        }
        if name == "." || name == ".." {
            return Err(TenantError::Path);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_its_prefix_is_refused() {
        assert_eq!(
            Tenant::new("invalid/org").unwrap_err().to_string(),
            "tenant ID 'invalid/org' contains unsupported character '/'"
        );
        assert_eq!(Tenant::new(".."), Err(TenantError::Path));
        assert_eq!(Tenant::new(&"a".repeat(151)), Err(TenantError::TooLong));
        assert_eq!(Tenant::new("team-a_1").unwrap().as_str(), "team-a_1");
    }
}
