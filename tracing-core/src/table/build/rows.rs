//! Rows of another table into the stage.

use std::ops::Range;

use super::copy::{self, Codes};
use super::{Group, TableBuilder, arrival};
use crate::table::SpanTable;
use crate::table::strings::{Code, Strings};

/// What the strings of a source table became in a builder's table.
#[derive(Debug)]
pub struct Recode {
    known: KnownCodes,
}

#[derive(Debug)]
enum KnownCodes {
    /// By code of the source; `u32::MAX` where not met yet.
    Dense(Vec<u32>),
    Sparse(rustc_hash::FxHashMap<u32, u32>),
}

impl Recode {
    /// For many traces of `source`.
    #[must_use]
    pub fn of(source: &SpanTable) -> Self {
        Self { known: KnownCodes::Dense(vec![u32::MAX; source.strings.len()]) }
    }

    /// For few traces of a large source.
    #[must_use]
    pub(super) fn sparse() -> Self {
        Self { known: KnownCodes::Sparse(rustc_hash::FxHashMap::default()) }
    }
}

struct Turn<'a> {
    recode: &'a mut Recode,
    from: &'a Strings,
    to: &'a mut Strings,
}

impl Codes for Turn<'_> {
    const SAME: bool = false;

    fn code(&mut self, code: Code) -> Code {
        if code == Code::EMPTY {
            return code;
        }
        let (from, to) = (self.from, &mut *self.to);
        let mut intern = || to.intern(from.text(code)).0;
        match &mut self.recode.known {
            KnownCodes::Dense(known) => match known.get_mut(code.index()) {
                Some(known) if *known != u32::MAX => Code(*known),
                Some(unknown) => {
                    *unknown = intern();
                    Code(*unknown)
                }
                None => Code(intern()),
            },
            KnownCodes::Sparse(known) => Code(*known.entry(code.0).or_insert_with(intern)),
        }
    }
}

pub(super) fn add(
    builder: &mut TableBuilder,
    source: &SpanTable,
    trace: usize,
    recode: &mut Recode,
    mut keep: Option<&mut dyn FnMut(usize) -> bool>,
) {
    let TableBuilder { table, heads, stage, .. } = builder;
    let mut codes = Turn { recode, from: &source.strings, to: &mut table.strings };
    let mut scopes = Vec::new();
    for resource_row in source.traces.resources.range(trace) {
        let resource = heads.resource_row(&source.resources, resource_row, &mut codes);
        for scope_row in source.resources.scopes.range(resource_row) {
            let scope = heads.scope_row(&source.scopes, scope_row, &mut codes);
            scopes.push((source.scopes.spans.range(scope_row), Group { resource, scope }));
        }
    }
    let mut add = |rows: &Range<usize>, group: Group| {
        let group = stage.group(group);
        let mut add = |rows: &Range<usize>| {
            stage.group_of.resize(stage.group_of.len() + rows.len(), group);
            copy::spans(
                (&mut stage.spans, &mut stage.events, &mut stage.links),
                (&source.spans, &source.events, &source.links),
                rows,
                &mut codes,
            );
        };
        match &mut keep {
            None => add(rows),
            Some(keep) => rows.clone().filter(|row| keep(*row)).for_each(|row| add(&(row..row + 1))),
        }
    };
    let Some(order) = arrival::order(source, trace) else {
        for (rows, group) in &scopes {
            add(rows, *group);
        }
        return;
    };
    let scope_of = |row: usize| scopes.partition_point(|(rows, _)| rows.end <= row);
    for run in order.chunk_by(|a, b| a + 1 == *b && scope_of(*a) == scope_of(*b)) {
        let Some(&first) = run.first() else { continue };
        let Some((_, group)) = scopes.get(scope_of(first)) else { continue };
        add(&(first..first + run.len()), *group);
    }
}
