"""From a decoded image to the network's input: resize, normalise, augment; the digits on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import AugmentConfig
from pipeline.data.decode import to_rgb
from pipeline.data.resize import Transform
from pipeline.data.sources.digits import write_digits
from pipeline.data.transforms import augment, normalise


def halves(width: int, height: int) -> Image.Image:
    """Upper half red, lower half blue."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2], array[height // 2 :] = (220, 30, 40), (20, 40, 230)
    return Image.fromarray(array)


def test_transform_keeps_proportions() -> None:
    out = Transform(size=16, resize=20)(halves(80, 40))
    assert out.shape == (16, 16, 3)
    assert out[0, 0, 0] > 150
    assert out[-1, 0, 2] > 150
    assert Transform(size=16, resize=16)(halves(3, 500)).shape == (16, 16, 3)


def test_normalise_leaves_its_input_alone() -> None:
    pixels = torch.full((1, 2, 2, 3), 255.0)
    assert normalise(pixels).shape == (1, 3, 2, 2)
    assert (pixels == 255).all()


def test_normalise_by_hand() -> None:
    out = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    assert torch.allclose(
        out[0, :, 0, 0], torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    )


def test_augment_moves_and_mirrors() -> None:
    image = torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5, 1).expand(200, 5, 5, 3)
    random = torch.Generator().manual_seed(0)
    assert torch.equal(augment(image, AugmentConfig(), random), image)
    mirrored = augment(image, AugmentConfig(flip=True), random)
    same = (mirrored == image).all((1, 2, 3))
    assert torch.equal(mirrored[~same], image[~same].flip(2))
    assert 60 < same.sum() < 140
    moved = augment(image, AugmentConfig(shift=1), random)
    centres = set(moved[:, 2, 2, 0].tolist())
    assert centres == {6, 7, 8, 11, 12, 13, 16, 17, 18}


def test_digits_are_written_once(tmp_path: Path) -> None:
    root = write_digits(tmp_path / "digits")
    assert len(list(root.rglob("*.png"))) == 1797
    assert len(list(root.glob("train/*/*.png"))) > 1200
    stamp = (root / "train").stat().st_mtime_ns
    write_digits(root)
    assert (root / "train").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_sixteen_bits_to_eight_by_the_high_byte(mode: str) -> None:
    """Every level of 16 bits, and what lies outside of them in 32."""
    levels = np.arange(65_536, dtype=np.int32).reshape(256, 256)
    if mode == "I":
        levels[0, :4] = [-300, -1, 65_536, 2**31 - 1]
    stored = levels if mode == "I" else levels.astype("<u2" if mode == "I;16" else ">u2")
    image = Image.frombytes(mode, (256, 256), stored.tobytes())
    assert np.array_equal(np.asarray(to_rgb(image))[..., 0], levels.clip(0, 65_535) // 256)


def test_decoding_processes_import_little() -> None:
    """Each costs its imports once more."""
    code = "import sys, pipeline.data.decoder_worker; print({'numpy', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
