"""Checks the figures of examples/overhead.rs. usage: check_overhead.py DOCUMENT

The limits are what the README promises, with a tenth for machines that do other things at the same time. Times in
nanoseconds depend on the machine, so they are shown, not judged.
"""
import json
import sys

figures = json.load(open(sys.argv[1], encoding="utf-8"))
print(json.dumps(figures, indent=1))
LIMITS = {"ratio_layer": 1.1, "ratio_sampled_out": 0.85, "agent_layer_allocations_per_span": 0.0}
bad = [f"{name} is {figures[name]}, more than {limit}" for name, limit in LIMITS.items() if figures[name] > limit]
sys.exit("\n".join(bad) if bad else 0)
