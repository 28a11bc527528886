//! Which attributes and values there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashSet;

use super::coded::Coded;
use super::render::Rows;
use super::{Plan, Queries, bind, parallel};
use crate::query::engine::{self, Columns, Control, Order, QueryError, SpanColumn};
use crate::query::tags::{DistinctAnswer, DistinctRequest, TagNamesAnswer, TagNamesRequest, TagValue};
use crate::query::traceql::{Datum, Expr, Field, is_duration, parse_field, parse_filter};
use crate::value::{Value, parse_map};

/// Bytes that a known value takes beside its text, about.
const VALUE_BYTES: usize = 96;

type Values = HashSet<Vec<TagValue>>;

pub(super) fn distinct(
    queries: &Queries,
    request: &DistinctRequest,
    control: &Control,
) -> Result<DistinctAnswer, QueryError> {
    let fields: Vec<Field> = request.fields.iter().map(|text| parse_field(text)).collect::<Result<_, _>>()?;
    if fields.is_empty() || fields.len() > 2 {
        let count = fields.len();
        return Err(QueryError::invalid(format!("values of {count} fields were asked for, expected 1 or 2")));
    }
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let mut columns = plan.columns.clone();
    columns.extend(bind::columns(&fields)?);
    columns.sort_unstable();
    columns.dedup();
    let mut parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::Any))?;
    // Of all spans of a part the part may know it.
    let mut known = Values::new();
    if let [column] = bind::columns(&fields)?.as_slice()
        && parse_filter(&request.q)?.expr.is_none()
    {
        let mut wrong = None;
        parts.retain(|part| {
            let Some(batch) = part.values(column) else { return true };
            let rows: Vec<u32> = (0_u32..).take(batch.num_rows()).collect();
            wrong = wrong.take().or_else(|| add(&mut known, &rows, &fields, &batch).err());
            false
        });
        wrong.map_or(Ok(()), Err)?;
    }
    let (found, scanned) = parallel::fold(&parts, control, |values: &mut Values, batch| {
        let before = values.len();
        add(values, &plan.rows(batch)?, &fields, batch)?;
        let new = values.len() - before;
        control.take_memory(new * VALUE_BYTES * fields.len())
    })?;
    let all: HashSet<Vec<TagValue>> = found.into_iter().flatten().chain(known).collect();
    let mut values: Vec<Vec<TagValue>> = all.into_iter().collect();
    values.sort_unstable();
    values.truncate(request.limit.unwrap_or(usize::MAX));
    Ok(DistinctAnswer { values, scanned })
}

/// Adds the values of some rows of a batch, each combination once.
fn add(values: &mut Values, rows: &[u32], fields: &[Field], batch: &RecordBatch) -> Result<(), QueryError> {
    let bound = bind::Bound::new(fields, batch)?;
    let coded: Vec<Coded<'_>> = (0..fields.len())
        .filter_map(|place| bound.source(place).map(|source| Coded::of_any(source, rows)))
        .collect();
    let (Some(first), second) = (coded.first(), coded.get(1)) else { return Ok(()) };
    let times: Vec<bool> = fields.iter().map(|field| is_duration(&Expr::Field(field.clone()))).collect();
    let mut seen: HashSet<(u32, u32)> = HashSet::new();
    for (place, &code) in first.codes.iter().enumerate().filter(|(_, code)| **code != 0) {
        let other = second.map_or(0, |second| second.codes[place]);
        if !seen.insert((code, other)) {
            continue;
        }
        let mut firsts = Vec::new();
        each(&first.values[code as usize], times[0], &mut |value| firsts.push(vec![value]));
        let Some(second) = second else {
            values.extend(firsts);
            continue;
        };
        for known in firsts {
            each(&second.values[other as usize], times[1], &mut |value| {
                values.insert([known.clone(), vec![value]].concat());
            });
        }
    }
    Ok(())
}

/// A value as it is shown, each of several.
fn each(datum: &Datum<'_>, is_time: bool, out: &mut dyn FnMut(TagValue)) {
    let mut value = |kind, value: String| out(TagValue { kind, value });
    let written = |datum: &Datum<'_>| {
        let mut text = String::new();
        super::stats::write(datum, &mut text);
        text
    };
    match datum {
        Datum::Nil => value("nil", String::new()),
        Datum::Bool(_) => value("bool", written(datum)),
        Datum::Int(nanos) if is_time => value("duration", crate::show::duration(*nanos)),
        Datum::Int(number) => value("int", number.to_string()),
        Datum::Float(number) => value("float", number.to_string()),
        Datum::Text(text) => value("string", text.clone().into_owned()),
        Datum::Status(_) | Datum::Kind(_) => value("keyword", written(datum).trim_matches('"').to_owned()),
        Datum::List(values) | Datum::Each(values) => values.iter().for_each(|one| each(one, is_time, out)),
    }
}

const SCOPES: [&str; 5] = ["span", "resource", "instrumentation", "event", "link"];

/// Keys by scope.
type Names = BTreeMap<&'static str, HashSet<String>>;

pub(super) fn names(
    queries: &Queries,
    request: &TagNamesRequest,
    control: &Control,
) -> Result<TagNamesAnswer, QueryError> {
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let mut columns = plan.columns.clone();
    columns.push(SpanColumn::Attributes);
    columns.extend(["resource", "scope", "events", "links"].map(SpanColumn::Fixed));
    columns.sort_unstable();
    columns.dedup();
    let mut parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::Any))?;
    // Of all spans of a part the part may know it.
    let mut known: Vec<Arc<engine::Names>> = Vec::new();
    if parse_filter(&request.q)?.expr.is_none() {
        parts.retain(|part| match part.names() {
            Some(names) => {
                known.push(names);
                false
            }
            None => true,
        });
    }
    let (found, scanned) = parallel::fold(&parts, control, |names: &mut Names, batch| {
        add_names(names, &plan.rows(batch)?, batch);
        Ok(())
    })?;
    let mut scopes: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (scope, keys) in found.into_iter().flatten() {
        scopes.entry(scope).or_default().extend(keys);
    }
    for (scope, keys) in known.iter().flat_map(|names| names.iter()) {
        if let Some(scope) = SCOPES.into_iter().find(|known| known == scope) {
            scopes.entry(scope).or_default().extend(keys.iter().cloned());
        }
    }
    for keys in scopes.values_mut() {
        keys.sort_unstable();
        keys.dedup();
    }
    scopes.retain(|_, keys| !keys.is_empty());
    Ok(TagNamesAnswer { scopes, scanned })
}

fn add_names(names: &mut Names, rows: &[u32], batch: &RecordBatch) {
    let shown = Rows::new(batch);
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(key) = field.name().strip_prefix("a:") else { continue };
        let known = names.get("span").is_some_and(|keys| keys.contains(key));
        if !known && rows.iter().any(|&row| column.is_valid(row as usize)) {
            note(names, "span", key.to_owned());
        }
    }
    for &row in rows {
        let text = shown.text("attributes", row as usize);
        if !text.is_empty() {
            parse_map(text).into_iter().flatten().for_each(|(key, _)| note(names, "span", key));
        }
        for (column, scope) in [("events", "event"), ("links", "link")] {
            let text = shown.text(column, row as usize);
            if let Some(Value::Array(items)) = (!text.is_empty()).then(|| Value::parse(text)).flatten() {
                items.into_iter().for_each(|item| note_attributes(names, scope, item));
            }
        }
    }
    for (column, scope) in [("resource", "resource"), ("scope", "instrumentation")] {
        for text in used(batch, column, rows) {
            note_attributes(names, scope, parse_map(text).map_or(Value::Empty, Value::Map));
        }
    }
}

fn note(names: &mut Names, scope: &'static str, key: String) {
    names.entry(scope).or_default().insert(key);
}

/// Notes the keys of an object's attributes.
fn note_attributes(names: &mut Names, scope: &'static str, object: Value) {
    let Value::Map(members) = object else { return };
    for (member, value) in members {
        if let Value::Map(attributes) = value
            && member == "attributes"
        {
            attributes.into_iter().for_each(|(key, _)| note(names, scope, key));
        }
    }
}

/// The texts of a dictionary that some rows have, each once.
fn used<'a>(batch: &'a RecordBatch, column: &str, rows: &[u32]) -> Vec<&'a str> {
    let dictionary = batch.column_by_name(column).and_then(|column| column.as_dictionary_opt::<Int32Type>());
    let Some(dictionary) = dictionary else { return Vec::new() };
    let Some(texts) = dictionary.values().as_string_opt::<i32>() else { return Vec::new() };
    let keys = dictionary.keys();
    let mut seen = vec![false; texts.len()];
    for row in rows.iter().map(|&row| row as usize).filter(|&row| keys.is_valid(row)) {
        if let Some(seen) = usize::try_from(keys.value(row)).ok().and_then(|code| seen.get_mut(code)) {
            *seen = true;
        }
    }
    seen.iter().enumerate().filter(|(_, seen)| **seen).map(|(code, _)| texts.value(code)).collect()
}
