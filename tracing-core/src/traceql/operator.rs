//! The operators of TraceQL with their signs, and the levels at which they bind (reference: Tempo's grammar).

use std::fmt;

/// An operator between two field expressions or two scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `= != < <= > >= =~ !~`
    Compare(Compare),
    /// `&&`
    And,
    /// `||`
    Or,
}

/// An operator that compares two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
}

/// An operator before a field expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// An operator between two spansets of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpansetOp {
    /// `&&`: both sides' spans, where both sides have some.
    And,
    /// `||`: both sides' spans.
    Or,
    /// How a span on the right must stand to one on the left.
    Structural {
        /// The relation asked for.
        relation: Relation,
        /// Which spans are the answer.
        keep: Keep,
    },
}

/// How the right span stands to the left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`
    Child,
    /// `>>`
    Descendant,
    /// `<`
    Parent,
    /// `<<`
    Ancestor,
    /// `~`
    Sibling,
}

/// Which spans a structural operator answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Spans of the right that stand so (`>`).
    Right,
    /// Spans of the right that do not stand so to any on the left (`!>`).
    Unrelated,
    /// Spans of both sides that take part (`&>`).
    Both,
}

impl BinaryOp {
    /// The level at which the operator binds; higher is tighter.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::And | Self::Or => 2,
            Self::Compare(_) => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod => 6,
            Self::Pow => 7,
        }
    }

    /// Whether the operator computes a number.
    pub(crate) fn is_arithmetic(self) -> bool {
        !matches!(self, Self::Compare(_) | Self::And | Self::Or)
    }
}

impl Compare {
    /// The operator that says the same with its sides exchanged, where there is one.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            same => same,
        }
    }

    /// `=~` and `!~`.
    pub(crate) fn is_regex(self) -> bool {
        matches!(self, Self::Match | Self::NotMatch)
    }

    /// `!=` and `!~`, which on an array ask that no element is so.
    pub fn is_negative(self) -> bool {
        matches!(self, Self::Ne | Self::NotMatch)
    }

    /// Whether two values that stand so to each other satisfy the operator; false for `=~` and `!~`.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
            Self::Match | Self::NotMatch => false,
        }
    }
}

impl SpansetOp {
    /// The level at which the operator binds; higher is tighter.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::And | Self::Or => 2,
            Self::Structural { .. } => 3,
        }
    }

    /// The operator of a sign between two spansets.
    pub(crate) fn from_sign(sign: &str) -> Option<Self> {
        let (keep, rest) = match sign {
            "&&" => return Some(Self::And),
            "||" => return Some(Self::Or),
            _ => match (sign.strip_prefix('!'), sign.strip_prefix('&')) {
                (Some(rest), _) => (Keep::Unrelated, rest),
                (_, Some(rest)) => (Keep::Both, rest),
                _ => (Keep::Right, sign),
            },
        };
        let relation = match rest {
            ">" => Relation::Child,
            ">>" => Relation::Descendant,
            "<" => Relation::Parent,
            "<<" => Relation::Ancestor,
            "~" => Relation::Sibling,
            _ => return None,
        };
        Some(Self::Structural { relation, keep })
    }
}

impl BinaryOp {
    /// The operator of a sign between two field expressions or scalars.
    pub(crate) fn from_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "+" => Self::Add,
            "-" => Self::Sub,
            "*" => Self::Mul,
            "/" => Self::Div,
            "%" => Self::Mod,
            "^" => Self::Pow,
            "&&" => Self::And,
            "||" => Self::Or,
            "=" => Self::Compare(Compare::Eq),
            "!=" => Self::Compare(Compare::Ne),
            "<" => Self::Compare(Compare::Lt),
            "<=" => Self::Compare(Compare::Le),
            ">" => Self::Compare(Compare::Gt),
            ">=" => Self::Compare(Compare::Ge),
            "=~" => Self::Compare(Compare::Match),
            "!~" => Self::Compare(Compare::NotMatch),
            _ => return None,
        })
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        })
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(op) => op.fmt(f),
            Self::Add => f.write_str("+"),
            Self::Sub => f.write_str("-"),
            Self::Mul => f.write_str("*"),
            Self::Div => f.write_str("/"),
            Self::Mod => f.write_str("%"),
            Self::Pow => f.write_str("^"),
            Self::And => f.write_str("&&"),
            Self::Or => f.write_str("||"),
        }
    }
}

impl fmt::Display for UnaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Neg => "-",
            Self::Not => "!",
        })
    }
}

impl fmt::Display for SpansetOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (relation, keep) = match self {
            Self::And => return f.write_str("&&"),
            Self::Or => return f.write_str("||"),
            Self::Structural { relation, keep } => (relation, keep),
        };
        f.write_str(match keep {
            Keep::Right => "",
            Keep::Unrelated => "!",
            Keep::Both => "&",
        })?;
        f.write_str(match relation {
            Relation::Child => ">",
            Relation::Descendant => ">>",
            Relation::Parent => "<",
            Relation::Ancestor => "<<",
            Relation::Sibling => "~",
        })
    }
}
