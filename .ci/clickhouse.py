"""ClickHouse's engine behind as much of its HTTP interface as questions need. Usage: clickhouse.py PORT"""
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chdb.session import Session

lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b"Ok.\n")

    def do_POST(self):
        query = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            with lock:
                result = session.query(query, "TabSeparated")
                body = result.bytes() if result is not None and hasattr(result, "bytes") else b""
            self.answer(200, body or b"")
        except Exception as error:
            self.answer(400, str(error).encode())

    def log_message(self, *arguments):
        pass


with tempfile.TemporaryDirectory() as folder:
    session = Session(folder)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
