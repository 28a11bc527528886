//! The values of a span that other spans of its trace tell.

use super::plan::{Program, service};
use super::spansets::owned;
use super::tree::Trace;
use crate::query::exec::bind::borrowed;
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};

/// Puts them where their fields are, the first of the program's, and asks the filters that need them.
pub(super) fn fill(program: &Program, fields: &[Field], trace: &mut Trace) {
    for (place, field) in fields.iter().enumerate() {
        if field.is_of_one_span() {
            continue;
        }
        let values = values(program, trace, field);
        for (row, value) in trace.rows.iter_mut().zip(values) {
            row.values[place] = value;
        }
    }
    for (leaf, of) in program.leaves.iter().enumerate() {
        let Some(rest) = &of.rest else { continue };
        for row in &mut trace.rows {
            if !rest.holds(&row.values) {
                row.fulfils &= !(1 << leaf);
            }
        }
    }
}

fn values(program: &Program, trace: &Trace, field: &Field) -> Vec<Datum<'static>> {
    let same = |value: Datum<'static>| vec![value; trace.rows.len()];
    match field {
        Field::Attribute { scope, key } => {
            let scope = match scope {
                Scope::Parent => Scope::Any,
                Scope::ParentSpan => Scope::Span,
                _ => Scope::Resource,
            };
            let place = program.place(&Field::Attribute { scope, key: key.clone() });
            let of = |at| {
                let parent = trace.row(trace.parent(at)?);
                parent.values.get(place?).map(|value| owned(borrowed(value)))
            };
            trace.all().into_iter().map(|at| of(at).unwrap_or(Datum::Nil)).collect()
        }
        Field::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::RootName => same(of_root(program, trace, &Field::Intrinsic(Intrinsic::Name))),
            Intrinsic::RootServiceName => same(of_root(program, trace, &service())),
            Intrinsic::TraceDuration => same(Datum::Int(trace.duration())),
            Intrinsic::ChildCount => trace.child_counts().into_iter().map(Datum::Int).collect(),
            Intrinsic::NestedSetLeft => trace.nested().into_iter().map(|of| Datum::Int(of.left)).collect(),
            Intrinsic::NestedSetRight => trace.nested().into_iter().map(|of| Datum::Int(of.right)).collect(),
            Intrinsic::NestedSetParent => {
                trace.nested().into_iter().map(|of| Datum::Int(of.parent)).collect()
            }
            Intrinsic::Parent => {
                let of = |row: &super::tree::Row| {
                    row.parent.map_or(Datum::Nil, |parent| Datum::Text(format!("{parent:016x}").into()))
                };
                trace.rows.iter().map(of).collect()
            }
            _ => same(Datum::Nil),
        },
    }
}

fn of_root(program: &Program, trace: &Trace, field: &Field) -> Datum<'static> {
    let place = program.place(field);
    let value = trace.root().zip(place).and_then(|(root, place)| root.values.get(place));
    value.map_or(Datum::Nil, |value| owned(borrowed(value)))
}
