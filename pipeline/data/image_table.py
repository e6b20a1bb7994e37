"""ImageTable: the usable images of a source, verified and hashed; unusable files are listed with the reason.

An image is identified by its content, so that a renamed or moved file keeps its judgments. The table is sorted by that
id, and lies in a memory-mapped file. Classes are separate, in `pipeline.data.gold_labels`, so that training cannot use
them by accident.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.config import ImagesConfig
from pipeline.data.columns import STEP, Column, IdColumn, Positions, SplitColumn
from pipeline.data.decode_limits import DECODE_SECONDS
from pipeline.data.images_csv import write_images_csv
from pipeline.data.pixel_cache import NOT_STORED, PixelCache, Pixels
from pipeline.data.resize import Transform
from pipeline.data.source_scan import SourceScan
from pipeline.data.sources import IMAGE_SOURCES, ImageSource
from pipeline.data.sources.base import read_verified
from pipeline.data.table_file import Choice, Columns, Exclusion, Skipped, TableFile
from pipeline.errors import UserError
from pipeline.run.atomic_files import copy_atomically, printable

__all__ = ["ImageTable", "Skipped", "read_images"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Usable images, sorted by id. Columns are indexed as NumPy arrays of texts are.

    Attributes:
        source: where the images come from.
        ids: [N] content identities, `img-` and 16 hexadecimal digits of SHA-256.
        paths: [N] keys of the source; relative POSIX paths where it is a folder.
        splits: [N] train, val or test.
        skipped: files left out, with reasons.
        listed: images.csv of this table, if it was written before.
    """

    source: ImageSource
    ids: Column | np.ndarray
    paths: Column | np.ndarray
    splits: SplitColumn | np.ndarray
    skipped: Sequence[Skipped]
    listed: Path | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def root(self) -> Path:
        """The folder that `paths` are relative to; for other sources their address, for messages only."""
        return Path(self.source.place)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Row number of each id."""
        if isinstance(self.ids, IdColumn):
            return Positions(self.ids)
        return {image: row for row, image in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the images' contents and splits; file names are ignored."""
        digest = hashlib.sha256()
        for start in range(0, len(self), STEP):
            ids, splits = self.ids[start : start + STEP], self.splits[start : start + STEP]
            lines = "\n".join(f"{image} {split}" for image, split in zip(ids, splits, strict=True))
            digest.update((("\n" if start else "") + lines).encode())
        return digest.hexdigest()

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
            BadImage: it is missing, has changed, cannot be read, or has more than `max_bytes` bytes.
        """
        return read_verified(self.source, self.paths[self.position[image]], image, max_bytes)

    def write(self, path: Path) -> None:
        """Write images.csv: every file, whether it is used, and the reason if not."""
        if self.listed is None:
            write_images_csv(path, self.paths, self.ids, self.splits, self.skipped)
            return
        if not self.listed.is_file():
            write_images_csv(self.listed, self.paths, self.ids, self.splits, self.skipped)
        copy_atomically(self.listed, path)


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
    with PixelCache.open(
        cache, config, limit_mb=limit_mb, decode_seconds=decode_seconds, transform=transform
    ) as pixels:
        columns = _columns(source, pixels, config)
    table = ImageTable(source, columns.ids, columns.keys, columns.splits, columns.skipped, columns.listed)
    _check(table, config)
    _report_missing_pixels(source, pixels, columns.rows)
    return table, pixels.reader(source, columns.ids, columns.keys, columns.rows)


def _columns(source: ImageSource, pixels: PixelCache, config: ImagesConfig) -> Columns:
    """The table of a source, from its file if nothing has changed."""
    scan = SourceScan(source, pixels)
    file = TableFile(scan.folder, config)
    if scan.info and scan.is_complete and (columns := file.read(scan.info.token)):
        return columns
    excluded = Exclusion(scan.listing, config.exclude)
    results, info = scan.results(excluded.skip)
    if (columns := file.read(info.token)) is None:
        file.write(info.token, scan.listing, Choice(scan.listing, results, excluded, config.heldout_fraction))
        columns = file.read(info.token)
    assert columns
    return columns


def _report_missing_pixels(source: ImageSource, pixels: PixelCache, rows: np.ndarray) -> None:
    """Log how many images do not fit into the pixel cache, and what would be enough."""
    missing = int((rows == NOT_STORED).sum())
    if missing:
        enough = -(-(len(pixels) + missing) * pixels.image_bytes // 2**20)
        _log.warning(
            f"{missing} of {len(rows)} decoded images do not fit into the cache and are read from {source.place} and decoded "
            f"again for every batch; set model.cache_limit_mb to {enough} or more"
        )


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
