"""ImageTable: which images there are. Found, read, verified, hashed; what cannot be used is listed with its reason.

An image's identity is its content, so that a renamed or moved file keeps its judgments. The table is sorted by that
identity and knows no classes: those are `pipeline.data.gold_labels`'s, on purpose.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.config import ImagesConfig
from pipeline.data.decoder_pool import DECODE_SECONDS
from pipeline.data.digits import write_digits
from pipeline.data.pixel_cache import PixelCache, Pixels, Scanned
from pipeline.errors import UserError
from pipeline.run.atomic_files import printable, write_atomically

SPLITS = ("test", "val", "train")  # of two copies of an image the one listed first is kept: no test image is trained on


@dataclass(frozen=True)
class Skipped:
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Usable images, sorted by id.

    Attributes:
        root: the folder that `paths` are relative to.
        ids: [N] content identities, `img-` and 16 hexadecimal digits of SHA-256.
        paths: [N] relative POSIX paths.
        splits: [N] train, val or test.
        skipped: files left out, with reasons.
    """

    root: Path
    ids: np.ndarray
    paths: np.ndarray
    splits: np.ndarray
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def position(self) -> dict[str, int]:
        """Row number of each id."""
        return {image: row for row, image in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what is in the table and in which split; file names do not count."""
        text = "\n".join(f"{image} {split}" for image, split in zip(self.ids, self.splits, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split; `heldout` is val (else test), `evaluation` is test (else val)."""
        if split == "heldout":
            split = "val" if (self.splits == "val").any() else "test"
        elif split == "evaluation":
            split = "test" if (self.splits == "test").any() else "val"
        return np.flatnonzero(self.splits == split)

    def write(self, path: Path) -> None:
        """images.csv: every file found, used or not, and why not."""
        paths = [printable(path) for path in self.paths]
        used = pd.DataFrame({"path": paths, "image": self.ids, "split": self.splits, "used": True, "reason": ""})
        left = pd.DataFrame(
            [
                {"path": printable(s.path), "image": "", "split": "", "used": False, "reason": printable(s.reason)}
                for s in self.skipped
            ]
        )
        write_atomically(path, pd.concat([used, left]).to_csv(index=False).encode())


def image_root(config: ImagesConfig, cache: Path) -> Path:
    """The folder of images; the embedded digits are written first if need be."""
    if config.source == "digits":
        return write_digits(config.root or cache / "digits")
    assert config.root is not None
    if not config.root.is_dir():
        hint = "; `make data DATA=ants_bees` downloads the tutorial's" if "hymenoptera" in config.root.name else ""
        raise UserError(f"images.root: there is no folder {config.root}{hint}")
    return config.root


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Everything below a folder that is no folder itself, and why it cannot be an image, if that shows without reading it.

    Hidden files and folders are not looked at. Links to folders are not followed: they may be circles.
    """
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path)
        elif entry.is_dir():
            yield path, "a link to a folder, which is not followed; put the folder itself in its place"
        elif entry.is_file() or not path.exists():
            yield path, ""
        else:
            yield path, "not a regular file"


def _is_excluded(relative: str, globs: list[str]) -> str | None:
    name = relative.rsplit("/", 1)[-1]
    return next((g for g in globs if fnmatch.fnmatchcase(relative, g) or fnmatch.fnmatchcase(name, g)), None)


def _split_of(relative: str, image: str, folders: set[str], config: ImagesConfig) -> str | None:
    """The split is the top folder's name; where nothing is held out by folder, the content hash decides.

    Without a train folder, what lies beside val and test is trained on; with one, None for what lies beside it.
    """
    top = relative.split("/", 1)[0]
    if folders & {"val", "test"}:
        return top if top in folders else None if "train" in folders else "train"
    if folders and top not in folders:
        return None
    return "val" if int(image[-8:], 16) < config.heldout_fraction * 2**32 else "train"


def _priority(relative: str) -> tuple[int, str]:
    top = relative.split("/", 1)[0]
    return (SPLITS.index(top) if top in SPLITS else len(SPLITS), relative)


def _scan(paths: list[Path], pixels: PixelCache) -> list[Scanned]:
    with ThreadPoolExecutor() as pool:
        found = pool.map(pixels.scan, paths)
        return list(tqdm(found, "images", total=len(paths), unit="file", leave=False, disable=None, delay=2))


def read_images(
    config: ImagesConfig, cache: Path, limit_mb: float = 4096, decode_seconds: float = DECODE_SECONDS
) -> tuple[ImageTable, Pixels]:
    """Find, verify and hash every image below the configured folder. Each file is decoded at most once, ever.

    Args:
        limit_mb: size of the pixel cache.
        decode_seconds: of processor time that one image may take.

    Raises:
        UserError: no folder, no usable image, no image to train on, or none to hold out.
    """
    root = image_root(config, cache)
    files: dict[str, Path] = {}
    skipped = []
    for path, reason in _files(root):
        relative = path.relative_to(root).as_posix()
        if glob := _is_excluded(relative, config.exclude):
            skipped.append(Skipped(relative, f"excluded by images.exclude: {glob}"))
        elif reason:
            skipped.append(Skipped(relative, reason))
        else:
            files[relative] = path
    with PixelCache.open(cache, config, limit_mb, decode_seconds) as pixels:
        scanned = dict(zip(files, _scan(list(files.values()), pixels), strict=True))
    folders = {split for split in SPLITS if (root / split).is_dir()}
    used: dict[str, tuple[str, str]] = {}
    for relative in sorted(scanned, key=_priority):
        image, reason = scanned[relative]
        if image is None:
            skipped.append(Skipped(relative, reason))
        elif image in used:
            skipped.append(Skipped(relative, f"duplicate: same content as {used[image][0]}"))
        elif split := _split_of(relative, image, folders, config):
            used[image] = (relative, split)
        else:
            skipped.append(Skipped(relative, f"not in {', '.join(f'{f}/' for f in sorted(folders))}"))
    ids = sorted(used)
    table = ImageTable(
        root,
        np.array(ids, dtype=object),
        np.array([used[image][0] for image in ids], dtype=object),
        np.array([used[image][1] for image in ids], dtype=object),
        tuple(sorted(skipped, key=lambda s: s.path)),
    )
    _check(table, config)
    return table, pixels.reader(root, table.ids, table.paths)


def _check(table: ImageTable, config: ImagesConfig) -> None:
    if not len(table):
        first = table.skipped[0] if table.skipped else None
        example = f"; the first: {printable(first.path)}: {first.reason}" if first else ""
        raise UserError(f"{table.root}: no usable image among {len(table.skipped)} files{example}")
    if not len(table.rows("train")):
        raise UserError(f"{table.root}: no image to train on; put images in {table.root}/train/<class>/")
    if not len(table.rows("heldout")):
        raise UserError(
            f"{table.root}: no image is held out; add val/ or test/, add images, or raise images.heldout_fraction "
            f"(now {config.heldout_fraction})"
        )
