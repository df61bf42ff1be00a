//! Conditions as other languages write them: `and`, `==`, `<>`, `is null`, `in (…)`, `like`, `between`, commas.

use super::{Piece, fields};

/// The pieces with what is known of them rewritten.
pub(super) fn rewrite(pieces: &[Piece<'_>]) -> String {
    let mut writer = Writer { pieces, at: 0, out: String::new(), calls: vec![], subject: None };
    while let Some(piece) = pieces.get(writer.at) {
        writer.at += 1;
        match piece {
            Piece::Sign(sign) => writer.sign(sign),
            Piece::Text(text) => writer.text(text),
            Piece::Word(word) => writer.word(word),
        }
    }
    writer.out
}

struct Writer<'p, 'a> {
    pieces: &'p [Piece<'a>],
    /// The next piece.
    at: usize,
    out: String,
    /// For each open brace or parenthesis, whether it holds arguments.
    calls: Vec<bool>,
    /// The field on the left of the comparison that is being read, and where it begins in `out`.
    subject: Option<Subject>,
}

struct Subject {
    field: String,
    at: usize,
    /// A comparison has been read after it.
    compared: bool,
}

impl Writer<'_, '_> {
    fn peek(&self, ahead: usize) -> Option<&Piece<'_>> {
        self.pieces.get(self.at + ahead)
    }

    fn put(&mut self, text: &str) {
        let tight = text == ")" || text == "," || self.out.is_empty() || self.out.ends_with(['(', '!', '-']);
        let call = text == "(" && self.out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !tight && !call {
            self.out.push(' ');
        }
        self.out.push_str(text);
    }

    fn sign(&mut self, sign: &str) {
        match sign {
            "{" => {
                self.calls.push(false);
                self.subject = None;
            }
            "(" => {
                let call = self.at.checked_sub(2).and_then(|before| self.pieces.get(before));
                self.calls.push(matches!(call, Some(Piece::Word(word)) if !is_conjunction(word)));
                self.subject = None;
            }
            "}" | ")" => {
                self.calls.pop();
                self.subject = None;
            }
            "&&" | "||" | "&" | "," | ";" | "!" => self.subject = None,
            "==" | "=" | "!=" | "<>" | "<" | ">" | "<=" | ">=" | "=~" | "!~" => {
                if let Some(subject) = &mut self.subject {
                    subject.compared = true;
                }
            }
            _ => {}
        }
        let in_braces = self.calls.contains(&false);
        let in_call = self.calls.last() == Some(&true);
        match sign {
            "==" => self.put("="),
            "<>" => self.put("!="),
            "&" => self.put("&&"),
            "|" if in_braces && !in_call && self.peek(0).is_some_and(is_stage) => {
                // The brace before it was forgotten.
                self.calls.pop();
                self.put("}");
                self.put("|");
            }
            "|" if in_braces => self.put("||"),
            "," if !in_call => {
                // A comma before the end is no conjunction.
                if self.peek(0).is_some_and(|next| !next.is_sign("}")) {
                    self.put("&&");
                }
            }
            ";" => {}
            other => self.put(other),
        }
    }

    fn text(&mut self, text: &str) {
        match &self.subject {
            Some(subject) if subject.compared => {
                let value = fields::text(&subject.field, text);
                self.subject = None;
                self.put(&value);
            }
            // A name in quotes, as SQL has them.
            _ if self.peek(0).is_some_and(is_comparison) => self.field(text),
            _ => self.put(&fields::text("", text)),
        }
    }

    fn word(&mut self, word: &str) {
        let lower = word.to_ascii_lowercase();
        if self.after_subject(&lower) {
            return;
        }
        match lower.as_str() {
            "and" | "or" => {
                self.subject = None;
                self.put(if lower == "and" { "&&" } else { "||" });
            }
            "not" => self.put("!"),
            _ if self.subject.as_ref().is_some_and(|subject| subject.compared) => self.value(word),
            // A stage, with parentheses or without.
            stage
                if (STAGES.contains(&stage) || stage == "with")
                    && (self.peek(0).is_some_and(|next| next.is_sign("(")) || self.out.ends_with('|')) =>
            {
                self.put(&lower);
                if self.peek(0).is_none_or(|next| !next.is_sign("(")) {
                    self.out.push_str("()");
                }
            }
            _ => self.pair(word),
        }
    }

    /// `service:shop`, `service: "shop"`, or a field alone.
    fn pair(&mut self, word: &str) {
        let known = crate::traceql::field::Intrinsic::from_name(word).is_some();
        match word.split_once(':').filter(|_| !known && !word.starts_with('.')) {
            Some((name, value)) if !name.is_empty() => {
                self.field(name);
                self.put("=");
                if let Some(subject) = &mut self.subject {
                    subject.compared = true;
                }
                if !value.is_empty() {
                    self.value(value);
                }
            }
            _ => self.field(word),
        }
    }

    fn field(&mut self, word: &str) {
        let at = self.out.len();
        let field = fields::field(word);
        let field = self.numbered(field);
        self.put(&field);
        self.subject = Some(Subject { field, at, compared: false });
    }

    /// `status = 500` is HTTP's.
    fn numbered(&self, field: String) -> String {
        let number = match (self.peek(0), self.peek(1)) {
            (Some(sign), Some(Piece::Word(number))) if is_comparison(sign) => number.parse().unwrap_or(0),
            _ => 0,
        };
        if field == "status" && number >= 100 { ".http.status_code".to_owned() } else { field }
    }

    fn value(&mut self, word: &str) {
        let Some(subject) = self.subject.take() else { return };
        let mut word = word.to_owned();
        // `100 ms`
        if word.parse::<f64>().is_ok()
            && let Some(Piece::Word(unit)) = self.peek(0)
            && crate::traceql::parse_duration(&format!("{word}{unit}")).is_some()
        {
            word.push_str(unit);
            self.at += 1;
        }
        let value = fields::word(&subject.field, &word);
        self.put(&value);
    }

    /// What SQL has after a field: `is null`, `in (…)`, `like`, `between`, each with `not` before it. Whether it was
    /// one of them.
    fn after_subject(&mut self, word: &str) -> bool {
        if self.subject.as_ref().is_none_or(|subject| subject.compared) {
            return false;
        }
        let next = self.peek(0).and_then(Piece::lower).unwrap_or_default();
        let (negated, operator, taken) = match (word, next.as_str()) {
            ("not", "in" | "like" | "ilike" | "between") => (true, next.clone(), 1),
            ("is", "not") if self.peek(1).is_some_and(|it| it.is_word("null") || it.is_word("nil")) => {
                (true, "is".to_owned(), 2)
            }
            ("is", "null" | "nil") => (false, "is".to_owned(), 1),
            ("in" | "like" | "ilike" | "between" | "contains" | "exists", _) => (false, word.to_owned(), 0),
            _ => return false,
        };
        let from = self.at;
        self.at += taken;
        let Some(subject) = self.subject.take() else { return false };
        let Some(condition) = self.condition(&subject.field, &operator, negated) else {
            self.at = from;
            self.subject = Some(subject);
            return false;
        };
        self.out.truncate(subject.at);
        self.put(&condition);
        true
    }

    fn condition(&mut self, field: &str, operator: &str, negated: bool) -> Option<String> {
        let yes_no = |yes: &'static str, no: &'static str| if negated { no } else { yes };
        Some(match operator {
            "is" => format!("{field} {} nil", yes_no("=", "!=")),
            "exists" => format!("{field} != nil"),
            "like" | "ilike" | "contains" => {
                let Some(Piece::Text(pattern)) = self.peek(0).cloned() else { return None };
                self.at += 1;
                let pattern = match operator {
                    "contains" => format!(".*{}.*", regex::escape(&pattern)),
                    "ilike" => format!("(?i){}", like(&pattern)),
                    _ => like(&pattern),
                };
                format!("{field} {} {}", yes_no("=~", "!~"), fields::text("", &pattern))
            }
            "between" => {
                let (least, and, most) = (self.operand(field)?, self.peek(0)?.is_word("and"), 1);
                self.at += most;
                let most = self.operand(field).filter(|_| and)?;
                if negated {
                    format!("({field} < {least} || {field} > {most})")
                } else {
                    format!("({field} >= {least} && {field} <= {most})")
                }
            }
            _ => {
                if !self.peek(0)?.is_sign("(") {
                    return None;
                }
                self.at += 1;
                let mut tests = Vec::new();
                loop {
                    tests.push(format!("{field} {} {}", yes_no("=", "!="), self.operand(field)?));
                    self.at += 1;
                    match self.pieces.get(self.at - 1)? {
                        end if end.is_sign(")") => break,
                        comma if comma.is_sign(",") => {}
                        _ => return None,
                    }
                }
                format!("({})", tests.join(yes_no(" || ", " && ")))
            }
        })
    }

    fn operand(&mut self, field: &str) -> Option<String> {
        let value = match self.peek(0)? {
            Piece::Text(text) => fields::text(field, text),
            Piece::Word(word) => fields::word(field, word),
            Piece::Sign(_) => return None,
        };
        self.at += 1;
        Some(value)
    }
}

/// Words that begin a stage, or stand for a scalar.
const STAGES: [&str; 13] = [
    "by",
    "select",
    "coalesce",
    "count",
    "avg",
    "min",
    "max",
    "sum",
    "rate",
    "count_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
];

fn is_stage(piece: &Piece<'_>) -> bool {
    piece.lower().is_some_and(|word| STAGES.contains(&word.as_str()))
}

fn is_comparison(piece: &Piece<'_>) -> bool {
    matches!(piece, Piece::Sign("==" | "=" | "!=" | "<>" | "<" | ">" | "<=" | ">=" | "=~" | "!~"))
}

fn is_conjunction(word: &str) -> bool {
    ["and", "or", "not", "in", "where", "having"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

/// SQL's pattern as a regular expression.
fn like(pattern: &str) -> String {
    let part = |c: char| match c {
        '%' => ".*".to_owned(),
        '_' => ".".to_owned(),
        c => regex::escape(c.encode_utf8(&mut [0; 4])),
    };
    pattern.chars().map(part).collect()
}
