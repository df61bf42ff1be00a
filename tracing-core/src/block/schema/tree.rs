//! The schema as a tree, from which both the list of columns and the text that the Parquet crate parses are
//! made, so that these cannot differ.
//!
//! vParquet4 writes a list as three levels (`x.list.element`), vParquet5 as a plain repeated field.

use std::fmt::Write;

use super::{
    Kind, Leaf, Part, Slots, Spec,
    slots::{self, Slot, spare},
};
use crate::{
    block::{DedicatedKind, DedicatedScope, Version},
    table::Level,
};

/// How often a column has a value in its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    AtMostOnce,
    Any,
}

enum Node {
    Column {
        name: String,
        leaf: Leaf,
        kind: Kind,
        times: Times,
        blob: bool,
    },
    Group {
        name: &'static str,
        fields: Vec<Self>,
    },
    /// A list of groups.
    Rows {
        name: &'static str,
        fields: Vec<Self>,
    },
    /// The entries of a map, whose name is `key_value`.
    Map {
        name: &'static str,
        fields: Vec<Self>,
    },
}

/// Every column of a block, in the order of the file.
pub(super) fn specs(version: Version, slots: &Slots) -> Vec<Spec> {
    let mut specs = Vec::new();
    for node in root(version, slots) {
        walk(&node, version, "", (0, 0), &mut specs);
    }
    specs
}

/// The schema in the language of Parquet's tools.
pub(super) fn message(version: Version, slots: &Slots) -> String {
    let mut text = "message Trace {\n".to_owned();
    for node in &root(version, slots) {
        print(node, version, &mut text);
    }
    text + "}"
}

fn walk(node: &Node, version: Version, prefix: &str, (def, rep): (u8, u8), specs: &mut Vec<Spec>) {
    let lists = version == Version::V4;
    let (fields, prefix, levels) = match node {
        Node::Column { name, leaf, kind, times, blob } => {
            let list = if lists && *times == Times::Any { ".list.element" } else { "" };
            let path = format!("{prefix}{name}{list}");
            let (def, rep) = match times {
                Times::Once => (def, rep),
                Times::AtMostOnce => (def + 1, rep),
                Times::Any => (def + 1, rep + 1),
            };
            return specs.push(Spec { leaf: *leaf, path, kind: *kind, def, rep, blob: *blob });
        }
        Node::Group { name, fields } => (fields, format!("{prefix}{name}."), (def, rep)),
        Node::Rows { name, fields } if lists => {
            (fields, format!("{prefix}{name}.list.element."), (def + 1, rep + 1))
        }
        Node::Rows { name, fields } => (fields, format!("{prefix}{name}."), (def + 1, rep + 1)),
        Node::Map { name, fields } => (fields, format!("{prefix}{name}.key_value."), (def + 1, rep + 1)),
    };
    for field in fields {
        walk(field, version, &prefix, levels, specs);
    }
}

fn print(node: &Node, version: Version, out: &mut String) {
    let lists = version == Version::V4;
    let (open, fields, close) = match node {
        Node::Column { name, kind, times, .. } => {
            let (physical, annotation) = match kind {
                Kind::Text => ("binary", " (STRING)"),
                Kind::Id => ("binary", ""),
                Kind::Int32 => ("int32", " (INTEGER(32,true))"),
                Kind::Uint32 => ("int32", " (INTEGER(32,false))"),
                Kind::Int64 => ("int64", " (INTEGER(64,true))"),
                Kind::Uint64 => ("int64", " (INTEGER(64,false))"),
                Kind::Double => ("double", ""),
                Kind::Bool => ("boolean", ""),
            };
            let times = match times {
                Times::Once => "required",
                Times::AtMostOnce => "optional",
                Times::Any if lists => {
                    let list = format!("required group {name} (LIST) {{ repeated group list {{ required");
                    _ = writeln!(out, "{list} {physical} element{annotation}; }} }}");
                    return;
                }
                Times::Any => "repeated",
            };
            _ = writeln!(out, "{times} {physical} {name}{annotation};");
            return;
        }
        Node::Group { name, fields } => (format!("required group {name} {{"), fields, "}"),
        Node::Rows { name, fields } if lists => {
            let list =
                format!("required group {name} (LIST) {{ repeated group list {{ required group element {{");
            (list, fields, "} } }")
        }
        Node::Rows { name, fields } => (format!("repeated group {name} {{"), fields, "}"),
        Node::Map { name, fields } => {
            (format!("required group {name} (MAP) {{ repeated group key_value {{"), fields, "} }")
        }
    };
    out.push_str(&open);
    out.push('\n');
    for field in fields {
        print(field, version, out);
    }
    out.push_str(close);
    out.push('\n');
}

fn column(name: &str, leaf: Leaf, kind: Kind) -> Node {
    times(name, leaf, kind, Times::Once)
}

fn times(name: &str, leaf: Leaf, kind: Kind, times: Times) -> Node {
    Node::Column { name: name.to_owned(), leaf, kind, times, blob: false }
}

fn root(version: Version, slots: &Slots) -> Vec<Node> {
    vec![
        column("TraceID", Leaf::TraceId, Kind::Id),
        column("TraceIDText", Leaf::TraceIdText, Kind::Text),
        column("StartTimeUnixNano", Leaf::TraceStart, Kind::Uint64),
        column("EndTimeUnixNano", Leaf::TraceEnd, Kind::Uint64),
        column("DurationNano", Leaf::TraceDuration, Kind::Uint64),
        column("RootServiceName", Leaf::RootService, Kind::Text),
        column("RootSpanName", Leaf::RootName, Kind::Text),
        stats(version),
        Node::Rows { name: "rs", fields: resource(version, slots) },
    ]
}

fn stats(version: Version) -> Node {
    let counts = [
        column("SpanCount", Leaf::StatsSpans, Kind::Uint32),
        column("ErrorCount", Leaf::StatsErrors, Kind::Uint32),
    ];
    let name = "ServiceStats";
    let service = |name| column(name, Leaf::StatsService, Kind::Text);
    match version {
        Version::V4 => {
            let value = Node::Group { name: "value", fields: counts.into() };
            Node::Map { name, fields: vec![service("key"), value] }
        }
        Version::V5 => {
            let fields = [service("ServiceName")].into_iter().chain(counts).collect();
            Node::Rows { name, fields }
        }
    }
}

fn resource(version: Version, slots: &Slots) -> Vec<Node> {
    let service = column("ServiceName", Leaf::Service, Kind::Text);
    let mut fields = Vec::from(attributes(Level::Resource));
    match version {
        Version::V4 => fields.push(service),
        Version::V5 => fields.insert(0, service),
    }
    dedicated(version, Level::Resource, slots, &mut fields);
    let mut scope =
        vec![column("Name", Leaf::ScopeName, Kind::Text), column("Version", Leaf::ScopeVersion, Kind::Text)];
    scope.extend(attributes(Level::Scope));
    let mut scopes = vec![
        Node::Group { name: "Scope", fields: scope },
        Node::Rows { name: "Spans", fields: span(version, slots) },
    ];
    if version == Version::V5 {
        scopes.push(column("SpanCount", Leaf::ScopeSpans, Kind::Int32));
    }
    vec![Node::Group { name: "Resource", fields }, Node::Rows { name: "ss", fields: scopes }]
}

fn span(version: Version, slots: &Slots) -> Vec<Node> {
    let mut fields = vec![
        column("SpanID", Leaf::SpanId, Kind::Id),
        column("ParentSpanID", Leaf::ParentSpanId, Kind::Id),
        column("ParentID", Leaf::ParentLeft, Kind::Int32),
        column("NestedSetLeft", Leaf::Left, Kind::Int32),
        column("NestedSetRight", Leaf::Right, Kind::Int32),
        column("Name", Leaf::Name, Kind::Text),
        column("Kind", Leaf::Kind, Kind::Int64),
        column("TraceState", Leaf::TraceState, Kind::Text),
        column("StartTimeUnixNano", Leaf::Start, Kind::Uint64),
        column("DurationNano", Leaf::Duration, Kind::Uint64),
        column("StatusCode", Leaf::Status, Kind::Int64),
        column("StatusMessage", Leaf::StatusMessage, Kind::Text),
    ];
    if version == Version::V5 {
        fields.insert(5, column("ChildCount", Leaf::ChildCount, Kind::Int32));
    }
    fields.extend(attributes(Level::Span));
    let mut event = vec![
        column("TimeSinceStartNano", Leaf::EventTime, Kind::Uint64),
        column("Name", Leaf::EventName, Kind::Text),
    ];
    event.extend(attributes(Level::Event));
    dedicated(version, Level::Event, slots, &mut event);
    fields.push(Node::Rows { name: "Events", fields: event });
    fields.push(column("DroppedEventsCount", Leaf::DroppedEvents, Kind::Int32));
    let mut link = vec![
        column("TraceID", Leaf::LinkTraceId, Kind::Id),
        column("SpanID", Leaf::LinkSpanId, Kind::Id),
        column("TraceState", Leaf::LinkTraceState, Kind::Text),
    ];
    link.extend(attributes(Level::Link));
    fields.push(Node::Rows { name: "Links", fields: link });
    fields.push(column("DroppedLinksCount", Leaf::DroppedLinks, Kind::Int32));
    dedicated(version, Level::Span, slots, &mut fields);
    if version == Version::V5 {
        let rounded = |by| column(&format!("StartTimeRounded{by}"), Leaf::Rounded(by), Kind::Uint32);
        fields.extend([15, 60, 300, 3600].map(rounded));
    }
    fields
}

/// The generic attributes of a level.
fn attributes(level: Level) -> [Node; 2] {
    let part = |name: &str, part, kind, often| times(name, Leaf::Attribute(level, part), kind, often);
    let fields = vec![
        part("Key", Part::Key, Kind::Text, Times::Once),
        part("IsArray", Part::IsArray, Kind::Bool, Times::Once),
        part("Value", Part::Text, Kind::Text, Times::Any),
        part("ValueInt", Part::Int, Kind::Int64, Times::Any),
        part("ValueDouble", Part::Double, Kind::Double, Times::Any),
        part("ValueBool", Part::Bool, Kind::Bool, Times::Any),
        part("ValueUnsupported", Part::Unsupported, Kind::Text, Times::AtMostOnce),
    ];
    let dropped = column("DroppedAttributesCount", Leaf::Dropped(level), Kind::Int32);
    [Node::Rows { name: "Attrs", fields }, dropped]
}

/// The columns of single attributes: the format's own, then those of the block.
fn dedicated(version: Version, level: Level, slots: &Slots, fields: &mut Vec<Node>) {
    let times = if version == Version::V4 { Times::AtMostOnce } else { Times::Any };
    let slots = slots.at(level);
    let (mut strings, mut ints) = (Vec::new(), Vec::new());
    for (at, Slot { column, is_own, kind, blob, .. }) in slots.iter().enumerate() {
        let (kind, spares) = match kind {
            DedicatedKind::String => (Kind::Text, &mut strings),
            DedicatedKind::Int => (Kind::Int64, &mut ints),
        };
        let leaf = Leaf::Slot(level, at);
        let node = Node::Column { name: column.clone(), leaf, kind, times, blob: *blob };
        if *is_own { fields.push(node) } else { spares.push(node) }
    }
    let scope = match level {
        Level::Resource => DedicatedScope::Resource,
        Level::Event => DedicatedScope::Event,
        _ => DedicatedScope::Span,
    };
    // vParquet4 has all its columns, used or not.
    let all = if version == Version::V4 { slots::room(version, scope).0 } else { 0 };
    for number in strings.len() + 1..=all {
        let leaf = Leaf::Slot(level, slots.len() + number);
        let name = spare("String", number);
        strings.push(Node::Column { name, leaf, kind: Kind::Text, times, blob: false });
    }
    strings.append(&mut ints);
    if !strings.is_empty() {
        fields.push(Node::Group { name: "DedicatedAttributes", fields: strings });
    }
}
