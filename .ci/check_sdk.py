"""Asks `agentvitals` for what send_sdk.py sent: every span, log record and metric must be there, once and as it was.

usage: check_sdk.py PROGRAM API SERVICE LEDGER
"""
import json, subprocess, sys

program, api, service, ledger = sys.argv[1:]
OF = f'resource.service.name = "{service}"'
ROUNDS, RECORDS = 3, 100


def ask(*arguments):
    asked = subprocess.run([program, *arguments, "--json", "--api", api], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, f"{arguments}: {asked.stderr}"
    return [json.loads(line) for line in asked.stdout.splitlines()]


def same(found, expected, what, where=""):
    """Equal, and of the same types: 1, 1.0 and true are three things."""
    assert type(found) is type(expected), f"{what}{where}: {found!r} in place of {expected!r}"
    if isinstance(expected, dict):
        assert sorted(found) == sorted(expected), f"{what}{where}: {sorted(found)} in place of {sorted(expected)}"
        for key in expected:
            same(found[key], expected[key], what, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), f"{what}{where}: {found} in place of {expected}"
        for at, (one, other) in enumerate(zip(found, expected)):
            same(one, other, what, f"{where}[{at}]")
    else:
        assert found == expected, f"{what}{where}: {found!r} in place of {expected!r}"


def bare(document):
    """Without what is empty, which answers leave out or not."""
    return {key: value for key, value in document.items() if value not in ("", None, {}, []) or key == "body"}


def plain(event):
    return {**bare(event), "attributes": event.get("attributes", {})}


def check_spans(sent):
    found = ask("spans", f"{{ {OF} }}", "--limit", "10000")
    assert len(found) == len(sent) == 600, f"{len(found)} spans in place of {len(sent)}"
    by_id = {span["span_id"]: span for span in found}
    assert len(by_id) == len(found), "a span is there twice"
    for expected in sent:
        span = by_id[expected["span_id"]]
        links = [{key: link[key] for key in ("trace_id", "span_id", "attributes")} for link in span["links"]]
        span = {**span, "events": [plain(event) for event in span["events"]], "links": links}
        same(bare(span), bare(expected), f"span {expected['name']} {expected['span_id']}")
    assert ask("count", f"{{ {OF} && .even = true && status = error }}")[0]["count"] == 33
    assert ask("count", f'{{ {OF} && .texts = "b-77" }}')[0]["count"] == 1
    assert ask("count", f"{{ {OF} && .most = 9223372036854775807 }}")[0]["count"] == 200


def check_logs(sent):
    found = ask("logs", f"{{ {OF} }}", "--limit", "10000")
    assert len(found) == len(sent) == 120, f"{len(found)} log records in place of {len(sent)}"
    by_number = {record["attributes"]["number"]: record for record in found}
    for expected in sent:
        record = by_number[expected["attributes"]["number"]]
        same(bare(record), bare(expected), f"log record {expected['attributes']['number']}")
    assert len(ask("logs", f"{{ {OF} }}", "--severity", "warn", "--limit", "1000")) == 60


def near(found, expected, what):
    assert found is not None and abs(found - expected) <= 1e-9 * max(1, abs(expected)), f"{what}: {found} in place of {expected}"


def check_metrics(temporality):
    def metric(name, *more):
        # The shutdown sends once more: nothing new as deltas, the same totals as cumulative ones.
        answer = ask("metrics", name, "--filter", f'{{ {OF} && resource.temporality = "{temporality}" }}', *more)[0]
        return {tuple(group["by"]): group for group in answer["groups"]}

    what = f"{service} {temporality}"
    calls = metric("calls", "--by", ".kind")
    near(calls[("a",)]["increase"], ROUNDS * 75, f"{what}: calls a")
    near(calls[("b",)]["increase"], ROUNDS * 25, f"{what}: calls b")
    assert len(calls) == 2 and calls[("a",)]["type"] == "sum" and calls[("a",)]["unit"] == "{call}", calls
    near(metric("cost")[()]["increase"], ROUNDS * 25, f"{what}: cost")
    near(metric("seen", "--by", ".kind")[("a",)]["increase"], ROUNDS * 100, f"{what}: seen")
    near(metric("waiting")[()]["last"], ROUNDS * (66 - 34), f"{what}: waiting")
    warmth, level = metric("warmth")[()], metric("level")[()]
    assert (warmth["type"], warmth["unit"], warmth["last"], warmth["max"], warmth["min"]) == ("gauge", "Cel", 23, 23, 21), warmth
    assert (level["type"], level["last"], level["min"]) == ("gauge", 1.5, 0.5), level
    waits, sizes = metric("waits")[()], metric("sizes")[()]
    assert (waits["type"], sizes["type"], waits["unit"]) == ("histogram", "exponential_histogram", "s"), (waits, sizes)
    buckets = [[None, 1.0, 11], [1.0, 2.5, 15], [2.5, 5.0, 25], [5.0, None, 49]]
    assert waits["values"]["buckets"] == [[low, high, ROUNDS * count] for low, high, count in buckets], waits
    for values, total in [(waits["values"], sum(n / 10 for n in range(RECORDS))), (sizes["values"], 10 * 1023)]:
        assert values["count"] == ROUNDS * RECORDS, values
        near(values["sum"], ROUNDS * total, f"{what}: sum")
    counts = [bucket[2] for bucket in sizes["values"]["buckets"] if bucket[2]]
    assert counts == [ROUNDS * 10] * 10 and abs(sizes["values"]["p50"] / 16 - 1) < 0.2, sizes


with open(ledger) as file:
    sent = json.load(file)
check_spans(sent["spans"])
check_logs(sent["logs"])
for temporality in ("cumulative", "delta"):
    check_metrics(temporality)
print(f"{service}: {len(sent['spans'])} spans, {len(sent['logs'])} log records and 9 metrics of two temporalities, each once and as sent")
