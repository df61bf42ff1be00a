//! Durations as TraceQL writes them: Prometheus' units (`1d`, `1h30m`) and Go's (`1.5s`, `10us`).

use std::fmt;

/// Go's units, in nanoseconds: in any order, each with a fraction if need be.
const GO: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
];

/// Prometheus' units from long to short, in nanoseconds: in this order, each once at most, whole numbers alone. A
/// year has 365 days.
const PROMETHEUS: [(&str, f64); 7] = [
    ("y", 31_536_000e9),
    ("w", 604_800e9),
    ("d", 86_400e9),
    ("h", 3_600e9),
    ("m", 60e9),
    ("s", 1e9),
    ("ms", 1e6),
];

/// Reads a duration without sign, in nanoseconds: one or more of number and unit, side by side, all as
/// Prometheus writes them or all as Go does. `None` where the text is no duration, or one of more than 292 years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    parse_with(text, &PROMETHEUS, true).or_else(|| parse_with(text, &GO, false))
}

fn parse_with(text: &str, mut units: &[(&str, f64)], in_order: bool) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let at = units.iter().position(|(name, _)| *name == unit)?;
        if in_order && number.contains('.') {
            return None;
        }
        total = total.checked_add(scaled(number, units.get(at)?.1)?)?;
        units = if in_order { units.get(at + 1..)? } else { units };
        rest = after;
    }
    Some(total)
}

/// `number * scale` nanoseconds, exact for whole numbers.
fn scaled(number: &str, scale: f64) -> Option<i64> {
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(scale as i64);
    }
    let valid = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() == 1;
    let value = valid.then(|| format!("0{number}0").parse::<f64>().ok())?? * scale;
    (value < i64::MAX as f64).then_some(value.round() as i64)
}

/// Writes nanoseconds as Go's `time.Duration` does (`1h0m0s`, `1.5s`, `99ms`, `0s`); [`parse_duration`]
/// reads it back.
///
/// # Errors
/// Only those of the formatter.
pub fn write_duration(ns: i64, f: &mut impl fmt::Write) -> fmt::Result {
    if ns < 0 {
        f.write_str("-")?;
    }
    let ns = ns.unsigned_abs();
    match ns {
        0 => f.write_str("0s"),
        1..1_000 => write!(f, "{ns}ns"),
        1_000..1_000_000 => fraction(f, ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(f, ns, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            if minutes >= 60 {
                write!(f, "{}h", minutes / 60)?;
            }
            if minutes > 0 {
                write!(f, "{}m", minutes % 60)?;
            }
            fraction(f, rest, 1_000_000_000, "s")
        }
    }
}

fn fraction(f: &mut impl fmt::Write, ns: u64, unit: u64, name: &str) -> fmt::Result {
    let (whole, part) = (ns / unit, ns % unit);
    write!(f, "{whole}")?;
    if part > 0 {
        let digits = format!("{:0width$}", part, width = unit.ilog10() as usize);
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ns: i64) -> String {
        let mut out = String::new();
        write_duration(ns, &mut out).unwrap();
        out
    }

    #[test]
    fn both_of_prometheus_and_go_units_are_read() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("0.5h"), Some(1_800_000_000_000));
        assert_eq!(parse_duration("1.5us"), Some(1_500));
        assert_eq!(parse_duration("1y"), Some(31_536_000_000_000_000));
        assert_eq!(parse_duration("29m59s"), Some(1_799_000_000_000));
        assert_eq!(parse_duration("1w2d"), Some(777_600_000_000_000));
        assert_eq!(parse_duration("30m1h"), Some(5_400_000_000_000));
        for wrong in ["", "1", "1x", "s", "1.2.3s", "300y", "1s1", ".s", "1.5d", "1d1.5h", "1d30us", "1h1d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_gos_form_and_reads_back() {
        for (ns, text) in [(0, "0s"), (99_000_000, "99ms"), (1_500, "1.5µs"), (3_600_000_000_000, "1h0m0s")]
        {
            assert_eq!(written(ns), text);
        }
        for ns in [1, 999, 1_000_001, 61_000_000_001, 86_400_000_000_000, 123_456_789_012_345] {
            assert_eq!(parse_duration(&written(ns)), Some(ns));
        }
    }
}
