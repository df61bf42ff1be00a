//! Attributes that have a column of their own: the format's own, and those that the block's meta.json names.

use crate::{
    block::{BlockError, DedicatedColumn, DedicatedKind, DedicatedScope, Version},
    table::Level,
};

/// An attribute with a column of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The attribute's key.
    pub(crate) name: String,
    /// Name of the column in the file.
    pub(super) column: String,
    /// Whether the column is the format's own, and not one of the dedicated ones.
    pub(super) is_own: bool,
    pub(crate) kind: DedicatedKind,
    /// Large texts that hardly repeat.
    pub(crate) blob: bool,
}

/// The slots of each level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    resource: Vec<Slot>,
    span: Vec<Slot>,
    event: Vec<Slot>,
}

/// vParquet4's own: column and attribute.
const RESOURCE: [(&str, &str); 8] = [
    ("Cluster", "cluster"),
    ("Namespace", "namespace"),
    ("Pod", "pod"),
    ("Container", "container"),
    ("K8sClusterName", "k8s.cluster.name"),
    ("K8sNamespaceName", "k8s.namespace.name"),
    ("K8sPodName", "k8s.pod.name"),
    ("K8sContainerName", "k8s.container.name"),
];
const SPAN: [(&str, &str); 3] =
    [("HttpMethod", "http.method"), ("HttpUrl", "http.url"), ("HttpStatusCode", "http.status_code")];
/// The one of them that holds integers.
const STATUS_CODE: &str = "HttpStatusCode";
/// It has a column of its own in every format.
const SERVICE: &str = "service.name";

/// Strings and integers of a scope that a format has columns for.
pub(crate) fn room(version: Version, scope: DedicatedScope) -> (usize, usize) {
    match (version, scope) {
        (Version::V4, DedicatedScope::Event) => (0, 0),
        (Version::V4, _) => (10, 0),
        (Version::V5, _) => (20, 5),
    }
}

/// Whether the format has a column for the attribute whatever the block's dedicated columns are.
pub(crate) fn is_own(version: Version, scope: DedicatedScope, name: &str) -> bool {
    let fixed = match scope {
        DedicatedScope::Resource if name == SERVICE => return true,
        _ if version == Version::V5 => return false,
        DedicatedScope::Resource => &RESOURCE[..],
        DedicatedScope::Span => &SPAN[..],
        DedicatedScope::Event => return false,
    };
    fixed.iter().any(|(_, own)| *own == name)
}

/// Refuses dedicated columns that the format cannot keep.
pub(super) fn check(version: Version, dedicated: &[DedicatedColumn]) -> Result<(), BlockError> {
    for (at, column) in dedicated.iter().enumerate() {
        let before = dedicated.get(..at).unwrap_or_default();
        let alike = |c: &&DedicatedColumn| c.scope == column.scope && c.kind == column.kind;
        let (strings, ints) = room(version, column.scope);
        let room = if column.kind == DedicatedKind::Int { ints } else { strings };
        let reason = if column.name.is_empty() {
            "the name is empty".to_owned()
        } else if is_own(version, column.scope, &column.name) {
            format!("{version} has a column for it anyway")
        } else if before.iter().any(|c| c.scope == column.scope && c.name == column.name) {
            "named twice".to_owned()
        } else if before.iter().filter(alike).count() >= room {
            let kind = if column.kind == DedicatedKind::Int { "int" } else { "string" };
            format!("{version} takes at most {room} of scope {} and type {kind}", column.scope)
        } else {
            continue;
        };
        return Err(BlockError::Dedicated { name: column.name.clone(), reason });
    }
    Ok(())
}

impl Slots {
    /// The slots of a block with these dedicated columns, those left out that the format has no room for.
    pub(super) fn new(version: Version, dedicated: &[DedicatedColumn]) -> Self {
        let slots = |scope: DedicatedScope, fixed: &[(&str, &str)]| {
            let fixed = if version == Version::V4 { fixed } else { &[] };
            let mut slots: Vec<_> = fixed.iter().map(|(column, name)| own(column, name)).collect();
            let (strings, ints) = room(version, scope);
            let (mut string, mut int) = (0, 0);
            for column in dedicated.iter().filter(|column| column.scope == scope) {
                let (taken, room, prefix) = match column.kind {
                    DedicatedKind::String => (&mut string, strings, "String"),
                    DedicatedKind::Int => (&mut int, ints, "Int"),
                };
                if *taken == room {
                    continue;
                }
                *taken += 1;
                let blob = version == Version::V5
                    && column.kind == DedicatedKind::String
                    && column.options.iter().any(|option| option == "blob");
                let (name, kind) = (column.name.clone(), column.kind);
                slots.push(Slot { name, column: spare(prefix, *taken), is_own: false, kind, blob });
            }
            slots
        };
        Self {
            resource: slots(DedicatedScope::Resource, &RESOURCE),
            span: slots(DedicatedScope::Span, &SPAN),
            event: slots(DedicatedScope::Event, &[]),
        }
    }

    /// The attributes that have a column at `level`, by slot.
    pub(crate) fn at(&self, level: Level) -> &[Slot] {
        match level {
            Level::Resource => &self.resource,
            Level::Span => &self.span,
            Level::Event => &self.event,
            Level::Scope | Level::Link => &[],
        }
    }
}

fn own(column: &str, name: &str) -> Slot {
    let kind = if column == STATUS_CODE { DedicatedKind::Int } else { DedicatedKind::String };
    Slot { name: name.to_owned(), column: column.to_owned(), is_own: true, kind, blob: false }
}

/// Name of the dedicated column of that number, from 1.
pub(super) fn spare(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedicated_columns_that_would_lose_values_are_refused() {
        let refused = |version, columns: &[DedicatedColumn]| check(version, columns).unwrap_err().to_string();
        let of = DedicatedColumn::string;
        let (span, event) = (DedicatedScope::Span, DedicatedScope::Event);
        for version in [Version::V4, Version::V5] {
            let twice = [of(span, "a"), of(span, "a")];
            assert_eq!(refused(version, &twice), "dedicated column \"a\": named twice");
            assert!(refused(version, &[of(span, "")]).contains("empty"));
            assert!(refused(version, &[of(DedicatedScope::Resource, SERVICE)]).contains("anyway"));
        }
        assert!(refused(Version::V4, &[of(span, "http.url")]).contains("anyway"));
        assert!(check(Version::V5, &[of(span, "http.url")]).is_ok());
        let int = |name: &str| DedicatedColumn { kind: DedicatedKind::Int, ..of(span, name) };
        assert!(refused(Version::V4, &[int("n")]).contains("at most 0 of scope span and type int"));
        assert!(refused(Version::V4, &[of(event, "n")]).contains("at most 0 of scope event"));
        let many = |count: usize| (0..count).map(|i| of(span, &format!("a{i}"))).collect::<Vec<_>>();
        assert!(check(Version::V4, &many(10)).is_ok() && check(Version::V5, &many(20)).is_ok());
        assert!(refused(Version::V4, &many(11)).contains("vParquet4 takes at most 10"));
        assert!(refused(Version::V5, &many(21)).contains("vParquet5 takes at most 20"));
        let ints: Vec<_> = (0..6).map(|i| int(&format!("a{i}"))).collect();
        assert!(refused(Version::V5, &ints).contains("at most 5 of scope span and type int"));
    }
}
