//! `select … from … where … group by … having …` as a pipeline.

use super::{Piece, conditions, fields};

/// The query of a statement; `None` where it is none.
pub(super) fn query(pieces: &[Piece<'_>]) -> Option<String> {
    let first = pieces.first()?;
    let after = pieces.get(1);
    let selects = first.is_word("select") && after.is_none_or(|it| !it.is_sign("("));
    if !selects && !first.is_word("where") {
        return None;
    }
    let names = ["select", "from", "where", "group", "having", "order", "limit"];
    let at = |name: &str| pieces.iter().position(|piece| piece.is_word(name));
    let clause = |name: &str| {
        let from = at(name)? + 1;
        let end = names.iter().filter_map(|other| at(other)).filter(|&end| end >= from).min();
        pieces.get(from..end.unwrap_or(pieces.len()))
    };
    let filter = clause("where").map(conditions::rewrite).unwrap_or_default();
    let mut query = format!("{{ {filter} }}");
    if let Some(by) = clause("group").and_then(|group| group.get(1..)).and_then(|by| columns(by).pop()) {
        query.extend([" | by(", &by, ")"]);
    }
    if let Some(having) = clause("having") {
        let counted: Vec<_> = having.iter().filter(|piece| **piece != Piece::Word("*")).cloned().collect();
        query.extend([" | ", &conditions::rewrite(&counted)]);
    }
    let shown = clause("select").map(columns).unwrap_or_default();
    if !shown.is_empty() {
        query.extend([" | select(", &shown.join(", "), ")"]);
    }
    Some(query)
}

/// The plain columns of a list.
fn columns(list: &[Piece<'_>]) -> Vec<String> {
    let plain = |column: &[Piece<'_>]| match column {
        [Piece::Word("*")] => None,
        [Piece::Word(word)] => Some(fields::field(word)),
        _ => None,
    };
    list.split(|piece| piece.is_sign(",")).filter_map(plain).collect()
}
