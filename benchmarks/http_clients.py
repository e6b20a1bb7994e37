"""HTTP clients of `make serve`: normal, endless and slow ones, over plain sockets for low overhead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Results of some clients: number of each status, and latencies in seconds of those with status 200."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items())) or "nothing"


def post(body: bytes, content_type: str = "image/jpeg") -> bytes:
    """The bytes of a request to /predict."""
    return (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
    return int(head.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def client(port: int, images: list[bytes], until: Callable[[], bool], *, outcome: Outcome, number: int) -> None:
    """Send one image per request over one connection until `until` is true; after a 503 wait for Retry-After."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not until():
        started = time.perf_counter()
        try:
            writer.write(post(images[number % len(images)]))
            status, headers, _ = await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            outcome.statuses[type(error).__name__] += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        outcome.statuses[str(status)] += 1
        number += 1
        if status == 200:
            outcome.seconds.append(time.perf_counter() - started)
        else:
            await asyncio.sleep(float(headers.get("retry-after", 1)))
    writer.close()


async def load(port: int, images: list[bytes], clients: int, seconds: float) -> tuple[Outcome, float]:
    """Run many clients for some seconds; returns their results and images per second."""
    outcome, started = Outcome(), time.perf_counter()
    await asyncio.gather(
        *(
            client(port, images, lambda: time.perf_counter() - started > seconds, outcome=outcome, number=n)
            for n in range(clients)
        )
    )
    return outcome, outcome.statuses["200"] / (time.perf_counter() - started)


async def once(port: int, raw: bytes) -> str:
    """The status of one request on a new connection, or the name of the error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        return str((await read_answer(reader))[0])
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        writer.close()


async def timed(port: int, raw: bytes) -> float:
    """Latency in seconds of one request on a new connection."""
    started = time.perf_counter()
    await once(port, raw)
    return time.perf_counter() - started


async def stream(port: int, size: int, announced: bool) -> tuple[str, int]:
    """Send `size` bytes or until the server replies; returns the status and the number of bytes sent.

    Args:
        announced: send Content-Length; otherwise chunks.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    length = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
    writer.write(f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n{length}\r\n\r\n".encode())
    piece = bytes(2**18) if announced else b"40000\r\n" + bytes(2**18) + b"\r\n"
    sent, answer = 0, asyncio.create_task(read_answer(reader))
    try:
        while sent < size and not answer.done():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        return str((await answer)[0]), sent
    except (OSError, asyncio.IncompleteReadError) as error:
        answer.cancel()
        return type(error).__name__, sent
    finally:
        writer.close()


SLOW = (
    b"",
    b"POST /pre",
    b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"
    + bytes(50_000),
)


async def trickle(port: int, start: bytes, until: asyncio.Event) -> bool:
    """Send a byte per second until the server closes the connection or `until` is set; returns whether it was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    ended = asyncio.create_task(reader.read())
    while not until.is_set() and not ended.done():
        writer.write(b"a" if start else b"")
        await asyncio.sleep(1)
    over = ended.done()
    ended.cancel()
    writer.close()
    return over


@asynccontextmanager
async def others(port: int, images: list[bytes]) -> AsyncIterator[Outcome]:
    """Eight clients that send images while the context lasts."""
    outcome, over = Outcome(), asyncio.Event()
    tasks = [
        asyncio.create_task(client(port, images, over.is_set, outcome=outcome, number=number)) for number in range(8)
    ]
    yield outcome
    over.set()
    await asyncio.gather(*tasks)
