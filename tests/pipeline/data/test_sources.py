"""Image sources from outside: one class, registered by name, is enough for all stages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.images import stripes

from pipeline.config import ImagesConfig, parse_config
from pipeline.data.decode import BadImage
from pipeline.data.gold_labels import class_names, read_gold_labels
from pipeline.data.image_table import read_images
from pipeline.data.sources import IMAGE_SOURCES, Entry, ImageSource
from pipeline.errors import UserError
from pipeline.ui.html import thumbnail


class MemorySource(ImageSource):
    """Images that are no files: drawn from a seed, with keys that are no paths."""

    place = "memory"
    reads = 0

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.data: dict[str, bytes] = {}
        for number in range(16):
            out = io.BytesIO()
            stripes(number % 2, random).save(out, "PNG")
            self.data[f"{('train', 'test')[number >= 10]}?{number % 2}#{number}"] = out.getvalue()

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> MemorySource:
        return cls()

    def entries(self) -> Iterator[Entry]:
        for key in self.data:
            yield Entry(key, key.split("?")[0])
        yield Entry("train?0#broken", "train")
        yield Entry("unfinished", problem="still being uploaded")
        yield Entry("other#1", "train", outside="of another project")

    def read(self, key: str, max_bytes: int) -> bytes:
        MemorySource.reads += 1
        if key == "other#1":
            return b"x" * (max_bytes + 1) if max_bytes < 100 else next(iter(self.data.values())) + b"more"
        if key not in self.data:
            raise BadImage("there is no such object")
        return self.data[key]

    def label(self, key: str) -> str | None:
        return {"0": "lying", "1": "upright"}.get(key.split("?")[1][0])

    def class_names(self) -> tuple[str, ...]:
        return ("upright", "lying")


@pytest.fixture
def memory() -> Iterator[None]:
    IMAGE_SOURCES.register("memory", MemorySource)
    yield
    IMAGE_SOURCES.unregister("memory")


@pytest.mark.usefixtures("memory")
def test_a_source_that_has_no_files(tmp_path: Path) -> None:
    table, pixels = read_images(ImagesConfig(source="memory", size=16), tmp_path / "cache")
    assert sorted(table.paths) == sorted(MemorySource().data)
    assert {skipped.path: skipped.reason for skipped in table.skipped} == {
        "train?0#broken": "there is no such object",
        "unfinished": "still being uploaded",
        "other#1": "of another project",
    }
    assert (len(table.rows("train")), len(table.rows("evaluation"))) == (10, 6)
    classes = class_names(table, None)
    assert classes == ("upright", "lying"), "in the source's order, not in that of the alphabet"
    gold = read_gold_labels(table, classes)
    assert [classes[label] for label in gold.labels] == [table.source.label(key) for key in table.paths]
    assert pixels.batch(torch.arange(len(table))).shape == (16, 16, 16, 3)
    address = thumbnail(table, table.ids[0], 10**6)
    assert address is not None
    assert address.startswith("data:image/png")


@pytest.mark.usefixtures("memory")
def test_a_source_without_stamps_is_read_again_but_not_decoded_again(tmp_path: Path) -> None:
    config = ImagesConfig(source="memory", size=16)
    first, _ = read_images(config, tmp_path / "cache")
    before = MemorySource.reads
    second, _ = read_images(config, tmp_path / "cache")
    assert MemorySource.reads > before
    assert first.fingerprint == second.fingerprint


def test_an_unknown_source_lists_the_names() -> None:
    with pytest.raises(UserError, match=r"images.source: unknown image source 'bucket'; valid names: digits, folder"):
        parse_config({"images": {"source": "bucket"}}, "test")
    with pytest.raises(UserError, match=r"images\.root is needed: the folder that holds the images"):
        parse_config({"images": {"source": "folder"}}, "test")
