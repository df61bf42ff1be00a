//! How long traces are kept: all for the default time, and those that a rule names for the rule's. Pure.
//!
//! A trace is kept as long as the longest of the rules says that it matches, and for the default time where
//! none does. A block is *due* when some of its traces may have to go while others stay: it is then
//! rewritten with those. What was found out by that stands in the meta of the new block
//! ([`Retained`]), so that it is not read again before the next of its traces has to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hasher,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHasher;

use crate::{
    block::{Meta, Retained, Sift},
    table::{SpanTable, evaluate},
    traceql::{self, Plan, QueryError},
};

/// Most rules of a tenant: each is held against every trace that is merged.
const MAX_RULES: usize = 64;

/// A rule: what it names, and how long that is kept.
#[derive(Clone, Debug)]
pub struct Rule {
    plan: Arc<Plan>,
    keep: SignedDuration,
}

/// How long a tenant's traces are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    default: SignedDuration,
    rules: Vec<Rule>,
    /// All the times that traces are kept for, ascending; a trace's class is its place here.
    keeps: Vec<SignedDuration>,
    /// Says which rules a block was rewritten by.
    fingerprint: String,
}

/// What is to be done about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Later,
    /// Some of its traces may have to go.
    Rewrite,
    /// Whatever is in it has to go.
    Expired,
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is no TraceQL that selects spans.
    #[error("[{rule}].match: {error}")]
    Query {
        /// Its place in the list, from 0.
        rule: usize,
        /// What is wrong with it, and where.
        error: QueryError,
    },
    /// It says nothing of the time.
    #[error("[{rule}].keep: expected a duration of more than 0")]
    Keep {
        /// Its place in the list, from 0.
        rule: usize,
    },
    /// There are more than are held against every trace.
    #[error(": expected at most {MAX_RULES} rules, found {found}")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

impl Retention {
    /// Keeps all traces for `default`, and those that match one of `rules` (a query, and a time) for its time.
    ///
    /// # Errors
    /// [`RuleError`], whose text begins with the place in the list.
    pub fn new(default: SignedDuration, rules: &[(String, SignedDuration)]) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany { found: rules.len() });
        }
        let mut hash = FxHasher::default();
        hash.write_i64(default.as_secs());
        let mut parsed = Vec::with_capacity(rules.len());
        for (rule, (query, keep)) in rules.iter().enumerate() {
            let plan = traceql::parse(query)
                .and_then(|query| query.of_spans().and_then(|query| Plan::search(&query)));
            let plan = plan.map_err(|error| RuleError::Query { rule, error })?;
            if *keep <= SignedDuration::ZERO {
                return Err(RuleError::Keep { rule });
            }
            hash.write(query.as_bytes());
            hash.write_i64(keep.as_secs());
            parsed.push(Rule { plan: Arc::new(plan), keep: *keep });
        }
        let keeps: BTreeSet<_> = parsed.iter().map(|rule| rule.keep).chain([default]).collect();
        let fingerprint = format!("{:016x}", hash.finish());
        Ok(Self { default, rules: parsed, keeps: keeps.into_iter().collect(), fingerprint })
    }

    /// Whether all traces are kept for the same time.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty()
    }

    /// The longest that anything is kept.
    #[must_use]
    pub fn longest(&self) -> SignedDuration {
        self.keeps.last().copied().unwrap_or(self.default)
    }

    /// The queries that keep traces for longer than `age`.
    pub fn keepers(&self, age: SignedDuration) -> impl Iterator<Item = &Plan> {
        self.rules.iter().filter(move |rule| rule.keep > age).map(|rule| &*rule.plan)
    }

    /// What is to be done about a block at `now`.
    #[must_use]
    pub fn due(&self, meta: &Meta, now: Timestamp) -> Due {
        let age = now.duration_since(meta.end);
        if age > self.longest() {
            return Due::Expired;
        }
        let rewritten = meta.retained.as_ref().filter(|retained| retained.rules == self.fingerprint);
        let due = match rewritten {
            Some(retained) => now > retained.due,
            // Of a block that was never looked into all is possible.
            None => self.keeps.first().is_some_and(|least| age > *least),
        };
        if due { Due::Rewrite } else { Due::Later }
    }

    /// When the traces that stayed have to go: `newest` is the end of the newest of each class, nanoseconds
    /// since 1970. `None` where all traces are kept for the same time anyway.
    #[must_use]
    pub fn retained(&self, newest: &BTreeMap<usize, u64>) -> Option<Retained> {
        if self.is_plain() {
            return None;
        }
        let ends = newest.iter().filter_map(|(class, end)| {
            // Whole seconds, as a meta has them, and rather late than early.
            let end = Timestamp::from_second(end.div_ceil(1_000_000_000).cast_signed()).ok()?;
            end.checked_add(*self.keeps.get(*class)?).ok()
        });
        Some(Retained { rules: self.fingerprint.clone(), due: ends.min()? })
    }

    /// Says of each trace whether it stays at `now`.
    #[must_use]
    pub fn sieve(self: &Arc<Self>, now: Timestamp) -> Sieve {
        Sieve { retention: Arc::clone(self), now: u64::try_from(now.as_nanosecond()).unwrap_or(0) }
    }
}

/// Rules at a time.
#[derive(Clone, Debug)]
pub struct Sieve {
    retention: Arc<Retention>,
    /// Nanoseconds since 1970.
    now: u64,
}

impl Sift for Sieve {
    fn sift(&self, table: &SpanTable) -> Vec<Option<usize>> {
        let Retention { default, rules, keeps, .. } = &*self.retention;
        let mut kept: Vec<Option<SignedDuration>> = vec![None; table.trace_count()];
        for rule in rules {
            for trace in evaluate::search(&rule.plan, table, None, None).traces() {
                if let Some(keep) = kept.get_mut(trace) {
                    *keep = (*keep).max(Some(rule.keep));
                }
            }
        }
        let ends = table.traces.end.iter();
        let class = |(keep, end): (Option<SignedDuration>, &u64)| {
            let keep = keep.unwrap_or(*default);
            let nanos = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
            let class = keeps.binary_search(&keep).unwrap_or(0);
            (end.saturating_add(nanos) > self.now).then_some(class)
        };
        kept.into_iter().zip(ends).map(class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::TraceId, table::TableBuilder, wire::otlp};

    fn hours(n: i64) -> SignedDuration {
        SignedDuration::from_hours(n)
    }

    fn retention(rules: &[(&str, i64)]) -> Arc<Retention> {
        let rules: Vec<_> = rules.iter().map(|(query, keep)| ((*query).to_owned(), hours(*keep))).collect();
        Arc::new(Retention::new(hours(10), &rules).unwrap())
    }

    fn meta(end: Timestamp, retained: Option<Retained>) -> Meta {
        let json = format!(
            r#"{{"format":"vParquet4","blockID":"{}","tenantID":"t","startTime":"{end}","endTime":"{end}"}}"#,
            uuid::Uuid::nil()
        );
        Meta { retained, ..Meta::from_json(json.as_bytes()).unwrap() }
    }

    /// One trace a name, each of one span that ended at hour 0 with that name and status.
    fn table(names: &[(&str, u8)]) -> SpanTable {
        let mut builder = TableBuilder::new();
        for (n, (name, status)) in names.iter().enumerate() {
            let id = TraceId((n as u128 + 1).to_be_bytes());
            let json = format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{id}","spanId":"0000000000000001","name":"{name}","startTimeUnixNano":"1","endTimeUnixNano":"2","status":{{"code":{status}}}}}]}}]}}]}}"#
            );
            builder.begin(id);
            builder.add_otlp(&otlp::json_to_proto(json.as_bytes()).unwrap()).unwrap();
            builder.end();
        }
        builder.finish()
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + hours(hour)
    }

    #[test]
    fn a_trace_is_kept_as_long_as_the_longest_rule_that_it_matches_and_else_for_the_default_time() {
        let rules =
            retention(&[("{ status = error }", 20), (r#"{ name = "a" }"#, 30), (r#"{ name = "z" }"#, 5)]);
        let table = table(&[("a", 0), ("b", 2), ("c", 0), ("a", 2), ("z", 0)]);
        let kept =
            |hour| -> Vec<bool> { rules.sieve(at(hour)).sift(&table).iter().map(Option::is_some).collect() };
        assert_eq!(kept(4), [true; 5]);
        assert_eq!(kept(6), [true, true, true, true, false], "also for less than the default time");
        assert_eq!(kept(11), [true, true, false, true, false]);
        assert_eq!(kept(21), [true, false, false, true, false]);
        assert_eq!(kept(31), [false; 5]);
    }

    #[test]
    fn without_rules_a_block_expires_by_its_end_and_is_never_rewritten() {
        let plain = retention(&[]);
        assert_eq!(plain.due(&meta(at(0), None), at(10)), Due::Later);
        assert_eq!(plain.due(&meta(at(0), None), at(10) + SignedDuration::from_secs(1)), Due::Expired);
        assert_eq!(plain.retained(&BTreeMap::from([(0, 1)])), None);
    }

    #[test]
    fn a_block_is_due_at_the_default_time_once_and_again_when_the_next_of_its_traces_have_to_go() {
        let rules = retention(&[("{ status = error }", 20), (r#"{ name = "a" }"#, 30)]);
        let block = meta(at(0), None);
        assert_eq!(rules.due(&block, at(9)), Due::Later);
        assert_eq!(rules.due(&block, at(11)), Due::Rewrite);
        // What stays of it: an error and an `a`, of the classes 1 and 2.
        let retained = rules.retained(&BTreeMap::from([(1, 2), (2, 2)]));
        assert_eq!(retained.as_ref().unwrap().due, at(20) + SignedDuration::from_secs(1));
        let rewritten = meta(at(0), retained);
        assert_eq!(rules.due(&rewritten, at(12)), Due::Later, "once");
        assert_eq!(rules.due(&rewritten, at(21)), Due::Rewrite);
        assert_eq!(rules.due(&rewritten, at(31)), Due::Expired);
        let others = retention(&[("{ status = error }", 20)]);
        assert_eq!(others.due(&rewritten, at(12)), Due::Rewrite, "the rules have changed since");
    }

    #[test]
    fn a_rule_that_is_no_query_is_refused_with_its_place_and_a_caret() {
        let rules = [("{ status = error }".to_owned(), hours(1)), ("{ status = }".to_owned(), hours(1))];
        let said = Retention::new(hours(1), &rules).unwrap_err().to_string();
        assert!(
            said.starts_with("[1].match: invalid TraceQL query: parse error at line 1, col 12"),
            "{said}"
        );
        assert!(said.contains("\n  { status = }\n             ^"), "{said}");
        let never = [("{ }".to_owned(), SignedDuration::ZERO)];
        let said = Retention::new(hours(1), &never).unwrap_err().to_string();
        assert_eq!(said, "[0].keep: expected a duration of more than 0");
        let many = vec![("{ }".to_owned(), hours(1)); 65];
        let said = Retention::new(hours(1), &many).unwrap_err().to_string();
        assert_eq!(said, ": expected at most 64 rules, found 65");
    }
}
