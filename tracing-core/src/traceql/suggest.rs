//! A valid query that may be what was meant, where a query is none: other quotes, missing braces, quoted keywords,
//! the words of SQL, the functions of PromQL. A guess is never more than that: it is offered only where it
//! is read and checked as any query.

mod conditions;
mod fields;
mod promql;
mod sql;

use super::strings::ends_name;

/// Longest text that is worth a guess, in bytes.
const MAX_BYTES: usize = 1024;

/// A piece of a text, by what it looks like. Nothing is lost but white space, nothing is refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Word(&'a str),
    Text(String),
    Sign(&'a str),
}

impl Piece<'_> {
    /// The word in lower case, if it is one.
    fn lower(&self) -> Option<String> {
        match self {
            Self::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// Whether it is this word, in whatever case.
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(found) if *found == sign)
    }
}

/// The nearest valid query to one that is not, where known mistakes explain it all.
pub(crate) fn valid_form(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let pieces = pieces(text);
    let guesses = [sql::query(&pieces), promql::query(&pieces)].into_iter().flatten();
    guesses.chain(in_braces(&pieces)).find(|form| form != text && super::checked(form).is_ok())
}

/// The text with its conditions rewritten: in braces, with the last one closed, and as a single spanset.
fn in_braces(pieces: &[Piece<'_>]) -> Vec<String> {
    let body = conditions::rewrite(pieces);
    let open = body.matches('{').count();
    if open == 0 {
        // Stages follow the braces.
        let (filter, stages) = body.split_once(" | ").unwrap_or((&body, ""));
        let stages = if stages.is_empty() { String::new() } else { format!(" | {stages}") };
        return vec![format!("{{ {filter} }}{stages}"), format!("{{ {body} }}"), format!("{{ }} | {body}")];
    }
    let mut forms = vec![body.clone()];
    if open == body.matches('}').count() + 1 {
        let (filter, stages) = body.split_once(" | ").unwrap_or((&body, ""));
        forms.push(format!("{body} }}"));
        forms.push(format!("{filter} }} | {stages}"));
    }
    forms
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' | '“' | '”' | '‘' | '’' => {
                let close = match first {
                    '“' | '”' => '”',
                    '‘' | '’' => '’',
                    plain => plain,
                };
                let body = rest.get(first.len_utf8()..).unwrap_or_default();
                let (inner, length) = quoted(body, close);
                out.push(Piece::Text(inner));
                first.len_utf8() + length
            }
            c if is_word(c) => {
                let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                // A quoted part of a name belongs to it.
                let quoted_name = rest.get(..end).is_some_and(|word| word.ends_with('.'))
                    && rest.get(end..).is_some_and(|after| after.starts_with('"'));
                let end = if quoted_name {
                    end + 1 + quoted(rest.get(end + 1..).unwrap_or_default(), '"').1
                } else {
                    end
                };
                out.push(Piece::Word(rest.get(..end).unwrap_or_default()));
                end
            }
            _ => {
                let signs = [
                    "&>>", "&<<", "!>>", "!<<", "==", "<>", "&&", "||", "!=", "=~", "!~", "<=", ">=", ">>",
                    "<<", "&>", "&<", "&~", "!>", "!<",
                ];
                let end =
                    signs.into_iter().find(|sign| rest.starts_with(sign)).map_or(first.len_utf8(), str::len);
                out.push(Piece::Sign(rest.get(..end).unwrap_or_default()));
                end
            }
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    out
}

fn is_word(c: char) -> bool {
    !ends_name(c) && !matches!(c, '"' | '\'' | '[' | ']' | ';' | '“' | '”' | '‘' | '’')
}

/// What stands before the closing quote, and the length of that with the quote.
fn quoted(body: &str, close: char) -> (String, usize) {
    let mut inner = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == close => return (inner, at + c.len_utf8()),
            '\\' if close != '`' => inner.extend(chars.next().map(|(_, c)| c)),
            c => inner.push(c),
        }
    }
    (inner, body.len())
}

#[cfg(test)]
mod tests;
