//! The columns of spans, other than attributes.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int64Type, TimestampNanosecondType, UInt32Type};
use arrow_array::{Int8Array, Int64Array, TimestampNanosecondArray, UInt32Array};
use arrow_schema::ArrowError;

use super::assemble::{Made, Source, ids};
use super::chunk::{NONE, Pool, Record, Row};
use super::disassemble::Reading;
use super::parents;
use crate::query::Table;

impl Record for Row {
    const TABLE: Table = Table::Spans;

    fn time(&self) -> i64 {
        self.start
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
            &mut self.message,
            &mut self.trace_state,
            &mut self.resource,
            &mut self.scope,
            &mut self.events,
            &mut self.links,
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

    fn as_span(&self) -> Option<&Row> {
        Some(self)
    }

    fn columns(
        source: &Source<'_, Self>,
        wanted: &dyn Fn(&str) -> bool,
        made: &mut Made,
    ) -> Result<(), ArrowError> {
        let rows = || source.records();
        if wanted("trace_id") {
            made.add("trace_id", false, ids(rows().map(|row| Some(row.trace_id)), source.len())?);
        }
        if wanted("span_id") {
            made.add("span_id", false, ids(rows().map(|row| Some(row.span_id)), source.len())?);
        }
        if wanted("parent_span_id") {
            let parents = rows().map(|row| (row.parent != [0; 8]).then_some(row.parent));
            made.add("parent_span_id", true, ids(parents, source.len())?);
        }
        if wanted("parent_offset") {
            let spans = rows().map(|row| ((row.trace_id, row.span_id), row.parent));
            made.add("parent_offset", true, Arc::new(parents::offsets(spans)));
        }
        if wanted("service") {
            made.add("service", false, source.dictionary(|row| row.service));
        }
        if wanted("name") {
            made.add("name", false, source.dictionary(|row| row.name));
        }
        if wanted("kind") {
            made.add("kind", false, Arc::new(Int8Array::from_iter_values(rows().map(|row| row.kind))));
        }
        if wanted("start") {
            let start = TimestampNanosecondArray::from_iter_values(rows().map(|row| row.start));
            made.add("start", false, Arc::new(start));
        }
        if wanted("duration_ns") {
            made.add(
                "duration_ns",
                false,
                Arc::new(Int64Array::from_iter_values(rows().map(|row| row.duration))),
            );
        }
        if wanted("status") {
            made.add("status", false, Arc::new(Int8Array::from_iter_values(rows().map(|row| row.status))));
        }
        if wanted("status_message") {
            made.add("status_message", true, source.dictionary(|row| row.message));
        }
        if wanted("trace_state") {
            made.add("trace_state", true, source.dictionary(|row| row.trace_state));
        }
        if wanted("flags") {
            made.add("flags", false, Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.flags))));
        }
        for (index, name) in ["dropped_attributes", "dropped_events", "dropped_links"].into_iter().enumerate()
        {
            if wanted(name) {
                let counts = UInt32Array::from_iter_values(rows().map(|row| row.dropped[index]));
                made.add(name, false, Arc::new(counts));
            }
        }
        if wanted("resource") {
            made.add("resource", false, source.dictionary(|row| row.resource));
        }
        if wanted("scope") {
            made.add("scope", false, source.dictionary(|row| row.scope));
        }
        if wanted("events") {
            made.add("events", true, source.plain(|row| row.events));
        }
        if wanted("links") {
            made.add("links", true, source.plain(|row| row.links));
        }

        Ok(())
    }

    fn read(reading: &mut Reading<'_>, pool: &mut Pool, row: usize) -> Option<Self> {
        let small = |name: &str| reading.value::<Int8Type>(name, row).unwrap_or(0);
        let count = |name: &str| reading.value::<UInt32Type>(name, row).unwrap_or(0);
        let mut read = Self {
            trace_id: reading.id("trace_id", row),
            span_id: reading.id("span_id", row),
            parent: reading.id("parent_span_id", row),
            start: reading.value::<TimestampNanosecondType>("start", row).unwrap_or(0),
            duration: reading.value::<Int64Type>("duration_ns", row).unwrap_or(0),
            service: NONE,
            name: NONE,
            message: NONE,
            trace_state: NONE,
            resource: NONE,
            scope: NONE,
            events: NONE,
            links: NONE,
            first_attribute: 0,
            attributes: 0,
            flags: count("flags"),
            dropped: ["dropped_attributes", "dropped_events", "dropped_links"].map(count),
            kind: small("kind"),
            status: small("status"),
        };
        for (name, text) in [
            ("service", &mut read.service),
            ("name", &mut read.name),
            ("status_message", &mut read.message),
            ("trace_state", &mut read.trace_state),
            ("resource", &mut read.resource),
            ("scope", &mut read.scope),
            ("events", &mut read.events),
            ("links", &mut read.links),
        ] {
            *text = reading.text(pool, name, row)?;
        }
        Some(read)
    }
}
