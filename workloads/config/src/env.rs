//! `${NAME}` in a configuration file, expanded when `-config.expand-env` is given.

/// Replaces `${NAME}`, `${NAME:default}` and `${NAME:-default}` by what `lookup` says; `$$` is one dollar sign.
/// A name that is not known and has no default becomes nothing, as Tempo has it. Text between is left alone,
/// so lines keep their numbers.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let closed = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((inner, tail)) = closed else {
            out.push('$');
            continue;
        };
        let (name, default) = inner.split_once(':').unwrap_or((inner, ""));
        let default = default.strip_prefix('-').unwrap_or(default);
        let known = lookup(name).filter(|value| !value.is_empty());
        out.push_str(known.as_deref().unwrap_or(default));
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_defaults_stand_in() {
        let lookup = |name: &str| (name == "KEY").then(|| "value".to_owned());
        let text = "a: ${KEY}\nb: ${NONE:other}\nc: ${NONE:-third}\nd: ${NONE}$$x $5 ${open";
        assert_eq!(expand(text, lookup), "a: value\nb: other\nc: third\nd: $x $5 ${open");
    }
}
