//! What a receiver keeps, and its bounds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::convert::{points, received_span, resource, scope_name};
use super::fault::{Faults, Signal};
use super::point::{ReceivedPoint, SeriesKey};
use super::span::{Attributes, ReceivedSpan};

/// Everything that a receiver has received since it started or was cleared.
///
/// This is what [`OtlpReceiver::wait_for`](super::OtlpReceiver::wait_for) lets its question look at.
#[derive(Debug)]
pub struct Received {
    spans: Vec<ReceivedSpan>,
    points: BTreeMap<SeriesKey, ReceivedPoint>,
    trace_requests: usize,
    metric_requests: usize,
    failed_requests: usize,
    gzip_requests: usize,
    largest_request_bytes: usize,
    refused_spans: usize,
    refused_points: usize,
    last_headers: BTreeMap<String, String>,
    pub(super) faults: Faults,
    max_spans: usize,
    max_series: usize,
}

/// What of a request could not be kept.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: usize,
    pub(super) why: String,
}

impl Received {
    pub(super) fn new(max_spans: usize, max_series: usize) -> Self {
        Self {
            spans: Vec::new(),
            points: BTreeMap::new(),
            trace_requests: 0,
            metric_requests: 0,
            failed_requests: 0,
            gzip_requests: 0,
            largest_request_bytes: 0,
            refused_spans: 0,
            refused_points: 0,
            last_headers: BTreeMap::new(),
            faults: Faults::default(),
            max_spans,
            max_series,
        }
    }

    /// The spans, in the order in which they arrived.
    pub fn spans(&self) -> &[ReceivedSpan] {
        &self.spans
    }

    /// The newest point of every series, sorted by name, then attributes.
    pub fn points(&self) -> impl Iterator<Item = &ReceivedPoint> {
        self.points.values()
    }

    /// The newest point of every series of one metric.
    pub fn metric<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a ReceivedPoint> {
        self.points.values().filter(move |point| point.name == name)
    }

    /// Requests that arrived, spans and metrics, those that met a [`Fault`](super::Fault) included.
    pub fn requests(&self) -> usize {
        self.trace_requests + self.metric_requests
    }

    /// Requests with spans that arrived.
    pub fn trace_requests(&self) -> usize {
        self.trace_requests
    }

    /// Requests with metrics that arrived.
    pub fn metric_requests(&self) -> usize {
        self.metric_requests
    }

    /// Requests that were not taken: by a [`Fault`](super::Fault), too large, or malformed.
    pub fn failed_requests(&self) -> usize {
        self.failed_requests
    }

    /// Requests whose body was compressed with gzip.
    pub fn gzip_requests(&self) -> usize {
        self.gzip_requests
    }

    /// Bytes of the largest request that was taken, uncompressed.
    pub fn largest_request_bytes(&self) -> usize {
        self.largest_request_bytes
    }

    /// Spans that arrived and were not kept: over the limit, or with malformed ids.
    pub fn refused_spans(&self) -> usize {
        self.refused_spans
    }

    /// Points that arrived and were not kept: of a series over the limit, or summaries.
    pub fn refused_points(&self) -> usize {
        self.refused_points
    }

    /// Headers of the newest request, lower-case names; values that are no text are left out.
    pub fn last_headers(&self) -> &BTreeMap<String, String> {
        &self.last_headers
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_spans, self.max_series);
    }

    pub(super) fn arrived(&mut self, signal: Signal, headers: &http::HeaderMap) {
        match signal {
            Signal::Traces => self.trace_requests += 1,
            Signal::Metrics => self.metric_requests += 1,
        }
        let is_gzip = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes() == b"gzip");
        // With gRPC the encoding is only offered here; each message says whether it uses it. Clients that
        // offer gzip use it.
        if is_gzip("grpc-encoding") || is_gzip("content-encoding") {
            self.gzip_requests += 1;
        }
        self.last_headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
    }

    pub(super) fn failed(&mut self) {
        self.failed_requests += 1;
    }

    pub(super) fn take_spans(&mut self, request: ExportTraceServiceRequest, bytes: usize) -> Refused {
        self.largest_request_bytes = self.largest_request_bytes.max(bytes);
        let mut refused = Refused::default();
        for resource_spans in request.resource_spans {
            let resource = self.same_resource(resource(resource_spans.resource));
            for scope_spans in resource_spans.scope_spans {
                let scope = scope_name(scope_spans.scope);
                for span in scope_spans.spans {
                    if span.trace_id.len() != 16 || span.span_id.len() != 8 {
                        refused.count += 1;
                        refused.why = format!(
                            "span {:?} has a trace id of {} bytes and a span id of {}, expected 16 and 8",
                            span.name,
                            span.trace_id.len(),
                            span.span_id.len()
                        );
                    } else if self.spans.len() >= self.max_spans {
                        refused.count += 1;
                        refused.why = format!("the receiver keeps at most {} spans", self.max_spans);
                    } else {
                        self.spans.push(received_span(span, &resource, &scope));
                    }
                }
            }
        }
        self.refused_spans += refused.count;
        refused
    }

    pub(super) fn take_metrics(&mut self, request: ExportMetricsServiceRequest, bytes: usize) -> Refused {
        self.largest_request_bytes = self.largest_request_bytes.max(bytes);
        let arrived = points(request);
        let mut refused = Refused::default();
        if arrived.unsupported > 0 {
            refused.count = arrived.unsupported;
            refused.why = "summaries and metrics without data are not kept".to_owned();
        }
        for point in arrived.points {
            if !self.keep(point) {
                refused.count += 1;
                refused.why = format!("the receiver keeps at most {} series", self.max_series);
            }
        }
        self.refused_points += refused.count;
        refused
    }

    /// [`Self::keep`] for one point that came in no request.
    pub(super) fn keep_counted(&mut self, point: ReceivedPoint) {
        if !self.keep(point) {
            self.refused_points += 1;
        }
    }

    /// Keeps a point unless a newer one of its series is there; `false` if there is no room for the series.
    fn keep(&mut self, point: ReceivedPoint) -> bool {
        let full = self.points.len() >= self.max_series;
        match self.points.entry(point.series()) {
            Entry::Occupied(mut kept) => {
                if kept.get().time_unix_nano <= point.time_unix_nano {
                    kept.insert(point);
                }
                true
            }
            Entry::Vacant(_) if full => false,
            Entry::Vacant(room) => {
                room.insert(point);
                true
            }
        }
    }

    /// Requests of one sender repeat its resource: keep it once.
    fn same_resource(&self, resource: Arc<Attributes>) -> Arc<Attributes> {
        match self.spans.last() {
            Some(last) if last.resource == resource => Arc::clone(&last.resource),
            _ => resource,
        }
    }
}
