//! From spans and metrics to encoded requests of bounded size.

use std::collections::HashMap;

use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, ResourceMetrics as ProtoMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use prost::bytes::Bytes;

use crate::export::queue::approximate_bytes;
use crate::export::redact::cut_to_fit;
use crate::export::stats::ExportStats;

/// Tag and length in front of a message within a message, at most.
const FRAME: usize = 6;
/// What values are cut to when a span would not fit into a request of its own.
const TIGHT_VALUE_BYTES: usize = 1024;

/// An encoded request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) body: Bytes,
    /// Spans or metrics that it holds.
    pub(super) items: u64,
}

/// Encodes spans into requests of at most `max_bytes` each. The second value is the number of spans that fit
/// into no request, not even with their values cut.
pub(super) fn traces(
    spans: Vec<SpanData>,
    resource: &ResourceAttributesWithSchema,
    max_bytes: usize,
    stats: &ExportStats,
) -> (Vec<Request>, u64) {
    let mut requests = Vec::new();
    let mut too_large = 0;
    let mut batch = Batch::new(resource);
    for mut span in spans {
        if approximate_bytes(&span) > max_bytes {
            stats.add_truncated(cut_to_fit(&mut span, TIGHT_VALUE_BYTES));
        }
        let scope = span.instrumentation_scope.clone();
        let span = Span::from(span);
        let bytes = span.encoded_len() + FRAME;
        if batch.items > 0 && batch.bytes + batch.scope_cost(&scope) + bytes > max_bytes {
            requests.push(batch.finish());
            batch = Batch::new(resource);
        }
        if batch.bytes + batch.scope_cost(&scope) + bytes > max_bytes {
            too_large += 1;
            continue;
        }
        batch.add(scope, span, bytes);
    }
    if batch.items > 0 {
        requests.push(batch.finish());
    }
    (requests, too_large)
}

/// A request that is being filled, with the size that it will have at most.
struct Batch {
    message: ResourceSpans,
    scopes: HashMap<InstrumentationScope, usize>,
    bytes: usize,
    items: u64,
}

impl Batch {
    fn new(resource: &ResourceAttributesWithSchema) -> Self {
        let message = ResourceSpans {
            resource: Some(Resource { attributes: resource.attributes.0.clone(), ..Resource::default() }),
            scope_spans: Vec::new(),
            schema_url: resource.schema_url.clone().unwrap_or_default(),
        };
        let bytes = message.encoded_len() + FRAME;
        Self { message, scopes: HashMap::new(), bytes, items: 0 }
    }

    fn scope_cost(&self, scope: &InstrumentationScope) -> usize {
        if self.scopes.contains_key(scope) { 0 } else { scope_message(scope).encoded_len() + FRAME }
    }

    fn add(&mut self, scope: InstrumentationScope, span: Span, bytes: usize) {
        let index = match self.scopes.get(&scope) {
            Some(index) => *index,
            None => {
                let message = scope_message(&scope);
                self.bytes += message.encoded_len() + FRAME;
                self.message.scope_spans.push(message);
                self.scopes.insert(scope, self.message.scope_spans.len() - 1);
                self.message.scope_spans.len() - 1
            }
        };
        self.message.scope_spans[index].spans.push(span);
        self.bytes += bytes;
        self.items += 1;
    }

    fn finish(self) -> Request {
        let request = ExportTraceServiceRequest { resource_spans: vec![self.message] };
        Request { body: request.encode_to_vec().into(), items: self.items }
    }
}

fn scope_message(scope: &InstrumentationScope) -> ScopeSpans {
    ScopeSpans {
        scope: Some((scope, None).into()),
        schema_url: scope.schema_url().map(ToOwned::to_owned).unwrap_or_default(),
        spans: Vec::new(),
    }
}

/// Two requests of half the spans each. Decodes the request again, which is rare enough.
pub(super) fn halve_traces(request: &Request) -> Option<(Request, Request)> {
    let message = ExportTraceServiceRequest::decode(request.body.clone()).ok()?;
    let half = request.items / 2;
    let mut first = ExportTraceServiceRequest::default();
    let mut second = ExportTraceServiceRequest::default();
    let mut seen = 0;
    for resource in message.resource_spans {
        let empty = ResourceSpans { scope_spans: Vec::new(), ..resource.clone() };
        let (mut left, mut right) = (empty.clone(), empty);
        for mut scope in resource.scope_spans {
            let count = scope.spans.len() as u64;
            let cut = usize::try_from(half.saturating_sub(seen).min(count)).unwrap_or(usize::MAX);
            let rest = scope.spans.split_off(cut);
            seen += count;
            if !rest.is_empty() {
                right.scope_spans.push(ScopeSpans { spans: rest, ..scope.clone() });
            }
            if !scope.spans.is_empty() {
                left.scope_spans.push(scope);
            }
        }
        first.resource_spans.push(left);
        second.resource_spans.push(right);
    }
    let first = Request { body: first.encode_to_vec().into(), items: half };
    let second = Request { body: second.encode_to_vec().into(), items: request.items - half };
    Some((first, second))
}

/// Encodes a collection into requests of at most `max_bytes` each, as far as single data points allow.
pub(super) fn metrics(metrics: &ResourceMetrics, max_bytes: usize) -> Vec<Request> {
    let whole = ExportMetricsServiceRequest::from(metrics);
    let items =
        whole.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).map(|s| s.metrics.len());
    let items = items.sum::<usize>() as u64;
    if items == 0 {
        return Vec::new();
    }
    if whole.encoded_len() <= max_bytes {
        return vec![Request { body: whole.encode_to_vec().into(), items }];
    }
    let mut requests = Vec::new();
    for resource in whole.resource_metrics {
        let envelope = ProtoMetrics { scope_metrics: Vec::new(), ..resource.clone() };
        for scope in resource.scope_metrics {
            let empty = ScopeMetrics { metrics: Vec::new(), ..scope.clone() };
            let base = envelope.encoded_len() + empty.encoded_len() + 2 * FRAME;
            let budget = max_bytes.saturating_sub(base);
            let mut pack = |metrics: Vec<Metric>| {
                let items = metrics.len() as u64;
                let scope_metrics = vec![ScopeMetrics { metrics, ..empty.clone() }];
                let resource_metrics = vec![ProtoMetrics { scope_metrics, ..envelope.clone() }];
                let request = ExportMetricsServiceRequest { resource_metrics };
                requests.push(Request { body: request.encode_to_vec().into(), items });
            };
            let mut pending = Vec::new();
            let mut bytes = 0;
            for metric in scope.metrics.into_iter().flat_map(|metric| divide(metric, budget)) {
                let length = metric.encoded_len() + FRAME;
                if !pending.is_empty() && bytes + length > budget {
                    pack(std::mem::take(&mut pending));
                    bytes = 0;
                }
                bytes += length;
                pending.push(metric);
            }
            if !pending.is_empty() {
                pack(pending);
            }
        }
    }
    requests
}

/// Divides the points of a metric until each part fits or is a single point.
fn divide(metric: Metric, budget: usize) -> Vec<Metric> {
    if metric.encoded_len() + FRAME <= budget {
        return vec![metric];
    }
    let mut left = metric;
    let mut right = left.clone();
    fn cut<T>(left: &mut Vec<T>, right: &mut Vec<T>) -> bool {
        let half = left.len() / 2;
        left.truncate(half);
        right.drain(..half);
        half > 0
    }
    let divided = match (&mut left.data, &mut right.data) {
        (Some(Data::Gauge(l)), Some(Data::Gauge(r))) => cut(&mut l.data_points, &mut r.data_points),
        (Some(Data::Sum(l)), Some(Data::Sum(r))) => cut(&mut l.data_points, &mut r.data_points),
        (Some(Data::Histogram(l)), Some(Data::Histogram(r))) => cut(&mut l.data_points, &mut r.data_points),
        (Some(Data::ExponentialHistogram(l)), Some(Data::ExponentialHistogram(r))) => {
            cut(&mut l.data_points, &mut r.data_points)
        }
        _ => false,
    };
    if !divided {
        return vec![right];
    }
    let mut parts = divide(left, budget);
    parts.extend(divide(right, budget));
    parts
}
