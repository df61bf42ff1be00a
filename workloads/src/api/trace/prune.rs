//! Many similar leaves of a trace become one span that sums them up: what `span_pruning` asks for. Pure.
//!
//! The rules are those of OpenTelemetry's span pruning processor, which Tempo applies: leaves of one name, status, parent's name and
//! grouping attributes are one group; a parent joins the others of its name and status where all of its children went. We do not mix
//! services, since a span has only one.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::proto::tempopb::{
    Trace,
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value},
    trace::v1::Span,
};

/// Upper bounds of the buckets that tell how long the spans of a group took, milliseconds: the processor's defaults.
const BUCKETS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// Groups of parents are at least so large.
const MIN_PARENTS: usize = 2;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pruning {
    /// Patterns of attribute keys, with `*` and `?`, whose values tell groups apart.
    pub(super) group_by: Vec<String>,
    /// A group of leaves is at least so large.
    pub(super) min_spans: usize,
    /// Generations above the leaves that are pruned too.
    pub(super) max_parent_depth: u32,
}

/// A span and what surrounds it.
struct Node<'a> {
    span: &'a Span,
    service: &'a str,
    /// Resource, scope and span, by position.
    at: (usize, usize, usize),
    parent: Option<usize>,
    children: Vec<usize>,
    pruned: bool,
}

/// Nodes that become one.
struct Group {
    nodes: Vec<usize>,
    depth: u32,
}

/// Puts one span into the place of each group of similar ones; answers how many spans went.
pub(super) fn prune(trace: &mut Trace, how: &Pruning) -> usize {
    let (groups, summaries, pruned) = {
        let mut nodes = nodes(trace);
        let groups = groups(&mut nodes, how);
        let summaries: Vec<_> = summaries(&nodes, &groups);
        let pruned: Vec<_> = nodes.iter().filter(|node| node.pruned).map(|node| node.at).collect();
        (groups.len(), summaries, pruned)
    };
    let gone: std::collections::HashSet<_> = pruned.iter().copied().collect();
    for (r, resource) in trace.resource_spans.iter_mut().enumerate() {
        for (s, scope) in resource.scope_spans.iter_mut().enumerate() {
            let mut at = 0..;
            scope.spans.retain(|_| !gone.contains(&(r, s, at.next().unwrap_or_default())));
        }
    }
    for ((r, s), span) in summaries {
        if let Some(scope) =
            trace.resource_spans.get_mut(r).and_then(|resource| resource.scope_spans.get_mut(s))
        {
            scope.spans.push(span);
        }
    }
    for resource in &mut trace.resource_spans {
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    trace.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    pruned.len().saturating_sub(groups)
}

fn nodes(trace: &Trace) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    for (r, resource) in trace.resource_spans.iter().enumerate() {
        let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let service = attributes.filter(|a| a.key == "service.name").find_map(text).unwrap_or_default();
        for (s, scope) in resource.scope_spans.iter().enumerate() {
            for (i, span) in scope.spans.iter().enumerate() {
                let (at, children) = ((r, s, i), Vec::new());
                nodes.push(Node { span, service, at, parent: None, children, pruned: false });
            }
        }
    }
    let mut by_id: HashMap<&[u8], usize> = HashMap::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        by_id.entry(&node.span.span_id).or_insert(at);
    }
    for at in 0..nodes.len() {
        let Some(node) = nodes.get(at) else { continue };
        let parent = by_id.get(&*node.span.parent_span_id).copied().filter(|&parent| parent != at);
        if let Some(parent) = parent {
            nodes[at].parent = Some(parent);
            nodes[parent].children.push(at);
        }
    }
    nodes
}

fn text(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Finds the groups from the leaves upwards, and marks what belongs to them.
fn groups(nodes: &mut [Node<'_>], how: &Pruning) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut leaves: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| node.children.is_empty()) {
        let parent = node.parent.and_then(|parent| nodes.get(parent)).map(|parent| &parent.span.name);
        leaves.entry(format!("{parent:?} {}", key(node, &how.group_by))).or_default().push(at);
    }
    let mut last: Vec<usize> = Vec::new();
    for of in leaves.into_values().filter(|of| of.len() >= how.min_spans.max(MIN_PARENTS)) {
        last.extend(&of);
        groups.push(Group { nodes: of, depth: 0 });
    }
    for depth in 1..=how.max_parent_depth {
        mark(nodes, &last);
        let mut parents: Vec<usize> = last.iter().filter_map(|&at| nodes[at].parent).collect();
        parents.sort_unstable();
        parents.dedup();
        let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for at in parents {
            let node = &nodes[at];
            // A root stays, and so does who keeps a child.
            if !node.pruned && node.parent.is_some() && node.children.iter().all(|&child| nodes[child].pruned)
            {
                alike.entry(key(node, &[])).or_default().push(at);
            }
        }
        last = Vec::new();
        for of in alike.into_values().filter(|of| of.len() >= MIN_PARENTS) {
            last.extend(&of);
            groups.push(Group { nodes: of, depth });
        }
        if last.is_empty() {
            break;
        }
    }
    mark(nodes, &last);
    groups
}

fn mark(nodes: &mut [Node<'_>], pruned: &[usize]) {
    for &at in pruned {
        nodes[at].pruned = true;
    }
}

/// What the spans of a group have in common.
fn key(node: &Node<'_>, group_by: &[String]) -> String {
    let status = node.span.status.as_ref().map_or(0, |status| status.code);
    let mut values: Vec<_> = node
        .span
        .attributes
        .iter()
        .filter(|attribute| group_by.iter().any(|pattern| matches(pattern, &attribute.key)))
        .map(|attribute| (&attribute.key, &attribute.value))
        .collect();
    values.sort_by_key(|(key, _)| *key);
    format!("{:?} {:?} {status} {values:?}", node.service, node.span.name)
}

/// Whether `text` is as `pattern` says: `*` stands for anything, `?` for one character. Linear but for going back to the last `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || Some(&c) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

/// The span of each group, with the resource and the scope in which it stands. A summary's parent may be a summary itself.
fn summaries(nodes: &[Node<'_>], groups: &[Group]) -> Vec<((usize, usize), Span)> {
    let ids: Vec<Bytes> = groups.iter().map(|group| id(nodes, group)).collect();
    let mut replaced: HashMap<usize, &Bytes> = HashMap::new();
    for (group, id) in groups.iter().zip(&ids) {
        replaced.extend(group.nodes.iter().map(|&at| (at, id)));
    }
    let summary = |(group, id): (&Group, &Bytes)| {
        let of = || group.nodes.iter().filter_map(|&at| nodes.get(at));
        let longest = of().max_by_key(|node| (duration(node.span), std::cmp::Reverse(node.at)))?;
        let first = of().next()?;
        let parent = match first.parent.and_then(|parent| replaced.get(&parent)) {
            Some(id) => Bytes::clone(id),
            None => first.span.parent_span_id.clone(),
        };
        let mut span = Span {
            span_id: id.clone(),
            parent_span_id: parent,
            start_time_unix_nano: of().map(|node| node.span.start_time_unix_nano).min()?,
            end_time_unix_nano: of().map(|node| node.span.end_time_unix_nano).max()?,
            events: Vec::new(),
            links: Vec::new(),
            ..longest.span.clone()
        };
        span.attributes.retain(|attribute| !attribute.key.starts_with("aggregation."));
        span.attributes.extend(statistics(&of().map(|node| duration(node.span)).collect::<Vec<_>>()));
        Some(((longest.at.0, longest.at.1), span))
    };
    groups.iter().zip(&ids).filter_map(summary).collect()
}

fn duration(span: &Span) -> u64 {
    span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)
}

/// An id that is the same each time the trace is asked for: FNV-1a of the ids of the group's spans and its depth.
fn id(nodes: &[Node<'_>], group: &Group) -> Bytes {
    let ids =
        group.nodes.iter().filter_map(|&at| nodes.get(at)).flat_map(|node| node.span.span_id.iter().copied());
    let hash = ids.chain(group.depth.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Bytes::copy_from_slice(&(hash | 1).to_be_bytes())
}

fn statistics(durations: &[u64]) -> Vec<KeyValue> {
    let (count, total) =
        (durations.len() as u64, durations.iter().fold(0, |sum: u64, d| sum.saturating_add(*d)));
    let int = |number: u64| Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX));
    let within = |ms: &u64| durations.iter().filter(|d| **d <= ms * 1_000_000).count() as u64;
    let bounds = BUCKETS.iter().map(|ms| Value::DoubleValue(*ms as f64 / 1000.0)).collect();
    let counts = BUCKETS.iter().map(within).chain([count]).map(int).collect();
    let facts = [
        ("is_summary", Value::BoolValue(true)),
        ("span_count", int(count)),
        ("duration_min_ns", int(durations.iter().copied().min().unwrap_or_default())),
        ("duration_max_ns", int(durations.iter().copied().max().unwrap_or_default())),
        ("duration_avg_ns", int(total / count.max(1))),
        ("duration_total_ns", int(total)),
        ("histogram_bucket_bounds_s", array(bounds)),
        ("histogram_bucket_counts", array(counts)),
    ];
    let attribute = |(name, value): (&str, Value)| KeyValue {
        key: format!("aggregation.{name}"),
        value: Some(AnyValue { value: Some(value) }),
    };
    facts.into_iter().map(attribute).collect()
}

fn array(values: Vec<Value>) -> Value {
    let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
    Value::ArrayValue(ArrayValue { values })
}

#[cfg(test)]
mod tests;
