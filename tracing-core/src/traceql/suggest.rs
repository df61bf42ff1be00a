//! A valid query that may be what was meant: SQL's words, other quotes, missing braces, quoted keywords.

use super::field::{Intrinsic, Scope};
use super::strings::{ends_name, quote_name};
use super::value::{Kind, Status};
use super::{parser, validate};

/// Longest text that is worth a guess, in bytes.
const MAX_BYTES: usize = 1024;

/// A piece of a text, by what it looks like. Nothing is lost, nothing is refused.
enum Piece<'a> {
    Blank,
    Word(&'a str),
    Text(String),
    Sign(&'a str),
}

/// The nearest valid query to one that is not, where a few known mistakes explain it all.
pub(crate) fn valid_form(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let body = rewrite(&pieces(text));
    let trimmed = body.trim();
    let whole = if trimmed.starts_with(['{', '(']) { trimmed.to_owned() } else { format!("{{ {trimmed} }}") };
    let closed = if whole.matches('{').count() == whole.matches('}').count() + 1 && !whole.contains('|') {
        format!("{} }}", whole.trim_end())
    } else {
        whole.clone()
    };
    [whole, closed].into_iter().find(|form| {
        form != text && parser::parse(form).and_then(|parsed| validate::check(&parsed.query)).is_ok()
    })
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if c.is_whitespace() => {
                out.push(Piece::Blank);
                rest.len() - rest.trim_start().len()
            }
            '"' | '\'' | '`' => {
                let body = rest.get(1..).unwrap_or_default();
                let end = body.find(first).unwrap_or(body.len());
                out.push(Piece::Text(body[..end].to_owned()));
                (end + 2).min(rest.len())
            }
            c if !ends_name(c) => {
                let end = rest.find(|c: char| ends_name(c) || matches!(c, '"' | '\'')).unwrap_or(rest.len());
                out.push(Piece::Word(&rest[..end]));
                end
            }
            _ => {
                let end = ["==", "<>", "&&", "||", "!=", "=~", "!~", "<=", ">=", ">>", "<<"]
                    .into_iter()
                    .find(|sign| rest.starts_with(sign))
                    .map_or(first.len_utf8(), str::len);
                out.push(Piece::Sign(&rest[..end]));
                end
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

fn rewrite(pieces: &[Piece<'_>]) -> String {
    let mut out = String::new();
    // The last word, and whether it is the left side of a comparison: it tells what a text must be.
    let mut subject = "";
    for piece in pieces {
        match piece {
            Piece::Blank => out.push(' '),
            Piece::Sign(sign) => out.push_str(match *sign {
                "==" => "=",
                "<>" => "!=",
                other => other,
            }),
            Piece::Text(text) => out.push_str(&value(subject, text)),
            Piece::Word(found) => match found.to_ascii_lowercase().as_str() {
                "and" => out.push_str("&&"),
                "or" => out.push_str("||"),
                "not" => out.push('!'),
                _ => {
                    let known = word(found);
                    out.push_str(&known);
                    subject = found;
                }
            },
        }
    }
    out
}

/// A word as the field that it names elsewhere.
fn word(found: &str) -> String {
    let scoped = |word: &str| {
        word.split_once('.').is_some_and(|(scope, _)| Scope::from_word(scope).is_some() || scope == "parent")
    };
    let known = matches!(found, "nil" | "true" | "false" | "minInt" | "maxInt" | "with" | "by" | "select");
    let kept = known
        || found.starts_with(|c: char| c.is_ascii_digit() || "-.+*/%".contains(c))
        || Intrinsic::from_name(found).is_some()
        || Status::from_word(found).is_some()
        || Kind::from_word(found).is_some()
        || scoped(found);
    if kept {
        return found.to_owned();
    }
    match found.to_ascii_lowercase().as_str() {
        "service" | "service.name" | "service_name" | "servicename" => "resource.service.name".to_owned(),
        "operation" | "operationname" | "operation_name" | "span.name" | "spanname" => "name".to_owned(),
        "traceid" | "trace_id" => "trace:id".to_owned(),
        "spanid" | "span_id" => "span:id".to_owned(),
        _ => Intrinsic::names()
            .find(|name| name.eq_ignore_ascii_case(found))
            .map_or_else(|| format!(".{}", quote_name(found)), str::to_owned),
    }
}

/// A text held against `subject`: a word where the field takes words.
fn value(subject: &str, text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    match subject.rsplit(':').next().unwrap_or_default() {
        "status" if Status::from_word(&lower).is_some() => lower,
        "kind" if Kind::from_word(&lower).is_some() => lower,
        "duration" | "traceDuration" if super::parse_duration(text).is_some() => text.to_owned(),
        _ => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}
