"""The program of a decoding process: image files come in on standard input, pixels go out on standard output.

It may be killed at any moment. It limits its own memory and processor time before it reads each image, so that no image
can exceed its limits. It imports little, so that it starts in less than 0.1 s and needs some 25 MB. See
`pipeline.data.decoder_pool` for the other side of the pipe.
"""

from __future__ import annotations

import io
import json
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Any

from PIL import Image

from pipeline.data.decode import BadImage, TooCostly, TooManyPixels, count_scans, decode, open_checked
from pipeline.data.decode_limits import QUICK_COST
from pipeline.data.resize import Transform

COUNT = struct.Struct("<I")  # of messages that are written together
LENGTHS = struct.Struct("<II")  # sizes in bytes of the header (JSON) and of the payload
LOSSLESS_SIDE = 256  # pixels; up to this side a rendition is a lossless PNG, since JPEG would blur a small picture
Header = dict[str, Any]
Answer = tuple[Header, bytes]


def pixels(data: bytes, max_pixels: int, *, size: int, resize: int, interpolation: str) -> Answer:
    """The network's input: uint8 [size, size, 3]."""
    return {}, Transform(size, resize, interpolation).square(decode(data, max_pixels)).tobytes()


def rendition(data: bytes, max_pixels: int, side: int) -> Answer:
    """A PNG or JPEG for the browser, whose longer side has at most `side` pixels."""
    picture = decode(data, max_pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if max(picture.size) <= LOSSLESS_SIDE:
        picture.save(out, "PNG")
        return {"media_type": "image/png"}, out.getvalue()
    picture.save(out, "JPEG", quality=90)
    return {"media_type": "image/jpeg"}, out.getvalue()


WORK: dict[str, Callable[..., Answer]] = {"pixels": pixels, "rendition": rendition}


def answer(request: Header, data: bytes) -> Answer:
    """Process one request; an unusable image is reported in the answer, not raised.

    Args:
        request: `work` (a key of WORK), its `arguments`, `max_pixels`, the limits `seconds` and `memory`, and
            whether it must be `quick`.
    """
    _limit_memory(request["memory"])
    _limit_time(request["seconds"])
    try:
        if request["quick"] and _cost(data, request["max_pixels"]) > QUICK_COST:
            return {"slow": True}, b""
        return WORK[request["work"]](data, request["max_pixels"], **request["arguments"])
    except TooManyPixels as large:
        return {"bad": str(large), "size": large.size, "limit": large.limit}, b""
    except TooCostly as costly:
        return {"costly": str(costly)}, b""
    except BadImage as bad:
        return {"bad": str(bad)}, b""
    except MemoryError:
        return {"costly": "decoding exceeds the memory limit"}, b""
    except Exception:  # a bug: the parent process raises it
        return {"fault": traceback.format_exc()}, b""
    finally:
        _limit_time(0)
        _limit_memory(None)  # so that the next file can be read


def _cost(data: bytes, max_pixels: int) -> int:
    with open_checked(data, max_pixels) as image:
        return image.width * image.height * count_scans(image, data)


def _limit_time(seconds: float) -> None:
    """Let the system end this process (SIGPROF) after so many seconds of processor time; 0 removes the limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(more: int | None) -> None:
    """Limit further allocations of this process to so many bytes, on Linux; None removes the limit."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = hard
    if more is not None:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  read for every image
            limit = int(file.read().split()[0]) * resource.getpagesize() + more
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def read_message(stream: IO[bytes]) -> Answer | None:
    """The next header and payload; None at the end of the stream."""
    start = stream.read(LENGTHS.size)
    if len(start) < LENGTHS.size:
        return None
    header, payload = LENGTHS.unpack(start)
    text, data = stream.read(header), stream.read(payload)
    return (json.loads(text), data) if len(text) == header and len(data) == payload else None


def write_message(stream: IO[bytes], header: Header, payload: bytes) -> None:
    """Write and flush a header and a payload."""
    _write(stream, header, payload)
    stream.flush()


def read_together(stream: IO[bytes]) -> list[Answer] | None:
    """What `write_together` wrote; None at the end of the stream."""
    start = stream.read(COUNT.size)
    if len(start) < COUNT.size:
        return None
    messages: list[Answer] = []
    for _ in range(*COUNT.unpack(start)):
        if (message := read_message(stream)) is None:
            return None
        messages.append(message)
    return messages


def write_together(stream: IO[bytes], messages: Sequence[Answer]) -> None:
    """Write and flush messages that are read before any of them is answered: so neither side waits for a full pipe."""
    stream.write(COUNT.pack(len(messages)))
    for header, payload in messages:
        _write(stream, header, payload)
    stream.flush()


def _write(stream: IO[bytes], header: Header, payload: bytes) -> None:
    text = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this one
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    Image.init()
    write_message(sys.stdout.buffer, {}, b"")  # ready
    while (messages := read_together(sys.stdin.buffer)) is not None:
        while messages:
            write_message(sys.stdout.buffer, *answer(*messages.pop(0)))


if __name__ == "__main__":
    main()
