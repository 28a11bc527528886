"""Numbered requests to OTLP, sent over several connections until each is acknowledged, and the count of what was kept."""
import collections, http.client, random, struct, threading, time
import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS, RECORDS, POINTS = 200, 20, 20
# Requests have times of their own, a millisecond each.
BEGAN, APART = time.time_ns(), 1_000_000
TRACES, LOGS, METRICS = "traces", "logs", "metrics"
SERVICES = {signal: f"/opentelemetry.proto.collector.{path}/Export" for signal, path in
            [(TRACES, "trace.v1.TraceService"), (LOGS, "logs.v1.LogsService"), (METRICS, "metrics.v1.MetricsService")]}


def signal_of(number):
    """Most are traces; log records and points have no ids, so what is sent twice of them is known in another way."""
    return {3: LOGS, 7: METRICS}.get(number % 8, TRACES)


def size_of(number):
    return {TRACES: SPANS, LOGS: RECORDS, METRICS: POINTS}[signal_of(number)]


def attribute(of, key, **value):
    added = of.attributes.add(key=key)
    for kind, content in value.items():
        setattr(added.value, kind, content)


def request(number, padding=0):
    """The same bytes each time, so that it can be sent again."""
    padding = random.Random(number).randbytes(padding // 2).hex()
    if signal_of(number) == TRACES:
        message = ExportTraceServiceRequest()
        resource = message.resource_spans.add()
        spans = resource.scope_spans.add().spans
        for at in range(SPANS):
            start = BEGAN + number * APART + at
            span = spans.add(trace_id=struct.pack(">QQ", 1 + at // 8, number + 1), span_id=struct.pack(">II", number + 1, at + 1), name="step",
                             kind=1 + at % 5, start_time_unix_nano=start, end_time_unix_nano=start + 1_000)
            attribute(span, "request", int_value=number)
            attribute(span, "text", string_value=f"{number}-{at}{padding}")
    elif signal_of(number) == LOGS:
        message = ExportLogsServiceRequest()
        resource = message.resource_logs.add()
        records = resource.scope_logs.add().log_records
        for at in range(RECORDS):
            record = records.add(time_unix_nano=BEGAN + number * APART + at, severity_number=9)
            record.body.string_value = f"{number}-{at}"
            attribute(record, "request", int_value=number)
    else:
        message = ExportMetricsServiceRequest()
        resource = message.resource_metrics.add()
        metric = resource.scope_metrics.add().metrics.add(name="steps")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 1, True
        for at in range(POINTS):
            point = metric.sum.data_points.add(time_unix_nano=BEGAN + number * APART + at, start_time_unix_nano=BEGAN, as_int=1)
            attribute(point, "request", int_value=number)
    attribute(resource.resource, "service.name", string_value="batches")
    return message.SerializeToString()


class Senders:
    """Sends the numbers from `todo`, then new ones from `first` on; what is acknowledged comes into `acknowledged`."""

    def __init__(self, server, todo, first, connections=4, pause=0.0, padding=0):
        self.server, self.todo, self.next, self.pause, self.padding = server, collections.deque(todo), first, pause, padding
        self.lock, self.acknowledged, self.unanswered, self.refused = threading.Lock(), set(), set(), collections.Counter()
        self.ending = threading.Event()
        # Every second one speaks gRPC.
        self.threads = [threading.Thread(target=self.work, args=(at % 2 == 0,), daemon=True) for at in range(connections)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            if self.todo:
                return self.todo.popleft()
            self.next += 1
            return self.next - 1

    def work(self, over_grpc):
        connection = grpc.insecure_channel(self.server.grpc) if over_grpc else http.client.HTTPConnection(self.server.http, timeout=30)
        send = self.grpc if over_grpc else self.http
        while not self.ending.is_set():
            number = self.take()
            try:
                refusal = send(connection, signal_of(number), request(number, self.padding))
            except (OSError, http.client.HTTPException):
                refusal = "no answer"
            with self.lock:
                if refusal is None:
                    self.acknowledged.add(number)
                else:
                    self.unanswered.add(number)
                    self.refused[refusal] += 1
            if refusal == "no answer":
                break
            self.ending.wait(0.05 if refusal else self.pause)
        connection.close()

    @staticmethod
    def grpc(connection, signal, body):
        try:
            answer = connection.unary_unary(SERVICES[signal])(body, timeout=30)
            assert answer == b"", f"a partial success: {answer}"
        except grpc.RpcError as error:
            return "no answer" if "Socket closed" in error.details() or "recvmsg" in error.details() or "connect" in error.details() else f"{error.code().name}: {error.details()}"

    @staticmethod
    def http(connection, signal, body):
        connection.request("POST", f"/v1/{signal}", body, {"content-type": "application/x-protobuf"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            return f"{answer.status}: {text.decode(errors='replace')}"
        assert text == b"", f"a partial success: {text}"

    def join(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender hangs"


def found(server, first, end):
    """How many rows of each request from `first` to `end` are there."""
    counts = collections.Counter()
    for low in range(first, end, 2_000):
        high = min(low + 2_000, end)
        of = f"{{ .request >= {low} && .request < {high} }}"
        # Each has its time, so only what may hold them is read.
        times = {"start": BEGAN + low * APART, "end": BEGAN + high * APART}
        stats = server.ask("stats", q=of, by=["request"], limit=10_000, **times)
        points = server.ask("metrics/query", name="steps", q=of, by=["request"], limit=10_000, **times)
        assert stats["complete"] and points["complete"] and not stats["left_out"] and not points["left_out"], "an answer is not complete"
        for group in stats["groups"]:
            counts[group["by"][0]] += group["count"]
        for group in points["groups"]:
            assert group["increase"] == group["points"], f"points of one each: {group}"
            counts[group["by"][0]] += group["points"]
        after = None
        while True:
            logs = server.ask("logs", q=of, limit=10_000, after=after, **times)
            for record in logs["logs"]:
                counts[record["attributes"]["request"]] += 1
            after = logs["next"]
            if after is None:
                break
    return counts


def check(server, acknowledged, first, end, sent):
    """All that was acknowledged is there; nothing is there twice, in part, or without having been sent."""
    counts = found(server, first, end)
    lost = [number for number in acknowledged if first <= number < end and counts[number] == 0]
    assert not lost, f"{len(lost)} requests were acknowledged and are lost: {sorted(lost)[:10]}"
    for number, count in counts.items():
        assert count == size_of(number), f"request {number} ({signal_of(number)}): {count} rows in place of {size_of(number)}"
        assert number in sent, f"request {number} was never sent"
    return len(counts)
