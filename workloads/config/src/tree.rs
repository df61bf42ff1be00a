//! A YAML document as a tree whose nodes know their lines, so that every complaint can point at one.
//!
//! Aliases and merge keys (`<<`) are resolved here, with a bound on what they may unfold to.

use std::{collections::HashMap, fmt};

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Nodes a document may have after aliases are unfolded.
const MAX_NODES: usize = 200_000;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file; the first is 1.
    Line(usize),
    /// A flag, as it was written.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    /// The text as it stands, without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

/// Why a text is no document for us; `line` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Reads the one document of a text; an empty text is an empty map.
pub(crate) fn parse(text: &str) -> Result<Node, TreeError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                if root.is_some() {
                    return Err(wrong(&span, "expected one document, found a second"));
                }
                root = Some(reader.node(event, &span)?);
            }
            _ => {}
        }
    }
    Ok(root.unwrap_or(Node { origin: Origin::Line(1), value: Value::Map(Vec::new()) }))
}

fn wrong(span: &Span, message: impl Into<String>) -> TreeError {
    TreeError { line: span.start.line(), message: message.into() }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, TreeError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(error)) => {
                Err(TreeError { line: error.marker().line(), message: error.info().trim().to_owned() })
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), TreeError> {
        let end = TreeError { line: 1, message: "the document ends too early".to_owned() };
        loop {
            match self.next()?.ok_or_else(|| end.clone())? {
                (Event::Comment(..), _) => {}
                found => return Ok(found),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, TreeError> {
        self.count(span, 1)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| wrong(span, "alias without an anchor"))?;
                self.count(span, size(&node))?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain } };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list()?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map()?, anchor),
            _ => return Err(wrong(span, "expected a value")),
        };
        let node = Node { origin: Origin::Line(span.start.line()), value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, span: &Span, nodes: usize) -> Result<(), TreeError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(wrong(span, format!("the document unfolds to more than {MAX_NODES} nodes")));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<Value, TreeError> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, TreeError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (key, at) = match self.expect()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(text, ..), span) => (text.into_owned(), span),
                (_, span) => return Err(wrong(&span, "expected a key, found a list or a map")),
            };
            let (event, span) = self.expect()?;
            let node = self.node(event, &span)?;
            if key == "<<" {
                merged.push(node);
            } else if entries.iter().any(|entry| entry.key == key) {
                return Err(wrong(&at, format!("key `{key}` is given twice")));
            } else {
                entries.push(Entry { key, origin: Origin::Line(at.start.line()), node });
            }
        }
        for node in merged {
            merge(&mut entries, node);
        }
        Ok(Value::Map(entries))
    }
}

/// Adds what a merge key brings and the map does not have.
fn merge(entries: &mut Vec<Entry>, node: Node) {
    match node.value {
        Value::Map(more) => {
            for entry in more {
                if entries.iter().all(|known| known.key != entry.key) {
                    entries.push(entry);
                }
            }
        }
        Value::List(nodes) => {
            for node in nodes {
                merge(entries, node);
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
    }
}

impl Node {
    /// Puts a flag's value at a path, in place of what stands there; to a list it is added, if `append`ing.
    pub(crate) fn set(&mut self, path: &str, text: &str, origin: &Origin, how: Placement) {
        let mut node = self;
        for segment in path.split('.') {
            if !matches!(node.value, Value::Map(_)) {
                node.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut node.value else { return };
            let at = entries.iter().position(|entry| entry.key == segment).unwrap_or(entries.len());
            if at == entries.len() {
                let node = Node { origin: origin.clone(), value: Value::Null };
                entries.push(Entry { key: segment.to_owned(), origin: origin.clone(), node });
            }
            let Some(entry) = entries.get_mut(at) else { return };
            node = &mut entry.node;
        }
        node.origin = origin.clone();
        let scalar = Value::Scalar { text: text.to_owned(), plain: false };
        match (&mut node.value, how) {
            (Value::List(items), Placement::Append) => {
                items.push(Node { origin: origin.clone(), value: scalar });
            }
            (value, Placement::First | Placement::Append) => {
                *value = Value::List(vec![Node { origin: origin.clone(), value: scalar }]);
            }
            (value, Placement::Replace) => *value = scalar,
        }
    }
}

/// How a flag meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// One value.
    Replace,
    /// A list that replaces the file's.
    First,
    /// One more for the list that an earlier flag began.
    Append,
}
