//! Any tree, printed, reads back as itself.

use proptest::prelude::*;

use crate::traceql::syntax::{
    Aggregate, Expr, Function, FunctionKind, Hint, Metrics, Pipeline, Query, Root, Scalar, SecondStage,
    Spansets, Stage,
};
use crate::traceql::{
    Attribute, BinaryOp, Compare, Field, Intrinsic, Keep, Kind, Literal, Relation, Scope, SpansetOp, Status,
    UnaryOp, parser,
};

/// Values that are written without a sign.
fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Nil),
        (0..=i64::MAX).prop_map(Literal::Int),
        Just(Literal::Int(i64::MIN)),
        prop::num::f64::POSITIVE.prop_map(Literal::Float),
        any::<String>().prop_map(Literal::String),
        any::<bool>().prop_map(Literal::Bool),
        (0..=i64::MAX).prop_map(Literal::Duration),
        (0..3_u8).prop_map(|code| Literal::Status(Status::from_otlp(code))),
        (0..6_u8).prop_map(|code| Literal::Kind(Kind::from_otlp(code))),
    ]
}

fn number() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<i64>().prop_map(Literal::Int),
        prop::num::f64::NORMAL.prop_map(Literal::Float),
        (-i64::MAX..i64::MAX).prop_map(Literal::Duration),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let scopes =
        [Scope::Any, Scope::Span, Scope::Resource, Scope::Event, Scope::Link, Scope::Instrumentation];
    let name = prop_oneof![
        any::<String>(),
        "[a-z.:/+*-]{0,12}",
        prop::sample::select(vec!["span.x", "resource", "event.a b", "a\"b", "a\\", "nil", "//", "name"])
            .prop_map(str::to_owned),
    ];
    let attribute = (prop::sample::select(scopes.to_vec()), any::<bool>(), name)
        .prop_map(|(scope, of_parent, name)| Field::Attribute(Attribute { scope, of_parent, name }));
    let names: Vec<_> = Intrinsic::names().collect();
    let intrinsic = prop::sample::select(names)
        .prop_map(|name| Field::Intrinsic(Intrinsic::from_name(name).expect("a name of one")));
    let of_parent = prop::sample::select(vec![Intrinsic::Name, Intrinsic::SpanId, Intrinsic::ChildCount])
        .prop_map(Field::OfParent);
    prop_oneof![3 => attribute, 3 => intrinsic, 1 => of_parent]
}

fn comparison() -> impl Strategy<Value = BinaryOp> {
    use Compare::{Eq, Ge, Gt, Le, Lt, Ne};
    prop::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge]).prop_map(BinaryOp::Compare)
}

fn arithmetic() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
    prop::sample::select(vec![Add, Sub, Mul, Div, Mod, Pow])
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![literal().prop_map(Expr::Literal), field().prop_map(Expr::Field)];
    leaf.prop_recursive(6, 40, 2, |inner| {
        let regex = prop::sample::select(vec![
            BinaryOp::Compare(Compare::Match),
            BinaryOp::Compare(Compare::NotMatch),
            BinaryOp::And,
            BinaryOp::Or,
        ]);
        let op = prop_oneof![comparison(), arithmetic(), regex];
        prop_oneof![
            4 => (op, inner.clone(), inner.clone()).prop_map(|(op, left, right)| Expr::Binary {
                op,
                left: Box::new(left),
                right: Box::new(right)
            }),
            1 => (prop::sample::select(vec![Scope::Event, Scope::Link]), inner.clone())
                .prop_map(|(scope, inner)| Expr::OneOf(scope, Box::new(inner))),
            1 => inner.clone().prop_map(|inner| Expr::Unary(UnaryOp::Not, Box::new(inner))),
            1 => inner.prop_map(|inner| Expr::Unary(UnaryOp::Neg, Box::new(inner))),
        ]
    })
}

fn filter() -> impl Strategy<Value = Spansets> {
    prop::option::of(expr()).prop_map(Spansets::Filter)
}

fn spanset_op() -> impl Strategy<Value = SpansetOp> {
    use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
    let relation = prop::sample::select(vec![Child, Descendant, Parent, Ancestor, Sibling]);
    let keep = prop::sample::select(vec![Keep::Right, Keep::Unrelated, Keep::Both]);
    prop_oneof![
        Just(SpansetOp::And),
        Just(SpansetOp::Or),
        (relation, keep).prop_map(|(relation, keep)| SpansetOp::Structural { relation, keep }),
    ]
}

/// A stage that is neither spansets nor a scalar.
fn named_stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        expr().prop_map(Stage::By),
        Just(Stage::Coalesce),
        prop::collection::vec(field(), 1..3).prop_map(Stage::Select),
        (scalar(), comparison(), scalar()).prop_map(|(left, op, right)| Stage::ScalarFilter {
            left,
            op,
            right
        }),
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    let aggregates = vec![Aggregate::Count, Aggregate::Min, Aggregate::Max, Aggregate::Avg, Aggregate::Sum];
    let aggregate = (prop::sample::select(aggregates), prop::option::of(expr()))
        .prop_map(|(aggregate, of)| Scalar::Aggregate(aggregate, of))
        .boxed();
    let leaf = prop_oneof![
        number().prop_map(Scalar::Literal),
        literal().prop_map(Scalar::Literal),
        aggregate.clone(),
        (filter(), aggregate).prop_map(|(first, last)| {
            let stages = vec![Stage::Spansets(first), Stage::Scalar(last)];
            Scalar::Pipeline(Box::new(Pipeline { stages }))
        }),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        (arithmetic(), inner.clone(), inner).prop_map(|(op, left, right)| Scalar::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        })
    })
}

fn spansets() -> impl Strategy<Value = Spansets> {
    filter().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            3 => (spanset_op(), inner.clone(), inner.clone()).prop_map(|(op, left, right)| Spansets::Binary {
                op,
                left: Box::new(left),
                right: Box::new(right)
            }),
            1 => inner.clone().prop_map(|inner| Spansets::Not(Box::new(inner))),
            1 => (inner, named_stage()).prop_map(|(first, last)| {
                Spansets::Pipeline(Box::new(Pipeline { stages: vec![Stage::Spansets(first), last] }))
            }),
            1 => named_stage().prop_map(|stage| Spansets::Pipeline(Box::new(Pipeline { stages: vec![stage] }))),
        ]
    })
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    let stage = prop_oneof![spansets().prop_map(Stage::Spansets), named_stage()];
    prop::collection::vec(stage, 1..4).prop_map(|stages| Pipeline { stages })
}

fn metrics() -> impl Strategy<Value = Metrics> {
    use FunctionKind::{Compare, CountOverTime, HistogramOverTime, MaxOverTime, QuantileOverTime, Rate};
    let kinds = vec![Rate, CountOverTime, MaxOverTime, QuantileOverTime, HistogramOverTime, Compare];
    let by = prop::collection::vec(field(), 0..3);
    let function =
        (prop::sample::select(kinds), field(), prop::collection::vec(number(), 0..3), filter(), by).prop_map(
            |(kind, of, numbers, selection, by)| Function {
                kind,
                of: kind.takes_field().then_some(of),
                numbers: if matches!(kind, Compare | QuantileOverTime) { numbers } else { Vec::new() },
                selection: (kind == Compare).then_some(selection),
                by,
            },
        );
    let second = prop_oneof![
        any::<i64>().prop_map(SecondStage::TopK),
        any::<i64>().prop_map(SecondStage::BottomK),
        (comparison(), number()).prop_map(|(op, value)| SecondStage::Filter(op, value)),
    ];
    let query = (pipeline(), function, prop::collection::vec(second, 0..2))
        .prop_map(|(spans, function, second)| Metrics::Query { spans, function, second });
    query.prop_recursive(2, 4, 2, |inner| {
        let op = prop::sample::select(vec![BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div]);
        let other = prop_oneof![inner.clone(), number().prop_map(Metrics::Number)];
        (op, inner, other, any::<bool>()).prop_map(|(op, a, b, turned)| {
            let (left, right) = if turned { (b, a) } else { (a, b) };
            Metrics::Binary { op, left: Box::new(left), right: Box::new(right) }
        })
    })
}

fn query() -> impl Strategy<Value = Query> {
    let root = prop_oneof![pipeline().prop_map(Root::Pipeline), metrics().prop_map(Root::Metrics)];
    let hint =
        ("[a-z_]{1,8}", prop_oneof![literal(), number()]).prop_map(|(name, value)| Hint { name, value });
    (root, prop::collection::vec(hint, 0..3)).prop_map(|(root, hints)| Query { root, hints })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_tree_is_printed_as_a_query_that_reads_back_as_that_tree(tree in query()) {
        let printed = tree.to_string();
        match parser::parse(&printed) {
            Ok(again) => prop_assert_eq!(again.query, tree, "printed as {}", printed),
            Err(error) => prop_assert!(false, "{:?} printed as {}: {}", tree, printed, error),
        }
    }
}
