//! The parameters of the query routes: what they are called, what stands for those that are missing, and
//! the texts with which wrong ones are refused, which are Tempo's where clients know them.

use std::time::Duration;

use axum::{extract::Query, http::Uri};
use tracing_core::{
    model::{IdError, TraceId},
    table::Generations,
    traceql,
};

use crate::{
    frontend::{Form, SearchRequest, SecondsRange},
    proto::tempopb,
};

/// Bounds of the parameters, from `query_frontend` in the configuration.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// `limit` where none is given.
    pub default_limit: u32,
    /// Largest `limit`; 0 for none.
    pub max_limit: u32,
    /// `spss` where none is given.
    pub default_spans_per_span_set: u32,
    /// Largest `spss`; 0 for none.
    pub max_spans_per_span_set: u32,
    /// Longest range between `start` and `end`; zero for none.
    pub max_range: Duration,
    /// A search ends this long ago at the latest; zero for now.
    pub end_cutoff: Duration,
    /// Rules for plans that are not used, with commas between them (see [`traceql::SKIP_HINT`]).
    pub skipped_rules: String,
    /// Longest `q`, bytes; 0 for none.
    pub max_query_bytes: usize,
}

/// Why a request is answered 400.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamError {
    #[error("invalid {name}: {reason}")]
    Invalid { name: &'static str, reason: String },
    #[error("invalid limit: must be a positive number")]
    LimitZero,
    #[error("limit {limit} exceeds max limit {max}")]
    LimitTooLarge { limit: u32, max: u32 },
    #[error("spans per span set exceeds {max}. received {received}")]
    SpansTooMany { received: u32, max: u32 },
    #[error("only one of start and end provided: must provide both or neither")]
    HalfRange,
    #[error("http parameter start must be before end. received start={start} end={end}")]
    Reversed { start: u64, end: u64 },
    #[error("range specified by start and end exceeds {max}. received start={start} end={end}")]
    RangeTooLong { max: vivace_config::Duration, start: u64, end: u64 },
    #[error("{0}")]
    Tags(String),
    #[error("invalid request: can't specify tags and q in the same query")]
    TagsAndQuery,
    #[error("invalid maxDuration: must be greater than minDuration")]
    Durations,
    #[error(
        "TraceQL expression exceeds the configured maximum size of {max} bytes, reduce the query expression size or contact your system administrator"
    )]
    QueryTooLong { max: usize },
    #[error(transparent)]
    TraceId(#[from] IdError),
    #[error("the query string is not URL-encoded: {0}")]
    Encoding(String),
}

/// Parameters that are no tags, whatever else is given.
const KNOWN: [&str; 10] = [
    "q",
    "tags",
    "minDuration",
    "maxDuration",
    "limit",
    "spss",
    "start",
    "end",
    "since",
    "skip_ast_transformations",
];

/// The decoded query string; of a parameter given twice the first counts.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn of(uri: &Uri) -> Result<Self, ParamError> {
        let Query(pairs) =
            Query::try_from_uri(uri).map_err(|error| ParamError::Encoding(error.body_text()))?;
        Ok(Self(pairs))
    }

    /// The parameters that a message stands for, so that both are checked by the same rules.
    pub(crate) fn of_message(message: &tempopb::SearchRequest) -> Self {
        let tempopb::SearchRequest {
            tags, min_duration_ms, max_duration_ms, limit, start, end, query, ..
        } = message;
        let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key:?}={value:?}")).collect();
        let some = |value: &u32, unit: &str| (*value != 0).then(|| format!("{value}{unit}"));
        let pairs = [
            ("q", Some(query.clone())),
            ("tags", Some(tags.join(" "))),
            ("minDuration", some(min_duration_ms, "ms")),
            ("maxDuration", some(max_duration_ms, "ms")),
            ("limit", some(limit, "")),
            ("spss", some(&message.spans_per_span_set, "")),
            ("start", some(start, "")),
            ("end", some(end, "")),
        ];
        Self(pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// The value of `name`, where it is given and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, ParamError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let reason = || format!("expected a number from 0 to {}, found `{text}`", u32::MAX);
        text.parse().map(Some).map_err(|_| ParamError::Invalid { name, reason: reason() })
    }

    /// A whole number of either sign.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, ParamError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let reason = || format!("expected a whole number, found `{text}`");
        text.parse().map(Some).map_err(|_| ParamError::Invalid { name, reason: reason() })
    }

    /// A number of generations, where -1 is all of them.
    pub(crate) fn generations(&self, name: &'static str) -> Result<Option<u32>, ParamError> {
        let depth = |number: i64| match number {
            -1 => Ok(Generations::ALL),
            number => u32::try_from(number).map_err(|_| ParamError::Invalid {
                name,
                reason: format!("expected -1 for all or a number from 0 to {}, found `{number}`", u32::MAX),
            }),
        };
        self.integer(name)?.map(depth).transpose()
    }

    /// A truth as Go's clients write it.
    pub(crate) fn truth(&self, name: &'static str) -> Result<Option<bool>, ParamError> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(text) => {
                let reason = format!("expected true or false, found `{text}`");
                Err(ParamError::Invalid { name, reason })
            }
        }
    }

    fn seconds(&self, name: &'static str) -> Result<Option<u64>, ParamError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong =
            || ParamError::Invalid { name, reason: format!("expected seconds since 1970, found `{text}`") };
        // What fits is also far from the end of nanoseconds in 64 bits.
        text.parse::<u32>().map(|seconds| Some(u64::from(seconds))).map_err(|_| wrong())
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, ParamError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = text.parse::<vivace_config::Duration>();
        parsed.map(|d| Some(d.get())).map_err(|e| ParamError::Invalid { name, reason: e.to_string() })
    }

    /// `start` and `end`: both, in order, or neither.
    pub(crate) fn range(&self) -> Result<Option<SecondsRange>, ParamError> {
        match (self.seconds("start")?, self.seconds("end")?) {
            (None, None) => Ok(None),
            (Some(start), Some(end)) if start < end => Ok(Some(SecondsRange { start, end })),
            (Some(start), Some(end)) => Err(ParamError::Reversed { start, end }),
            _ => Err(ParamError::HalfRange),
        }
    }

    /// The parameters of `/api/search`, at `now` seconds since 1970.
    pub(crate) fn search(&self, bounds: &Bounds, now: u64) -> Result<SearchRequest, ParamError> {
        let limit = self.number("limit").map_err(positive)?.unwrap_or(bounds.default_limit);
        if limit == 0 {
            return Err(ParamError::LimitZero);
        }
        if bounds.max_limit > 0 && limit > bounds.max_limit {
            return Err(ParamError::LimitTooLarge { limit, max: bounds.max_limit });
        }
        let max = bounds.max_spans_per_span_set;
        let spans_per_span_set = match self.number("spss")? {
            None => bounds.default_spans_per_span_set,
            Some(received) if max > 0 && received > max => {
                return Err(ParamError::SpansTooMany { received, max });
            }
            // Zero asks for as many as may be had.
            Some(0) => max,
            Some(received) => received,
        };
        Ok(SearchRequest {
            form: self.form(bounds)?,
            limit,
            spans_per_span_set,
            range: self.search_range(bounds, now)?,
        })
    }

    fn search_range(&self, bounds: &Bounds, now: u64) -> Result<Option<SecondsRange>, ParamError> {
        let range = match (self.range()?, self.duration("since")?) {
            (None, Some(since)) => {
                // A span may end within the second that has begun.
                Some(SecondsRange { start: now.saturating_sub(since.as_secs()), end: now + 1 })
            }
            (range, _) => range,
        };
        if let Some(SecondsRange { start, end }) = range
            && !bounds.max_range.is_zero()
            && end - start > bounds.max_range.as_secs() + 1
        {
            return Err(ParamError::RangeTooLong { max: bounds.max_range.into(), start, end });
        }
        // What lies within the cutoff may not be complete; asked for alone, it is nothing.
        let last =
            if bounds.end_cutoff.is_zero() { u64::MAX } else { now - bounds.end_cutoff.as_secs().min(now) };
        Ok(range.map(|SecondsRange { start, end }| SecondsRange { start, end: end.min(last).max(start) }))
    }

    fn form(&self, bounds: &Bounds) -> Result<Form, ParamError> {
        let (min, max) = (self.duration("minDuration")?, self.duration("maxDuration")?);
        if let (Some(min), Some(max)) = (min, max)
            && max <= min
        {
            return Err(ParamError::Durations);
        }
        let traceql = self.get("q");
        if traceql.is_some() && self.get("tags").is_some() {
            return Err(ParamError::TagsAndQuery);
        }
        if let Some(q) = traceql {
            if bounds.max_query_bytes > 0 && q.len() > bounds.max_query_bytes {
                return Err(ParamError::QueryTooLong { max: bounds.max_query_bytes });
            }
            return Ok(Form::TraceQl(self.with_rules(q, bounds)));
        }
        let tags = match self.get("tags") {
            Some(text) => traceql::parse_tags(text).map_err(|e| ParamError::Tags(e.message().to_owned()))?,
            // Tempo's first clients named each tag as a parameter of its own.
            None if self.get("start").is_none() && self.get("end").is_none() => self.unknown(),
            None => Vec::new(),
        };
        if tags.is_empty() && min.is_none() && max.is_none() {
            return Ok(Form::TraceQl("{}".to_owned()));
        }
        Ok(Form::Tags { tags, min, max })
    }

    /// The query with the hint that names the rules which are not to be used: so it reaches whoever plans it.
    fn with_rules(&self, q: &str, bounds: &Bounds) -> String {
        let asked = self.get(traceql::SKIP_HINT).filter(|names| *names != "false");
        let skipped = match asked {
            Some("true") => "all",
            Some(names) => names,
            None => &bounds.skipped_rules,
        };
        match traceql::parse(q) {
            Ok(mut query) if !skipped.is_empty() => {
                let value = traceql::Literal::String(skipped.to_owned());
                query.hints.push(traceql::syntax::Hint { name: traceql::SKIP_HINT.to_owned(), value });
                query.to_string()
            }
            // What is no query is told so when it is planned.
            _ => q.to_owned(),
        }
    }

    fn unknown(&self) -> Vec<(String, String)> {
        let named = |(key, value): &&(String, String)| !KNOWN.contains(&key.as_str()) && !value.is_empty();
        self.0.iter().filter(named).cloned().collect()
    }
}

/// What is wrong with a limit that is no number, in Tempo's words.
fn positive(error: ParamError) -> ParamError {
    match error {
        ParamError::Invalid { name: "limit", .. } => ParamError::LimitZero,
        other => other,
    }
}

/// The trace id of a path.
pub(crate) fn trace_id(text: &str) -> Result<TraceId, ParamError> {
    Ok(TraceId::from_hex(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            default_limit: 20,
            max_limit: 262_144,
            default_spans_per_span_set: 3,
            max_spans_per_span_set: 100,
            max_range: Duration::from_hours(168),
            end_cutoff: Duration::ZERO,
            skipped_rules: String::new(),
            max_query_bytes: 1000,
        }
    }

    fn search(query: &str) -> Result<SearchRequest, String> {
        let uri: Uri = format!("/api/search?{query}").parse().unwrap();
        Params::of(&uri).and_then(|p| p.search(&bounds(), 1_700_000_000)).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_missing_takes_tempos_defaults() {
        let request = search("").unwrap();
        assert_eq!(request.form, Form::TraceQl("{}".into()));
        assert_eq!((request.limit, request.spans_per_span_set, request.range), (20, 3, None));
    }

    #[test]
    fn wrong_parameters_are_refused_in_tempos_words() {
        let wrong = |query: &str| search(query).unwrap_err();
        assert_eq!(wrong("limit=0"), "invalid limit: must be a positive number");
        assert_eq!(wrong("limit=-1"), "invalid limit: must be a positive number");
        assert_eq!(wrong("limit=262145"), "limit 262145 exceeds max limit 262144");
        assert_eq!(wrong("spss=101"), "spans per span set exceeds 100. received 101");
        assert!(wrong("spss=-1").starts_with("invalid spss: "));
        assert!(wrong("start=x&end=1").starts_with("invalid start: "));
        assert_eq!(wrong("start=1"), "only one of start and end provided: must provide both or neither");
        assert_eq!(
            wrong("start=20&end=10"),
            "http parameter start must be before end. received start=20 end=10"
        );
        assert_eq!(
            wrong("start=1000000&end=1700000"),
            "range specified by start and end exceeds 168h0m0s. received start=1000000 end=1700000"
        );
        assert_eq!(
            wrong("q=%7B%7D&tags=a%3Db"),
            "invalid request: can't specify tags and q in the same query"
        );
        assert_eq!(
            wrong("minDuration=2s&maxDuration=1s"),
            "invalid maxDuration: must be greater than minDuration"
        );
        assert!(wrong("minDuration=fast").starts_with("invalid minDuration: "));
        assert!(wrong(&format!("q={}", "a".repeat(1001))).contains("maximum size of 1000 bytes"));
    }

    #[test]
    fn a_bound_of_zero_is_no_bound() {
        let none = Bounds {
            max_limit: 0,
            max_spans_per_span_set: 0,
            max_range: Duration::ZERO,
            max_query_bytes: 0,
            ..bounds()
        };
        let uri: Uri = "/api/search?limit=900000&spss=5000&start=0&end=1700000000".parse().unwrap();
        let request = Params::of(&uri).unwrap().search(&none, 0).unwrap();
        assert_eq!((request.limit, request.spans_per_span_set), (900_000, 5000));
    }

    #[test]
    fn tags_are_read_as_logfmt_with_quotes() {
        let request = search("tags=a%3Db+%22c+d%22%3D%22e+%5C%22f%22&minDuration=1.5s").unwrap();
        let Form::Tags { tags, min, max } = request.form else { panic!("tags make a tag search") };
        assert_eq!(tags, [("a".into(), "b".into()), ("c d".into(), "e \"f".into())]);
        assert_eq!((min, max), (Some(Duration::from_millis(1500)), None));
        assert_eq!(search("tags=a").unwrap_err(), "invalid tags: a without a value");
        assert_eq!(search("tags=a%3D%22b").unwrap_err(), "invalid tags: quote not closed in a=\"b");
    }

    #[test]
    fn an_unknown_parameter_is_a_tag_as_tempos_first_clients_wrote_it() {
        let Form::Tags { tags, .. } = search("service.name=shop&limit=5").unwrap().form else {
            panic!("an unknown parameter makes a tag search")
        };
        assert_eq!(tags, [("service.name".into(), "shop".into())]);
        assert_eq!(search("service.name=shop&start=1&end=2").unwrap().form, Form::TraceQl("{}".into()));
    }

    #[test]
    fn a_search_ends_before_the_cutoff_where_there_is_one() {
        let end = |query: &str, cutoff| {
            let bounds = Bounds { end_cutoff: Duration::from_secs(cutoff), ..bounds() };
            let uri: Uri = format!("/api/search?{query}").parse().unwrap();
            Params::of(&uri).unwrap().search(&bounds, 1_700_000_000).unwrap().range
        };
        let range = |start, end| Some(SecondsRange { start, end });
        let query = "start=1699999000&end=1700000000";
        assert_eq!(end(query, 0), range(1_699_999_000, 1_700_000_000));
        assert_eq!(end(query, 30), range(1_699_999_000, 1_699_999_970));
        assert_eq!(end("start=1699999990&end=1700000000", 30), range(1_699_999_990, 1_699_999_990));
        assert_eq!(end("start=1&end=20", 30), range(1, 20));
        assert_eq!(end("", 30), None);
    }

    #[test]
    fn rules_that_are_not_to_be_used_go_with_the_query() {
        let text = |query: &str, skipped: &str| {
            let bounds = Bounds { skipped_rules: skipped.to_owned(), ..bounds() };
            let uri: Uri = format!("/api/search?q=%7B.a%7D{query}").parse().unwrap();
            match Params::of(&uri).unwrap().search(&bounds, 0).unwrap().form {
                Form::TraceQl(text) => text,
                form @ Form::Tags { .. } => panic!("{form}"),
            }
        };
        assert_eq!(text("", ""), "{.a}");
        assert_eq!(text("", "or_to_in"), "{ .a } with (skip_ast_transformations=`or_to_in`)");
        assert_eq!(
            text("&skip_ast_transformations=true", ""),
            "{ .a } with (skip_ast_transformations=`all`)"
        );
    }

    #[test]
    fn since_reaches_back_from_now() {
        let range = search("since=1h").unwrap().range;
        assert_eq!(range, Some(SecondsRange { start: 1_700_000_000 - 3600, end: 1_700_000_001 }));
    }
}
