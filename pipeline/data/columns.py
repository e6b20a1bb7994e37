"""Columns of an image table: ids, keys and splits of any number of images, read from a memory-mapped Arrow file.

They behave like NumPy arrays of texts: `column[3]`, `column[rows]`, iteration, `tolist`. Texts are made when they are
asked for, so that a table of a million images is not a million Python objects.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa

from pipeline.data.sources.base import SPLITS

STEP = 16_384  # texts that are made at a time
_ID = re.compile(r"img-[0-9a-f]{16}")


def encode_key(key: str) -> bytes:
    """A key as it is stored. Bytes that are not UTF-8 survive, and stored keys sort as the texts do."""
    return key.encode("utf-8", "surrogatepass")


def decode_key(stored: bytes) -> str:
    """The inverse of `encode_key`."""
    return stored.decode("utf-8", "surrogatepass")


def decode_keys(stored: pa.Array) -> list[str]:
    """`decode_key` of many."""
    try:
        return stored.cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:  # one of them is not UTF-8
        return [decode_key(key) for key in stored.to_pylist()]


def id_text(image: int) -> str:
    """The id of an image from its 64 bits."""
    return f"img-{image:016x}"


def id_bits(text: str) -> int:
    """The 64 bits of an image id."""
    return int(text[4:], 16)


class Column(ABC):
    """N texts. `column[rows]` and NumPy functions give arrays of Python texts."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of the rows from `start` up to `stop`."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> list[str]:
        """The texts of some rows."""

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), STEP):
            yield from self.texts(start, min(start + STEP, len(self)))

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...

    @overload
    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> np.ndarray: ...

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, (int, np.integer)):
            row = int(rows) + (len(self) if rows < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {rows} of {len(self)}")
            return self.texts(row, row + 1)[0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return np.array(self.texts(start, max(start, stop)), dtype=object)
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return np.array(self.take(rows.astype(np.int64)), dtype=object)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.tolist(), dtype=object if dtype is None else dtype)

    def tolist(self) -> list[str]:
        return list(self)


class IdColumn(Column):
    """Image ids.

    Args:
        bits: [N] uint64, sorted.
    """

    def __init__(self, bits: np.ndarray) -> None:
        self.bits = bits

    def __len__(self) -> int:
        return len(self.bits)

    def texts(self, start: int, stop: int) -> list[str]:
        return [id_text(image) for image in self.bits[start:stop].tolist()]

    def take(self, rows: np.ndarray) -> list[str]:
        return [id_text(image) for image in self.bits[rows].tolist()]


class KeyColumn(Column):
    """Keys of a source.

    Args:
        stored: [N] keys as `encode_key` returns them.
    """

    def __init__(self, stored: pa.ChunkedArray) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    def texts(self, start: int, stop: int) -> list[str]:
        if stop - start == 1:
            return [decode_key(self.stored[start].as_py())]
        return [text for chunk in self.stored.slice(start, stop - start).chunks for text in decode_keys(chunk)]

    def take(self, rows: np.ndarray) -> list[str]:
        return [decode_key(self.stored[row].as_py()) for row in rows.tolist()]


class SplitColumn(Column):
    """Names of splits. `column == "val"` is a mask [N].

    Args:
        codes: [N] int8, positions in SPLITS.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def texts(self, start: int, stop: int) -> list[str]:
        return [SPLITS[code] for code in self.codes[start:stop].tolist()]

    def take(self, rows: np.ndarray) -> list[str]:
        return [SPLITS[code] for code in self.codes[rows].tolist()]

    def __eq__(self, name: object) -> np.ndarray:  # type: ignore[override]
        return self.codes == (SPLITS.index(name) if name in SPLITS else -1)

    __hash__ = None  # type: ignore[assignment]


class Positions(Mapping[str, int]):
    """Row number of each id, by binary search in the sorted ids."""

    def __init__(self, ids: IdColumn) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __getitem__(self, image: str) -> int:
        row = self._find(image)
        if row is None:
            raise KeyError(image)
        return row

    def __contains__(self, image: object) -> bool:
        return self._find(image) is not None

    def _find(self, image: object) -> int | None:
        if not isinstance(image, str) or not _ID.fullmatch(image):
            return None
        bits = np.uint64(id_bits(image))
        row = int(np.searchsorted(self._ids.bits, bits))
        return row if row < len(self._ids) and self._ids.bits[row] == bits else None
