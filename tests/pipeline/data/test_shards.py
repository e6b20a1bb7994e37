"""Images in tar and Parquet files: the same images, splits and classes as in a folder, and damaged files refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from support.shards import sample_tar, striped, write_parquet, write_tar

from pipeline.config import ImagesConfig
from pipeline.data.gold_labels import class_names, read_gold_labels
from pipeline.data.image_table import ImageTable, read_images
from pipeline.data.pixel_cache import Pixels
from pipeline.data.sources import identity
from pipeline.data.sources.braces import expand_braces
from pipeline.data.sources.storage import common_folder
from pipeline.errors import UserError
from stages.cli import main

NUMBERS = range(24)


def opened(tmp_path: Path, source: str, root: Path | str, **settings: object) -> tuple[ImageTable, Pixels]:
    return read_images(ImagesConfig(source=source, root=root, size=16, **settings), tmp_path / "cache")  # type: ignore[arg-type]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """0 to 15 for training, 16 to 23 for evaluation, as both formats and as a folder."""
    root = tmp_path / "shards"
    sample_tar(root / "train-000.tar", range(10))
    sample_tar(root / "train-001.tar", range(10, 16))
    sample_tar(root / "val-000.tar", range(16, 24))
    write_parquet(root / "data/train-00000-of-00001.parquet", range(16))
    write_parquet(root / "data/validation-00000-of-00001.parquet", range(16, 24))
    for number in NUMBERS:
        folder = tmp_path / "folder" / ("train" if number < 16 else "val") / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.png").write_bytes(striped(number))
    return root


@pytest.mark.parametrize(
    ("source", "first"), [("webdataset", "train-000.tar/000.png"), ("parquet", "train-00000-of-00001.parquet#0")]
)
def test_shards_have_the_images_of_a_folder(shards: Path, tmp_path: Path, source: str, first: str) -> None:
    folder, pixels = opened(tmp_path, "folder", tmp_path / "folder")
    for _ in range(2):  # listed, and from the cache
        table, read = opened(tmp_path, source, shards)
        assert table.fingerprint == folder.fingerprint, "the same contents in the same splits"
        assert list(table.ids) == sorted(identity(striped(number)) for number in NUMBERS)
        assert torch.equal(read.batch(torch.arange(24)), pixels.batch(torch.arange(24)))
        row = table.position[identity(striped(0))]
        assert table.paths[row] == first
        assert table.read(table.ids[row], 2**20) == striped(0)
        classes = class_names(table, None)
        expected = [int(folder.source.label(path) or 0) for path in folder.paths]
        assert read_gold_labels(table, classes).labels.tolist() == expected
    assert classes == {"webdataset": ("0", "1"), "parquet": ("lying", "upright")}[source]


def test_a_shard_that_is_added_is_the_only_one_read(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.data.sources.webdataset import WebDatasetSource

    opened(tmp_path, "webdataset", shards)
    sample_tar(shards / "train-002.tar", range(30, 34))
    read: list[str] = []
    one = WebDatasetSource.read
    monkeypatch.setattr(WebDatasetSource, "read", lambda self, key, most: read.append(key) or one(self, key, most))
    table, _ = opened(tmp_path, "webdataset", shards)
    assert len(table) == 28
    assert sorted(read) == [f"train-002.tar/{number:03}.png" for number in range(30, 34)]


def test_folders_of_members_are_splits_and_classes(tmp_path: Path) -> None:
    members = {f"./{split}/{'ab'[n % 2]}/{n}.png": striped(n) for n, split in enumerate(["train"] * 6 + ["test"] * 4)}
    write_tar(tmp_path / "images.tar", members | {"readme.md": b"# no image"})
    table, _ = opened(tmp_path, "webdataset", tmp_path / "images.tar")
    assert (len(table.rows("train")), len(table.rows("evaluation"))) == (6, 4)
    assert [(s.path, s.reason) for s in table.skipped] == [
        ("images.tar/readme.md", "not an image, or a format that is not supported")
    ]
    assert class_names(table, None) == ("a", "b")


def test_of_two_members_of_one_name_the_later_counts(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", {f"{n}.png": striped(n) for n in range(12)})
    other = write_tar(tmp_path / "more.bin", {"3.png": striped(99)})
    path.write_bytes(
        path.read_bytes().rstrip(b"\0") + b"\0" * (-len(path.read_bytes().rstrip(b"\0")) % 512) + other.read_bytes()
    )
    table, _ = opened(tmp_path, "webdataset", path, heldout_fraction=0.4)
    assert identity(striped(99)) in table.position
    assert identity(striped(3)) not in table.position


def test_numbers_of_classes_and_rows_without_image_or_label(tmp_path: Path) -> None:
    table = pa.table({"photo": [striped(0), None, *(striped(n) for n in range(1, 9))], "y": [1, 0, -1, *[0] * 7]})
    pq.write_table(table, tmp_path / "x.parquet")
    read, _ = opened(
        tmp_path,
        "parquet",
        tmp_path,
        image_column="photo",
        label_column="y",
        classes=["ant", "bee"],
        heldout_fraction=0.5,
    )
    assert [(s.path, s.reason) for s in read.skipped] == [("x.parquet#1", "empty: the row has no image")]
    labels = dict(zip(read.ids, read_gold_labels(read, class_names(read, ["ant", "bee"])).labels, strict=True))
    assert [labels[identity(striped(n))] for n in range(3)] == [1, -1, 0]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1400])


def without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes().rstrip(b"\0") + b"\0" * 100)


def damaged_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"003.png") + 148 : data.index(b"003.png") + 156] = b"9999999\0"
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, r"train-000\.tar: not a readable tar file: .*; copy it again, or leave it out"),
        (without_end, r"train-000\.tar: not a readable tar file: "),
        (damaged_header, r"train-000\.tar: not a readable tar file: no member and no end of the archive at byte"),
        (lambda path: path.write_bytes(b"no tar" * 200), r"train-000\.tar: not a readable tar file"),
        (lambda path: path.write_bytes(gzip.compress(path.read_bytes())), r"compressed by gzip.*unpack it to a \.tar"),
    ],
)
def test_a_damaged_tar_is_refused(shards: Path, tmp_path: Path, damage: object, message: str) -> None:
    damage(shards / "train-000.tar")  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        opened(tmp_path, "webdataset", shards)


def test_damaged_parquet_files_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"there is no column 'photo'; its columns are image, label; set images\.image_column"
    ):
        opened(tmp_path, "parquet", shards, image_column="photo")
    with pytest.raises(UserError, match=r"the column 'label' has int64, not the bytes of image files"):
        opened(tmp_path, "parquet", shards, image_column="label")
    path = shards / "data/train-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"not a readable Parquet file: .*; copy it again, or leave it out"):
        opened(tmp_path, "parquet", shards)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("{source: webdataset, root: 'shards/train-{000..009}.tar'}", "train-002.tar is missing, one of the 10 files"),
        ("{source: parquet, root: shards, image_column: photo}", "there is no column 'photo'"),
        ("{source: webdataset, root: shards/data/train-00000-of-00001.parquet}", "not a readable tar file"),
        ("{source: parquet, root: nowhere}", "there is no file *.parquet in"),
    ],
)
def test_the_command_ends_with_one_sentence(shards: Path, tmp_path: Path, images: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(f"images: {images}\nmodel: {{backbone: shufflenet_v2_x0_5, weights: none}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = CliRunner().invoke(main, ["reference", "--config", "c.yaml"])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_roots_that_name_nothing(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train-002\.tar is missing, one of the 3 files of .*change the range"):
        opened(tmp_path, "webdataset", f"{shards}/train-{{000..002}}.tar")
    with pytest.raises(UserError, match=r"there is no file \*\.parquet in"):
        opened(tmp_path, "parquet", tmp_path / "folder")
    with pytest.raises(ValueError, match=r"images\.root is needed: the \.tar files that hold the images"):
        ImagesConfig(source="webdataset")


def test_the_common_folder_of_addresses() -> None:
    """Of shards, below which the folders say the split: an address keeps its two slashes."""
    assert common_folder({"https://host/test-bucket/train", "https://host/test-bucket/more"}) == (
        "https://host/test-bucket"
    )
    assert common_folder({"/data/a/train", "/data/a"}) == "/data/a"
    assert common_folder({"bucket/ab", "bucket/ac"}) == "bucket"
    assert common_folder({"one/folder"}) == "one/folder"


def test_ranges_in_braces() -> None:
    assert expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("{train,val}-{0..1}") == ["train-0", "train-1", "val-0", "val-1"]
    assert expand_braces("{x}.tar") == ["{x}.tar"]
    with pytest.raises(UserError, match=r"\{3\.\.1\} in .* ends before it starts; write \{1\.\.3\}"):
        expand_braces("{3..1}.tar")
    with pytest.raises(UserError, match="more than 1000000 files"):
        expand_braces("{0..9999999}")


def test_shards_that_webdataset_wrote(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with webdataset.TarWriter(str(tmp_path / "train-000000.tar")) as writer:
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
            writer.write(
                {"__key__": f"sample{number:04}", "png": pixels, "cls": number % 3, "json": {"number": number}}
            )
    table, _ = opened(tmp_path, "webdataset", tmp_path / "train-000000.tar", heldout_fraction=0.4)
    assert len(table) == 12
    assert not table.skipped
    labels = read_gold_labels(table, class_names(table, None)).labels
    assert labels.tolist() == [int(path[-8:-4]) % 3 for path in table.paths]
