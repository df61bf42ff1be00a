//! The sketch of one attribute alone, made of its decoded values, which it outlives.

use super::{Numbers, Place, Sketch, SketchBuilder};
use crate::table::{Code, Level, Value, ValueColumn, ValueKind};

impl Sketch {
    /// What is known of some rows of which only this attribute was looked at: whatever else they hold is possible. Takes
    /// 10 bits for each distinct value; nothing is known of more than 262,144 of them.
    #[must_use]
    pub fn of_attribute(level: Level, key: &str, column: &ValueColumn) -> Self {
        let mut builder = SketchBuilder::default();
        builder.numbers = Numbers::ANY;
        if let Some(field) = builder.field(Place::Attribute(level), key) {
            for code in 0..column.codes() as u32 {
                if let Some(value) = column.value(code) {
                    builder.value(field, value, column);
                }
            }
        }
        builder.incomplete = !0;
        builder.finish(u64::MAX)
    }
}

impl Numbers {
    /// Spans of all kinds.
    const ANY: Self = Self {
        duration: Some((0, u64::MAX)),
        trace_duration: Some((0, u64::MAX)),
        statuses: !0,
        kinds: !0,
        events: true,
        links: true,
    };
}

impl SketchBuilder {
    fn value(&mut self, field: usize, value: Value<'_>, column: &ValueColumn) {
        match value {
            Value::String(text) => self.text(field, text),
            Value::Int(int) => self.number(field, ValueKind::Int, int.cast_unsigned()),
            Value::Double(double) => self.number(field, ValueKind::Double, double.to_bits()),
            Value::Bool(truth) => self.number(field, ValueKind::Bool, u64::from(truth)),
            Value::Array(ValueKind::String, elements) => {
                for element in elements {
                    self.text(field, column.strings().text(Code::from_payload(*element)));
                }
                self.is_searchable(field);
            }
            Value::Array(kind, elements) => {
                for element in elements {
                    self.number(field, kind, *element);
                }
                self.is_searchable(field);
            }
            Value::Unsupported(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::{Attributes, Offsets, Strings},
        traceql::{Plan, parse},
    };

    #[test]
    fn what_is_not_among_many_values_is_ruled_out_and_nothing_else_is() {
        let mut strings = Strings::default();
        let key = strings.intern("url");
        let mut attributes = Attributes::default();
        for n in 0..50_000_u64 {
            let text = strings.intern(&format!("http://shop/{n}")).payload();
            let (kind, value) = if n % 10 == 0 { (ValueKind::Int, n) } else { (ValueKind::String, text) };
            attributes.key.push(key);
            attributes.kind.push(kind);
            attributes.value.push(value);
        }
        attributes.offsets = Offsets((0..=50_000).collect());
        let column = ValueColumn::of_attribute(&attributes, Some(key), &strings);
        let sketch = Sketch::of_attribute(Level::Span, "url", &column);
        assert!(sketch.memory() < 80 << 10, "{}", sketch.memory());
        let may = |query: &str| sketch.may_match(&Plan::search(&parse(query).unwrap()).unwrap());
        for query in [
            "{ span.url = `http://shop/49999` }",
            "{ .url = 40000 }",
            "{ span.url =~ `nope.*` }",
            "{ span.url != `http://nope` }",
            "{ span.url = nil }",
            "{ span.url = `http://nope` || name = `a` }",
            // Another attribute, or the same at another place.
            "{ span.other = `http://nope` }",
            "{ .url = `http://nope` }",
            "{ status = error && kind = server && duration > 1h && event:name = `x` }",
        ] {
            assert!(may(query), "{query}");
        }
        for query in
            ["{ span.url = `http://nope` }", "{ span.url = 70000 }", "{ span.url = `nope` && name = `a` }"]
        {
            assert!(!may(query), "{query}");
        }
    }
}
