"""Checks what a Collector got from examples/collector.rs. usage: check_collector.py LOG PROMETHEUS_URL explicit|exponential

LOG is the output of its debug exporter (spans behind tail sampling, every metric); PROMETHEUS_URL its scrape page.
"""
import collections
import re
import sys
import time
import urllib.request

log_path, url, histograms = sys.argv[1:]
problems = []


def expect(what, condition):
    print("ok  " if condition else "BAD ", what)
    if not condition:
        problems.append(what)


# The failed trace, whole, and no other: the debug exporter is behind the tail sampling.
text = open(log_path, encoding="utf-8").read()
spans = []
for block in re.split(r"^Span #\d+", text, flags=re.M)[1:]:
    block = re.split(r"^(?:ScopeSpans|ResourceSpans|ResourceMetrics) #\d+|^\S*\s+info\s", block, flags=re.M)[0]
    field = lambda name: (re.search(rf"^\s+{name}\s*: (.*)$", block, flags=re.M) or [None, ""])[1].strip()
    spans.append({name: field(name) for name in ["Trace ID", "Parent ID", "ID", "Name", "Kind", "Status code", "Status message"]} | {"block": block})
expect("the failed trace was kept and no other", sorted(s["Name"] for s in spans) == ["chat gpt-4o", "invoke_agent unlucky"])
for span in spans:
    expect(f"{span['Name']}: error with its message", span["Status code"] == "Error" and "rate limit" in span["Status message"])
    expect(f"{span['Name']}: error.type", "error.type: Str(rate_limit)" in span["block"])
if len(spans) == 2:
    chat, agent = sorted(spans, key=lambda s: s["Name"])
    expect("parent and trace", chat["Parent ID"] == agent["ID"] and chat["Trace ID"] == agent["Trace ID"] and not agent["Parent ID"])
    expect("kinds", (chat["Kind"], agent["Kind"]) == ("Client", "Internal"))
expect("service name", "service.name: Str(collector-example)" in text)

# The metrics as a scrape shows them. The Collector's exporter shows exponential histograms only to scrapers that ask
# for native ones, so of these the debug output is judged.
EXPECTED = {
    "gen_ai.client.operation.duration": ("gen_ai_client_operation_duration_seconds", 5, {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}),
    "gen_ai.client.token.usage": ("gen_ai_client_token_usage", 8, {"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type"}),
    "gen_ai.invoke_agent.duration": ("gen_ai_invoke_agent_duration_seconds", 3, {"gen_ai_agent_name"}),
    "gen_ai.invoke_agent.inference_calls": ("gen_ai_invoke_agent_inference_calls", 3, {"gen_ai_agent_name"}),
    "gen_ai.invoke_agent.tool_calls": ("gen_ai_invoke_agent_tool_calls", 3, {"gen_ai_agent_name"}),
    "gen_ai.execute_tool.duration": ("gen_ai_execute_tool_duration_seconds", 2, {"gen_ai_tool_name", "gen_ai_tool_type", "gen_ai_agent_name"}),
}
COUNTERS = {"agentvitals_tasks": 3.0, "agentvitals_sdk_spans_exported": 11.0}

SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")


def scrape():
    page = urllib.request.urlopen(url, timeout=5).read().decode()
    series = collections.defaultdict(list)
    for line in page.splitlines():
        if match := SERIES.match(line):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            series[match[1]].append((labels, float(match[3])))
    return page, series


end = time.time() + 15
while True:
    page, series = scrape()
    if any(name.startswith("agentvitals_tasks") for name in series) or time.time() > end:
        break
    time.sleep(0.2)

for otel, (name, count, labels) in EXPECTED.items():
    metric = re.search(rf"-> Name: {re.escape(otel)}\n(.*?)(?=\nMetric #|\nScopeMetrics #|\nResourceMetrics #|\Z)", text, re.S)
    expect(f"{otel} reached the Collector", metric is not None)
    wanted = "DataType: Histogram" if histograms == "explicit" else "DataType: ExponentialHistogram"
    expect(f"{otel} is of {wanted}", metric is not None and wanted in metric[1])
    if metric and histograms == "exponential":
        expect(f"{otel}: {count} measurements", sum(map(int, re.findall(r"^Count: (\d+)", metric[1], re.M))) == count)
    if histograms == "explicit":
        points = series.get(f"{name}_count", [])
        expect(f"{name}_count is on the page: {count}", sum(value for _, value in points) == count)
        expect(f"{name} has buckets", any(labels.get("le") == "+Inf" for labels, _ in series.get(f"{name}_bucket", [])))
        expect(f"{name} has the labels {sorted(labels)}", all(labels <= set(found) for found, _ in points))
for name, wanted in COUNTERS.items():
    found = [value for full in (name, f"{name}_total") for _, value in series.get(full, [])]
    expect(f"{name}: {wanted}", sum(found) == wanted)
cost = [value for full in series if full.startswith("agentvitals_cost") and "unpriced" not in full for _, value in series[full]]
expect("a cost above 0", sum(cost) > 0)
duration = series.get("gen_ai_client_operation_duration_seconds_count", [])
if histograms == "explicit":
    expect("failed calls are told apart by error_type", sum(v for labels, v in duration if labels.get("error_type") == "rate_limit") == 1)
if problems:
    print("\n".join(line for line in page.splitlines() if not line.startswith("#"))[:6000])
    sys.exit(f"{len(problems)} problems: {problems}")
