//! Which kinds of questions the product answers today. A kind that is not asked is listed with its reason and never counted.

/// A kind of question in the recorded set.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Why it is not asked yet; `None` when it is asked.
    pub(crate) later: Option<&'static str>,
}

const fn asked(name: &'static str) -> Kind {
    Kind { name, later: None }
}

const fn later(name: &'static str, reason: &'static str) -> Kind {
    Kind { name, later: Some(reason) }
}

/// Every kind of the recorded set.
pub(crate) const KINDS: [Kind; 12] = [
    asked("trace"),
    asked("search"),
    asked("attribute"),
    asked("window"),
    asked("legacy"),
    asked("refused"),
    asked("structural"),
    asked("pipeline"),
    later("metrics", "TraceQL metrics have no endpoint so far"),
    later("instant", "TraceQL metrics have no endpoint so far"),
    later("tags", "tag names have no endpoint so far"),
    later("values", "tag values have no endpoint so far"),
];
