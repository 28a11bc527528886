"""Checks what must hold of the figures of examples/overhead.rs on any machine. usage: check_overhead.py DOCUMENT

Times and their ratios depend on the machine and on what else it does, so they are shown and not judged: the gate is
`benches/instructions`, whose counts do not drift.
"""
import json
import sys

figures = json.load(open(sys.argv[1], encoding="utf-8"))
print("NOTE: " + json.dumps(figures))
KEYS = {"ratio_layer", "ratio_agent_layer", "ratio_sampled_out", "agent_layer_ns", "layer_allocations_per_span",
        "agent_layer_allocations_per_span"}
if set(figures) != KEYS:
    sys.exit(f"the keys are {sorted(figures)}, expected {sorted(KEYS)}")
if figures["agent_layer_allocations_per_span"] != 0:
    sys.exit(f"agent_layer allocates {figures['agent_layer_allocations_per_span']} times a span, expected 0")
