"""``python webhook_receiver.py PORT FOLDER``: keeps each request; answers as FOLDER/status says, else 204."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[2])


class Receiver(BaseHTTPRequestHandler):
    """Writes what it gets into a file each."""

    def do_POST(self) -> None:
        """Keep the request, answer as told."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        number = len(list(FOLDER.glob("*.json")))
        kept = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
        }
        (FOLDER / f"{number}.json").write_text(json.dumps(kept))
        told = FOLDER / "status"
        status = int(told.read_text()) if told.exists() else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://127.0.0.1:{sys.argv[1]}/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
