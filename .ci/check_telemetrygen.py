"""Asks `agentvitals` for what interop-telemetrygen had telemetrygen send. usage: check_telemetrygen.py PROGRAM API SERVICE"""
import collections, json, subprocess, sys

program, api, service = sys.argv[1:]
OF = f'{{ resource.service.name = "{service}" }}'
TRACES, CHILDREN, METRICS, LOGS = 100, 3, 20, 100


def ask(*arguments):
    asked = subprocess.run([program, *arguments, "--json", "--api", api], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, f"{arguments}: {asked.stderr}"
    return [json.loads(line) for line in asked.stdout.splitlines()]


def equal(found, expected, what):
    assert found == expected, f"{service}, {what}: {found} in place of {expected}"


spans = ask("spans", OF, "--limit", "10000")
equal(len(spans), TRACES * (1 + CHILDREN), "spans")
by_id = {span["span_id"]: span for span in spans}
equal(len(by_id), len(spans), "different spans")
traces = {span["trace_id"] for span in spans}
equal(len(traces), TRACES, "traces")
names = collections.Counter((span["name"], span["kind"], span["status"]) for span in spans)
expected = {("lets-go", "client", "error"): TRACES} | {(f"okey-dokey-{at}", "server", "error"): TRACES for at in range(CHILDREN)}
equal(dict(names), expected, "names, kinds and status")
for span in spans:
    attributes = span["attributes"]
    equal((attributes["gen_ai.agent.name"], attributes["n"], attributes["on"], attributes["list"]), ("planner", 7, True, ["a", "b"]), "attributes")
    equal(span["resource"], {"service.name": service, "region": "eu"}, "the resource")
    assert all(link["trace_id"] in traces and link["attributes"]["link.type"] == "random" for link in span["links"]), span
    equal(span["scope"]["name"], "telemetrygen", "the scope")
    if span["name"] != "lets-go":
        parent = by_id[span["parent_span_id"]]
        equal((parent["name"], parent["trace_id"]), ("lets-go", span["trace_id"]), "the parent")
# The first spans have no other to point at.
assert sum(len(span["links"]) for span in spans) > len(spans) / 2, "links are missing"
equal(ask("count", f'{{ resource.service.name = "{service}" && .gen_ai.agent.name = "planner" && status = error }}')[0]["count"], len(spans), "found by attribute")

for kind, temporality in [("gauge", "cumulative"), ("sum", "delta"), ("histogram", "delta"), ("exponential_histogram", "delta")]:
    [group] = ask("metrics", f"gen.{kind}", "--filter", OF)[0]["groups"]
    equal((group["type"], group["points"]), (kind, METRICS), f"gen.{kind}")
    if kind == "gauge":
        equal((group["min"], group["max"]), (0, METRICS - 1), "values of the gauge")
    if kind == "sum":
        # Each point is its number.
        equal(group["increase"], sum(range(METRICS)), "the sum")
    if "values" in group:
        equal(sum(bucket[2] for bucket in group["values"]["buckets"]), group["values"]["count"], f"buckets of gen.{kind}")
        assert group["values"]["count"] > 0, group

logs = ask("logs", OF, "--limit", "10000")
equal(len(logs), LOGS, "log records")
seen = {(log["severity"], log["severity_text"], log["body"], log["attributes"]["n"], log["resource"]["region"]) for log in logs}
equal(seen, {(17, "ERROR", "it broke", 7, "eu")}, "log records")
print(f"{service}: {len(spans)} spans, {4 * METRICS} points and {LOGS} log records, each once and as sent")
