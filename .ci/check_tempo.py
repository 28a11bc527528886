#!/usr/bin/env python3
"""Asks a real Tempo and ours made-up TraceQL about the same spans: check_tempo.py OURS TEMPO_OTLP_HTTP TEMPO_QUERIES [QUERIES [SEED]]

By hand, not in CI: a Tempo takes a quarter of an hour to build. OURS has spans already (`agentvitals demo --runs FILE --endpoint ..`,
of today); an empty Tempo gets them as it gives them away. It needs `query_frontend: {search: {max_duration: 0s,
max_spans_per_span_set: 0, query_backend_after: 2400h}, metrics: {max_duration: 0s, query_backend_after: 2400h}}` and
`live_store: {complete_block_timeout: 24h}`. Prints each answer that differs, and how many do; exits 1 if any does. What is otherwise on purpose
(ARCHITECTURE.md) is not asked, as far as that can be told from the query.
"""
import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ours, otlp, theirs = sys.argv[1:4]
count = int(sys.argv[4]) if len(sys.argv) > 4 else 400
draw = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 1)
# Numbers over time are answered of spans that are older.
CUTOFF = 35


def get(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def answer(base, path):
    try:
        return 200, json.loads(get(base + path))
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()[:200]


def send(traces):
    """Gives Tempo the spans, and waits until it finds all of them."""
    for trace in traces:
        body = get(f"{ours}/tempo/api/traces/{trace['traceID']}", "application/protobuf")
        headers = {"Content-Type": "application/x-protobuf"}
        urllib.request.urlopen(urllib.request.Request(otlp + "/v1/traces", data=body, headers=headers), timeout=60).read()
    wanted = sum(service["spanCount"] for trace in traces for service in trace["serviceStats"].values())
    now = int(time.time())
    everything = "/api/search?" + urllib.parse.urlencode({"q": "{}", "start": now - 86400, "end": now + 60, "limit": 10000, "spss": 1})
    for _ in range(300):
        status, document = answer(theirs, everything)
        if status == 200 and sum(of["matched"] for trace in document["traces"] for of in trace["spanSets"]) == wanted:
            time.sleep(CUTOFF)
            return
        time.sleep(0.2)
    raise SystemExit("Tempo has not all spans; is it empty, and are they of today?")


def plain(document):
    """The spans of a trace, each with its attributes by scope and key."""
    for batch in document["batches"]:
        resource = batch["resource"].get("attributes", [])
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                events = [("event.", event.get("attributes", [])) for event in span.get("events", [])]
                yield span, [("resource.", resource), ("span.", span.get("attributes", [])), *events]


traces = json.loads(get(ours + "/api/search?limit=10000"))["traces"]
assert traces, "there are no traces"
send(traces)
values, names, durations, times = {}, set(), [], []
for trace in traces:
    for span, scopes in plain(json.loads(get(f"{ours}/tempo/api/traces/{trace['traceID']}"))):
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        names.add(span["name"])
        durations.append(end - start)
        times.append(start)
        for scope, attributes in scopes:
            for attribute in attributes:
                kind, value = next(iter(attribute["value"].items()))
                if kind != "arrayValue":
                    values.setdefault((scope, attribute["key"], kind), set()).add(value)
keys, names, durations = sorted(values), sorted(names), sorted(durations)
numbers = ["duration"] + sorted({scope + key for scope, key, kind in keys if scope == "span." and kind in ("intValue", "doubleValue")})
by = ["name", "status", "kind", "resource.service.name"] + [scope + key for scope, key, kind in keys if kind == "stringValue" and len(values[scope, key, kind]) < 20]


def quoted(text):
    return json.dumps(text, ensure_ascii=False) if "`" in text or draw.random() < 0.5 else f"`{text}`"


def duration():
    nanos = draw.choice(durations)
    return draw.choice([f"{nanos}ns", f"{max(1, nanos // 1000)}us", f"{nanos / 1e6:.3f}ms"])


def of_attribute():
    scope, key, kind = draw.choice(keys)
    value = draw.choice(sorted(values[scope, key, kind], key=str))
    name = ("." if scope != "event." and draw.random() < 0.5 else scope) + key
    if kind == "stringValue":
        op = draw.choice(["=", "=", "!=", "=~", "!~", ">", "<=", ">=", "<"])
        word = "".join(c for c in value if c.isalnum() or c in "_-")[:6]
        return f"{name} {op} {quoted(draw.choice([word + '.*', f'.*{word}.*']) if '~' in op else value[:80])}"
    if kind == "boolValue":
        return f"{name} {draw.choice(['=', '!='])} {str(value).lower()}"
    number = value if kind == "intValue" else repr(float(value))
    return f"{name} {draw.choice(['=', '!=', '>', '<', '>=', '<='] if kind == 'intValue' else ['>', '<', '>=', '<='])} {number}"


def condition():
    """A comparison. Nil is asked of what has a scope only, and of no event."""
    scope, key, _ = draw.choice([of for of in keys if of[0] != "event."])
    return draw.choices(
        [
            of_attribute,
            lambda: f"{scope}{key} {draw.choice(['=', '!='])} nil",
            lambda: f"name {draw.choice(['=', '!=', '=~'])} {quoted(draw.choice(names))}",
            lambda: f"{draw.choice(['duration', 'span:duration'])} {draw.choice(['>', '<', '>=', '<='])} {duration()}",
            lambda: f"status {draw.choice(['=', '!='])} {draw.choice(['error', 'ok', 'unset'])}",
            lambda: f"kind {draw.choice(['=', '!='])} {draw.choice(['client', 'internal', 'server'])}",
            lambda: f"rootName {draw.choice(['=', '!='])} {quoted(draw.choice(names))}",
            lambda: f"traceDuration {draw.choice(['>', '<'])} {draw.choice([2, 5, 10, 40])}ms",
            lambda: f"span:childCount {draw.choice(['>', '=', '<'])} {draw.choice([0, 1, 2, 5])}",
            lambda: "nestedSetParent < 0",
        ],
        [10, 2, 2, 2, 2, 1, 1, 1, 1, 1],
    )[0]()


def conditions(depth=0):
    kind = draw.random()
    if depth > 2 or kind < 0.5:
        return condition()
    left, right = conditions(depth + 1), conditions(depth + 1)
    return f"{left} && {right}" if kind < 0.8 else f"({left} || {right})"


def a_filter():
    return "{ " + ("" if draw.random() < 0.08 else conditions()) + " }"


def spansets(depth=0):
    """Related filters. `&>>` and `&<<` are not asked: Tempo leaves out ancestors."""
    if depth > 1 or draw.random() < 0.35:
        return a_filter()
    op = draw.choice(["&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&<", "&~"])
    related = f"{spansets(depth + 1)} {op} {spansets(depth + 1)}"
    return f"({related})" if depth else related


def aggregate():
    if draw.random() < 0.4:
        return f"count() {draw.choice(['>', '=', '<', '!='])} {draw.choice([0, 1, 2, 5, 10])}"
    of = draw.choice(numbers)
    limit = duration() if of == "duration" else draw.choice(["0.001", "1", "100", "5000.5"])
    return f"{draw.choice(['avg', 'min', 'max', 'sum'])}({of}) {draw.choice(['>', '<'])} {limit}"


def pipeline():
    stage = draw.choice([aggregate(), aggregate(), f"by({draw.choice(by)})", "coalesce()"])
    return f"{draw.choice([a_filter, lambda: spansets(1)])()} | {stage}"


def over_time():
    """Numbers over time. Sums are not asked: Tempo loses those that some spans lack."""
    functions = ["rate()", "count_over_time()"] + [f"{name}_over_time({draw.choice(numbers)})" for name in ("min", "max", "avg")]
    functions += ["quantile_over_time(duration, .5, .9)", "histogram_over_time(duration)"]
    grouped = f" by({', '.join(draw.sample(by, draw.choice([1, 1, 2])))})" if draw.random() < 0.6 else ""
    return f"{a_filter()} | {draw.choice(functions)}{grouped}"


def told(items):
    """Labels and what stages found out, by key; sums in another order differ in their last digits."""
    def value(of):
        kind, of = next(iter(of.items()))
        return f"{of:.6g}" if kind == "doubleValue" else str(of)

    return tuple(sorted((item["key"], value(item["value"])) for item in items or []))


def found(document):
    out = {}
    for trace in document.get("traces", []):
        spans = lambda of: tuple(sorted((span["spanID"].rjust(16, "0"), span["startTimeUnixNano"], span["durationNanos"]) for span in of["spans"]))
        sets = sorted((of["matched"], told(of.get("attributes")), spans(of)) for of in trace.get("spanSets", []))
        out[trace["traceID"].rjust(32, "0")] = (trace.get("rootTraceName"), trace["startTimeUnixNano"], sets)
    return out


def series(document):
    shown = lambda of: {sample["timestampMs"]: f"{sample['value']:.4g}" for sample in of.get("samples", []) if sample.get("value", 0) not in (0, "NaN")}
    out = {told(of.get("labels")): shown(of) for of in document.get("series", [])}
    return {labels: samples for labels, samples in out.items() if samples}


def difference(our, their):
    key = next((key for key in sorted(our.keys() | their.keys()) if our.get(key) != their.get(key)), None)
    return f"{key}\n  ours   {str(our.get(key))[:300]}\n  Tempo  {str(their.get(key))[:300]}"


range_of = {"start": min(times) // 10**9 - 60, "end": max(times) // 10**9 + 60}
different = 0
for _ in range(count):
    make = draw.choices([a_filter, spansets, pipeline, over_time], [3, 3, 2, 3])[0]
    query = make()
    is_search = make is not over_time
    parameters = {"limit": 10000, "spss": 10000} if is_search else {"step": "30s"}
    path = ("/api/search?" if is_search else "/api/metrics/query_range?") + urllib.parse.urlencode({"q": query, **range_of, **parameters})
    (status, our), (expected, their) = answer(ours, path), answer(theirs, path)
    if (status, expected) == (200, 200):
        read = found if is_search else series
        our, their = read(our), read(their)
        if our == their:
            continue
        print(f"{query}\n  {difference(our, their)}")
    elif status == expected:
        continue
    else:
        print(f"{query}\n  ours   {status} {our if status != 200 else ''}\n  Tempo  {expected} {their if expected != 200 else ''}")
    different += 1
print(f"{count} queries about {len(traces)} traces, {different} answers differ")
sys.exit(different > 0)
