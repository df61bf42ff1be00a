//! What an expression can look at: attributes by scope and name, and intrinsics.

use std::fmt;

use super::strings::quote_name;
use super::value::Type;

/// Something of a span that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An attribute.
    Attribute(Attribute),
    /// A property that every span, or its trace, event, link or scope, has.
    Intrinsic(Intrinsic),
    /// `parent:name`: one of those of the span itself that the parent span has.
    OfParent(Intrinsic),
}

/// An attribute, by where it stands and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Where to look.
    pub scope: Scope,
    /// Of the parent span (`parent.x`).
    pub of_parent: bool,
    /// The name, without quotes.
    pub name: String,
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `.x`: the span, and where it has none, the resource.
    Any,
    /// `span.x`
    Span,
    /// `resource.x`
    Resource,
    /// `event.x`
    Event,
    /// `link.x`
    Link,
    /// `instrumentation.x`
    Instrumentation,
}

/// A property with a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    /// `duration`: of the span.
    Duration,
    /// `name`: of the span.
    Name,
    /// `status`
    Status,
    /// `statusMessage`
    StatusMessage,
    /// `kind`
    Kind,
    /// `span:id`: 16 hex digits.
    SpanId,
    /// `span:parentID`: 16 hex digits, empty for a root.
    ParentId,
    /// `span:childCount`: spans that name this one as their parent.
    ChildCount,
    /// `traceDuration`
    TraceDuration,
    /// `rootName`
    RootName,
    /// `rootServiceName`
    RootService,
    /// `trace:id`: hex without leading zeros.
    TraceId,
    /// `nestedSetLeft`
    NestedSetLeft,
    /// `nestedSetRight`
    NestedSetRight,
    /// `nestedSetParent`
    NestedSetParent,
    /// `event:name`
    EventName,
    /// `event:timeSinceStart`: of the span.
    EventTime,
    /// `link:traceID`: hex without leading zeros.
    LinkTraceId,
    /// `link:spanID`: hex without leading zeros.
    LinkSpanId,
    /// `instrumentation:name`
    ScopeName,
    /// `instrumentation:version`
    ScopeVersion,
    /// `parent`, which is read and refused.
    Parent,
}

/// Every intrinsic with the names it is read by; the first is the one it is printed with.
const NAMES: [(Intrinsic, &[&str], Type); 22] = [
    (Intrinsic::Duration, &["duration", "span:duration"], Type::Duration),
    (Intrinsic::Name, &["name", "span:name"], Type::String),
    (Intrinsic::Status, &["status", "span:status"], Type::Status),
    (Intrinsic::StatusMessage, &["statusMessage", "span:statusMessage"], Type::String),
    (Intrinsic::Kind, &["kind", "span:kind"], Type::Kind),
    (Intrinsic::SpanId, &["span:id"], Type::String),
    (Intrinsic::ParentId, &["span:parentID"], Type::String),
    (Intrinsic::ChildCount, &["span:childCount"], Type::Int),
    (Intrinsic::TraceDuration, &["traceDuration", "trace:duration"], Type::Duration),
    (Intrinsic::RootName, &["rootName", "trace:rootName"], Type::String),
    (Intrinsic::RootService, &["rootServiceName", "trace:rootService"], Type::String),
    (Intrinsic::TraceId, &["trace:id"], Type::String),
    (Intrinsic::NestedSetLeft, &["nestedSetLeft"], Type::Int),
    (Intrinsic::NestedSetRight, &["nestedSetRight"], Type::Int),
    (Intrinsic::NestedSetParent, &["nestedSetParent"], Type::Int),
    (Intrinsic::EventName, &["event:name"], Type::String),
    (Intrinsic::EventTime, &["event:timeSinceStart"], Type::Duration),
    (Intrinsic::LinkTraceId, &["link:traceID"], Type::String),
    (Intrinsic::LinkSpanId, &["link:spanID"], Type::String),
    (Intrinsic::ScopeName, &["instrumentation:name"], Type::String),
    (Intrinsic::ScopeVersion, &["instrumentation:version"], Type::String),
    (Intrinsic::Parent, &["parent"], Type::Nil),
];

/// What stands before an intrinsic of the parent span.
const PARENT: &str = "parent:";

/// The name of an intrinsic of the span itself behind its `span:`.
fn own_name((_, names, _): &(Intrinsic, &[&'static str], Type)) -> Option<&'static str> {
    names.iter().find_map(|name| name.strip_prefix("span:"))
}

impl Field {
    /// What is known of the value before it is looked up.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Attribute(_) => Type::Attribute,
            Self::Intrinsic(intrinsic) | Self::OfParent(intrinsic) => intrinsic.kind(),
        }
    }

    /// The intrinsic of a name, in any spelling.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix(PARENT) {
            None => Intrinsic::from_name(name).map(Self::Intrinsic),
            Some(of) => NAMES.iter().find(|it| own_name(it) == Some(of)).map(|(it, ..)| Self::OfParent(*it)),
        }
    }

    /// What is asked of the parent, where something is.
    #[must_use]
    pub fn of_parent(&self) -> Option<Self> {
        match self {
            Self::OfParent(intrinsic) => Some(Self::Intrinsic(*intrinsic)),
            Self::Attribute(attribute) if attribute.of_parent => {
                Some(Self::Attribute(Attribute { of_parent: false, ..attribute.clone() }))
            }
            Self::Attribute(_) | Self::Intrinsic(_) => None,
        }
    }

    /// The name under which a search answer shows the value: without scope.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        match self {
            Self::Attribute(attribute) => &attribute.name,
            Self::Intrinsic(intrinsic) | Self::OfParent(intrinsic) => intrinsic.as_str(),
        }
    }
}

impl Attribute {
    /// An attribute of `scope`.
    #[must_use]
    pub fn new(scope: Scope, name: impl Into<String>) -> Self {
        Self { scope, of_parent: false, name: name.into() }
    }
}

impl Intrinsic {
    /// The name it is printed with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        NAMES
            .iter()
            .find(|(it, _, _)| *it == self)
            .and_then(|(_, names, _)| names.first())
            .map_or("", |name| name)
    }

    /// The type of its value.
    #[must_use]
    pub fn kind(self) -> Type {
        NAMES.iter().find(|(it, _, _)| *it == self).map_or(Type::Nil, |(_, _, kind)| *kind)
    }

    /// The intrinsic of a name, in either spelling.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, names, _)| names.contains(&name)).map(|(it, _, _)| *it)
    }

    /// Every spelling of every intrinsic.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().flat_map(|(_, names, _)| names.iter().copied())
    }
}

impl Scope {
    /// The word before the dot; empty for [`Scope::Any`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Span => "span",
            Self::Resource => "resource",
            Self::Event => "event",
            Self::Link => "link",
            Self::Instrumentation => "instrumentation",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Span, Self::Resource, Self::Event, Self::Link, Self::Instrumentation];
        all.into_iter().find(|scope| scope.as_str() == word)
    }

    /// The scope of a word, where it is one of which a span may have several.
    pub(crate) fn of_several(word: &str) -> Option<Self> {
        [Self::Event, Self::Link].into_iter().find(|scope| scope.as_str() == word)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(attribute) => attribute.fmt(f),
            Self::Intrinsic(intrinsic) => f.write_str(intrinsic.as_str()),
            Self::OfParent(intrinsic) => {
                let name = NAMES.iter().find(|(it, ..)| it == intrinsic).and_then(own_name);
                write!(f, "{PARENT}{}", name.unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = match (self.of_parent, self.scope) {
            (false, _) => "",
            (true, Scope::Any) => "parent",
            (true, _) => "parent.",
        };
        // `parent."span.x"` is not `parent.span.x`.
        let first = self.name.split_once('.').map_or("", |(first, _)| first);
        if self.of_parent && self.scope == Scope::Any && Scope::from_word(first).is_some() {
            return write!(f, "parent.\"{}\"", self.name.replace('\\', "\\\\").replace('"', "\\\""));
        }
        write!(f, "{parent}{}.{}", self.scope.as_str(), quote_name(&self.name))
    }
}
