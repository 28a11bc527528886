"""Judges the GenAI spans in oteltap's output by the rules of pytest-genai-semconv. usage: semconv_check.py FILE"""
import json
import sys
from types import SimpleNamespace

from opentelemetry.trace import SpanKind
from pytest_genai_semconv import assertions

KINDS = {1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER, 5: SpanKind.CONSUMER}


def value(of):
    if not of:
        return None
    kind, held = next(iter(of.items()))
    if kind == "intValue":
        return int(held)
    if kind == "arrayValue":
        return tuple(value(item) for item in held.get("values", []))
    return held


good, bad = 0, 0
for line in open(sys.argv[1], encoding="utf-8"):
    if not line.startswith("{"):
        continue
    span = json.loads(line)
    attributes = {a["key"]: value(a["value"]) for a in span.get("attributes", [])} if "spanId" in span else {}
    # Requests of MCP are of other conventions, which this checker does not know: check_spans.py judges them.
    if not any(key.startswith("gen_ai.") for key in attributes) or "mcp.method.name" in attributes:
        continue
    judged = SimpleNamespace(name=span["name"], attributes=attributes, kind=KINDS[span["kind"]])
    try:
        assertions.assert_genai_span_compliant(judged)
        good += 1
    except AssertionError as error:
        bad += 1
        print("BAD", span["name"], "->", str(error)[:400].replace("\n", " | "))
print(f"{good} spans are as the conventions want them, {bad} are not")
sys.exit(1 if bad or good < 20 else 0)
