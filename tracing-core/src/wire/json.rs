//! JSON as protobuf defines it (protobuf.dev/programming-guides/json), written straight into a string and
//! read exactly:
//! 64-bit integers as strings, bytes as base64, and doubles that JSON cannot hold as names.

mod parse;

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) use self::parse::{Json, parse};

pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(text.get(clean..at).unwrap_or_default());
        clean = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => push_display(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.push_str(text.get(clean..).unwrap_or_default());
    out.push('"');
}

/// Doubles in the shortest form that reads back the same, with an exponent where Go's encoder has one.
pub(crate) fn push_double(out: &mut String, value: f64) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        push_display(out, format_args!("{digits}e{sign}{exponent}"));
    } else {
        push_display(out, format_args!("{value}"));
    }
}

pub(crate) fn push_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        push_display(out, format_args!("{byte:02x}"));
    }
    out.push('"');
}

pub(crate) fn push_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_with_any_character_are_json_that_reads_back_the_same() {
        for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}", "naïve ☃ 🦀", "\\", "ends\n"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn doubles_read_back_the_same_and_take_gos_form() {
        let written = |value| {
            let mut out = String::new();
            push_double(&mut out, value);
            out
        };
        for value in [0.0, -0.0, 1.0, 0.5, -2.25, 1e-7, 123_456.789, 1e21, 1e300, f64::MAX, f64::MIN_POSITIVE]
        {
            let back: f64 = written(value).parse().unwrap();
            assert_eq!(back.to_bits(), value.to_bits(), "{value}");
        }
        assert_eq!(written(1.0), "1");
        assert_eq!(written(1e300), "1e+300");
        assert_eq!(written(2.5e-9), "2.5e-9");
        assert_eq!(written(f64::NEG_INFINITY), "\"-Infinity\"");
    }
}
