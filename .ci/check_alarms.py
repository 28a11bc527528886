"""check_alarms.py FILE...: whether the verdicts of `agentvitals demo --inject` are, together, within their aims."""

import collections
import json
import statistics
import sys

faults, detected, false, hours, delays, kinds = 0, 0, 0, 0.0, [], collections.Counter()
static = collections.Counter()
for name in sys.argv[1:]:
    with open(name) as file:
        it = json.load(file)
    faults, detected, false = faults + it["faults"], detected + it["detected"], false + it["false_alarms"]
    hours += it["agent_hours"]
    delays.append(it["median_delay_evaluations"])
    for kind, of in it["per_kind"].items():
        kinds[kind, "faults"] += of["faults"]
        kinds[kind, "detected"] += of["detected"]
    static["detected"] += it["static"]["detected"]
    static["false"] += it["static"]["false_alarms"]
    for alert in it["alerts"]:
        if alert["scenario"] is None:
            print(f"false in {name}: evaluation {alert['evaluation']}, {alert['alert']}")
recall, rate, delay = detected / faults, false * 1000 / hours, statistics.median(delays)
print(f"{detected} of {faults} faults, recall {recall:.3f}; {rate:.2f} false alarms in 1,000 agent-hours; median delay {delay}")
print(f"fixed thresholds: recall {static['detected'] / faults:.3f}, {static['false'] * 1000 / hours:.0f} false alarms")
names = sorted({kind for kind, _ in kinds})
print(", ".join(f"{kind} {kinds[kind, 'detected']}/{kinds[kind, 'faults']}" for kind in names))
assert len(names) == 11, names
assert recall >= 0.95 and rate <= 5 and delay <= 2, "not within the aims"
