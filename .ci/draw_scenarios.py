"""draw_scenarios.py RUNS SEED HOURS: faults for `agentvitals demo --inject`, drawn at random: kind after kind, each on an agent,
model or tool that is not rare in the runs (or on all), for 10 to 60 minutes, at shares from 0.3 to 1 and factors from 3 to 10."""

import collections
import json
import random
import sys

path, seed, hours = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path) as file:
    runs = [json.loads(line) for line in file]
calls, kinds, within = collections.Counter(), {}, collections.defaultdict(set)
for run in runs:
    for agent in run["agents"]:
        kinds[agent["name"]] = "agent"
    for step in run["steps"]:
        kind = "model" if step["kind"] == "model_call" else "tool"
        name = step[kind]
        kinds[name] = kind
        calls[name] += 1
        within[name].add(run["run_id"])
often = [name for name in kinds if len(within[name]) >= 0.04 * len(runs)]
models = [name for name in often if kinds[name] == "model"]
tools = [name for name in often if kinds[name] == "tool" and calls[name] / len(runs) * 10 >= 1.5]
agents = [name for name in kinds if kinds[name] == "agent"]
KINDS = ["model_error", "rate_limit", "slow_model", "slow_tool", "tool_error", "loop", "stall", "cost", "context_growth",
         "empty_output", "silence"]
chance, at, number = random.Random(seed), 0.4, 0
while at < hours - 1.5:
    kind = KINDS[number % len(KINDS)]
    if kind in ("slow_tool", "tool_error", "loop"):
        pool = tools + agents
    elif kind in ("stall", "silence"):
        pool = models + tools + agents
    else:
        pool = models + agents
    target = None if chance.random() < 0.15 else chance.choice(sorted(pool))
    minutes = chance.choice([10, 15, 20, 20, 20, 30, 45, 60])
    rate = chance.choice([0.3, 0.5, 0.5, 0.8, 1.0, 1.0])
    factor = chance.choice([3, 4, 5, 8, 10])
    print(f'[[scenario]]\nname = "s{number}"\nstart = "{int(at * 60)}m"\nduration = "{minutes}m"\nkind = "{kind}"')
    if target:
        print(f'target = "{target}"')
    print(f"rate = {1.0 if kind == 'silence' else rate}")
    if kind in ("slow_model", "slow_tool", "loop", "cost", "context_growth"):
        print(f"factor = {factor}")
    print()
    number += 1
    at += minutes / 60 + chance.uniform(0.6, 1.8)
