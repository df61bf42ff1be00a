//! String literals in Go's notation, and attribute names with quoted parts.

/// What may not stand in an attribute's name outside quotes, white space aside.
pub(crate) fn ends_name(c: char) -> bool {
    c.is_whitespace() || "{}()=~!<>&|^,".contains(c)
}

/// Writes a string literal: in back quotes where it can stand so, else with escapes.
pub(crate) fn quote(text: &str) -> String {
    if !text.contains(['`', '\r']) {
        return format!("`{text}`");
    }
    quote_text(text)
}

/// Writes a string literal in double quotes.
pub(crate) fn quote_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes an attribute's name, quoted where it holds what would end it.
pub(crate) fn quote_name(name: &str) -> String {
    if !name.is_empty() && !name.contains(|c| ends_name(c) || c == '"' || c == '\\') {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads what stands between the quotes of a `"…"` literal.
///
/// # Errors
/// The offset of an escape that Go does not know, and why.
pub(crate) fn unescape(body: &str) -> Result<String, (usize, String)> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let Some((_, escape)) = chars.next() else { return Err((at, "escape without a character".into())) };
        let plain = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' => escape as u8,
            'x' | 'u' | 'U' | '0'..='7' => {
                let taken = numeric(&body[at..], &mut bytes).ok_or((at, unknown(&body[at..])))?;
                // The backslash and the letter are consumed already.
                for _ in 2..taken {
                    chars.next();
                }
                continue;
            }
            _ => return Err((at, unknown(&body[at..]))),
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).map_err(|e| (e.utf8_error().valid_up_to(), "escapes give no valid UTF-8".into()))
}

fn unknown(rest: &str) -> String {
    let escape: String = rest.chars().take(2).collect();
    format!("unknown escape {escape}: write \\{escape} in double quotes, or use back quotes")
}

/// Reads `\xhh`, `\uhhhh`, `\Uhhhhhhhh` or `\ooo`; the number of characters taken, or `None` where it is none.
fn numeric(escape: &str, out: &mut Vec<u8>) -> Option<usize> {
    let (skip, digits, radix) = match escape.as_bytes().get(1)? {
        b'x' => (2, 2, 16),
        b'u' => (2, 4, 16),
        b'U' => (2, 8, 16),
        _ => (1, 3, 8),
    };
    let text = escape.get(skip..skip + digits)?;
    let valid = text.chars().all(|c| c.is_digit(radix));
    let value = valid.then(|| u32::from_str_radix(text, radix).ok()).flatten()?;
    if digits > 3 {
        out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(value).ok()?);
    }
    Some(skip + digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_escapes_are_read_and_others_named() {
        assert_eq!(unescape(r#"a\"b\\ \n\t"#).unwrap(), "a\"b\\ \n\t");
        assert_eq!(unescape(r"\x41\u00e9\U0001F600\101").unwrap(), "Aé😀A");
        assert_eq!(unescape(r"\xe2\x98\x83").unwrap(), "☃");
        assert_eq!(unescape(r"ab\d").unwrap_err().0, 2);
        assert!(unescape(r"\xff").is_err());
        assert!(unescape(r"\u12").is_err());
    }

    #[test]
    fn names_are_quoted_only_where_they_must_be() {
        assert_eq!(quote_name("a-b/c.d"), "a-b/c.d");
        assert_eq!(quote_name("a b"), "\"a b\"");
        assert_eq!(quote_name("q\"d"), "\"q\\\"d\"");
    }
}
