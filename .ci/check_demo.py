"""Checks the document of `agentvitals demo --json`, against the file of runs if one is given.

usage: check_demo.py DOCUMENT [RUNS]
"""
import json
import sys

document = json.load(open(sys.argv[1], encoding="utf-8"))
problems = []


def expect(what, found, wanted):
    print("ok  " if found == wanted else "BAD ", f"{what}: {found}" + ("" if found == wanted else f", not {wanted}"))
    if found != wanted:
        problems.append(what)


expect("verified", document["verified"], True)
expect("lost", document["lost"], 0)
spans = document["spans"]
expect("spans in all", spans["total"], sum(spans[kind] for kind in ("invoke_agent", "chat", "execute_tool", "other")))
expect("exported", document["exported"], spans["total"])
expect("calls by model", sum(model["calls"] for model in document["per_model"].values()), spans["chat"])
expect("calls by tool", sum(tool["calls"] for tool in document["per_tool"].values()), spans["execute_tool"])
expect("input tokens by model", sum(m["input_tokens"] for m in document["per_model"].values()), document["tokens"]["input"])
unpriced = [name for name, model in document["per_model"].items() if model["cost_usd"] is None]
expect("the cost is partial where a model has no price", document["cost_partial"] or not unpriced, True)
priced = sum(model["cost_usd"] or 0 for model in document["per_model"].values())
expect("cost by model", abs(priced - document["cost_usd"]) < 1e-6, True)

if len(sys.argv) > 2:
    runs = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8") if line.strip()]
    steps = [step for run in runs for step in run["steps"]]
    calls = [step for step in steps if step["kind"] == "model_call"]
    tools = [step for step in steps if step["kind"] == "tool_call"]
    expect("runs", document["runs"], len(runs))
    expect("agents", spans["invoke_agent"], sum(len({s["agent"] for s in run["steps"]}) for run in runs))
    expect("model calls", spans["chat"], len(calls))
    expect("tool calls", spans["execute_tool"], len(tools))
    expect("failed model calls", document["errors"]["chat"], sum(bool(call["error"]) for call in calls))
    expect("failed tool calls", document["errors"]["execute_tool"], sum(bool(tool["error"]) for tool in tools))
    for key, recorded in (("input", "prompt_tokens"), ("output", "completion_tokens"), ("cache_read", "cached_tokens")):
        expect(f"{key} tokens", document["tokens"][key], sum(call[recorded] or 0 for call in calls))
    solved = sum(bool(run["outcome"]["success"]) for run in runs)
    print(f"     {solved} runs solved their task; outcomes of agents: {document['outcomes']}; {document['cost_usd']} USD")
if problems:
    sys.exit(f"{len(problems)} problems: {problems}")
