"""Asks Phoenix what it made of the spans of tests/interop_operations.rs. usage: check_phoenix.py URL"""
import json
import sys
import time
import urllib.request

url = sys.argv[1]
problems = []


def expect(what, condition):
    print("ok  " if condition else "BAD ", what)
    if not condition:
        problems.append(what)


def spans():
    return json.load(urllib.request.urlopen(f"{url}/v1/projects/default/spans?limit=100", timeout=10))["data"]


end = time.time() + 60
while True:
    try:
        found = spans()
    except OSError:  # The project comes with its first span.
        found = []
    if len(found) >= 27 or time.time() > end:
        break
    time.sleep(0.5)
expect(f"every span arrived: {len(found)} of 27", len(found) == 27)
by_name = {span["name"]: span for span in found}
KINDS = {"invoke_agent planner": "AGENT", "invoke_agent plain": "AGENT", "chat gpt-4o": "LLM", "chat claude-sonnet-4-5": "LLM",
         "embeddings text-embedding-3-small": "EMBEDDING", "execute_tool get_weather": "TOOL", "retrieval handbook": "RETRIEVER"}
for name, kind in KINDS.items():
    span = by_name.get(name, {})
    expect(f"{name} is {kind}: {span.get('span_kind')}", span.get("span_kind") == kind)
ids = {span["context"]["span_id"]: span["name"] for span in found}
for child, parent in {"chat gpt-4o": "invoke_agent planner", "invoke_agent planner": "invoke_workflow trip"}.items():
    got = ids.get(by_name.get(child, {}).get("parent_id"))
    expect(f"{child} is below {parent}: {got}", got == parent)
for name, status in {"chat claude-sonnet-4-5": "ERROR", "execute_tool get_time": "ERROR", "chat gpt-4o": "UNSET"}.items():
    got = by_name.get(name, {}).get("status_code")
    expect(f"{name}: status {got}", got == status)
attributes = by_name.get("chat gpt-4o", {}).get("attributes", {})
for key, value in {"llm.token_count.prompt": 1200, "llm.token_count.completion": 300, "llm.model_name": None,
                   "llm.input_messages.0.message.role": "user", "llm.token_count.prompt_details.cache_read": 1024}.items():
    expect(f"{key}: {attributes.get(key)}", key in attributes and value in (None, attributes[key]))
query = json.dumps({"query": "{projects{edges{node{name traceCount recordCount costSummary{total{cost tokens}}}}}}"}).encode()
for _ in range(40):  # Costs are computed behind the scenes.
    answer = json.load(urllib.request.urlopen(urllib.request.Request(f"{url}/graphql", query, {"content-type": "application/json"}), timeout=10))
    project = [edge["node"] for edge in answer["data"]["projects"]["edges"] if edge["node"]["name"] == "default"][0]
    if project["costSummary"]["total"]["cost"]:
        break
    time.sleep(0.5)
ours = sum(span["attributes"].get("gen_ai.usage.cost.amount", 0) for span in found)
print(f"     Phoenix's prices: {project['costSummary']['total']}, ours: {ours:.6f} USD; {project['traceCount']} traces")
if problems:
    print(json.dumps(attributes, indent=1)[:3000])
    sys.exit(f"{len(problems)} problems: {problems}")
