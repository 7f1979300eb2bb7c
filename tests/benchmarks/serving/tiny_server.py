"""`python tiny_server.py PORT PROBABILITY`: answers a POST with PROBABILITY ten times, the body `bad` with 500.

A small but real server. Like BentoML, it starts a child in a session of its own and leaves it behind when it stops.
"""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"probabilities": [float(sys.argv[2])] * 10}).encode()
        self.send_response(500 if sent == b"bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: S607  found wherever it is
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
