"""Images for the page: a slow one holds up nobody, not even the end of the server; what was replaced is said."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.adversarial_images import encode, many_scans
from pipeline.data.decode import BadImage
from pipeline.data.decode_limits import MAX_SCANS, Limits
from pipeline.data.decoder_pool import DecodingStopped
from pipeline.data.image_table import ImageTable
from pipeline.data.sources import identity
from pipeline.data.sources.folder import FolderSource
from stages.collect.image_renditions import SCREEN_PIXELS, Renditions

MEBIBYTE = 2**20


@pytest.fixture
def renditions(tmp_path: Path) -> Iterator[Renditions]:
    """A table of one small image, one large, and five slow ones."""
    (tmp_path / "small.png").write_bytes(encode(Image.new("RGB", (40, 20), (200, 10, 10)), "PNG"))
    (tmp_path / "large.png").write_bytes(encode(Image.new("RGB", (3000, 1500), (200, 10, 10)), "PNG"))
    for number in range(5):
        (tmp_path / f"slow{number}.jpg").write_bytes(many_scans(4992, MAX_SCANS) + bytes([number]))
    paths = np.array(["small.png", "large.png", *(f"slow{n}.jpg" for n in range(5))], dtype=object)
    ids = np.array([identity((tmp_path / path).read_bytes()) for path in paths], dtype=object)
    table = ImageTable(FolderSource(tmp_path), ids, paths, np.array(["train"] * 7), ())
    made = Renditions(table, Limits(25_000_000, 10.0), 10 * MEBIBYTE)
    yield made
    made.close()


@pytest.fixture
def small(renditions: Renditions) -> str:
    return str(renditions._table.ids[0])


@pytest.fixture
def large(renditions: Renditions) -> str:
    return str(renditions._table.ids[1])


def test_small_images_are_sent_as_they_are_and_large_ones_fit_a_screen(
    renditions: Renditions, small: str, large: str
) -> None:
    sent, scaled = renditions.get(small), renditions.get(large)
    assert (sent.media_type, scaled.media_type) == ("image/png", "image/jpeg")
    assert Image.open(io.BytesIO(sent.data)).size == (40, 20)
    assert Image.open(io.BytesIO(scaled.data)).size == (SCREEN_PIXELS, SCREEN_PIXELS // 2)
    assert renditions.get(large) is scaled, "kept"


def test_a_slow_image_holds_up_nobody(renditions: Renditions, small: str) -> None:
    with ThreadPoolExecutor(5) as pool:
        slow = [pool.submit(renditions.get, str(image)) for image in renditions._table.ids[2:]]
        while not renditions._decoders._slow_running:
            time.sleep(0.01)
        assert renditions.get(small).media_type == "image/png"
        assert sum(future.done() for future in slow) <= 1
        renditions.close()
        assert any(isinstance(future.exception(timeout=10), DecodingStopped) for future in slow)


@pytest.mark.skipif(os.name != "posix", reason="named pipes of this kind exist on POSIX only")
def test_a_file_that_became_something_else(renditions: Renditions, small: str, large: str, tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes((tmp_path / "large.png").read_bytes())
    with pytest.raises(BadImage, match="its content has changed since the images were listed"):
        renditions.get(small)
    (tmp_path / "small.png").unlink()
    with pytest.raises(BadImage, match="No such file"):
        renditions.get(small)
    os.mkfifo(tmp_path / "small.png")
    with pytest.raises(BadImage, match="not a regular file"):
        renditions.get(small)
    (tmp_path / "large.png").write_bytes(bytes(11 * MEBIBYTE))
    with pytest.raises(BadImage, match="too large: 11 MiB"):
        renditions.get(large)
