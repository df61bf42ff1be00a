//! Kubernetes quantities as they stand in a resource, and their value as a number.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// A quantity such as `500m`, `2Gi` or `4`, as its author wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A plain integer.
    Number(i64),
    /// Digits with an optional suffix.
    Text(String),
}

const SUFFIXES: [(&str, u128); 16] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("n", 0),
    ("u", 0),
    ("m", 0),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

impl Quantity {
    /// The quantity in thousandths, rounded up as Kubernetes does; `None` for text that is no quantity, is
    /// negative or passes 2^63.
    ///
    /// Format: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
    pub fn milli(&self) -> Option<u64> {
        let text = self.to_string();
        let unsigned = text.strip_prefix('+').unwrap_or(&text);
        let end = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (scale, divisor) = scale_of(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 || whole.len() > 18 {
            return None;
        }
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let unit = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)? * divisor;
        let milli = digits.checked_mul(scale)?.checked_mul(1000)?.div_ceil(unit);
        u64::try_from(milli).ok()
    }

    /// The quantity in whole units, rounded up.
    pub fn units(&self) -> Option<u64> {
        Some(self.milli()?.div_ceil(1000))
    }
}

/// Multiplier and divisor of a suffix, decimal exponents (`e3`) included.
fn scale_of(suffix: &str) -> Option<(u128, u128)> {
    match suffix {
        "n" => return Some((1, 1_000_000_000)),
        "u" => return Some((1, 1_000_000)),
        "m" => return Some((1, 1_000)),
        _ => {}
    }
    if let Some((_, scale)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((*scale, 1));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// What a container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Devices claimed by name; handed on to the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "claims")]
    pub claims: Vec<serde_json::Value>,
    /// Upper bounds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,
}

fn claims(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "request": {"type": "string"}},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_the_value_that_kubernetes_gives_them() {
        for (text, milli) in [
            ("500m", 500),
            ("2", 2_000),
            ("1.5", 1_500),
            ("0.0001", 1),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("100u", 1),
            ("+3", 3_000),
        ] {
            assert_eq!(Quantity::from(text).milli(), Some(milli), "{text}");
        }
        assert_eq!(Quantity::Number(4).milli(), Some(4_000));
    }

    #[test]
    fn text_that_is_no_quantity_has_no_value() {
        for text in ["", "-1", "4 Gi", "1.2.3", "Gi", "1x", "99999999999999999999"] {
            assert_eq!(Quantity::from(text).milli(), None, "{text}");
        }
    }
}
