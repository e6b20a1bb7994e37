"""Parquet files: plain columns, large row groups, and rows that are gone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.shards import striped, write_parquet

from pipeline.config import ImagesConfig
from pipeline.data.decode import BadImage
from pipeline.data.image_table import ImageTable, read_images
from pipeline.data.sources import identity
from pipeline.data.sources.parquet import ParquetSource


def opened(tmp_path: Path, **settings: object) -> ImageTable:
    config = ImagesConfig(source="parquet", root=tmp_path, size=16, heldout_fraction=0.4, **settings)  # type: ignore[arg-type]
    return read_images(config, tmp_path / "cache")[0]


def test_a_plain_column_may_be_named_like_a_part_of_a_struct(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image.bytes": [striped(n) for n in range(10)]}), tmp_path / "x.parquet")
    table = opened(tmp_path, image_column="image.bytes")
    assert table.read(identity(striped(3)), 2**20) == striped(3)


def test_rows_and_files_that_are_gone_are_bad_images(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", range(4))
    source = ParquetSource.open(ImagesConfig(source="parquet", root=tmp_path), tmp_path / "cache")
    there, gone = "train.parquet#2", ["train.parquet#4", "other.parquet#0"]
    for key in gone:
        with pytest.raises(BadImage, match="no longer there"):
            source.read(key, 2**20)
    read = list(source.read_many([there, *gone, there], 2**20))
    assert [isinstance(one, BadImage) for one in read] == [False, True, True, False]


def test_large_row_groups_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.sources.parquet.KEPT_BYTES", 0)
    monkeypatch.setattr("pipeline.data.sources.parquet.ROWS", 3)
    write_parquet(tmp_path / "train.parquet", range(20), struct=False, group=20)
    table = opened(tmp_path)
    for number in (0, 7, 19):
        assert table.read(identity(striped(number)), 2**20) == striped(number)
