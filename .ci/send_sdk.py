"""Sends traces, metrics and logs with OpenTelemetry's own Python SDK, and writes down what it sent.

usage: send_sdk.py SERVICE PROTOCOL ENDPOINT LEDGER     PROTOCOL: grpc, http/protobuf or http/json
OTEL_EXPORTER_OTLP_COMPRESSION=gzip compresses. Spans and log records come into the ledger as the SDK's own objects
have them; of metrics, check_sdk.py knows what is recorded here.
"""
import base64, importlib, json, math, sys, time
from collections.abc import Mapping
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

service, protocol, endpoint, ledger = sys.argv[1:]
SPANS = 600
RESOURCE = {"service.name": service, "service.instance.id": f"{service}-1", "numbers": [1, 2, 3], "share": 0.5, "on": True}
resource = Resource(RESOURCE)
failed = []


def exporter(signal, name, **more):
    """The SDK's exporter of a signal; an export that does not succeed is noted."""
    package = {"grpc": "proto.grpc", "http/protobuf": "proto.http", "http/json": "json.http"}[protocol]
    made = getattr(importlib.import_module(f"opentelemetry.exporter.otlp.{package}.{name}_exporter"), f"OTLP{more.pop('kind')}Exporter")
    at = dict(endpoint=endpoint, insecure=True) if protocol == "grpc" else dict(endpoint=f"{endpoint}/v1/{signal}")
    made = made(**at, **more)
    export = made.export

    def watched(*arguments, **keywords):
        result = export(*arguments, **keywords)
        if result.name != "SUCCESS":
            failed.append(f"{signal}: {result}")
        return result

    made.export = watched
    return made


class Ledger:
    """Keeps what passes by on its way to the exporter."""

    def __init__(self, then):
        self.then, self.kept = then, []

    def export(self, batch, *arguments, **keywords):
        self.kept.extend(batch)
        return self.then.export(batch, *arguments, **keywords)

    def __getattr__(self, name):
        return getattr(self.then, name)


def send_spans():
    spans = Ledger(exporter("traces", "trace", kind="Span"))
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_span_attributes=18, max_events=4, max_links=2))
    provider.add_span_processor(BatchSpanProcessor(spans, max_queue_size=10_000, max_export_batch_size=256))
    tracer = provider.get_tracer("interop", "1.2.3", attributes={"library": "yes"})
    state = TraceState([("vendor", "value"), ("other", "x:y")])
    remote = SpanContext(0x0123456789ABCDEF0123456789ABCDEF, 0x1122334455667788, True, TraceFlags(1), state)
    kinds, statuses = list(SpanKind), [Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "no · way")]
    for number in range(SPANS // 3):
        above = trace.set_span_in_context(NonRecordingSpan(remote)) if number % 4 == 0 else None
        with tracer.start_as_current_span(f"agent {number % 5}", context=above, kind=kinds[number % 5]) as agent:
            agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"agent-{number % 5}"})
            with tracer.start_as_current_span("chat", kind=SpanKind.CLIENT, links=[Link(remote, {"why": "retry"})]) as chat:
                chat.set_attributes({"number": number, "whole": float(number), "share": number / 7, "even": number % 2 == 0, "text": f"t-{number} ü\"\\\n", "empty": ""})
                chat.set_attributes({"texts": ["a", f"b-{number}"], "numbers": [number, -1], "shares": [0.5, 2.0], "flags": [True, False], "none": []})
                chat.set_attributes({"most": 2**63 - 1, "least": -(2**63), "large": 1e300, "endless": -math.inf})
                chat.add_event("step", {"at": number, "share": 0.25})
                chat.add_event("end")
                chat.set_status(statuses[number % 3])
            with tracer.start_as_current_span("too much") as span:
                for extra in range(20):
                    span.set_attribute(f"key {extra}", extra)
                    span.add_event(f"event {extra}")
                    span.add_link(remote, {"extra": extra})
    provider.shutdown()
    return [span_document(span) for span in spans.kept]


def plain(value):
    """A value as answers have it: bytes in base64, and numbers that JSON does not have as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def span_document(span):
    parent = span.parent
    return {
        "trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}", "parent_span_id": f"{parent.span_id:016x}" if parent else None,
        "name": span.name, "kind": span.kind.name.lower(), "status": span.status.status_code.name.lower(), "status_message": span.status.description or "",
        "start_unix_nano": span.start_time, "duration_ns": span.end_time - span.start_time, "service": service,
        "trace_state": ",".join(f"{key}={value}" for key, value in span.context.trace_state.items()),
        "flags": 0x300 if parent and parent.is_remote else 0x100,
        "resource": RESOURCE, "scope": {"name": "interop", "version": "1.2.3", "attributes": {"library": "yes"}}, "attributes": plain(span.attributes),
        "events": [{"time_unix_nano": event.timestamp, "name": event.name, "attributes": dict(event.attributes or {})} for event in span.events],
        "links": [{"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}", "attributes": dict(link.attributes)} for link in span.links],
        "dropped": {key: count for key, count in [("attributes", span.dropped_attributes), ("events", span.dropped_events), ("links", span.dropped_links)] if count},
    }


def send_logs():
    records = Ledger(exporter("logs", "_log", kind="Log"))
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(records))
    logger = provider.get_logger("interop.logs", "4.5.6")
    severities = [SeverityNumber.DEBUG, SeverityNumber.INFO, SeverityNumber.WARN, SeverityNumber.FATAL4]
    within = trace.set_span_in_context(NonRecordingSpan(SpanContext(0xABCDEF, 0x123456, False, TraceFlags(1))))
    bodies = [lambda n: f"line {n} ü", lambda n: {"n": n, "deep": {"list": [1, "two", 3.0, None, True]}}, lambda n: [n, "x"], lambda n: n, lambda n: n + 0.5, lambda n: bytes([0, 255, n]), lambda n: None]
    for number in range(120):
        severity = severities[number % 4]
        attributes = {"number": number, "map": {"share": number / 4, "texts": ["a", "b"]}, "on": number % 2 == 0}
        record = dict(timestamp=time.time_ns(), observed_timestamp=time.time_ns(), severity_number=severity, severity_text=severity.name, attributes=attributes)
        context = within if number % 3 == 0 else None
        logger.emit(LogRecord(body=bodies[number % 7](number), event_name="deployed" if number % 5 == 0 else None, context=context, **record))
    provider.shutdown()
    return [log_document(record.log_record) for record in records.kept]


def log_document(record):
    return {
        "time_unix_nano": record.timestamp, "observed_unix_nano": record.observed_timestamp, "severity": record.severity_number.value, "severity_text": record.severity_text,
        "name": record.event_name or "", "body": plain(record.body), "service": service, "flags": int(record.trace_flags),
        "trace_id": f"{record.trace_id:032x}" if record.trace_id else None, "span_id": f"{record.span_id:016x}" if record.span_id else None,
        "resource": RESOURCE, "scope": {"name": "interop.logs", "version": "4.5.6"}, "attributes": plain(record.attributes), "dropped_attributes": 0,
    }


def send_metrics(temporality):
    counted = [metrics.Counter, metrics.Histogram, metrics.ObservableCounter]
    preferred = {kind: AggregationTemporality.DELTA for kind in counted} if temporality == "delta" else None
    reader = PeriodicExportingMetricReader(exporter("metrics", "metric", kind="Metric", preferred_temporality=preferred), export_interval_millis=3_600_000)
    of = resource.merge(Resource({"temporality": temporality}))
    view = View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation(max_size=40))
    provider = metrics.MeterProvider(resource=of, metric_readers=[reader], views=[view])
    meter = provider.get_meter("interop.metrics", "7.8.9")
    calls, cost = meter.create_counter("calls", "{call}", "Calls made"), meter.create_counter("cost", "USD")
    waiting, warmth = meter.create_up_down_counter("waiting"), meter.create_gauge("warmth", "Cel")
    waits, sizes = meter.create_histogram("waits", "s", explicit_bucket_boundaries_advisory=[1, 2.5, 5]), meter.create_histogram("sizes", "By")
    round = [0]
    meter.create_observable_counter("seen", [lambda _: [Observation(100 * round[0], {"kind": "a"})]])
    meter.create_observable_gauge("level", [lambda _: [Observation(round[0] / 2)]])
    for round[0] in (1, 2, 3):
        for number in range(100):
            calls.add(1, {"kind": "a" if number % 4 else "b"})
            cost.add(0.25)
            waiting.add(1 if number % 3 else -1)
            waits.record(number / 10)
            sizes.record(1 << (number % 10))
        warmth.set(20 + round[0])
        assert provider.force_flush()
    # What was counted last is sent once more, as cumulative senders do.
    provider.shutdown()


sent = {"spans": send_spans(), "logs": send_logs()}
for temporality in ("cumulative", "delta"):
    send_metrics(temporality)
if failed:
    sys.exit(f"{len(failed)} exports did not succeed: {failed[0]}")
with open(ledger, "w") as file:
    json.dump(sent, file)
