"""Reads the segments of a data directory with DuckDB and compares them with what the server answers.

usage: check_duckdb.py PROGRAM API DIRECTORY LEDGER     LEDGER: what send_sdk.py sent
"""
import json, math, subprocess, sys
import duckdb

program, api, directory, ledger = sys.argv[1:]
duckdb.sql("SET TimeZone = 'UTC'")


def ask(*arguments):
    asked = subprocess.run([program, *arguments, "--json", "--api", api], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, f"{arguments}: {asked.stderr}"
    return [json.loads(line) for line in asked.stdout.splitlines()]


def table(name):
    return f"read_parquet('{directory}/{name}/*.parquet', union_by_name=true)"


def rows(sql):
    return duckdb.sql(sql).fetchall()


def equal(found, expected, what):
    assert found == expected, f"{what}: {found} in place of {expected}"


columns = {name: {column: kind for column, kind, *_ in rows(f"DESCRIBE SELECT * FROM {table(name)}")} for name in ("spans", "logs", "metrics")}


def types(name, expected):
    for column, kind in expected.items():
        equal(columns[name].get(column), kind, f"type of {name}.{column}")


def attribute(key, kind, of="spans"):
    """The SQL of an attribute: it has a column where it is frequent, else it is in the JSON, in the same type."""
    equal(columns[of].get(f"a:{key}", kind), kind, f"type of the attribute {key}")
    in_json = {kind for (kind,) in rows(f"SELECT DISTINCT json_type(attributes, '$.\"{key}\"') FROM {table(of)}") if kind}
    assert in_json <= {kind} | ({"UBIGINT"} if kind == WHOLE else set()), f"types of the attribute {key}: {in_json}"
    column = f'"a:{key}", ' if f"a:{key}" in columns[of] else ""
    return f"coalesce({column}CAST(json_extract_string(attributes, '$.\"{key}\"') AS {kind}))"


TEXT, WHOLE, NUMBER, TIME = "VARCHAR", "BIGINT", "DOUBLE", "TIMESTAMP_NS"
types("spans", {"trace_id": "BLOB", "span_id": "BLOB", "name": TEXT, "kind": "TINYINT", "status": "TINYINT", "start": TIME, "duration_ns": WHOLE, "attributes": TEXT,
                "a:gen_ai.agent.name": TEXT, "a:gen_ai.usage.input_tokens": WHOLE, "a:gen_ai.usage.cost.amount": NUMBER,})
types("logs", {"time": TIME, "observed": TIME, "severity": "TINYINT", "body": TEXT, "batch": "UBIGINT", "trace_id": "BLOB"})
types("metrics", {"time": TIME, "start_time": TIME, "type": TEXT, "temporality": TEXT, "monotonic": "BOOLEAN", "value": NUMBER, "int_value": WHOLE, "count": "UBIGINT", "sum": NUMBER})

# Of each agent: what DuckDB adds up is what the server says.
models = "('chat', 'text_completion', 'generate_content', 'embeddings')"
of_models = f"""FILTER ("a:gen_ai.operation.name" IN {models})"""
summed = rows(f"""SELECT "a:gen_ai.agent.name", count(*), count(*) FILTER (status = 2), min(duration_ns), max(duration_ns), avg(duration_ns),
    coalesce(sum("a:gen_ai.usage.input_tokens") {of_models}, 0)::BIGINT, coalesce(sum("a:gen_ai.usage.output_tokens") {of_models}, 0)::BIGINT,
    sum("a:gen_ai.usage.cost.amount") {of_models} FROM {table('spans')} GROUP BY 1""")
answered = ask("stats", "--by", "gen_ai.agent.name")[0]["groups"]
equal(len(answered), len(summed), "agents")
for agent, count, errors, least, most, average, input_tokens, output_tokens, cost in summed:
    [group] = [group for group in answered if group["by"] == [agent]]
    durations = group["duration_ns"]
    exact = (group["count"], group["errors"], durations["min"], durations["max"], group["input_tokens"], group["output_tokens"])
    equal(exact, (count, errors, least, most, input_tokens, output_tokens), f"figures of {agent}")
    assert math.isclose(durations["avg"], average, rel_tol=1e-9), f"average of {agent}: {durations['avg']}, {average}"
    assert (cost is None) == (group["cost"] is None) and math.isclose(cost or 0, group["cost"] or 0, rel_tol=1e-9), f"cost of {agent}: {group['cost']}, {cost}"
    for name, quantile in [("p50", 0.5), ("p95", 0.95)]:
        [(real,)] = rows(f"""SELECT quantile_disc(duration_ns, {quantile}) FROM {table('spans')} WHERE "a:gen_ai.agent.name" IS NOT DISTINCT FROM {repr(agent) if agent else 'NULL'}""")
        assert math.isclose(durations[name], real, rel_tol=0.02), f"{name} of {agent}: {durations[name]}, {real}"

[(spans, ids)] = rows(f"SELECT count(*), count(DISTINCT span_id) FROM {table('spans')}")
equal((spans, ids), (ask("count")[0]["count"],) * 2, "spans, and different ones")

# What the SDK sent, by its ledger.
with open(ledger) as file:
    sent = json.load(file)
service = sent["spans"][0]["service"]
found = rows(f"""SELECT lower(hex(span_id)), lower(hex(trace_id)), lower(hex(parent_span_id)), name, epoch_ns(start), duration_ns, json_array_length(coalesce(events, '[]')),
    json_array_length(coalesce(links, '[]')), dropped_attributes FROM {table('spans')} WHERE service = '{service}'""")
expected = [(span["span_id"], span["trace_id"], span["parent_span_id"], span["name"], span["start_unix_nano"], span["duration_ns"], len(span["events"]), len(span["links"]),
             span["dropped"].get("attributes", 0)) for span in sent["spans"]]
equal(sorted(found, key=str), sorted(expected, key=str), "spans of the SDK")
[(numbers, whole, share, even, errors, texts)] = rows(f"""SELECT sum({attribute("number", WHOLE)}), sum({attribute("whole", NUMBER)}), sum({attribute("share", NUMBER)}),
    count(*) FILTER ({attribute("even", "BOOLEAN")}), count(*) FILTER (status = 2), count(*) FILTER (json_extract_string(attributes, '$.texts[1]') LIKE 'b-%')
    FROM {table('spans')} WHERE service = '{service}'""")
equal((numbers, whole, even, errors, texts), (sum(range(200)), float(sum(range(200))), 100, 66, 200), "sums of the SDK's attributes")
assert math.isclose(share, sum(number / 7 for number in range(200))), share

[(logs, severities, numbers)] = rows(f"""SELECT count(*), sum(severity), sum({attribute("number", WHOLE, "logs")}) FROM {table('logs')}""")
equal((logs, severities, numbers), (120, sum(log["severity"] for log in sent["logs"]), sum(range(120))), "log records")
found = rows(f"SELECT epoch_ns(time), epoch_ns(observed), name, severity_text FROM {table('logs')}")
equal(sorted(found), sorted((log["time_unix_nano"], log["observed_unix_nano"], log["name"], log["severity_text"]) for log in sent["logs"]), "log records of the SDK")

points = rows(f"SELECT name, type, temporality, monotonic, sum(value), sum(int_value)::BIGINT, sum(count)::BIGINT FROM {table('metrics')} WHERE name IN ('calls', 'waits', 'sizes', 'waiting') AND temporality = 'delta' GROUP BY ALL ORDER BY name")
equal(points, [("calls", "sum", "delta", True, 300.0, 300, None), ("sizes", "exponential_histogram", "delta", True, None, None, 300), ("waits", "histogram", "delta", True, None, None, 300)], "deltas")
points = rows(f"SELECT name, type, monotonic, max(value), max(count)::BIGINT FROM {table('metrics')} WHERE name IN ('waits', 'sizes', 'waiting', 'warmth', 'cost') AND temporality <> 'delta' GROUP BY ALL ORDER BY name")
equal(points, [("cost", "sum", True, 75.0, None), ("sizes", "exponential_histogram", True, None, 300), ("waiting", "sum", False, 96.0, None), ("waits", "histogram", True, None, 300), ("warmth", "gauge", False, 23.0, None)], "totals")
files = {name: len(rows(f"SELECT * FROM glob('{directory}/{name}/*.parquet')")) for name in ("spans", "logs", "metrics")}
print(f"DuckDB {duckdb.__version__}: {spans} spans, {logs} log records, figures of {len(summed)} agents as the server has them; segments: {files}")
