//! Repetition and definition levels: each possible where it stands, and the same lists seen from every column below them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
};

use parquet::schema::types::{ColumnDescriptor, Type};

use super::Findings;
use crate::blocks::data::Decoded;

/// The lists of one row group.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// By path of the repeated group: a hash of its lists, and the column that it was taken from.
    known: HashMap<String, (u64, String)>,
}

/// A repeated group above a column.
#[derive(Debug, PartialEq, Eq)]
struct Repeated {
    path: String,
    /// Definition level of an entry that has an element.
    def: i16,
}

impl Lists {
    /// Checks the levels of a column, and its lists against those of the columns before it.
    pub(super) fn add(
        &mut self,
        findings: &mut Findings,
        at: &str,
        column: &ColumnDescriptor,
        schema: &Type,
        decoded: &Decoded,
    ) {
        let groups = repeated(schema, column.path().parts());
        if !possible(findings, at, column, &groups, decoded) {
            return;
        }
        for (depth, group) in groups.iter().enumerate() {
            let hash = hash(decoded, depth as i16 + 1, group.def);
            match self.known.get(&group.path) {
                None => drop(self.known.insert(group.path.clone(), (hash, column.path().string()))),
                Some((known, _)) if *known == hash => {}
                Some((_, other)) => {
                    findings
                        .wrong(at, format!("its lists of {} are not those of column {other}", group.path));
                    return;
                }
            }
        }
    }
}

/// The repeated groups on the way to a column.
fn repeated(schema: &Type, path: &[String]) -> Vec<Repeated> {
    let (mut groups, mut def, mut node) = (Vec::new(), 0, schema);
    for depth in 0..path.len() {
        let name = path.get(depth);
        let Type::GroupType { fields, .. } = node else { return groups };
        let Some(next) = fields.iter().find(|field| Some(field.name()) == name.map(String::as_str)) else {
            return groups;
        };
        node = next;
        let info = node.get_basic_info();
        if info.repetition() != parquet::basic::Repetition::REQUIRED {
            def += 1;
        }
        if info.repetition() == parquet::basic::Repetition::REPEATED {
            groups.push(Repeated { path: path.get(..=depth).unwrap_or_default().join("."), def });
        }
    }
    groups
}

/// Whether no level is over its highest, and no list goes on that has not begun.
fn possible(
    findings: &mut Findings,
    at: &str,
    column: &ColumnDescriptor,
    groups: &[Repeated],
    decoded: &Decoded,
) -> bool {
    let Decoded { def, rep, .. } = decoded;
    if let Some(entry) = def.iter().position(|level| !(0..=column.max_def_level()).contains(level)) {
        let level = def.get(entry).copied().unwrap_or_default();
        findings.wrong(
            at,
            format!("entry {entry}: definition level {level}, at most {}", column.max_def_level()),
        );
        return false;
    }
    if rep.first().is_some_and(|first| *first != 0) {
        findings.wrong(at, "entry 0: its repetition level is not 0");
        return false;
    }
    for (entry, level) in rep.iter().enumerate().filter(|(_, level)| **level != 0) {
        let group = usize::try_from(*level - 1).ok().and_then(|depth| groups.get(depth));
        let Some(group) = group else {
            findings.wrong(
                at,
                format!("entry {entry}: repetition level {level}, at most {}", column.max_rep_level()),
            );
            return false;
        };
        let before = entry.checked_sub(1).and_then(|before| def.get(before));
        if before.is_none_or(|before| *before < group.def) {
            findings.wrong(at, format!("entry {entry}: goes on with a list of {} that is empty", group.path));
            return false;
        }
    }
    true
}

/// The lists of the repeated group at repetition level `depth`, whose elements have definition level `present`.
fn hash(decoded: &Decoded, depth: i16, present: i16) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (rep, def) in decoded.rep.iter().zip(&decoded.def).filter(|(rep, _)| **rep <= depth) {
        hasher.write_i16(*rep);
        hasher.write_i16((*def).min(present));
    }
    hasher.finish()
}
