"""Cached features and scores: a damaged file is computed again and never used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import parse_config
from pipeline.data import cached_array as module
from pipeline.data.cached_array import cached_array
from pipeline.models.backbone import build_network
from pipeline.run.workspace import Workspace, open_workspace

WHOLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def flipped(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "one bit": flipped,
    "cut": lambda data: data[:-7],
    "only its header": lambda data: data[:128],
    "empty": lambda _: b"",
    "text": lambda _: b"hello",
    "another shape": lambda data: data.replace(b"(4, 3)", b"(3, 4)"),
    "another type": lambda data: data.replace(b"<f4", b"<i4"),
    "a header that is no Python": lambda data: data.replace(b"{'descr'", b"{{{{{{{{"),
}


@pytest.fixture(autouse=True)
def another_process() -> None:
    """Nothing was read before."""
    module._VERIFIED.clear()


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(
    tmp_path: Path, damage: str, mapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Path] = []

    def write(path: Path) -> None:
        made.append(path)
        with path.open("wb") as file:
            np.save(file, WHOLE)

    path = tmp_path / "scores" / "a.npy"
    for _ in range(2):
        assert np.array_equal(cached_array(path, (4, 3), write, mapped=mapped), WHOLE)
    assert len(made) == 1
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert np.array_equal(cached_array(path, (4, 3), write, mapped=mapped), WHOLE)
    assert len(made) == 2
    assert f"{path}: " in caplog.text
    assert "it is computed again" in caplog.text


def test_without_a_checksum_it_is_made_again(tmp_path: Path) -> None:
    """As the caches of earlier versions are, and one whose process was killed before the checksum was written."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, WHOLE)

    path = tmp_path / "a.npy"
    path.write_bytes(b"")
    with path.open("wb") as file:
        np.save(file, WHOLE + 1)
    assert np.array_equal(cached_array(path, (4, 3), write, mapped=True), WHOLE)


@pytest.mark.parametrize("kind", ["features", "scores"])
def test_damage_changes_no_score(image_folder: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    """Through the workspace: the same scores, whatever became of what is cached. The clock is set back a year besides."""
    tree = {
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder()), "size": 32},
        "model": {"backbone": "squeezenet1_1", "weights": "none", "trainable": "head"},
    }

    def scores() -> tuple[Workspace, torch.Tensor]:
        module._VERIFIED.clear()
        ws = open_workspace(parse_config(tree, "test"))
        network = build_network(ws.config.model, 2, 0)
        torch.nn.init.normal_(network.classifier[-1].weight, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, operator, index, arg-type]
        return ws, ws.scores(*ws.cut(network))

    ws, before = scores()
    (file,) = (ws.run.cache / kind).glob("*.npy")
    file.write_bytes(flipped(file.read_bytes()))
    os.utime(file, (1.6e9, 1.6e9))
    if kind == "features":
        for table in (ws.run.cache / "scores").glob("*.npy"):
            table.unlink()
    assert torch.equal(scores()[1], before)
