"""A server that speaks the part of the Hugging Face Hub's protocol that downloads need, with faults on demand."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves folders as repositories.

    Attributes:
        repositories: folder of each `owner/name`.
        cut: files, as `owner/name/file`, whose first complete answer ends in the middle.
        damaged: files whose last bytes are changed on the way, at the same size.
        requests: method, path and Range header of every request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.cut: set[str] = set()
        self.damaged: set[str] = set()
        self.requests: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, *, with_body: bool) -> None:
                asked = self.headers.get("Range")
                hub.requests.append((self.command, self.path, asked))
                found = hub.find(self.path)
                if found is None:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                name, body = found
                first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                if name in hub.damaged:
                    body = body[:-16] + bytes(16)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(body) - first))
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                if not with_body:
                    return
                if name in hub.cut and not asked:
                    hub.cut.discard(name)
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.wfile.write(body[first:])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def find(self, path: str) -> tuple[str, bytes] | None:
        """Repository with name, and content, of the file that `/owner/name/resolve/revision/file` asks for."""
        parts = path.lstrip("/").split("?")[0].split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return None
        folder, name = self.repositories.get("/".join(parts[:2])), "/".join(parts[4:])
        if folder is None or not (folder / name).is_file():
            return None
        body = (folder / name).read_bytes()
        whole = "/".join([*parts[:2], name])
        return whole, body


@contextmanager
def model_hub() -> Iterator[Hub]:
    """A running server."""
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
