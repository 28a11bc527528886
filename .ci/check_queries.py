#!/usr/bin/env python3
"""Asks a real Jaeger and ours the same things about the same spans: check_queries.py OURS JAEGER_OTLP_HTTP JAEGER_QUERY

OURS has the spans already. They are read from it by Tempo's API as protobuf and sent on as they are, so that what is compared
went through it without loss. Prints how many answers were the same, and fails at the first that is not.
"""
import itertools
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ours, otlp, theirs = sys.argv[1:4]
asked = 0
# What is for Tempo's clients, and what Jaeger's store does not keep.
DIFFERENT = {"batches", "flags"}


def get(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def answer(base, path):
    """The status and the document of a request."""
    try:
        with urllib.request.urlopen(base + path, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def plain(value):
    """A value of OTLP as JSON has it."""
    kind, of = next(iter(value.items()))
    if kind == "arrayValue":
        return [plain(item) for item in of.get("values", [])]
    return int(of) if kind == "intValue" else of


def in_order(value):
    """A document whose lists have no order of their own, and where lists are texts, as Jaeger's store keeps them."""
    if isinstance(value, dict):
        if "arrayValue" in value:
            return {"stringValue": json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)}
        return {key: in_order(member) for key, member in value.items() if key not in DIFFERENT}
    if isinstance(value, list):
        return sorted((in_order(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def same(path, shown=lambda document: document):
    global asked
    asked += 1
    (status, our), (expected, their) = answer(ours, path), answer(theirs, path)
    if (status, expected) != (200, 200):
        assert status == expected, f"{path}: status {status}, Jaeger {expected}"
        return None
    our, their = in_order(shown(our)), in_order(shown(their))
    if our != their:
        a, b = json.dumps(our, sort_keys=True), json.dumps(their, sort_keys=True)
        at = next((at for at, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        raise SystemExit(f"{path}\n  ours   .. {a[max(0, at - 200):at + 200]}\n  Jaeger .. {b[max(0, at - 200):at + 200]}")
    return our


def found(document):
    return [trace["traceID"] for trace in document["data"]]


traces = json.loads(get(ours + "/api/search?limit=10000"))["traces"]
spans = sum(service["spanCount"] for trace in traces for service in trace["serviceStats"].values())
assert traces, "there are no traces"
for trace in traces:
    body = get(f"{ours}/tempo/api/traces/{trace['traceID']}", "application/protobuf")
    request = urllib.request.Request(
        otlp + "/v1/traces", data=body, headers={"Content-Type": "application/x-protobuf"}
    )
    urllib.request.urlopen(request, timeout=60).read()
start = min(int(trace["startTimeUnixNano"]) for trace in traces) // 1000 - 1
end = int(time.time() * 1e6)
whole = f"start={start}&end={end}&limit=5000"
services = {service for trace in traces for service in trace["serviceStats"]}
for _ in range(100):
    got = [answer(theirs, f"/api/traces?service={urllib.parse.quote(name)}&{whole}")[1]["data"] for name in services]
    if sum(len(trace["spans"]) for trace in {t["traceID"]: t for t in itertools.chain(*got)}.values()) == spans:
        break
    time.sleep(0.2)
else:
    raise SystemExit("Jaeger has not all spans")

same("/api/services")
same("/api/v3/services")
for trace in traces:
    same(f"/api/traces/{trace['traceID']}", lambda document: document["data"])
    same(f"/api/v3/traces/{trace['traceID']}")
values, names = {}, set()
for service in sorted(services):
    quoted = urllib.parse.quote(service)
    same(f"/api/services/{quoted}/operations")
    # Its store on disk does not keep kinds.
    same(f"/api/operations?service={quoted}", lambda document: [of["name"] for of in document["data"]])
    same(f"/api/v3/operations?service={quoted}", lambda document: [of["name"] for of in document["operations"]])
    document = same(f"/api/traces?service={quoted}&{whole}", lambda document: document["data"])
    for trace in document:
        for process in trace["processes"].values():
            for tag in process["tags"]:
                values.setdefault(tag["key"], set()).add(str(tag["value"]))
        for span in trace["spans"]:
            names.add((service, span["operationName"]))
            for tag in span["tags"] + [field for log in span["logs"] for field in log["fields"]]:
                value = tag["value"] if isinstance(tag["value"], str) else json.dumps(tag["value"])
                # It compares floating-point numbers in another form, and long texts by what it keeps of them.
                if tag["type"] != "float64" and len(value) < 200:
                    values.setdefault(tag["key"], set()).add(value)
for service, name in sorted(names):
    query = urllib.parse.urlencode({"service": service, "operation": name})
    same(f"/api/traces?{query}&{whole}", found)
for key, texts in sorted(values.items()):
    for text in sorted(texts)[:6] + ["no such value"]:
        for service in sorted(services):
            query = urllib.parse.urlencode({"service": service, "tags": json.dumps({key: text})})
            same(f"/api/traces?{query}&{whole}", found)
            query = urllib.parse.urlencode({"service": service, "tag": f"{key}:{text}"})
            same(f"/api/traces?{query}&{whole}", found)
# Of several conditions its store on disk wants each of some span, not all of one.
bounds = ["minDuration=1ms", "maxDuration=500us", "minDuration=2ms&maxDuration=1s", "minDuration=10s"]
for service in sorted(services):
    quoted = urllib.parse.quote(service)
    for bound in bounds:
        same(f"/api/traces?service={quoted}&{bound}&{whole}", found)
    # Spans count that started in the time, both ends included.
    times = sorted(int(trace["startTimeUnixNano"]) // 1000 for trace in traces)
    for first, last in [(0, 0), (0, len(times) // 2), (len(times) // 3, -1)]:
        same(f"/api/traces?service={quoted}&start={times[first]}&end={times[last]}&limit=5000", found)
same(f"/api/dependencies?endTs={end // 1000}&lookback=86400000", lambda document: document["data"])
for wrong in [
    "/api/traces", "/api/traces?service=x&start=soon", "/api/traces?service=x&minDuration=1", "/api/traces/abc1",
    "/api/traces?service=x&tag=k", "/api/traces?service=x&tags=k", "/api/operations", "/api/v3/traces/abc1",
    "/api/traces?service=x&minDuration=2s&maxDuration=1s", "/api/traces/xyz", "/api/v3/traces?query.service_name=x",
    "/api/v3/traces?query.service_name=nobody&query.start_time_min=2026-01-01T00:00:00Z&query.start_time_max=2026-01-02T00:00:00Z",
]:
    same(wrong)
print(f"{asked} questions about {len(traces)} traces with {spans} spans: Jaeger and ours answer the same")
