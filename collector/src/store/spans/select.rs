//! Which rows of a chunk fulfil the conditions of a scan: exactly, as far as a chunk can tell cheaply.

use super::chunk::{Cell, Chunk, NONE, Record, Row};
use crate::query::{Must, TimeRange};
use crate::value::{Value, parse_map};

/// A condition with its texts as numbers of the chunk.
#[derive(Debug)]
enum Test {
    Any(Vec<Self>),
    Never,
    Trace([u8; 16]),
    Span([u8; 8]),
    Root,
    Service(u32),
    Name(u32),
    Kind(i8),
    Status(i8),
    Attribute(u32, Cell),
    /// The attribute is there with a value that has to be looked into.
    Other(u32),
    AtLeast(i64),
    AtMost(i64),
    Events,
    Links,
    /// One of these resources.
    Resource(Vec<u32>),
    /// One of these scopes.
    Scope(Vec<u32>),
}

/// What rows of a chunk have to fulfil.
#[derive(Debug)]
pub(in crate::store) struct Selection {
    time: TimeRange,
    tests: Vec<Test>,
}

impl Selection {
    /// The conditions of a scan; none if no row of the chunk fulfils them, as far as that is told without a look at rows.
    pub(in crate::store) fn of<R: Record>(chunk: &Chunk<R>, time: TimeRange, must: &[Must]) -> Option<Self> {
        let (first, last) = chunk.times();
        if last < time.from || first >= time.to {
            return None;
        }
        let tests: Vec<Test> = must.iter().map(|must| Test::of(must, chunk)).collect();
        let possible = !tests.iter().any(|test| matches!(test, Test::Never));
        possible.then_some(Self { time, tests })
    }

    /// The places of the rows that may match, in no order.
    pub(in crate::store) fn rows<R: Record>(&self, chunk: &Chunk<R>) -> Vec<u32> {
        (0_u32..)
            .zip(&chunk.rows)
            .filter(|(_, row)| self.time.contains(row.time()))
            .filter(|(_, row)| self.tests.iter().all(|test| test.holds(chunk, row)))
            .map(|(place, _)| place)
            .collect()
    }
}

impl Test {
    fn of<R: Record>(must: &Must, chunk: &Chunk<R>) -> Self {
        let text = |text: &str, test: fn(u32) -> Self| chunk.pool.find(text).map_or(Self::Never, test);
        match must {
            Must::AnyOf(any) => {
                let mut tests: Vec<Self> = any.iter().map(|must| Self::of(must, chunk)).collect();
                tests.retain(|test| !matches!(test, Self::Never));
                if tests.is_empty() { Self::Never } else { Self::Any(tests) }
            }
            Must::Trace(id) => match &chunk.summary {
                Some(summary) if !summary.may_hold(id) => Self::Never,
                _ => Self::Trace(*id),
            },
            Must::Span(id) => Self::Span(*id),
            Must::Root => Self::Root,
            Must::Service(service) => text(service, Self::Service),
            Must::Name(name) => text(name, Self::Name),
            Must::Kind(kind) => Self::Kind(*kind),
            Must::Status(status) => Self::Status(*status),
            Must::DurationAtLeast(duration) => Self::AtLeast(*duration),
            Must::DurationAtMost(duration) => Self::AtMost(*duration),
            Must::Attribute(key, value) => {
                let Some(key) = chunk.pool.find(key) else { return Self::Never };
                let cell = match value {
                    Value::String(text) => chunk.pool.find(text).map(Cell::Text),
                    Value::Int(value) => Some(Cell::Int(*value)),
                    Value::Double(value) => Some(Cell::Double(*value)),
                    Value::Bool(value) => Some(Cell::Bool(*value)),
                    _ => None,
                };
                match (cell, &chunk.summary) {
                    (Some(cell), _) => Self::Attribute(key, cell),
                    (None, Some(summary)) if !summary.structured.contains(&key) => Self::Never,
                    // The text may still be an element of an array.
                    (None, _) => Self::Other(key),
                }
            }
            Must::Event(..) | Must::EventName(_) => Self::Events,
            Must::Link(..) | Must::LinkTrace(_) => Self::Links,
            Must::Resource(key, value) => Self::origin(chunk, |origin| origin.0, key, value, Self::Resource),
            Must::Scope(key, value) => Self::origin(chunk, |origin| origin.1, key, value, Self::Scope),
        }
    }

    /// Whether the resource or scope has an attribute: each that is different is read once, and there are few.
    fn origin<R: Record>(
        chunk: &Chunk<R>,
        of: impl Fn((u32, u32)) -> u32,
        key: &str,
        value: &Value,
        test: fn(Vec<u32>) -> Self,
    ) -> Self {
        let mut seen: Vec<u32> = Vec::new();
        let mut see = |origin| {
            let number = of(origin);
            if seen.last() != Some(&number) && !seen.contains(&number) {
                seen.push(number);
            }
        };
        match &chunk.summary {
            Some(summary) => summary.origins.iter().copied().for_each(&mut see),
            None => chunk.rows.iter().map(Record::origin).for_each(&mut see),
        }
        seen.retain(|&number| has(chunk.pool.get(number), key, value));
        if seen.is_empty() { Self::Never } else { test(seen) }
    }

    fn holds<R: Record>(&self, chunk: &Chunk<R>, row: &R) -> bool {
        // What only spans have is left to whoever asked.
        let span = |test: &dyn Fn(&Row) -> bool| row.as_span().is_none_or(test);
        match self {
            Self::Any(tests) => tests.iter().any(|test| test.holds(chunk, row)),
            Self::Never => false,
            Self::Trace(id) => row.trace_id() == *id,
            Self::Span(id) => row.span_id() == *id,
            Self::Service(service) => row.service() == *service,
            Self::Name(name) => row.name() == *name,
            Self::Resource(numbers) => numbers.contains(&row.origin().0),
            Self::Scope(numbers) => numbers.contains(&row.origin().1),
            Self::Root => span(&|row| row.parent == [0; 8]),
            Self::Kind(kind) => span(&|row| row.kind == *kind),
            Self::Status(status) => span(&|row| row.status == *status),
            Self::AtLeast(duration) => span(&|row| row.duration >= *duration),
            Self::AtMost(duration) => span(&|row| row.duration <= *duration),
            Self::Events => span(&|row| row.events != NONE),
            Self::Links => span(&|row| row.links != NONE),
            Self::Attribute(key, wanted) => chunk.cell(row, *key).is_some_and(|cell| same(cell, *wanted)),
            Self::Other(key) => matches!(chunk.cell(row, *key), Some(Cell::Json(_))),
        }
    }
}

/// Numbers are compared across their types, as the language does; what is in an array is left to whoever asked.
#[expect(clippy::cast_precision_loss, reason = "numbers are compared as the language compares them")]
fn same(cell: Cell, wanted: Cell) -> bool {
    match (cell, wanted) {
        (Cell::Json(_), _) => true,
        (Cell::Int(a), Cell::Double(b)) | (Cell::Double(b), Cell::Int(a)) => a as f64 == b,
        (a, b) => a == b,
    }
}

/// Whether the text of a resource or scope has an attribute of this value, or an array with it.
fn has(text: &str, key: &str, wanted: &Value) -> bool {
    let members = parse_map(text).unwrap_or_default();
    let attributes = members.into_iter().find_map(|(member, value)| match value {
        Value::Map(attributes) if member == "attributes" => Some(attributes),
        _ => None,
    });
    attributes.unwrap_or_default().iter().any(|(known, value)| known == key && equal(value, wanted))
}

#[expect(clippy::cast_precision_loss, reason = "numbers are compared as the language compares them")]
fn equal(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Array(values), _) => values.iter().any(|value| equal(value, wanted)),
        (Value::Int(a), Value::Double(b)) | (Value::Double(b), Value::Int(a)) => *a as f64 == *b,
        (a, b) => a == b,
    }
}
