"""One thread for tests of tiny networks, where several would only wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def one_thread() -> Iterator[None]:
    """The body of a fixture: torch has one thread until the test ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
