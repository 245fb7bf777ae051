"""Serves the dashboard to this machine alone: three paths, GET only, nothing of a URL reaches the disk."""

from __future__ import annotations

import errno
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gan_ablate.dashboard.page import changes, draw, policy, whole
from gan_ablate.dashboard.watched import Watched
from gan_ablate.errors import InputError, in_one_line
from gan_ablate.report.write import encoded, live_page
from gan_ablate.store.status import Glances
from gan_ablate.untrusted import printable

HOME = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")  # that a request may be meant for: a page elsewhere could have its name lead here
HTML, JSON, PLAIN = "text/html", "application/json", "text/plain"
SECONDS = 20  # that a client may take to ask or to read


class Server(ThreadingHTTPServer):
    """The server of one root; a thread for each request. Raises `InputError` where the port cannot be had."""

    daemon_threads = True

    def __init__(self, watched: Watched, port: int) -> None:
        self.watched = watched
        self._report: tuple[Glances, bytes] | None = None
        self._reporting = threading.Lock()
        try:
            super().__init__((HOME, port), Handler)
        except OSError as error:
            used = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
            raise InputError(f"--port {port}: {HOME}:{port} {used}: give another, or 0 for any that is free") from None

    def server_bind(self) -> None:
        """Without asking for the machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOME, self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{HOME}:{self.server_port}/"

    def report(self) -> bytes:
        """The page of the partial report, built again once a run has finished. Raises `InputError`."""
        published = self.watched.look().published
        with self._reporting:  # who asks meanwhile waits for the same
            if self._report is None or self._report[0] != published:
                self._report = published, live_page(self.watched.root)
            return self._report[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of anyone's business."""
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(printable(f"gan-ablate dashboard: {in_one_line(error)}"), file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = SECONDS
    server_version, sys_version = "gan_ablate", ""

    def do_GET(self) -> None:
        if not self._is_meant():
            self._answer(403, PLAIN, "this page is for http://127.0.0.1 and http://localhost only\n")
            return
        path, _, query = self.path.partition("?")
        if path not in PATHS:
            self._answer(404, PLAIN, "no such page: there are /, /live and /report\n")
            return
        try:
            kind, body = PATHS[path](self.server, query)
        except (InputError, OSError) as error:
            self._answer(503, PLAIN, f"{printable(in_one_line(error))}\n")
            return
        except Exception as error:  # whatever lies in the root: the server goes on, and says so
            self._answer(500, PLAIN, f"this cannot be shown: {printable(in_one_line(error))}\n")
            raise
        self._answer(200, kind, body)

    def _refuse(self) -> None:
        self._answer(405, PLAIN, "this page is only read: GET\n", Allow="GET")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _is_meant(self) -> bool:
        """Whether the request's only Host is this machine, at whatever port: a tunnel may have another."""
        hosts = self.headers.get_all("Host", [])
        name, _, port = hosts[0].partition(":") if len(hosts) == 1 else ("", "", "")
        return name.lower() in HOSTS and (not port or port.isdecimal())

    def _answer(self, status: int, kind: str, text: str | bytes, **more: str) -> None:
        body = text if isinstance(text, bytes) else encoded(text)
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", **more,
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        if self.path.partition("?")[0] == "/" and status == 200:
            self.send_header("Content-Security-Policy", policy())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The terminal says where the page is, and no more."""


def _page(server: Server, _: str) -> tuple[str, str]:
    return HTML, whole(draw(server.watched.look()))


def _live(server: Server, query: str) -> tuple[str, str]:
    """`have=TAG,TAG`: the sections that the reader has; only compared."""
    have = query.removeprefix("have=").split(",") if query.startswith("have=") else []
    return JSON, changes(draw(server.watched.look()), frozenset(have))


def _report(server: Server, _: str) -> tuple[str, bytes]:
    return HTML, server.report()


PATHS: dict[str, Callable[[Server, str], tuple[str, str | bytes]]] = {"/": _page, "/live": _live, "/report": _report}
