"""Acceptance: one file of each kind; every good image is used, every bad one listed with its reason."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.config import ImagesConfig
from pipeline.data.decode import BadImage, decode
from pipeline.data.decoder_pool import Decoders
from pipeline.data.gold_labels import class_names, read_gold_labels
from pipeline.data.image_table import read_images
from pipeline.errors import UserError

RED, BLUE = (220, 30, 40), (20, 40, 230)


def picture(width: int = 40, height: int = 24, colour: tuple[int, int, int] = RED) -> Image.Image:
    """Upper half in one colour, lower half blue, with a little texture so that no two sizes have equal content."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2], array[height // 2 :] = colour, BLUE
    return Image.fromarray(array)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing: what a decompression bomb looks like from outside."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + ihdr
    idat = b"IDAT" + zlib.compress(b"\0" * 100)
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, idat, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def every_kind(root: Path) -> tuple[set[str], dict[str, str]]:
    """Fill root/train and root/val; returns the good files and, for the bad ones, a part of the reason."""
    folder = root / "train" / "a"
    folder.mkdir(parents=True)
    (root / "train" / "b").mkdir()
    (root / "val" / "a").mkdir(parents=True)
    picture(31).save(root / "train" / "b" / "plain.png")
    picture(32).save(root / "val" / "a" / "held.png")
    picture(33).save(folder / "photo.jpg", quality=95)
    picture(34).save(folder / "upper case.JPEG", format="JPEG", quality=95)
    picture(35).save(folder / "webp.webp", lossless=True)
    picture(36).save(folder / "bitmap.bmp")
    picture(37).save(folder / "gif.gif", save_all=True, append_images=[Image.new("RGB", (37, 24), (0, 255, 0))])
    Image.fromarray(np.linspace(0, 65535, 40 * 24).reshape(24, 40).astype(np.uint16)).save(folder / "16bit.png")
    picture(38).convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    picture(39).convert("P").save(folder / "palette.png")
    picture(39).convert("L").save(folder / "grey.png")
    transparent = picture(41).convert("RGBA")
    transparent.putalpha(0)
    transparent.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(42).save(folder / "rotated.jpg", exif=exif, quality=95)
    picture(43).save(folder / "Ünïcödé 图像 🐜.png")
    picture(44).save(folder / "no_suffix", format="PNG")
    good = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}

    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is not a picture\n" * 20)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)).save(whole, "JPEG")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "truncated.png").write_bytes((root / "train/b/plain.png").read_bytes()[:60])
    shutil.copy(root / "train/b/plain.png", folder / "copy.png")
    shutil.copy(root / "val/a/held.png", folder / "leak.png")
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (folder / "unwanted.gif").write_bytes(b"whatever")
    (folder / "dangling.png").symlink_to(root / "nowhere.png")
    (root / "labels.csv").write_text("image,label\n")
    picture(45).save(root / "beside.png")
    bad = {
        "train/a/empty.jpg": "empty",
        "train/a/text.jpg": "not an image",
        "train/a/truncated.jpg": "unreadable",
        "train/a/truncated.png": "unreadable",
        "train/a/leak.png": "duplicate: same content as val/a/held.png",
        "train/a/bomb.png": "too large",
        "train/a/unwanted.gif": "excluded by images.exclude: unwanted*",
        "train/a/dangling.png": "unreadable: No such file",
        "train/b/plain.png": "duplicate: same content as train/a/copy.png",
        "labels.csv": "not an image",
        "beside.png": "not in train/, val/",
    }
    good.discard("train/b/plain.png")  # of two copies in one split, the first by name stays
    good.add("train/a/copy.png")
    return good, bad


@pytest.fixture
def config(tmp_path: Path) -> ImagesConfig:
    return ImagesConfig(root=tmp_path / "kinds", size=24, exclude=["unwanted*"])


def test_every_kind_of_file(config: ImagesConfig, tmp_path: Path) -> None:
    assert config.root is not None
    good, bad = every_kind(config.root)
    table, pixels = read_images(config, tmp_path / "cache")
    assert set(table.paths) == good
    reasons = {s.path: s.reason for s in table.skipped}
    assert reasons.keys() == bad.keys()
    for path, part in bad.items():
        assert part in reasons[path], (path, reasons[path])
    assert len(pixels) == len(good)
    table.write(tmp_path / "images.csv")
    listed = pd.read_csv(tmp_path / "images.csv", keep_default_na=False)
    assert dict(zip(listed["path"], listed["used"], strict=True)) == {p: p in good for p in good | bad.keys()}
    assert (listed["reason"] != "").sum() == len(bad)


def test_what_a_person_would_see(config: ImagesConfig, tmp_path: Path) -> None:
    """Colours and orientation survive every format: the upper half red, the lower half blue."""
    assert config.root is not None
    every_kind(config.root)
    table, pixels = read_images(config, tmp_path / "cache")
    seen = {path: pixels.batch(torch.tensor([row]))[0].float() for row, path in enumerate(table.paths)}
    for name in ("photo.jpg", "webp.webp", "bitmap.bmp", "gif.gif", "cmyk.jpg", "palette.png", "no_suffix"):
        image = seen[f"train/a/{name}"]
        assert image[:8].mean((0, 1))[0] > 150 > 100 > image[:8].mean((0, 1))[2], name
        assert image[-8:].mean((0, 1))[2] > 150 > 100 > image[-8:].mean((0, 1))[0], name
    assert (seen["train/a/alpha.png"] == 255).all(), "transparent pixels are shown over white"
    ramp = seen["train/a/16bit.png"].mean((1, 2))
    assert ramp[0] < 30
    assert 110 < ramp[12] < 145, "16 bits are scaled, not clipped"
    assert ramp[-1] > 225
    turned = seen["train/a/rotated.jpg"]  # orientation 6: the stored top is the right side of what one sees
    assert turned[:, -8:].mean((0, 1))[0] > 150 > turned[:, :8].mean((0, 1))[0]


def test_second_reading_decodes_nothing(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ImagesConfig(root=image_folder(), size=16)
    first, _ = read_images(config, tmp_path / "cache")
    monkeypatch.setattr(Decoders, "submit_pixels", lambda *_: pytest.fail("decoded again"))
    second, pixels = read_images(config, tmp_path / "cache")
    assert first.fingerprint == second.fingerprint
    assert pixels.batch(torch.arange(len(second))).float().std() > 0


def test_identity_is_content(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = image_folder()
    config = ImagesConfig(root=root, size=16)
    before, _ = read_images(config, tmp_path / "cache")
    for number, path in enumerate(sorted(root.glob("train/*/*.png"))):
        path.rename(path.with_name(f"renamed {number}.png"))
    after, _ = read_images(config, tmp_path / "cache")
    assert list(before.ids) == list(after.ids)
    assert before.fingerprint == after.fingerprint
    assert set(before.paths) != set(after.paths)


def test_pixels_beyond_the_cache_limit_are_the_same(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    config = ImagesConfig(root=image_folder(), size=16)
    _, stored = read_images(config, tmp_path / "one")
    _, partly = read_images(config, tmp_path / "two", limit_mb=10 * 16 * 16 * 3 / 2**20)
    _, none = read_images(config, tmp_path / "three", limit_mb=0)
    rows = torch.arange(len(stored))
    assert torch.equal(stored.batch(rows), partly.batch(rows))
    assert torch.equal(stored.batch(rows), none.batch(rows))


def test_split_by_content_where_nothing_is_held_out(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    config = ImagesConfig(root=image_folder(train=60), size=16, heldout_fraction=0.25)
    table, _ = read_images(config, tmp_path / "cache")
    assert 15 <= len(table.rows("heldout")) <= 45
    assert len(table.rows("heldout")) + len(table.rows("train")) == 120


def test_flat_folder_needs_names(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = image_folder(train=20)
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        shutil.copy(path, flat / f"{number}.png")
    table, _ = read_images(ImagesConfig(root=flat, size=16), tmp_path / "cache")
    with pytest.raises(UserError, match=r"images\.classes"):
        class_names(table, None)
    classes = class_names(table, ["ant", "bee"])
    assert not read_gold_labels(table, classes).known.any()


def test_a_test_folder_may_be_added_beside_flat_images(tmp_path: Path) -> None:
    """Who judged a flat folder and then labels a few images to test on need not move the rest."""
    root = tmp_path / "images"
    for number, name in enumerate(("a.png", "album/b.png", "test/ant/c.png", "test/bee/d.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(width=20 + number).save(root / name)
    table, _ = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    split = dict(zip(table.paths, table.splits, strict=True))
    assert split == {"a.png": "train", "album/b.png": "train", "test/ant/c.png": "test", "test/bee/d.png": "test"}
    assert not table.skipped


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: None, "no usable image among 0 files"),
        (lambda root: (root / "x.txt").write_text("x"), r"no usable image among 1 files; the first: x\.txt"),
        (
            lambda root: [(root / "val/a").mkdir(parents=True), picture().save(root / "val/a/x.png")],
            "no image to train on",
        ),
    ],
)
def test_unusable_folders(tmp_path: Path, build: Callable[[Path], object], message: str) -> None:
    root = tmp_path / "images"
    root.mkdir()
    build(root)
    with pytest.raises(UserError, match=message):
        read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")


def test_one_class_or_no_folder(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    table, _ = read_images(ImagesConfig(root=image_folder(classes=1), size=16), tmp_path / "cache")
    with pytest.raises(UserError, match="only one class, 'a'"):
        class_names(table, None)
    with pytest.raises(UserError, match="there is no folder"):
        read_images(ImagesConfig(root=tmp_path / "nowhere", size=16), tmp_path / "cache")


def test_size_limits_come_before_decoding() -> None:
    with pytest.raises(BadImage, match=r"too large: 6000 x 6000 pixels, more than images\.max_pixels"):
        decode(png_header(6_000, 6_000), max_pixels=10_000)
    with pytest.raises(BadImage, match="too large"):
        decode(png_header(60_000, 60_000), max_pixels=10_000)
