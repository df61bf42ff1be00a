//! Random queries, as text. Most are valid; what is not is refused by the parser and left out.

use super::traces::{KEYS, Random, WORDS};

/// Most levels of expressions in each other.
const DEPTH: usize = 3;

pub(crate) fn random(random: &mut Random) -> String {
    let mut query = spansets(random, 2);
    for _ in 0..random.below(3) {
        query.push_str(" | ");
        query.push_str(&stage(random));
    }
    if random.one_in(6) {
        query.push_str(" with (orphans=true)");
    }
    query
}

fn stage(random: &mut Random) -> String {
    match random.below(9) {
        0 | 1 => spansets(random, 1),
        2 => format!("by({})", grouped(random)),
        3 => "coalesce()".to_owned(),
        4 => format!("select({}, {})", field(random), field(random)),
        5 => format!("count() {} {}", comparison(random), random.below(4)),
        6 => format!("{} {} {}", scalar(random, 2), comparison(random), scalar(random, 2)),
        _ => format!("{} {} {}", aggregate(random), comparison(random), number(random)),
    }
}

fn aggregate(random: &mut Random) -> String {
    if random.one_in(4) {
        return "count()".to_owned();
    }
    format!("{}({})", *random.pick(&["min", "max", "avg", "sum"]), numeric(random, 1))
}

fn scalar(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => number(random),
        1..=3 => aggregate(random),
        4 => format!("({} | {})", stage(random), scalar(random, depth - 1)),
        5 => format!("({} | {})", spansets(random, 1), scalar(random, depth - 1)),
        _ => {
            let sign = *random.pick(&["+", "-", "*", "/", "%", "^"]);
            format!("({} {sign} {})", scalar(random, depth - 1), scalar(random, depth - 1))
        }
    }
}

fn grouped(random: &mut Random) -> String {
    if random.one_in(4) { format!("{} > 1", numeric(random, 0)) } else { field(random) }
}

fn spansets(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.one_in(2) {
        return filter(random);
    }
    if random.one_in(5) {
        return format!("!{}", spansets(random, depth - 1));
    }
    let operators = [
        "&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~",
    ];
    let operator = *random.pick(&operators);
    format!("({} {operator} {})", spansets(random, depth - 1), spansets(random, depth - 1))
}

fn filter(random: &mut Random) -> String {
    if random.one_in(6) {
        return "{ }".to_owned();
    }
    let depth = random.below(DEPTH + 1);
    format!("{{ {} }}", boolean(random, depth))
}

fn boolean(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return test(random);
    }
    match random.below(9) {
        8 => one_of(random, depth - 1),
        0 => format!("!({})", boolean(random, depth - 1)),
        1 => (*random.pick(&["true", "false", "!.a", ".b", "1 = 1", "\"x\" =~ \"y|x\""])).to_owned(),
        2..=4 => format!("({} && {})", boolean(random, depth - 1), boolean(random, depth - 1)),
        5 | 6 => format!("({} || {})", boolean(random, depth - 1), boolean(random, depth - 1)),
        _ => test(random),
    }
}

/// Conditions of one event or link, some of which look at others or at the span.
fn one_of(random: &mut Random, depth: usize) -> String {
    let scope = *random.pick(&["event", "link"]);
    let (key, other) = (*random.pick(&KEYS), *random.pick(&KEYS));
    let first = match random.below(4) {
        0 => format!("{scope}.{key} {} {scope}.{other}", comparison(random)),
        1 => format!("!({scope}.{key} {} {})", comparison(random), value(random)),
        2 => format!("{scope}.{key} {} nil", *random.pick(&["=", "!="])),
        _ => format!("{scope}.{key} {} {}", comparison(random), value(random)),
    };
    format!("{scope}({first} && {})", boolean(random, depth))
}

fn test(random: &mut Random) -> String {
    match random.below(12) {
        10 | 11 => several(random),
        0 => {
            let equality = *random.pick(&["=", "!="]);
            if random.one_in(2) {
                format!("{} {equality} nil", attribute(random))
            } else {
                format!("nil {equality} {}", attribute(random))
            }
        }
        1 => format!("{} {} {}", field(random), *random.pick(&["=~", "!~"]), regex(random)),
        2 => format!("{} {} {}", numeric(random, 1), comparison(random), numeric(random, 1)),
        3 => format!("{} {} {}", attribute(random), comparison(random), attribute(random)),
        4 | 5 => intrinsic_test(random),
        6 => format!("{} {} {}", value(random), comparison(random), attribute(random)),
        _ => format!("{} {} {}", attribute(random), comparison(random), value(random)),
    }
}

/// Several tests of one field, which rules make one of.
fn several(random: &mut Random) -> String {
    let field = field(random);
    let (operator, joint, regular) =
        *random.pick(&[("=", "||", false), ("!=", "&&", false), ("=~", "||", true), ("!~", "&&", true)]);
    let tests: Vec<String> = (0..2 + random.below(2))
        .map(|_| {
            let value = if regular { regex(random) } else { value(random) };
            format!("{field} {operator} {value}")
        })
        .collect();
    format!("({})", tests.join(&format!(" {joint} ")))
}

fn intrinsic_test(random: &mut Random) -> String {
    let compare = comparison(random);
    match random.below(17) {
        0 => format!("duration {compare} {}", *random.pick(&["10ms", "1", "0", "1.5s", "9999999.5"])),
        1 => format!("name {compare} {}", *random.pick(&["\"get\"", "\"HTTP GET\"", "\"zz\""])),
        2 => format!("status {compare} {}", *random.pick(&["error", "ok", "unset"])),
        3 => format!("kind {compare} {}", *random.pick(&["server", "client", "internal", "unspecified"])),
        4 => format!("statusMessage {compare} {}", *random.pick(&["\"broken\"", "\"\""])),
        14 => format!("parent:name {compare} \"get\""),
        15 => format!("parent:id {compare} {}", *random.pick(&["\"0000000000000001\"", "\"2\""])),
        5 => format!("traceDuration {compare} {}", *random.pick(&["100ms", "1s", "1500ms"])),
        6 => format!("rootName {compare} \"get\""),
        7 => format!("rootServiceName {compare} {}", *random.pick(&["\"shop\"", "\"\""])),
        8 => format!("event:name {compare} {}", text(random)),
        9 => format!("event:timeSinceStart {compare} {}", *random.pick(&["5ms", "0", "1s"])),
        10 => format!("nestedSetParent {compare} {}", *random.pick(&["0", "1", "-1"])),
        11 => format!("{} {compare} {}", *random.pick(&["nestedSetLeft", "nestedSetRight"]), random.below(8)),
        12 => format!("span:childCount {compare} {}", random.below(3)),
        _ => ids(random),
    }
}

fn ids(random: &mut Random) -> String {
    let equality = *random.pick(&["=", "!="]);
    match random.below(6) {
        0 => format!("trace:id {equality} {}", *random.pick(&["\"1\"", "\"0002\"", "\"ff\""])),
        1 => format!("span:id {equality} {}", *random.pick(&["\"0000000000000001\"", "\"2\""])),
        2 => format!("span:parentID {equality} {}", *random.pick(&["\"0000000000000001\"", "\"\""])),
        3 => format!("link:traceID {equality} {}", *random.pick(&["\"a0b\"", "\"1\""])),
        4 => format!("link:spanID {equality} {}", *random.pick(&["\"c0d\"", "\"1122334455667788\""])),
        _ => format!("instrumentation:{} {equality} \"{}\"", *random.pick(&["name", "version"]), "lib1"),
    }
}

fn field(random: &mut Random) -> String {
    if random.one_in(3) {
        if random.one_in(6) {
            let of_parent = ["parent:name", "parent:status", "parent:duration", "parent:childCount"];
            return (*random.pick(&of_parent)).to_owned();
        }
        let intrinsics = ["name", "status", "kind", "duration", "rootName", "event:name", "statusMessage"];
        return (*random.pick(&intrinsics)).to_owned();
    }
    attribute(random)
}

fn attribute(random: &mut Random) -> String {
    let scopes = [".", ".", "span.", "span.", "resource.", "event.", "link.", "instrumentation."];
    let scope = *random.pick(&scopes);
    if scope.len() > 1 && scope.starts_with('r') && random.one_in(2) {
        return "resource.service.name".to_owned();
    }
    let parent = if random.one_in(8) { "parent" } else { "" };
    let dot = if parent.is_empty() || scope == "." { "" } else { "." };
    format!("{parent}{dot}{scope}{}", random.pick(&KEYS))
}

fn numeric(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.one_in(2) {
        let sign = *random.pick(&["+", "-", "*", "/", "%", "^"]);
        return format!("({} {sign} {})", numeric(random, depth - 1), numeric(random, depth - 1));
    }
    match random.below(6) {
        0 => "duration".to_owned(),
        1 => format!("-{}", attribute(random)),
        2 => number(random),
        3 => "span:childCount".to_owned(),
        _ => attribute(random),
    }
}

fn number(random: &mut Random) -> String {
    (*random.pick(&["0", "1", "2", "200", "-3", "0.5", "2.0", "10ms", "1.5s"])).to_owned()
}

fn value(random: &mut Random) -> String {
    match random.below(5) {
        0 | 1 => number(random),
        2 => (*random.pick(&["true", "false"])).to_owned(),
        _ => text(random),
    }
}

fn text(random: &mut Random) -> String {
    format!("\"{}\"", random.pick(&WORDS))
}

fn regex(random: &mut Random) -> String {
    format!("\"{}\"", random.pick(&["x", "x|y", ".*", ".+", "[xy]+", "GET.*", "s.*", ""]))
}

fn comparison(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["=", "=", "!=", "<", "<=", ">", ">="])
}
