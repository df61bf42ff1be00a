//! Tokens to syntax tree, by precedence climbing. `&&` and `||` bind equally, as in Tempo.
//!
//! Work is bounded: [`MAX_DEPTH`] levels of nesting, [`MAX_OPERATORS`] operators.

use std::ops::Range;

use super::error::{Problem, QueryError};
use super::field::Field;
use super::lexer::{Spanned, Token, lex};
use super::places::Places;
use super::syntax::{Hint, Query, Root, Stage};
use super::value::{Kind, Literal, Status};

mod expression;
mod metrics;
mod pipeline;

use pipeline::Piped;

/// Deepest nesting of parentheses, prefix operators and `^`.
pub(crate) const MAX_DEPTH: usize = 100;

/// Most operators between spansets, scalars and stages.
pub(crate) const MAX_STAGES: usize = 100;

/// Most regular expressions of a query; each takes time and memory to compile.
pub(crate) const MAX_REGEXES: usize = 100;

/// Most operators of a query. It bounds the height of the tree, over which the later passes recurse.
pub(crate) const MAX_OPERATORS: usize = 1000;

type Result<T> = std::result::Result<T, QueryError>;

/// A query, and what Tempo would say of it where that refuses it.
pub(crate) struct Parsed {
    pub(crate) query: Query,
    pub(crate) places: Places,
    pub(crate) beyond_tempo: Option<QueryError>,
}

/// Reads a query.
pub(crate) fn parse(text: &str) -> Result<Parsed> {
    let tokens = lex(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        operators: 0,
        stages: 0,
        regexes: 0,
        places: Places::default(),
        beyond_tempo: None,
    };
    let root = match parser.piped()? {
        Piped::Metrics(metrics) => Root::Metrics(metrics),
        Piped::Pipeline(pipeline) => {
            if matches!(pipeline.stages.last(), Some(Stage::Scalar(_))) {
                return Err(parser.unexpected("a comparison such as > 2"));
            }
            Root::Pipeline(pipeline)
        }
    };
    let hints = parser.hints()?;
    if !parser.is(&Token::End) {
        return Err(parser.unexpected("an operator, | or the end of the query"));
    }
    Ok(Parsed { query: Query { root, hints }, places: parser.places, beyond_tempo: parser.beyond_tempo })
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned<'a>>,
    at: usize,
    depth: usize,
    operators: usize,
    stages: usize,
    regexes: usize,
    places: Places,
    beyond_tempo: Option<QueryError>,
}

impl<'a> Parser<'a> {
    /// Notes that Tempo refuses the query at a token, if it does not refuse it before that.
    fn goes_beyond_tempo(&mut self, token: usize, expected: &str) {
        let here = std::mem::replace(&mut self.at, token);
        let error = self.unexpected(expected);
        self.at = here;
        self.beyond_tempo.get_or_insert(error);
    }

    fn peek(&self) -> &Token<'a> {
        self.tokens.get(self.at).map_or(&Token::End, |spanned| &spanned.token)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.text.len()..self.text.len(), |spanned| spanned.span.clone())
    }

    /// From the token `first` up to the one that was read last, in bytes.
    fn since(&self, first: usize) -> Range<usize> {
        let at =
            |token: usize| self.tokens.get(token).map(|spanned| spanned.span.clone()).unwrap_or_default();
        at(first).start..at(self.at.saturating_sub(1).max(first)).end
    }

    fn is(&self, token: &Token<'_>) -> bool {
        self.peek() == token
    }

    fn eat(&mut self, sign: &'static str) -> bool {
        let found = self.is(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str, expected: &str) -> Result<()> {
        if self.eat(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn sign(&self) -> Option<&'static str> {
        match self.peek() {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn word(&self) -> Option<&'a str> {
        match self.peek() {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether the next token is this word and an opening parenthesis follows.
    fn is_call(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|spanned| &spanned.token);
        self.word().is_some() && next == Some(&Token::Sign("("))
    }

    /// The error that the next token is none of what may stand here.
    fn unexpected(&self, expected: &str) -> QueryError {
        let name = match self.peek() {
            Token::Word(_) => "IDENTIFIER",
            token => token.name(),
        };
        self.error(&format!("syntax error: unexpected {name}")).expecting(expected)
    }

    fn unknown_identifier(&self, word: &str, expected: &str) -> QueryError {
        self.error(&format!("unknown identifier: {word}")).expecting(expected)
    }

    fn error(&self, what: &str) -> QueryError {
        QueryError::syntax(self.text, self.span(), what)
    }

    /// Runs `inner` one level deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("query nests deeper than {MAX_DEPTH} levels");
            return Err(QueryError::new(Problem::TooLarge, message));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Counts one operator.
    fn count_operator(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            let message = format!("query has more than {MAX_OPERATORS} operators");
            return Err(QueryError::new(Problem::TooLarge, message)
                .expecting("fewer; alternatives of one field can be one regular expression"));
        }
        Ok(())
    }

    /// Counts one regular expression.
    fn count_regex(&mut self) -> Result<()> {
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            let message = format!("query has more than {MAX_REGEXES} regular expressions");
            return Err(QueryError::new(Problem::TooLarge, message).expecting("alternatives: a|b|c"));
        }
        Ok(())
    }

    /// Counts one operator between spansets, scalars or stages.
    fn count_stage(&mut self) -> Result<()> {
        self.stages += 1;
        if self.stages > MAX_STAGES {
            let message = format!("query combines more than {MAX_STAGES} spansets and stages");
            return Err(QueryError::new(Problem::TooLarge, message));
        }
        Ok(())
    }

    /// Reads items separated by commas up to the closing parenthesis, which is read too. At least one.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(",") {
            items.push(item(self)?);
        }
        self.expect(")", ", or )")?;
        Ok(items)
    }

    /// Reads an attribute or an intrinsic.
    fn field(&mut self) -> Result<Field> {
        self.field_or("an attribute (.x, span.x, resource.x) or an intrinsic (name, status, duration, …)")
    }

    /// The same, where something else might stand too.
    fn field_or(&mut self, expected: &str) -> Result<Field> {
        let field = match self.peek() {
            Token::Attribute(attribute) => Field::Attribute(attribute.clone()),
            Token::Word(word) => match Field::from_name(word) {
                Some(field) => field,
                None => return Err(self.unknown_identifier(word, expected)),
            },
            _ => return Err(self.unexpected(expected)),
        };
        if field.of_parent().is_some() {
            let refused = QueryError::new(Problem::NotAnswered, "parent not yet supported");
            self.beyond_tempo.get_or_insert(refused.placed(self.text, self.span()));
        }
        self.at += 1;
        Ok(field)
    }

    /// The value at the next token, if it is one.
    fn peek_literal(&self) -> Option<Literal> {
        Some(match self.peek() {
            Token::Int(value) => Literal::Int(*value),
            Token::Float(value) => Literal::Float(*value),
            Token::Duration(ns) => Literal::Duration(*ns),
            Token::String(text) => Literal::String(text.clone()),
            Token::Word("nil") => Literal::Nil,
            Token::Word("true") => Literal::Bool(true),
            Token::Word("false") => Literal::Bool(false),
            Token::Word("minInt") => Literal::Int(i64::MIN),
            Token::Word("maxInt") => Literal::Int(i64::MAX),
            Token::Word(word) => Status::from_word(word)
                .map(Literal::Status)
                .or_else(|| Kind::from_word(word).map(Literal::Kind))?,
            _ => return None,
        })
    }

    /// Reads a value, with its sign.
    fn literal(&mut self, expected: &str) -> Result<Literal> {
        let negative = self.eat("-");
        let literal = self.peek_literal().ok_or_else(|| self.unexpected(expected))?;
        let literal = match (negative, literal) {
            (false, literal) => literal,
            (true, Literal::Int(value)) => Literal::Int(value.wrapping_neg()),
            (true, Literal::Float(value)) => Literal::Float(-value),
            (true, Literal::Duration(ns)) => Literal::Duration(-ns),
            (true, _) => return Err(self.unexpected("a number after the minus")),
        };
        self.at += 1;
        Ok(literal)
    }

    /// Reads `with (name=value, …)`, if it is there.
    fn hints(&mut self) -> Result<Vec<Hint>> {
        if self.word() != Some("with") {
            return Ok(Vec::new());
        }
        self.at += 1;
        self.expect("(", "( and hints such as most_recent=true")?;
        self.list(|parser| {
            let name = parser.word().ok_or_else(|| parser.unexpected("the name of a hint"))?.to_owned();
            parser.at += 1;
            parser.expect("=", "= and the hint's value")?;
            Ok(Hint { name, value: parser.literal("the hint's value")? })
        })
    }
}
