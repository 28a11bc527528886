"""Checks that what tests/interop_operations.rs sent arrived whole at oteltap. usage: check_spans.py FILE"""
import collections
import json
import sys

lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8") if line.startswith("{")]
spans = [line for line in lines if "spanId" in line]
metrics = {line["name"]: line for line in lines if "spanId" not in line and "name" in line}
problems = []


def expect(what, condition):
    if not condition:
        problems.append(what)


names = collections.Counter(span["name"] for span in spans)
EXPECTED = [
    "handle_request", "invoke_workflow trip", "invoke_agent planner", "invoke_agent plain", "chat gpt-4o",
    "generate_content gpt-4o", "text_completion gpt-4o", "embeddings text-embedding-3-small", "chat claude-sonnet-4-5",
    "chat gemini-2.5-flash", "execute_tool get_weather", "execute_tool get_time", "bookkeeping",
    "chat mistral-large-latest", "create_memory_store", "create_memory", "update_memory", "upsert_memory",
    "search_memory", "delete_memory", "delete_memory_store", "retrieval handbook", "create_agent remote", "plan plain",
    "tools/call add", "tools/list", "execute_tool lookup",
]
for name in EXPECTED:
    expect(f"one span {name}, not {names[name]}", names[name] == 1)
expect(f"no other spans: {set(names) - set(EXPECTED)}", not set(names) - set(EXPECTED))
by_id = {span["spanId"]: span for span in spans}
expect("one trace", len({span["traceId"] for span in spans}) == 1)
expect("one root", [s["name"] for s in spans if not s["parentSpanId"]] == ["handle_request"])
expect("every parent arrived", all(s["parentSpanId"] in by_id for s in spans if s["parentSpanId"]))
PARENTS = {"chat gpt-4o": "invoke_agent planner", "invoke_agent planner": "invoke_workflow trip",
           "invoke_workflow trip": "handle_request", "chat mistral-large-latest": "invoke_agent plain"}
for child, parent in PARENTS.items():
    found = [by_id.get(span["parentSpanId"], {}).get("name") for span in spans if span["name"] == child]
    expect(f"{child} is below {parent}, not {found}", found == [parent])
CLIENTS = {name for name in EXPECTED if name.split()[0] in (
    "chat", "generate_content", "text_completion", "embeddings", "retrieval", "create_agent", "tools/call", "tools/list")
    or "memory" in name}
for span in spans:
    expect(f"kind of {span['name']}: {span['kind']}", span["kind"] == (3 if span["name"] in CLIENTS else 1))
FAILED = {"chat claude-sonnet-4-5": "rate_limit", "execute_tool get_time": "timeout", "execute_tool lookup": None,
          "invoke_agent plain": None}
for span in spans:
    error_type = [a["value"].get("stringValue") for a in span["attributes"] if a["key"] == "error.type"]
    is_error = span["status"]["code"] == 2
    expect(f"status of {span['name']}", is_error == (span["name"] in FAILED) and bool(error_type) == is_error)
    wanted = FAILED.get(span["name"])
    expect(f"error.type of {span['name']}: {error_type}", wanted is None or error_type == [wanted])
for name in ["gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.invoke_agent.duration",
             "gen_ai.execute_tool.duration", "gen_ai.invoke_workflow.duration", "agentvitals.tasks", "agentvitals.cost",
             "mcp.client.operation.duration", "agentvitals.operation.duration"]:
    expect(f"metric {name}", name in metrics)
print(f"{len(spans)} spans, {len(metrics)} metrics")
if problems:
    sys.exit("\n".join(problems) + f"\nnames: {dict(names)}\nmetrics: {sorted(metrics)}")
