"""ImageTable: the usable images of a source, verified and hashed; unusable files are listed with the reason.

An image is identified by its content, so that a renamed or moved file keeps its judgments. The table is sorted by that
id. Classes are separate, in `pipeline.data.gold_labels`, so that training cannot use them by accident.
"""

from __future__ import annotations

import fnmatch
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.config import ImagesConfig
from pipeline.data.decode_limits import DECODE_SECONDS
from pipeline.data.pixel_cache import PixelCache, Pixels, ScanResult
from pipeline.data.resize import Transform
from pipeline.data.sources import IMAGE_SOURCES, SPLITS, Entry, ImageSource
from pipeline.errors import UserError
from pipeline.run.atomic_files import printable, write_atomically

SCAN_CHUNK = 32  # files that a thread looks at in turn


@dataclass(frozen=True)
class Skipped:
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Usable images, sorted by id.

    Attributes:
        source: where the images come from.
        ids: [N] content identities, `img-` and 16 hexadecimal digits of SHA-256.
        paths: [N] keys of the source; relative POSIX paths where it is a folder.
        splits: [N] train, val or test.
        skipped: files left out, with reasons.
    """

    source: ImageSource
    ids: np.ndarray
    paths: np.ndarray
    splits: np.ndarray
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def root(self) -> Path:
        """The folder that `paths` are relative to; for other sources their address, for messages only."""
        return Path(self.source.place)

    @cached_property
    def position(self) -> dict[str, int]:
        """Row number of each id."""
        return {image: row for row, image in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the images' contents and splits; file names are ignored."""
        text = "\n".join(f"{image} {split}" for image, split in zip(self.ids, self.splits, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split; `heldout` is val (else test), `evaluation` is test (else val)."""
        if split == "heldout":
            split = "val" if (self.splits == "val").any() else "test"
        elif split == "evaluation":
            split = "test" if (self.splits == "test").any() else "val"
        return np.flatnonzero(self.splits == split)

    def read(self, image: str, max_bytes: int) -> bytes:
        """The bytes of the image with this id, from its source.

        Raises:
            BadImage: it is missing, cannot be read, or has more than `max_bytes` bytes.
        """
        return self.source.read(self.paths[self.position[image]], max_bytes)

    def write(self, path: Path) -> None:
        """Write images.csv: every file, whether it is used, and the reason if not."""
        paths = [printable(path) for path in self.paths]
        used = pd.DataFrame({"path": paths, "image": self.ids, "split": self.splits, "used": True, "reason": ""})
        left = pd.DataFrame(
            [
                {"path": printable(s.path), "image": "", "split": "", "used": False, "reason": printable(s.reason)}
                for s in self.skipped
            ]
        )
        write_atomically(path, pd.concat([used, left]).to_csv(index=False).encode())


def _is_excluded(relative: str, globs: list[str]) -> str | None:
    name = relative.rsplit("/", 1)[-1]
    return next((g for g in globs if fnmatch.fnmatchcase(relative, g) or fnmatch.fnmatchcase(name, g)), None)


def _split_of(entry: Entry, image: str, config: ImagesConfig) -> str:
    """The split from the source; by the content hash if the source has none."""
    if entry.split is not None:
        return entry.split
    return "val" if int(image[-8:], 16) < config.heldout_fraction * 2**32 else "train"


def _priority(entry: Entry) -> tuple[int, str]:
    """Sort key: of several images with the same content the first is kept, test images before training images."""
    return (SPLITS.index(entry.split) if entry.split else len(SPLITS), entry.key)


def _scan(source: ImageSource, entries: list[Entry], pixels: PixelCache) -> list[ScanResult]:
    """The result for each entry. Threads take many at a time: most are only looked up, faster than a thread wakes up."""
    chunks = [entries[start : start + SCAN_CHUNK] for start in range(0, len(entries), SCAN_CHUNK)]
    bar = tqdm(desc="images", total=len(entries), unit="file", leave=False, disable=None, delay=2)
    results: list[ScanResult] = []
    with ThreadPoolExecutor() as pool, bar:
        for scanned in pool.map(lambda chunk: [pixels.scan(source, entry.key) for entry in chunk], chunks):
            results += scanned
            bar.update(len(scanned))
    return results


def read_images(
    config: ImagesConfig,
    cache: Path,
    *,
    limit_mb: float = 4096,
    decode_seconds: float = DECODE_SECONDS,
    transform: Transform | None = None,
) -> tuple[ImageTable, Pixels]:
    """Find, verify and hash every image of the configured source. New images are decoded into the pixel cache.

    Args:
        limit_mb: maximum size of the pixel cache, in MiB.
        decode_seconds: maximum processor time per image.
        transform: to the network's input; default: bilinear, to `images.resize` and `images.size`.

    Raises:
        UserError: no such source or place, no usable image, no training image, or no held-out image.
    """
    source = IMAGE_SOURCES.get(config.source).open(config, cache)
    listed, skipped = [], []
    for entry in source.entries():
        if glob := _is_excluded(entry.key, config.exclude):
            skipped.append(Skipped(entry.key, f"excluded by images.exclude: {glob}"))
        elif entry.problem:
            skipped.append(Skipped(entry.key, entry.problem))
        else:
            listed.append(entry)
    with PixelCache.open(
        cache, config, limit_mb=limit_mb, decode_seconds=decode_seconds, transform=transform
    ) as pixels:
        scanned = dict(zip(listed, _scan(source, listed, pixels), strict=True))
    used: dict[str, tuple[str, str]] = {}
    for entry in sorted(scanned, key=_priority):
        image, reason = scanned[entry]
        if image is None:
            skipped.append(Skipped(entry.key, reason))
        elif image in used:
            skipped.append(Skipped(entry.key, f"duplicate: same content as {used[image][0]}"))
        elif entry.outside:
            skipped.append(Skipped(entry.key, entry.outside))
        else:
            used[image] = (entry.key, _split_of(entry, image, config))
    ids = sorted(used)
    table = ImageTable(
        source,
        np.array(ids, dtype=object),
        np.array([used[image][0] for image in ids], dtype=object),
        np.array([used[image][1] for image in ids], dtype=object),
        tuple(sorted(skipped, key=lambda s: s.path)),
    )
    _check(table, config)
    return table, pixels.reader(source, table.ids, table.paths)


def _check(table: ImageTable, config: ImagesConfig) -> None:
    place = table.source.place
    if not len(table):
        first = table.skipped[0] if table.skipped else None
        example = f"; the first: {printable(first.path)}: {first.reason}" if first else ""
        raise UserError(f"{place}: no usable image among {len(table.skipped)} files{example}")
    if not len(table.rows("train")):
        raise UserError(
            f"{place}: no image to train on; put images in its split train, in a folder {place}/train/<class>/"
        )
    if not len(table.rows("heldout")):
        raise UserError(
            f"{place}: no image is held out; add val/ or test/, add images, or raise images.heldout_fraction "
            f"(now {config.heldout_fraction})"
        )
