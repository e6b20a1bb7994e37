"""h11 with two more checks: a repeated Content-Length, and too many small chunks, which would delay other requests."""

from __future__ import annotations

import re

import h11

FREE_CHUNKS = 128  # of a body, of any size
MIN_CHUNK = 256  # bytes, required mean of further chunks: parsing a chunk takes as long as copying kilobytes
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:", re.IGNORECASE | re.MULTILINE)


class StrictHttp(h11.Connection):
    """A server's side of HTTP/1.1; h11 itself refuses malformed requests, and Content-Lengths that differ."""

    def __init__(self, max_head: int) -> None:
        super().__init__(h11.SERVER, max_head)
        self._chunks = self._bytes = 0
        self.refusal = ""  # the reason, if this class and not h11 raised
        self.wants_body = True  # False for HEAD

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event of the received data.

        Raises:
            h11.RemoteProtocolError: the request is malformed.
        """
        head = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.wants_body = event.method != b"HEAD"
            self._chunks = self._bytes = 0
            end = _END_OF_HEAD.search(head)
            if len(_LENGTH.findall(head, 0, end.end() if end else len(head))) > 1:
                raise self._refused("Content-Length is repeated; send it once")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._bytes < (self._chunks - FREE_CHUNKS) * MIN_CHUNK:
                raise self._refused(f"the body comes in too many small chunks; send {MIN_CHUNK} bytes or more in each")
        return event

    def start_next_cycle(self) -> None:
        """Prepare for another request; a malformed one is not treated as HEAD."""
        super().start_next_cycle()
        self.wants_body = True

    def _refused(self, why: str) -> h11.RemoteProtocolError:
        self.refusal = why
        return h11.RemoteProtocolError(why)
