//! Log records: how they are kept in memory, and as columns.

pub(super) mod decode;

use std::sync::Arc;

use arrow_array::types::{Int8Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Int8Array, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow_schema::ArrowError;

use super::spans::assemble::{Made, Source, ids};
use super::spans::chunk::{NONE, Pool, Record};
use super::spans::disassemble::Reading;
use crate::query::Table;

/// One log record; texts by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogRow {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) time: i64,
    pub(super) observed: i64,
    /// The hash of the request that it came with, so that a request that comes again is kept once.
    pub(super) batch: u64,
    pub(super) service: u32,
    pub(super) name: u32,
    pub(super) severity_text: u32,
    /// A value as in [`crate::value`].
    pub(super) body: u32,
    pub(super) resource: u32,
    pub(super) scope: u32,
    pub(super) first_attribute: u32,
    pub(super) attributes: u32,
    pub(super) flags: u32,
    pub(super) dropped: u32,
    pub(super) severity: i8,
}

impl Record for LogRow {
    const TABLE: Table = Table::Logs;

    fn time(&self) -> i64 {
        self.time
    }

    fn attributes(&self) -> (u32, u32) {
        (self.first_attribute, self.attributes)
    }

    fn set_attributes(&mut self, first: u32, count: u32) {
        (self.first_attribute, self.attributes) = (first, count);
    }

    fn texts(&mut self, each: &mut dyn FnMut(&mut u32)) {
        for text in [
            &mut self.service,
            &mut self.name,
            &mut self.severity_text,
            &mut self.body,
            &mut self.resource,
            &mut self.scope,
        ] {
            each(text);
        }
    }

    fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    fn service(&self) -> u32 {
        self.service
    }

    fn name(&self) -> u32 {
        self.name
    }

    fn origin(&self) -> (u32, u32) {
        (self.resource, self.scope)
    }

    fn columns(
        source: &Source<'_, Self>,
        wanted: &dyn Fn(&str) -> bool,
        made: &mut Made,
    ) -> Result<(), ArrowError> {
        let rows = || source.records();
        let times =
            |of: fn(&Self) -> i64| Arc::new(TimestampNanosecondArray::from_iter_values(rows().map(of)));
        if wanted("trace_id") {
            let traces = rows().map(|row| (row.trace_id != [0; 16]).then_some(row.trace_id));
            made.add("trace_id", true, ids(traces, source.len())?);
        }
        if wanted("span_id") {
            let spans = rows().map(|row| (row.span_id != [0; 8]).then_some(row.span_id));
            made.add("span_id", true, ids(spans, source.len())?);
        }
        if wanted("service") {
            made.add("service", false, source.dictionary(|row| row.service));
        }
        if wanted("name") {
            made.add("name", false, source.dictionary(|row| row.name));
        }
        if wanted("time") {
            made.add("time", false, times(|row| row.time));
        }
        if wanted("observed") {
            made.add("observed", false, times(|row| row.observed));
        }
        if wanted("severity") {
            let severities = Int8Array::from_iter_values(rows().map(|row| row.severity));
            made.add("severity", false, Arc::new(severities));
        }
        if wanted("severity_text") {
            made.add("severity_text", true, source.dictionary(|row| row.severity_text));
        }
        if wanted("body") {
            made.add("body", true, source.plain(|row| row.body));
        }
        if wanted("flags") {
            made.add("flags", false, Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.flags))));
        }
        if wanted("dropped_attributes") {
            let dropped = UInt32Array::from_iter_values(rows().map(|row| row.dropped));
            made.add("dropped_attributes", false, Arc::new(dropped));
        }
        if wanted("resource") {
            made.add("resource", false, source.dictionary(|row| row.resource));
        }
        if wanted("scope") {
            made.add("scope", false, source.dictionary(|row| row.scope));
        }
        if wanted("batch") {
            made.add("batch", false, Arc::new(UInt64Array::from_iter_values(rows().map(|row| row.batch))));
        }
        Ok(())
    }

    fn read(reading: &mut Reading<'_>, pool: &mut Pool, row: usize) -> Option<Self> {
        let time = |name: &str| reading.value::<TimestampNanosecondType>(name, row).unwrap_or(0);
        let mut read = Self {
            trace_id: reading.id("trace_id", row),
            span_id: reading.id("span_id", row),
            time: time("time"),
            observed: time("observed"),
            batch: reading.value::<UInt64Type>("batch", row).unwrap_or(0),
            service: NONE,
            name: NONE,
            severity_text: NONE,
            body: NONE,
            resource: NONE,
            scope: NONE,
            first_attribute: 0,
            attributes: 0,
            flags: reading.value::<UInt32Type>("flags", row).unwrap_or(0),
            dropped: reading.value::<UInt32Type>("dropped_attributes", row).unwrap_or(0),
            severity: reading.value::<Int8Type>("severity", row).unwrap_or(0),
        };
        for (name, text) in [
            ("service", &mut read.service),
            ("name", &mut read.name),
            ("severity_text", &mut read.severity_text),
            ("body", &mut read.body),
            ("resource", &mut read.resource),
            ("scope", &mut read.scope),
        ] {
            *text = reading.text(pool, name, row)?;
        }
        Some(read)
    }
}
