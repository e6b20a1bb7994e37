"""The image source `digits`: scikit-learn's 1,797 handwritten digits, written to disk as images.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipeline.data.sources.folder import FolderSource

if TYPE_CHECKING:
    from pipeline.config import ImagesConfig

TEST_SHARE = 0.3


class DigitsSource(FolderSource):
    """A folder of images that is written when it is first opened."""

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> DigitsSource:
        return cls(write_digits(Path(config.root) if config.root else cache / "digits"))

    @classmethod
    def check(cls, config: ImagesConfig) -> None:
        if isinstance(config.root, str):
            raise ValueError("images.root: digits are written to a local folder; leave it out, or name one")


def _split(name: str) -> str:
    """The split; it depends only on the file's name, so that it is the same on every machine and for every seed."""
    return "test" if hashlib.sha256(name.encode()).digest()[0] < 256 * TEST_SHARE else "train"


def write_digits(root: Path) -> Path:
    """Write `root`/{train,test}/<digit>/<number>.png, 8 x 8 pixels, unless `root` exists. Returns root."""
    if root.is_dir():
        return root
    from sklearn.datasets import load_digits  # slow to import: only when the images are written

    images, labels = load_digits(return_X_y=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=root.parent))
    for number, (pixels, label) in enumerate(zip(images.reshape(-1, 8, 8), labels, strict=True)):
        name = f"{number:04d}.png"
        folder = fresh / _split(name) / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(folder / name)
    try:
        os.rename(fresh, root)  # noqa: PTH104  atomic, also when two processes write at once
    except OSError:
        shutil.rmtree(fresh)
        if not root.is_dir():
            raise
    return root
