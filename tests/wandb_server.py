"""A stand-in for W&B's server on the loopback address: it answers as far as wandb's own client asks, or misbehaves."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing: clients that were killed leave open connections behind."""


class Standin:
    """`behaviour`: serve | refuse (nothing listens) | hang (accepts, never answers) | drop (closes without an answer) |
    nonsense (answers `{}`). `after`: requests that are served before it misbehaves.
    """

    def __init__(self, behaviour: str = "serve", after: int = 0) -> None:
        self.behaviour, self.after = behaviour, after
        self.asked: list[tuple[str, Any]] = []  # (operation or path, variables or body)
        self.over = threading.Event()

    def __enter__(self) -> Standin:
        if self.behaviour == "refuse":
            self.socket = socket.socket()
            self.socket.bind(("127.0.0.1", 0))  # taken and not listening: refused for sure
            self.port = self.socket.getsockname()[1]
            return self
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                standin.answer(self)

            do_GET = do_PUT = do_POST

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.behaviour == "refuse":
            self.socket.close()
        else:
            self.server.shutdown()
            self.server.server_close()

    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.port}", "WANDB_API_KEY": "0" * 40}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if "/otel/" in request.path:  # figures about wandb itself
            self._send(request, {})
            return
        behaviour = self.behaviour if len(self.asked) >= self.after else "serve"
        if behaviour in ("hang", "drop"):
            self.asked.append((behaviour, None))
            if behaviour == "hang":
                self.over.wait(120)
            request.close_connection = True
            return
        if request.path == "/graphql":
            question = json.loads(body)
            named = re.match(r"\s*(?:query|mutation)\s+(\w+)", question["query"])
            operation, variables = named[1] if named else "", question.get("variables") or {}
            self.asked.append((operation, variables))
            data = {} if behaviour == "nonsense" else self._data(operation, variables)
            self._send(request, {"data": data})
        else:
            what = "file_stream" if request.path.endswith("/file_stream") else request.path
            self.asked.append((what, json.loads(body) if what == "file_stream" else body))
            self._send(request, {})

    def _data(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpsertBucket":
            project = {"id": "P", "name": variables["project"], "entity": {"id": "E", "name": "someone"}}
            bucket = {"id": "B", "name": variables["name"], "displayName": "x", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}
        if operation == "CreateRunFiles":
            place = f"http://127.0.0.1:{self.port}/put/{variables['run']}"
            files = [{"name": n, "uploadUrl": f"{place}/{n}"} for n in variables["files"]]
            return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}
        if operation == "Viewer":
            who = {"id": "U", "username": "someone", "entity": "someone", "email": "", "flags": "{}"}
            return {"viewer": {**who, "admin": False, "teams": {"edges": []}}}
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {"id": "A", "state": "COMMITTED", "artifactSequence": {"id": "S"}}}}
        return {}

    def of(self, operation: str) -> list[Any]:
        return [what for name, what in self.asked if name == operation]

    def history(self) -> list[dict[str, Any]]:
        """The rows of the runs' history, as the client streamed them."""
        rows = []
        for body in self.of("file_stream"):
            for line in body.get("files", {}).get("wandb-history.jsonl", {}).get("content", []):
                rows.append(json.loads(line))
        return rows

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        try:
            request.send_response(200)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        except OSError:  # the client was killed
            time.sleep(0)
