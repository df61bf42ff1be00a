//! From what is wanted of a table to the columns of a block.

use crate::{
    block::{
        BlockError, Footer,
        schema::{Leaf, Part, Slots},
    },
    table::{Column, Level, Projection},
};

/// What a scan reads, row group by row group.
#[derive(Debug)]
pub(crate) struct Wanted {
    projection: Projection,
}

/// The columns of one row group to read first.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) leaves: Vec<Leaf>,
    /// The column whose levels say how traces, resources, scopes and spans hang together.
    pub(crate) spine: Option<Leaf>,
    /// The same for spans and their events, and for spans and their links; only where these are wanted.
    pub(crate) below: [Option<Leaf>; 2],
    /// Of these two, the columns whose values nobody asked for.
    pub(crate) only_levels: Vec<Leaf>,
    /// Columns of counts that are 0 throughout, and so are not read.
    pub(crate) zeros: Vec<Leaf>,
}

pub(crate) const LEVELS: [Level; 5] = [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link];
/// Columns of a span that every span has a value in.
const SPAN: [Leaf; 15] = [
    Leaf::Kind,
    Leaf::Status,
    Leaf::DroppedEvents,
    Leaf::DroppedLinks,
    Leaf::Dropped(Level::Span),
    Leaf::StatusMessage,
    Leaf::TraceState,
    Leaf::Name,
    Leaf::ParentLeft,
    Leaf::Left,
    Leaf::Right,
    Leaf::Duration,
    Leaf::Start,
    Leaf::ParentSpanId,
    Leaf::SpanId,
];
const EVENT: [Leaf; 3] = [Leaf::Dropped(Level::Event), Leaf::EventName, Leaf::EventTime];
const LINK: [Leaf; 4] =
    [Leaf::Dropped(Level::Link), Leaf::LinkTraceState, Leaf::LinkTraceId, Leaf::LinkSpanId];

impl Wanted {
    pub(crate) fn new(projection: Projection) -> Self {
        Self { projection }
    }

    /// The keys that are wanted at a level; `None` for all of them.
    pub(crate) fn keys(&self, level: Level) -> Option<Vec<&str>> {
        match &self.projection {
            Projection::Everything => None,
            Projection::Some { attributes, .. } => {
                Some(attributes.iter().filter(|(at, _)| *at == level).map(|(_, key)| key.as_str()).collect())
            }
        }
    }

    /// Whether anything is wanted of the attributes of a level.
    pub(crate) fn any_key(&self, level: Level) -> bool {
        self.keys(level).is_none_or(|keys| !keys.is_empty())
    }

    /// The columns to read of a row group.
    pub(crate) fn columns(&self, footer: &Footer, group: usize) -> Result<Plan, BlockError> {
        let slots = footer.schema().slots();
        let leaves: Vec<_> = match &self.projection {
            Projection::Everything => {
                footer.schema().specs().iter().map(|spec| spec.leaf).filter(|leaf| is_kept(*leaf)).collect()
            }
            Projection::Some { columns, .. } => {
                columns.iter().flat_map(|column| leaves(*column)).copied().collect()
            }
        };
        let mut plan = Plan { leaves, ..Plan::default() };
        for level in LEVELS {
            let Some(keys) = self.keys(level) else {
                plan.all_slots(level, slots);
                continue;
            };
            if keys.is_empty() {
                continue;
            }
            plan.leaves.push(Leaf::Attribute(level, Part::Key));
            let slots = slots.at(level).iter().enumerate();
            let wanted = slots.filter(|(_, slot)| keys.contains(&slot.name.as_str()));
            plan.leaves.extend(wanted.map(|(slot, _)| Leaf::Slot(level, slot)));
        }
        let is_zero = |leaf: &mut Leaf| is_count(*leaf) && footer.is_zero(group, *leaf);
        plan.zeros = plan.leaves.extract_if(.., is_zero).collect();
        plan.spine = Some(plan.cheapest(&SPAN, footer, group)?);
        for (below, (level, leaves)) in
            [(Level::Event, &EVENT[..]), (Level::Link, &LINK[..])].into_iter().enumerate()
        {
            let wanted = leaves.iter().any(|leaf| plan.leaves.contains(leaf)) || self.any_key(level);
            if wanted {
                let leaf = plan.cheapest(leaves, footer, group)?;
                plan.below.iter_mut().skip(below).take(1).for_each(|slot| *slot = Some(leaf));
            }
        }
        // A column of its own that no owner has a value in is like one that is not there.
        plan.leaves.retain(|leaf| !(matches!(leaf, Leaf::Slot(..)) && footer.is_empty(group, *leaf)));
        // Levels first: what is read later is held against them.
        let rank = |leaf: &Leaf| {
            let spine = plan.spine == Some(*leaf);
            (!spine, !plan.below.contains(&Some(*leaf)))
        };
        plan.leaves.sort_by_key(|leaf| (rank(leaf), *leaf));
        plan.leaves.dedup();
        Ok(plan)
    }
}

/// Whether it counts what was dropped: hardly ever anything.
fn is_count(leaf: Leaf) -> bool {
    matches!(leaf, Leaf::Dropped(_) | Leaf::DroppedEvents | Leaf::DroppedLinks)
}

/// Whether a table has a place for it. Slots are added one by one; the others follow from what is kept.
fn is_kept(leaf: Leaf) -> bool {
    use Leaf::{ChildCount, Rounded, ScopeSpans, Slot, TraceDuration, TraceIdText};
    !matches!(leaf, TraceIdText | TraceDuration | ChildCount | ScopeSpans | Rounded(_) | Slot(..))
}

impl Plan {
    fn all_slots(&mut self, level: Level, slots: &Slots) {
        self.leaves.extend((0..slots.at(level).len()).map(|slot| Leaf::Slot(level, slot)));
    }

    /// The smallest of `candidates` that are read anyway, or else of all, which is then read for its levels.
    fn cheapest(&mut self, candidates: &[Leaf], footer: &Footer, group: usize) -> Result<Leaf, BlockError> {
        let mut best: Option<(bool, u64, Leaf)> = None;
        for leaf in candidates {
            let (_, chunk) = footer.chunk(group, *leaf)?;
            let (is_extra, size) = (!self.leaves.contains(leaf), chunk.range.end - chunk.range.start);
            if best.is_none_or(|(extra, least, _)| (is_extra, size) < (extra, least)) {
                best = Some((is_extra, size, *leaf));
            }
        }
        let (is_extra, _, leaf) =
            best.ok_or_else(|| BlockError::corrupt("data.parquet", "no column of spans"))?;
        if is_extra {
            self.leaves.push(leaf);
            self.only_levels.push(leaf);
        }
        Ok(leaf)
    }
}

fn leaves(column: Column) -> &'static [Leaf] {
    match column {
        Column::TraceId => &[Leaf::TraceId],
        Column::TraceTime => &[Leaf::TraceStart, Leaf::TraceEnd],
        Column::Root => &[Leaf::RootService, Leaf::RootName],
        Column::ServiceStats => &[Leaf::StatsService, Leaf::StatsSpans, Leaf::StatsErrors],
        Column::Service => &[Leaf::Service],
        Column::ScopeName => &[Leaf::ScopeName],
        Column::ScopeVersion => &[Leaf::ScopeVersion],
        Column::SpanId => &[Leaf::SpanId],
        Column::ParentSpanId => &[Leaf::ParentSpanId],
        Column::NestedSet => &[Leaf::Left, Leaf::Right, Leaf::ParentLeft],
        Column::Name => &[Leaf::Name],
        Column::Kind => &[Leaf::Kind],
        Column::Start => &[Leaf::Start],
        Column::Duration => &[Leaf::Duration],
        Column::Status => &[Leaf::Status],
        Column::StatusMessage => &[Leaf::StatusMessage],
        Column::EventName => &[Leaf::EventName],
        Column::EventTime => &[Leaf::EventTime],
        Column::LinkTraceId => &[Leaf::LinkTraceId],
        Column::LinkSpanId => &[Leaf::LinkSpanId],
    }
}
