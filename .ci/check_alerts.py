"""Receives what alert sinks post, and checks it.

check_alerts.py receive PORT FILE       writes each request as a line; refuses the first two of each path with 503
check_alerts.py check FILE URL OUTPUT   checks the lines, the Alertmanager at URL and what the sender printed
"""

import http.server
import json
import sys
import time
import urllib.request


def receive(port, file):
    seen = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            seen[self.path] = seen.get(self.path, 0) + 1
            refused = self.path != "/alertmanager" and seen[self.path] <= 2
            with open(file, "a") as out:
                out.write(json.dumps({
                    "path": self.path, "refused": refused, "body": json.loads(body),
                    "authorization": self.headers.get("authorization"),
                    "content_type": self.headers.get("content-type"),
                }) + "\n")
            self.send_response(503 if refused else 200)
            if refused:
                self.send_header("retry-after", "1")
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def lines(file):
    with open(file) as all_lines:
        return [json.loads(line) for line in all_lines]


def check(file, url, output):
    deadline = time.monotonic() + 30
    while True:
        received = lines(file)
        passed_on = [line["body"] for line in received if line["path"] == "/alertmanager"]
        if any(body["status"] == "resolved" for body in passed_on):
            break
        assert time.monotonic() < deadline, f"Alertmanager has not passed on the end: {passed_on}"
        time.sleep(0.2)

    hooks = [line for line in received if line["path"] == "/secret-path"]
    assert [line["refused"] for line in hooks] == [True, True, False, False, False], [line["refused"] for line in hooks]
    assert all(line["authorization"] == "Bearer t0ken" for line in hooks)
    assert all(line["content_type"] == "application/json" for line in hooks)
    fired, worse, over = (line["body"] for line in hooks[2:])
    assert (fired["kind"], fired["severity"]) == ("firing", "error"), fired
    assert (worse["kind"], worse["severity"]) == ("escalated", "critical"), worse
    assert (over["kind"], over["severity"]) == ("resolved", "info"), over
    assert fired["alert"]["rule"] == "health.tool_error" and fired["alert"]["top_error"] == "timeout", fired
    assert fired["alert"]["id"] == worse["alert"]["id"] == over["alert"]["id"]
    assert worse["alert"]["evidence"]["observed"] > 0.5 and fired["alert"]["advice"], fired

    slack = [line["body"] for line in received if line["path"] == "/slack" and not line["refused"]]
    colors = [body["attachments"][0]["color"] for body in slack]
    assert colors == ["#d9534f", "#a30200", "#2eb886"] and "over:" in slack[2]["text"], slack

    statuses = [body["status"] for body in passed_on]
    assert statuses[0] == "firing" and statuses[-1] == "resolved", statuses
    firing = [alert for body in passed_on for alert in body["alerts"] if alert["status"] == "firing"]
    worst = [alert for alert in firing if alert["labels"]["severity"] == "critical"]
    assert worst, passed_on
    labels = worst[0]["labels"]
    expected = {
        "alertname": "health.tool_error", "severity": "critical", "subject_kind": "tool",
        "gen_ai_tool_name": "search", "gen_ai_agent_name": "planner",
    }
    assert labels == expected, labels
    assert worst[0]["annotations"]["top_error"] == "timeout", worst[0]
    with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true", timeout=10) as answer:
        left = json.load(answer)
    assert left == [], left

    with open(output) as printed:
        stats = json.loads(printed.read().strip().splitlines()[-1])
    for sink, retries in (("webhook", 2), ("slack", 2), ("alertmanager", 0), ("events", 0)):
        it = stats[sink]
        assert (it["delivered"], it["failed"], it["dropped"], it["retries"]) == (3, 0, 0, retries), (sink, it)
    assert "503" in stats["webhook"]["last_error"], stats
    print("promtool, Alertmanager, webhook and Slack's form: ok")


if __name__ == "__main__":
    {"receive": receive, "check": check}[sys.argv[1]](*sys.argv[2:])
