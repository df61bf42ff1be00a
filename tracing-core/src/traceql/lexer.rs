//! Text to tokens. Attributes are one token each, since almost any character may stand in their names
//! (`.a-b` is one attribute); whether an operator compares or combines spansets is for the parser to say.

use std::ops::Range;

use super::duration::parse_duration;
use super::error::QueryError;
use super::field::{Attribute, Scope};
use super::strings::{ends_name, unescape};

/// A token and where it stands, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spanned<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    /// Punctuation or an operator.
    Sign(&'static str),
    /// An identifier, or one with a colon inside (`span:name`).
    Word(&'a str),
    Attribute(Attribute),
    Int(i64),
    Float(f64),
    Duration(i64),
    String(String),
    End,
}

/// Signs, each before those that it begins with.
const SIGNS: [&str; 38] = [
    "&>>", "&<<", "!>>", "!<<", "&&", "||", "!=", "!~", "!>", "!<", "&>", "&<", "&~", "<=", ">=", "<<", ">>",
    "=~", "{", "}", "(", ")", ",", "=", "<", ">", "~", "!", "+", "-", "*", "/", "%", "^", "|", "&", ":", ".",
];

impl Token<'_> {
    /// What Tempo's messages call the token.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Sign(sign) => sign,
            Self::Word(word) => word,
            Self::Attribute(_) => "ATTRIBUTE",
            Self::Int(_) => "INTEGER",
            Self::Float(_) => "FLOAT",
            Self::Duration(_) => "DURATION",
            Self::String(_) => "STRING",
            Self::End => "$end",
        }
    }
}

/// Cuts a text into tokens; the last is [`Token::End`].
pub(crate) fn lex(text: &str) -> Result<Vec<Spanned<'_>>, QueryError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push(Spanned { token, span: start..lexer.at });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, span: Range<usize>, what: &str) -> QueryError {
        QueryError::syntax(self.text, span, what)
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), QueryError> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| {
                    self.error(self.at..self.at + 2, "comment not terminated").expecting("*/")
                })?;
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'a>, QueryError> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return Ok(Token::End) };
        let second = chars.next();
        match first {
            '"' | '`' => self.string(first),
            '.' if second.is_some_and(|c| !ends_name(c)) => {
                self.at += 1;
                self.attribute(Scope::Any, false)
            }
            '0'..='9' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.word(),
            _ => {
                if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                    self.at += sign.len();
                    return Ok(Token::Sign(sign));
                }
                let span = self.at..self.at + first.len_utf8();
                let error = self.error(span, &format!("syntax error: unexpected {first}"));
                Err(if first == '\'' { error.expecting("a string in double quotes") } else { error })
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<Token<'a>, QueryError> {
        let start = self.at;
        let body = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        let end = body.char_indices().find(|&(_, c)| {
            let ends = c == quote && !escaped || c == '\n' && quote == '"';
            escaped = quote == '"' && c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end.filter(|&(_, c)| c == quote) else {
            let error = self.error(start..start + 1, "syntax error: literal not terminated");
            return Err(error.expecting(format!("a closing {quote} on the same line")));
        };
        let body = &body[..end];
        self.at = start + end + 2;
        if quote == '`' {
            return Ok(Token::String(body.replace('\r', "")));
        }
        let text = unescape(body).map_err(|(offset, why)| {
            let at = start + 1 + offset;
            self.error(at..at + 2, &format!("syntax error: {why}"))
        })?;
        Ok(Token::String(text))
    }

    fn number(&mut self) -> Result<Token<'a>, QueryError> {
        let rest = self.rest();
        let digits = |from: usize| {
            let text = rest.get(from..).unwrap_or_default();
            from + text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
        };
        let mut end = digits(0);
        let mut whole = true;
        // As in Go, digits may be missing behind the point.
        if rest[end..].starts_with('.') {
            end = digits(end + 1);
            whole = false;
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            if digits(end + 1 + sign) > end + 1 + sign {
                end = digits(end + 1 + sign);
                whole = false;
            }
        }
        let tail = &rest[end..];
        let unit = tail.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(tail.len());
        let start = self.at;
        self.at += end + unit;
        let text = &rest[..end + unit];
        let wrong =
            |what: &str| self.error(start..start + text.len(), &format!("syntax error: {what} {text}"));
        if unit > 0 {
            let units = "a number, or a duration such as 10ms, 1.5s or 1h30m";
            return parse_duration(text)
                .map(Token::Duration)
                .ok_or_else(|| wrong("invalid duration").expecting(units));
        }
        if whole {
            let limits = "a whole number from -9223372036854775808 (minInt) to 9223372036854775807";
            return text.parse().map(Token::Int).map_err(|_| wrong("integer out of range").expecting(limits));
        }
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(Token::Float).ok_or_else(|| wrong("number out of range").expecting("a 64-bit float"))
    }

    fn word(&mut self) -> Result<Token<'a>, QueryError> {
        let word = identifier(self.rest());
        let after = self.rest().get(word.len()..).unwrap_or_default();
        if after.starts_with('.') {
            if let Some(scope) = Scope::from_word(word) {
                self.at += word.len() + 1;
                return self.attribute(scope, false);
            }
            if word == "parent" {
                self.at += word.len() + 1;
                let inner = identifier(self.rest());
                let scope = Scope::from_word(inner)
                    .filter(|_| self.rest().get(inner.len()..).is_some_and(|r| r.starts_with('.')));
                self.at += scope.map_or(0, |_| inner.len() + 1);
                return self.attribute(scope.unwrap_or(Scope::Any), true);
            }
        }
        let colon = after.strip_prefix(':').map_or("", identifier);
        let length = if colon.is_empty() { word.len() } else { word.len() + 1 + colon.len() };
        let word = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        Ok(Token::Word(word))
    }

    /// Reads an attribute's name from where it begins.
    fn attribute(&mut self, scope: Scope, of_parent: bool) -> Result<Token<'a>, QueryError> {
        let start = self.at;
        let mut name = String::new();
        loop {
            let rest = self.rest();
            match rest.chars().next() {
                Some('"') => self.quoted_part(&mut name)?,
                Some(c) if !ends_name(c) => {
                    name.push(c);
                    self.at += c.len_utf8();
                }
                _ if self.at > start => {
                    return Ok(Token::Attribute(Attribute { scope, of_parent, name }));
                }
                next => {
                    let found = next.map_or("$end".to_owned(), String::from);
                    let what = format!("syntax error: unexpected {found}, expecting IDENTIFIER");
                    let error = self.error(start..start + next.map_or(0, char::len_utf8), &what);
                    return Err(error.expecting("an attribute's name after the dot"));
                }
            }
        }
    }

    /// Reads a `"…"` within an attribute's name.
    fn quoted_part(&mut self, name: &mut String) -> Result<(), QueryError> {
        let open = self.at;
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.error(open..open + 1, "unexpected EOF, expecting \""));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(()),
                '\\' => {
                    let escaped = self.rest().chars().next().filter(|c| matches!(c, '"' | '\\'));
                    let Some(escaped) = escaped else {
                        let error = self.error(self.at - 1..self.at + 1, "invalid escape sequence");
                        return Err(error.expecting("\\\" or \\\\ in a quoted attribute"));
                    };
                    name.push(escaped);
                    self.at += 1;
                }
                c => name.push(c),
            }
        }
    }
}

/// The identifier at the beginning of a text; empty where there is none.
fn identifier(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        lex(text).unwrap().into_iter().map(|spanned| spanned.token).collect()
    }

    fn attribute(scope: Scope, name: &str) -> Token<'static> {
        Token::Attribute(Attribute::new(scope, name))
    }

    #[test]
    fn an_attribute_reaches_to_the_next_sign_and_holds_what_others_would_compute_with() {
        use Token::{End, Int, Sign};
        assert_eq!(tokens(".a-b=1"), [attribute(Scope::Any, "a-b"), Sign("="), Int(1), End]);
        assert_eq!(
            tokens(".a - .b"),
            [attribute(Scope::Any, "a"), Sign("-"), attribute(Scope::Any, "b"), End]
        );
        assert_eq!(tokens("span.\"foo bar\".x}"), [attribute(Scope::Span, "foo bar.x"), Sign("}"), End]);
        assert_eq!(tokens("resource.ключ"), [attribute(Scope::Resource, "ключ"), End]);
        assert_eq!(tokens(r#"span."q\"d""#), [attribute(Scope::Span, "q\"d"), End]);
        assert_eq!(tokens(".5"), [attribute(Scope::Any, "5"), End]);
    }

    #[test]
    fn numbers_durations_and_scoped_words_are_told_apart() {
        use Token::{Duration, End, Float, Int, Word};
        assert_eq!(tokens("12 1.5 1e3 2E-1"), [Int(12), Float(1.5), Float(1000.0), Float(0.2), End]);
        assert_eq!(tokens("007 1. 1.e2"), [Int(7), Float(1.0), Float(100.0), End]);
        assert_eq!(tokens("1h30m 1.5s"), [Duration(5_400_000_000_000), Duration(1_500_000_000), End]);
        assert_eq!(tokens("span:name duration"), [Word("span:name"), Word("duration"), End]);
        assert_eq!(tokens("1d12h 1.s"), [Duration(129_600_000_000_000), Duration(1_000_000_000), End]);
        assert!(lex("1x").is_err());
        assert!(lex("0x10").is_err());
        assert!(lex("99999999999999999999").is_err());
        assert!(lex("1e999").is_err());
    }

    #[test]
    fn comments_are_blank_and_unfinished_things_are_errors() {
        assert_eq!(tokens("1 // two\n /* three */ 4"), [Token::Int(1), Token::Int(4), Token::End]);
        for wrong in
            ["/* x", "\"x", "`x", "span.", "span. = 1", "span.\"x", r#"span."\n""#, "'x'", "\"a\nb\"", "#"]
        {
            assert!(lex(wrong).is_err(), "{wrong}");
        }
    }
}
