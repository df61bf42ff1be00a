//! JSON text (RFC 8259) as a tree that borrows from it. Numbers stay text until someone knows their type, so
//! that 64-bit integers and doubles are exact.

use std::borrow::Cow;

/// How deep arrays and objects may stand inside each other.
const MAX_DEPTH: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Fields in their order; of two with the same name the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Reads a whole document.
///
/// # Errors
/// What was expected, and at which line and column.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json<'_>, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("no UTF-8 from byte {} on", error.valid_up_to()))?;
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.error("expected the end of the text")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, expected: &str) -> String {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        format!("{expected} at line {line} column {column}")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over `byte` if it comes next, after any white space.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(self.error(&format!("expected at most {MAX_DEPTH} levels")));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.error("expected a value")),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, String> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, String> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.take(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Json::Array(elements));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, String> {
        self.at += 1;
        let mut fields = Vec::new();
        if self.take(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a field's name"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.error("expected `:`"));
            }
            fields.push((name, self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `}`"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json<'a>, String> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(start..self.at).unwrap_or_default()))
    }

    /// The bytes up to a quote, a backslash or a control character.
    fn plain(&mut self) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.at += 1;
        let mut text = Cow::Borrowed(self.plain());
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    text.to_mut().push(escaped);
                    let plain = self.plain();
                    text.to_mut().push_str(plain);
                }
                _ => return Err(self.error("expected the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("expected an escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// A UTF-16 unit, or two that are one character; half a pair becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u")) {
            self.at += 1;
            let second = self.unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let character = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at + 1..self.at + 5);
        let hex = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(unit) = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()) else {
            return Err(self.error("expected four hex digits"));
        };
        self.at += 5;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_serde(json: &Json<'_>) -> serde_json::Value {
        match json {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(text) => serde_json::from_str(text).unwrap(),
            Json::Text(text) => text.as_ref().into(),
            Json::Array(elements) => elements.iter().map(as_serde).collect(),
            Json::Object(fields) => {
                fields.iter().map(|(name, value)| (name.as_ref(), as_serde(value))).collect()
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_is_read_or_refused_as_serde_json_does(text in r#"[\[\]{}:," \\ntfu0e.1-]{0,12}|"(\\u[0-9a-f]{4}|[a-z☃]|\\[nrtbf/"\\]){0,4}""#) {
            match (parse(text.as_bytes()), serde_json::from_str::<serde_json::Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(as_serde(&ours), theirs),
                (Err(_), Err(_)) => {}
                // half a surrogate pair and numbers that overflow are taken here
                (Ok(_), Err(error)) => prop_assert!(
                    error.to_string().contains("surrogate")
                        || error.to_string().contains("hex escape")
                        || error.to_string().contains("out of range"),
                    "{}", error
                ),
                (Err(error), Ok(_)) => prop_assert!(false, "{}", error),
            }
        }
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        let refused = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused("{\"a\":\n  1 \"b\"}"), "expected `,` or `}` at line 2 column 5");
        assert_eq!(refused("[1, é]"), "expected a value at line 1 column 5");
        assert_eq!(refused("1 2"), "expected the end of the text at line 1 column 3");
        assert_eq!(parse(b"\"\xff\"").unwrap_err(), "no UTF-8 from byte 1 on");
        assert!(refused(&"[".repeat(100_000)).starts_with("expected at most 128 levels"));
    }
}
