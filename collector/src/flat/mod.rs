//! Spans as a flat table for Parquet files: a row is a span with all that OTLP has of it, so that nothing is lost on the way
//! out and back in.
//!
//! | column | type | content |
//! |---|---|---|
//! | `trace_id`, `span_id`, `parent_span_id` | text | hex; no parent: a root |
//! | `trace_state`, `name`, `status_message` | text | |
//! | `flags` | integer | as OTLP has them |
//! | `service` | text | `service.name` of the resource, for people; it is not read back |
//! | `kind` | text | `unspecified`, `internal`, `server`, `client`, `producer`, `consumer` |
//! | `start_time`, `end_time` | timestamp(ns), UTC | |
//! | `status` | text | `unset`, `ok`, `error` |
//! | `attributes`, `resource`, `scope` | text | JSON objects of attributes (values as in [`crate::value`]) |
//! | `events`, `links` | text | JSON arrays |
//! | `dropped_attributes`, `dropped_events`, `dropped_links` | integer | |
//! | `resource_dropped_attributes`, `scope_dropped_attributes` | integer | |
//! | `resource_schema_url`, `scope_schema_url`, `scope_name`, `scope_version` | text | |

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub(crate) use read::spans;
pub(crate) use write::batch;

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];
const UTC: &str = "+00:00";

/// The columns.
pub(crate) fn schema() -> SchemaRef {
    let (text, count) =
        (|name| Field::new(name, DataType::Utf8, true), |name| Field::new(name, DataType::UInt32, false));
    let time = |name| Field::new(name, DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), false);
    Arc::new(Schema::new(vec![
        text("trace_id"),
        text("span_id"),
        text("parent_span_id"),
        text("trace_state"),
        count("flags"),
        text("service"),
        text("name"),
        text("kind"),
        time("start_time"),
        time("end_time"),
        text("status"),
        text("status_message"),
        text("attributes"),
        count("dropped_attributes"),
        text("events"),
        count("dropped_events"),
        text("links"),
        count("dropped_links"),
        text("resource"),
        count("resource_dropped_attributes"),
        text("resource_schema_url"),
        text("scope_name"),
        text("scope_version"),
        text("scope"),
        count("scope_dropped_attributes"),
        text("scope_schema_url"),
    ]))
}
