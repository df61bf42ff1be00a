//! Regular expressions in Go's dialect, in which TraceQL's are written, for the engine that is used here.
//!
//! The two differ where it hurts: in Go `\d`, `\w`, `\s` and `\b` know ASCII alone, a `{` that begins no
//! repetition is a brace (`/users/{id}`), and within a class there is nothing but characters and ranges.

use std::iter::Peekable;
use std::str::CharIndices;

use regex::{Regex, RegexBuilder};

/// Largest compiled regular expression, in bytes: a hundred of them, as many as a query may have, fit into 64 MiB.
const MAX_BYTES: usize = 384 << 10;

/// Most classes by Unicode property: each takes several kilobytes before anything is compiled.
const MAX_PROPERTIES: usize = 1000;

/// Most repetitions that Go takes.
const MAX_REPEAT: u32 = 1000;

/// What `\d`, `\w` and `\s` stand for, within a class.
const PERL: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9A-Za-z_"), ('s', "\\t\\n\\f\\r ")];

/// Compiles a regular expression that must match the whole text, in which a dot matches any character.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn whole_match(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).run()?;
    RegexBuilder::new(&format!("^(?s:{translated})$"))
        .size_limit(MAX_BYTES)
        .dfa_size_limit(MAX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("compiles to more than {limit} bytes"),
            // Several lines with a caret of their own, of which the last says what it is.
            other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        })
}

/// The names between `[:` and `:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

struct Translator<'p> {
    pattern: &'p str,
    chars: Peekable<CharIndices<'p>>,
    out: String,
    properties: usize,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str) -> Self {
        let chars = pattern.char_indices().peekable();
        Self { pattern, chars, out: String::with_capacity(pattern.len()), properties: 0 }
    }

    fn run(mut self) -> Result<String, String> {
        while let Some((at, c)) = self.chars.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group(at)?,
                '{' => self.brace(at)?,
                c => self.out.push(c),
            }
        }
        Ok(self.out)
    }

    fn rest(&self, from: usize) -> &'p str {
        self.pattern.get(from..).unwrap_or_default()
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    /// An escape outside of a class; its backslash is read.
    fn escape(&mut self) -> Result<(), String> {
        let Some(&(at, c)) = self.chars.peek() else {
            return Err("trailing backslash at end of expression".to_owned());
        };
        match c {
            'b' | 'B' => {
                self.chars.next();
                self.out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            }
            'Q' => {
                self.chars.next();
                let body = self.rest(at + 1);
                let end = body.find("\\E").unwrap_or(body.len());
                self.out.push_str(&regex::escape(&body[..end]));
                let after = at + 1 + end + "\\E".len();
                while self.chars.next_if(|(at, _)| *at < after).is_some() {}
            }
            'A' | 'z' => {
                self.chars.next();
                self.out.extend(['\\', c]);
            }
            _ => match perl(c) {
                Some(class) => {
                    self.chars.next();
                    let negated = if c.is_ascii_uppercase() { "^" } else { "" };
                    self.out.extend(["[", negated, class, "]"]);
                }
                None => self.character_escape()?,
            },
        }
        Ok(())
    }

    /// An escape that stands for characters in and out of a class; its backslash is read.
    fn character_escape(&mut self) -> Result<(), String> {
        let Some((at, c)) = self.chars.next() else {
            return Err("trailing backslash at end of expression".to_owned());
        };
        match c {
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => self.out.extend(['\\', c]),
            'p' | 'P' | 'x' => {
                self.out.extend(['\\', c]);
                self.properties += usize::from(c != 'x');
                if self.properties > MAX_PROPERTIES {
                    return Err(format!("more than {MAX_PROPERTIES} classes by property"));
                }
                if self.take('{') {
                    self.out.push('{');
                    for (_, c) in self.chars.by_ref() {
                        self.out.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
            }
            '0'..='7' => {
                let digits: String = self.rest(at).chars().take(3).take_while(|c| c.is_digit(8)).collect();
                if c != '0' && digits.len() == 1 {
                    return Err(format!("invalid escape sequence: `\\{c}`"));
                }
                for _ in 1..digits.len() {
                    self.chars.next();
                }
                let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
                self.out.extend(["\\x{", &format!("{code:x}"), "}"]);
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => push_literal(&mut self.out, c),
            c => return Err(format!("invalid escape sequence: `\\{c}`")),
        }
        Ok(())
    }

    /// `(`, and the flags behind it.
    fn group(&mut self, at: usize) -> Result<(), String> {
        self.out.push('(');
        let Some(flags) = self.rest(at).strip_prefix("(?") else { return Ok(()) };
        let end = flags.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(flags.len());
        let named = flags.starts_with("P<") || flags.starts_with('<');
        if !named && flags[..end].contains(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
            return Err(format!("invalid or unsupported Perl syntax: `(?{}`", &flags[..end]));
        }
        Ok(())
    }

    /// `{`: a repetition, or else a brace.
    fn brace(&mut self, at: usize) -> Result<(), String> {
        let body = self.rest(at + 1);
        let inner = body.find('}').and_then(|end| body.get(..end)).unwrap_or_default();
        let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !number(least) || !(most.is_empty() || number(most)) {
            self.out.push_str("\\{");
            return Ok(());
        }
        let too_many = |text: &str| !text.is_empty() && text.parse::<u32>().is_ok_and(|n| n <= MAX_REPEAT);
        if !too_many(least) || !(most.is_empty() || too_many(most)) {
            return Err(format!("invalid repeat count: `{{{inner}}}`, at most {MAX_REPEAT}"));
        }
        self.out.push('{');
        Ok(())
    }

    /// A class; its `[` is read.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take('^') {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(&(at, c)) = self.chars.peek() else { return Err("missing closing ]".to_owned()) };
            match c {
                ']' if !first => {
                    self.chars.next();
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest(at).starts_with("[:") && self.rest(at).contains(":]") => self.posix(at)?,
                '\\' if self.perl_in_class(at) => {}
                _ => self.range()?,
            }
            first = false;
        }
    }

    /// `[:alpha:]`
    fn posix(&mut self, at: usize) -> Result<(), String> {
        let end = self.rest(at).find(":]").map_or(at, |end| at + end + ":]".len());
        let class = self.pattern.get(at..end).unwrap_or_default();
        let name = class.trim_start_matches("[:").trim_start_matches('^').trim_end_matches(":]");
        if !POSIX.contains(&name) {
            return Err(format!("invalid character class range: `{class}`"));
        }
        while let Some((_, c)) = self.chars.next_if(|(at, _)| *at < end) {
            self.out.push(c);
        }
        Ok(())
    }

    /// `\d` and its like within a class, if it is one.
    fn perl_in_class(&mut self, at: usize) -> bool {
        let Some((c, class)) = self.rest(at + 1).chars().next().and_then(|c| Some((c, perl(c)?))) else {
            return false;
        };
        self.chars.next();
        self.chars.next();
        let negated = if c.is_ascii_uppercase() { "^" } else { "" };
        self.out.extend(["[", negated, class, "]"]);
        true
    }

    /// A character of a class, or a range of them.
    fn range(&mut self) -> Result<(), String> {
        self.class_character()?;
        let mut ahead = self.chars.clone();
        let dash = ahead.next().is_some_and(|(_, c)| c == '-');
        if dash && ahead.next().is_some_and(|(_, c)| c != ']') {
            self.chars.next();
            self.out.push('-');
            self.class_character()?;
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<(), String> {
        match self.chars.next() {
            None => Err("missing closing ]".to_owned()),
            Some((_, '\\')) => self.character_escape(),
            Some((_, c)) => {
                push_literal(&mut self.out, c);
                Ok(())
            }
        }
    }
}

fn perl(c: char) -> Option<&'static str> {
    PERL.iter().find(|(name, _)| *name == c.to_ascii_lowercase()).map(|(_, class)| *class)
}

/// A character that means itself.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        whole_match(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
    }

    #[test]
    fn classes_know_ascii_alone_as_in_go() {
        for (pattern, yes, no) in [
            (r"\d+", "42", "٤٢"),
            (r"\D+", "٤٢", "42"),
            (r"\w+", "a_1", "ключ"),
            (r"[\w-]+", "a-1", "ключ"),
            (r"[^\s]+", "a\u{a0}b", "a b"),
            (r"\S+", "\u{a0}", " "),
            (r".*\bb.*", "a b", "ab"),
            (r"a\Bb", "ab", "a b"),
            (r"[[:alpha:]]+", "ab", "a1"),
            (r"\pL+", "ключ", "1"),
            (r"\p{Greek}+", "αβγ", "abc"),
            (r"(?i)TEXT", "text", "texts"),
        ] {
            assert!(matches(pattern, yes), "{pattern} should match {yes}");
            assert!(!matches(pattern, no), "{pattern} should not match {no}");
        }
    }

    #[test]
    fn what_begins_no_repetition_or_class_operation_means_itself() {
        for (pattern, text) in [
            ("/users/{id}", "/users/{id}"),
            ("a{,2}", "a{,2}"),
            ("a{2}", "aa"),
            ("a{1,}", "aaa"),
            ("x{y", "x{y"),
            ("[[]", "["),
            ("[a&&b]+", "a&b"),
            ("[a~~b]+", "~"),
            ("[+--]+", "+,-"),
            ("[]a]+", "]a"),
            ("[^]a]+", "bc"),
            ("[a-]+", "a-"),
            (r"[\]\-\\]+", r"]-\"),
            (r"\<b\>", "<b>"),
            (r"\Qa.b*\E+", "a.b**"),
            (r"\Qa.b", "a.b"),
            (r"\101\x42\x{43}", "ABC"),
            (r"\_\/\-\%", "_/-%"),
            ("a.b", "a\nb"),
            ("", ""),
            ("(?P<n>a)(?<m>b)(?:c)", "abc"),
        ] {
            assert!(matches(pattern, text), "{pattern} should match {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            ")(?",
            "[a",
            "[",
            "a{1001}",
            "a{2,1}",
            "(?x:a)",
            "(?u)a",
            r"\1",
            r"\u0041",
            r"[\b]",
            r"\y",
            "*",
            "\\",
            r"[\",
            "[b-a]",
            r"\Z",
            "(?<n",
            "[[:nonsense:]]",
        ] {
            assert!(whole_match(pattern).is_err(), "{pattern}");
        }
        assert!(whole_match("(a{1000}){1000}").unwrap_err().contains("bytes"));
        assert!(whole_match(&r"\pL".repeat(1001)).unwrap_err().contains("1000 classes"));
    }
}
