//! All rows that match, as requests of OTLP.

use arrow_array::RecordBatch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::{Found, by_origin, resource_spans};
use crate::query::engine::{Columns, Control, Flow, Order, QueryError, Table};
use crate::query::exec::render::Spans;
use crate::query::exec::{Plan, Queries};
use crate::query::request::ExportRequest;

/// Records of a request at most.
const MOST: usize = 1_000;

/// Calls with one request after the other; returns how many rows were looked at.
pub(in crate::query::exec) fn each(
    queries: &Queries,
    request: &ExportRequest,
    control: &Control,
    visit: &mut dyn FnMut(Vec<u8>) -> Result<Flow, QueryError>,
) -> Result<u64, QueryError> {
    let plan = match request.table {
        Table::Spans => Plan::new(&request.q, request.start, request.end)?,
        table => Plan::of(table, &request.q, request.start, request.end)?,
    };
    let mut parts = queries.engine.parts(&plan.scan(Columns::All, Order::OldestFirst))?;
    parts.sort_by_key(|part| part.times());
    let (mut scanned, mut flow) = (0, Flow::Continue);
    for part in parts {
        scanned += part.read(control, &mut |batch| {
            control.check()?;
            for rows in plan.rows(batch)?.chunks(MOST) {
                flow = visit(encoded(request.table, batch, rows)?)?;
                if flow == Flow::Stop {
                    break;
                }
            }
            Ok(flow)
        })?;
        if flow == Flow::Stop {
            break;
        }
    }
    Ok(scanned)
}

fn encoded(table: Table, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<u8>, QueryError> {
    Ok(match table {
        Table::Spans => {
            let spans = Spans::new(batch)?;
            let found = rows.iter().map(|&row| {
                let Found { span, resource, scope } = Found::new(&spans, row as usize);
                (resource, scope, span)
            });
            let resource_spans = resource_spans(by_origin(found));
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        }
        Table::Logs => {
            ExportLogsServiceRequest { resource_logs: super::logs::logs(batch, rows) }.encode_to_vec()
        }
        Table::Metrics => {
            ExportMetricsServiceRequest { resource_metrics: super::metrics::metrics(batch, rows) }
                .encode_to_vec()
        }
    })
}
