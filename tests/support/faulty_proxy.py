"""A proxy in front of an HTTP server that fails as networks and object stores do: timeouts, truncated bodies, 503."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("503", "truncated", "short", "timeout")


class FaultyProxy:
    """Forwards requests to a local port; the first answers to requests for objects fail.

    Attributes:
        faults: names of FAULTS, used in turn. `truncated` ends the connection in the middle of the body, `short` sends half
            of it as if it were all.
        failures: how many answers fail for each object and range.
        injected: how often each fault was used.
        requests: how often each object was asked for.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.faults: tuple[str, ...] = ()
        self.failures = 1
        self.injected: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._guard = threading.Lock()

    def next_fault(self, path: str, span: str) -> str:
        """The fault of the next answer; empty for none."""
        with self._guard:
            self.requests[path] += 1
            if not self.faults or self._seen[path, span] >= self.failures:
                return ""
            self._seen[path, span] += 1
            fault = self.faults[sum(self.injected.values()) % len(self.faults)]
            self.injected[fault] += 1
            return fault


@contextmanager
def faulty_proxy(port: int) -> Iterator[tuple[FaultyProxy, str]]:
    """A proxy in front of a port of this machine, and its address."""
    proxy = FaultyProxy(port)

    class Handler(_Handler):
        state = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_port}"
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FaultyProxy

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: tests read no log."""

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.state.target, timeout=30)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        headers = [
            (k, v)
            for k, v in answer.getheaders()
            if k.lower() not in ("transfer-encoding", "connection", "content-length")
        ]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        connection.close()
        is_object = self.command == "GET" and "?" not in self.path.split("&")[0].replace("?x-id=GetObject", "")
        fault = self.state.next_fault(self.path, self.headers.get("Range", "")) if is_object and data else ""
        if fault == "timeout":
            self.state.released.wait(20)
            self.close_connection = True
            return
        status = answer.status
        if fault == "503":
            status, data = 503, b"<Error><Code>ServiceUnavailable</Code><Message>try again</Message></Error>"
            length = str(len(data))
        if fault == "short":
            data = data[: len(data) // 2]
            length = str(len(data))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward
