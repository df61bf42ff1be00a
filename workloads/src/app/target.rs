//! What `-target` may be. Pure.

use crate::membership::Role;

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    name: &'static str,
    roles: Vec<Role>,
}

/// A target that is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target: expected one of all, {}, found `{found}`", names())]
pub struct TargetError {
    /// What was asked for.
    pub found: String,
}

fn names() -> String {
    Role::ALL.map(Role::name).join(", ")
}

impl Target {
    /// Reads `-target`. `scalable-single-binary` is `all`: whoever has seeds is part of a cluster.
    ///
    /// # Errors
    /// [`TargetError`] lists what there is.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text == "all" || text == "scalable-single-binary" {
            return Ok(Self { name: "all", roles: Role::ALL.to_vec() });
        }
        let role = Role::ALL.into_iter().find(|role| role.name() == text);
        let role = role.ok_or_else(|| TargetError { found: text.to_owned() })?;
        Ok(Self { name: role.name(), roles: vec![role] })
    }

    /// As in `-target`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// All roles of this process.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// True when this process has the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_served_is_refused_with_those_that_are() {
        assert_eq!(
            Target::parse("metrics-generator").unwrap_err().to_string(),
            "target: expected one of all, distributor, ingester, querier, query-frontend, compactor, found \
             `metrics-generator`"
        );
        assert!(Target::parse("all").unwrap().has(Role::Ingester));
        assert_eq!(Target::parse("querier").unwrap().roles(), [Role::Querier]);
    }
}
