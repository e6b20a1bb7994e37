"""Cached arrays that several processes compute together: each takes a share of every part, and the first writes the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pipeline.data.cached_array import cached_array
from pipeline.run.atomic_files import writing
from pipeline.run.runtime import Runtime


def cached_together(
    path: Path, shape: tuple[int, ...], parts: Callable[[], Iterator[np.ndarray]], runtime: Runtime, *, mapped: bool
) -> np.ndarray:
    """As `cached_array`: a float32 array from a .npy file, computed if it is missing or damaged.

    All processes must call it.

    Args:
        parts: computes the rows in order, in parts, in all processes: each part is complete in the first process.
    """

    def write(file: Path) -> None:
        runtime.of_main(lambda: True)  # the others compute their shares
        _write(file, shape, parts())

    if runtime.is_main:
        computed = False

        def write_once(file: Path) -> None:
            nonlocal computed
            computed = True
            write(file)

        array = cached_array(path, shape, write_once, mapped=mapped)
        if not computed:
            runtime.of_main(lambda: False)
        runtime.wait()
        return array
    if runtime.of_main(bool):
        for _ in parts():
            pass
    runtime.wait()
    return cached_array(path, shape, _refuse, mapped=mapped)


def cached_by_main(
    path: Path, shape: tuple[int, ...], write: Callable[[Path], None], runtime: Runtime, *, mapped: bool
) -> np.ndarray:
    """As `cached_array`; the first process writes the file, and all others, which must call it too, wait for it."""
    if runtime.is_main:
        array = cached_array(path, shape, write, mapped=mapped)
        runtime.wait()
        return array
    runtime.wait()
    return cached_array(path, shape, _refuse, mapped=mapped)


def _refuse(path: Path) -> None:
    raise OSError(f"{path.with_suffix('.npy')}: this process does not see the file that the first one wrote")


def _write(path: Path, shape: tuple[int, ...], parts: Iterator[np.ndarray]) -> None:
    """Write an array of that shape to a .npy file.

    Written sequentially, since a memory map on a full disk would end the process with SIGBUS.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with writing(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.astype("<f4", copy=False).tobytes())
