//! An AnyValue's bytes as the JSON that Tempo stores for values without a typed column.

use super::tags::{VALUES, key_value, value};
use crate::wire::WireError;
use crate::wire::json::{push_base64, push_display, push_double, push_string};
use crate::wire::protobuf::Reader;

/// Writes the AnyValue that `at` walks. Depth was bounded when it was received.
///
/// # Errors
/// [`WireError`] where the bytes are malformed.
pub(crate) fn push_any_value(out: &mut String, mut at: Reader<'_>) -> Result<(), WireError> {
    let start = out.len();
    out.push('{');
    while let Some(tag) = at.tag("AnyValue")? {
        if tag >> 3 <= value::KNOWN {
            // one of a kind: the last one counts
            out.truncate(start + 1);
        }
        match tag {
            value::STRING => {
                out.push_str("\"stringValue\":");
                push_string(out, &String::from_utf8_lossy(at.bytes("AnyValue.string_value")?));
            }
            value::BOOL => {
                let value = at.varint("AnyValue.bool_value")? != 0;
                push_display(out, format_args!("\"boolValue\":{value}"));
            }
            value::INT => {
                let value = at.varint("AnyValue.int_value")?.cast_signed();
                push_display(out, format_args!("\"intValue\":\"{value}\""));
            }
            value::DOUBLE => {
                out.push_str("\"doubleValue\":");
                push_double(out, f64::from_bits(at.fixed64("AnyValue.double_value")?));
            }
            value::ARRAY => {
                out.push_str("\"arrayValue\":");
                push_values(out, at.message("AnyValue.array_value")?, push_any_value)?;
            }
            value::KVLIST => {
                out.push_str("\"kvlistValue\":");
                push_values(out, at.message("AnyValue.kvlist_value")?, push_key_value)?;
            }
            value::BYTES => {
                out.push_str("\"bytesValue\":");
                push_base64(out, at.bytes("AnyValue.bytes_value")?);
            }
            other => at.skip(other, "AnyValue", value::KNOWN)?,
        }
    }
    out.push('}');
    Ok(())
}

fn push_values<'a>(
    out: &mut String,
    mut at: Reader<'a>,
    each: fn(&mut String, Reader<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    out.push('{');
    let mut before = "\"values\":[";
    while let Some(tag) = at.tag("AnyValue.values")? {
        if tag == VALUES {
            out.push_str(before);
            before = ",";
            each(out, at.message("AnyValue.values")?)?;
        } else {
            at.pass(tag, "AnyValue.values")?;
        }
    }
    out.push_str(if before == "," { "]}" } else { "}" });
    Ok(())
}

fn push_key_value(out: &mut String, mut at: Reader<'_>) -> Result<(), WireError> {
    let (mut key, mut value) = (&[][..], Reader::new(&[]));
    while let Some(tag) = at.tag("KeyValue")? {
        match tag {
            key_value::KEY => key = at.bytes("KeyValue.key")?,
            key_value::VALUE => value = at.message("KeyValue.value")?,
            other => at.skip(other, "KeyValue", key_value::KNOWN)?,
        }
    }
    out.push('{');
    if !key.is_empty() {
        out.push_str("\"key\":");
        push_string(out, &String::from_utf8_lossy(key));
        out.push(',');
    }
    out.push_str("\"value\":");
    push_any_value(out, value)?;
    out.push('}');
    Ok(())
}
