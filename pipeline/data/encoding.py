"""Encoding: the features of all images, computed by an engine or by the processes of a launcher, into a memory-mapped file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import RuntimeConfig
from pipeline.data.block_file import BlockFile
from pipeline.data.divided_array import cached_by_main, cached_together
from pipeline.engines import ENGINES, Site
from pipeline.run.atomic_files import writing

if TYPE_CHECKING:
    from pipeline.data.feature_cache import Features

BATCH = 128
LOCAL = "local"


def stored_features(source: Features, path: Path, shape: tuple[int, ...], config: RuntimeConfig) -> np.ndarray:
    """The features of all images from a .npy file of that shape, which is written if it is missing or damaged.

    All processes of the source's runtime must call it. With the engine `local` each computes a share; another engine has
    workers of its own, which the first process starts.
    """
    if source.runtime.world > 1 and config.engine == LOCAL:
        return cached_together(path, shape, lambda: _divided_blocks(source), source.runtime, mapped=True)
    return cached_by_main(path, shape, partial(_encode, source, shape, config), source.runtime, mapped=True)


@dataclass(frozen=True)
class BuildEncoder:
    """Builds an encoder where it is called; the prefix travels with it, the pixels are read from the cache there."""

    source: Features

    def __call__(self, site: Site) -> Encoder:
        return Encoder(self.source.on(site.device))


class Encoder:
    """Maps batches of rows to the bytes of their prefix outputs, float32."""

    def __init__(self, source: Features) -> None:
        self.source = source

    def __call__(self, batches: Iterator[Tensor]) -> Iterator[bytes]:
        for rows in batches:
            yield self.source.batch(rows).cpu().numpy().astype("<f4", copy=False).tobytes()

    def close(self) -> None:
        pass


def _encode(source: Features, shape: tuple[int, ...], config: RuntimeConfig, path: Path) -> None:
    """Write the outputs for every image to a .npy file of that shape; resumes after the last complete batch.

    Written sequentially, since a memory map on a full disk would end the process with SIGBUS.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    batches = torch.arange(len(source)).split(BATCH)
    with writing(path), BlockFile(path, header.getvalue()) as file:
        left = batches[file.done :]
        outputs = ENGINES.get(config.engine).map_batches(
            BuildEncoder(source), iter(left), count=len(left), runtime=config, device=source.device, block=1
        )
        with closing(outputs):
            progress = tqdm(
                outputs, "features", len(batches), initial=file.done, unit="batch", leave=False, disable=None
            )
            for output in progress:
                file.add(output)
        file.finish()


def _divided_blocks(source: Features) -> Iterator[np.ndarray]:
    count = -(-len(source) // (BATCH * source.runtime.world))
    for block in tqdm(divided_rows(source), "features", count, unit="batch", leave=False, disable=None):
        yield block.cpu().numpy()


def divided_rows(features: Features) -> Iterator[Tensor]:
    """The features of all images in order, in parts of BATCH images per process; each process computes its share of a part.

    All processes must call it.
    """
    runtime = features.runtime
    for rows in torch.arange(len(features)).split(BATCH * runtime.world):
        share = runtime.share(len(rows))
        yield runtime.gather(features.batch(rows[share.positions]), share)
