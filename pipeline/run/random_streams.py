"""The global random streams, which libraries and dropout draw from: saved, restored, preserved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_streams() -> dict[str, Any]:
    """The state of every global random stream, in types that `torch.load(weights_only=True)` accepts."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  the global stream is the one that libraries use
    numpy_state = [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": numpy_state, "python": random.getstate()}


@contextmanager
def preserve_random_streams() -> Iterator[None]:
    """Restore every global random stream at the end of the block."""
    before = random_streams()
    try:
        yield
    finally:
        restore_random_streams(before)


def restore_random_streams(saved: dict[str, Any], *, several: bool = False) -> None:
    """Set every global random stream.

    Args:
        several: the streams are those of the first of several processes, which uses the first GPU.
    """
    torch.set_rng_state(saved["torch"])
    if several and saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda"][0])
    elif saved["cuda"] and len(saved["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda"])
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(saved["python"])
