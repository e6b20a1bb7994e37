"""The program of a decoding process: image files come in on standard input, pixels go out on standard output.

It may be killed at any moment. It limits its own memory and processor time for each image before it looks at it, so
that no image can take more than its share, whatever it claims to be. Imports are few: one starts in a fraction of a
second and needs some 35 MB. See `pipeline.data.decoder_pool` for the other side of the pipe.
"""

from __future__ import annotations

import io
import json
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import IO, Any

from PIL import Image

from pipeline.data.decode import BadImage, TooCostly, TooManyPixels, count_scans, decode, opened
from pipeline.data.decode_limits import QUICK_COST
from pipeline.data.resize import Transform

LENGTH = struct.Struct("<II")  # bytes of the header (JSON) and of the payload that follow
LOSSLESS_SIDE = 256  # up to this side a rendition has the pixels themselves: a small picture must not be smeared
Header = dict[str, Any]
Result = tuple[Header, bytes]


def pixels(data: bytes, max_pixels: int, size: int, resize: int, interpolation: str) -> Result:
    """What a network sees: uint8 [size, size, 3]."""
    return {}, Transform(size, resize, interpolation)(decode(data, max_pixels)).tobytes()


def rendition(data: bytes, max_pixels: int, side: int) -> Result:
    """What a browser shows: a PNG or JPEG whose longer side has at most `side` pixels."""
    picture = decode(data, max_pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if max(picture.size) <= LOSSLESS_SIDE:
        picture.save(out, "PNG")
        return {"media_type": "image/png"}, out.getvalue()
    picture.save(out, "JPEG", quality=90)
    return {"media_type": "image/jpeg"}, out.getvalue()


WORK: dict[str, Callable[..., Result]] = {"pixels": pixels, "rendition": rendition}


def answer(request: Header, data: bytes) -> Result:
    """Do the work of one request; an image that cannot be used is an answer like any other.

    Args:
        request: `work` (a key of WORK), its `arguments`, `max_pixels`, `seconds` and `memory` it may take, and whether
            it must be `quick`.
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
        return {"costly": "needs more memory to decode than an image may have"}, b""
    except Exception:  # a fault of ours: the other side raises it
        return {"fault": traceback.format_exc()}, b""
    finally:
        _limit_time(0)
        _limit_memory(None)  # the next file has to be read


def _cost(data: bytes, max_pixels: int) -> int:
    with opened(data, max_pixels) as image:
        return image.width * image.height * count_scans(image, data)


def _limit_time(seconds: float) -> None:
    """After so many seconds of processor time the system ends this process (SIGPROF); 0 lifts the limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(more: int | None) -> None:
    """Let this process allocate so many bytes besides what it has, where the system can enforce that (Linux)."""
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


def read_message(stream: IO[bytes]) -> tuple[Header, bytes] | None:
    """The next header and payload; None when the other side has ended."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    header, payload = LENGTH.unpack(start)
    text, data = stream.read(header), stream.read(payload)
    return (json.loads(text), data) if len(text) == header and len(data) == payload else None


def write_message(stream: IO[bytes], header: Header, payload: bytes) -> None:
    """A header and a payload, flushed."""
    text = json.dumps(header).encode()
    stream.write(LENGTH.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this one
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    Image.init()
    write_message(sys.stdout.buffer, {}, b"")  # ready
    while (message := read_message(sys.stdin.buffer)) is not None:
        write_message(sys.stdout.buffer, *answer(*message))
        del message


if __name__ == "__main__":
    main()
