"""An image source in a single file: striped images that are drawn, not read from files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from support.images import stripes

from pipeline.config import ImagesConfig
from pipeline.data.sources import Entry, ImageSource


class DrawnImages(ImageSource):
    """Keys are split/class#number; the images are the same each time."""

    place = "drawn images"

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> DrawnImages:
        return cls()

    def entries(self) -> Iterator[Entry]:
        for number in range(60):
            split = ("train", "test")[number >= 40]
            yield Entry(f"{split}/{('lying', 'upright', 'chequered')[number % 3]}#{number}", split)

    def read(self, key: str, max_bytes: int) -> bytes:
        number = int(key.split("#")[1])
        out = io.BytesIO()
        stripes(number % 3, np.random.default_rng(number)).save(out, "PNG")
        return out.getvalue()

    def label(self, key: str) -> str:
        return key.split("/")[1].split("#")[0]
