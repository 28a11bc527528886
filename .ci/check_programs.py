"""Asks three programs in traces of our own, and `agentvitals` for what they sent of it. usage: check_programs.py PROGRAM API PROMETHEUS TRAEFIK CADDY

Each request is its own trace, so what must be there is known exactly, and that the programs' own work is no part of it.
"""
import collections, json, subprocess, sys, time, urllib.request

program, api, prometheus, traefik, caddy = sys.argv[1:]
REQUESTS = 20
SPANS = {
    "prometheus": {"GET /api/v1/query": "server", "promqlEval": "internal", "promqlExec": "internal", "promqlPrepare": "internal", "promqlExecQueue": "internal",
                   "promqlInnerEval": "internal", "promqlInnerEval eval *parser.VectorSelector": "internal"},
    "traefik": {"GET": "server", "ReverseProxy": "client"},
    "caddy": {"caddy": "server"},
}
PATHS = {"prometheus": f"{prometheus}/api/v1/query?query=up", "traefik": f"{traefik}/health", "caddy": f"{caddy}/health"}


def ask(*arguments):
    asked = subprocess.run([program, *arguments, "--json", "--api", api], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, f"{arguments}: {asked.stderr}"
    return [json.loads(line) for line in asked.stdout.splitlines()]


def get(url, trace=None):
    headers = {"traceparent": f"00-{trace:032x}-{trace:016x}-01"} if trace else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        assert answer.status == 200, f"{url}: {answer.status}"
        return answer.read()


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def increase(name, *more):
    groups = ask("metrics", name, *more)[0]["groups"]
    return sum(group["values"]["count"] if "values" in group else group["increase"] for group in groups)


traces = {}
for at, service in enumerate(SPANS):
    for number in range(REQUESTS):
        traces[1000 * (at + 1) + number] = service
        get(PATHS[service], 1000 * (at + 1) + number)
wanted = sum(len(SPANS[service]) for service in traces.values()) + REQUESTS
ours = " || ".join(f'(resource.service.name = "{service}")' for service in SPANS)
until(f"all {wanted} spans", lambda: ask("count", f"{{ {ours} }}")[0]["count"] >= wanted)

for trace, service in traces.items():
    spans = ask("trace", f"{trace:032x}")[0]["spans"]
    names = collections.Counter(span["name"] for span in spans)
    # A query waits in two queues.
    expected = {name: 2 if name == "promqlExecQueue" else 1 for name in SPANS[service]}
    assert names == expected, f"trace {trace} of {service}: {names} in place of {expected}"
    ids = {span["span_id"] for span in spans} | {f"{trace:016x}"}
    for span in spans:
        assert span["kind"] == SPANS[service][span["name"]], span
        assert span["parent_span_id"] in ids and span["service"] == span["resource"]["service.name"] == service, span
        assert span["status"] == "unset" and span["scope"]["name"] and span["duration_ns"] > 0, span
    [first] = [span for span in spans if span["parent_span_id"] == f"{trace:016x}"]
    attributes = first["attributes"]
    status = attributes.get("http.status_code", attributes.get("http.response.status_code"))
    assert first["kind"] == "server" and status == 200 and type(status) is int, first

until("traefik's metrics", lambda: increase("traefik_service_requests_total", "--filter", '{ .code = "200" }') == REQUESTS)
for name in ("traefik_entrypoint_requests_total", "traefik_entrypoint_request_duration_seconds", "http.server.request.duration", "http.client.request.duration"):
    assert increase(name) == REQUESTS, f"{name}: {increase(name)} in place of {REQUESTS}"
names = {metric["name"]: metric["type"] for metric in ask("metrics")[0]["metrics"]}
assert (names["traefik_entrypoint_request_duration_seconds"], names["traefik_open_connections"]) == ("histogram", "gauge"), names


def scraped(query):
    result = json.loads(get(f"{prometheus}/api/v1/query?query={query}"))["data"]["result"]
    return float(result[0]["value"][1]) if result else None


until("Prometheus reads our page", lambda: scraped("up") == 1)
until("our figures in it", lambda: (scraped("agentvitals_store_rows%7Btable%3D%22spans%22%7D") or 0) >= wanted)
print(f"{REQUESTS} requests each of Prometheus, traefik and caddy: every span of theirs in its trace, traefik's metrics, and Prometheus reads our page")
