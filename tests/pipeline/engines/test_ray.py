"""The engine `ray` with Ray on this machine: order, killed workers, failures, and features bit for bit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from support.installed import needs_packages
from support.ray_workers import BuildTrace, notes

from pipeline.config import ImagesConfig, ModelConfig, RuntimeConfig
from pipeline.data.feature_cache import load_features
from pipeline.data.image_table import read_images
from pipeline.data.resize import Transform
from pipeline.engines import ENGINES
from pipeline.errors import UserError
from pipeline.models.backbone import build_network, split

# Ray uses its own deprecated options.
pytestmark = [pytest.mark.long, needs_packages("ray"), pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
TWO = RuntimeConfig(engine="ray", ray_workers=2, threads=1, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    """A Ray that the program started itself, which the engine uses and leaves running."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False)
    yield
    assert ray.is_initialized()
    ray.shutdown()


def mapped(build: BuildTrace, count: int) -> list[int]:
    return list(ENGINES.get("ray").map_batches(build, iter(range(count)), count=count, runtime=TWO, device=CPU))


def test_a_killed_worker_costs_its_block(tmp_path: Path) -> None:
    """40 batches in blocks of 5; the worker of batches 15 to 19 is killed at 17."""
    assert mapped(BuildTrace(tmp_path, kill_at=17), 40) == [10 * n for n in range(40)]
    computed = Counter(notes(tmp_path / "computed"))
    assert computed == Counter([*range(40), 15, 16])
    built = notes(tmp_path / "built")
    assert len(built) == len(set(built)) <= 3, "one load per process"


def test_what_kills_every_worker_ends_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 workers in turn died at the same block, which begins with 2;"):
        mapped(BuildTrace(tmp_path, kill_at=2, always=True), 4)
    assert len(notes(tmp_path / "killed")) == 3


def test_an_error_of_a_worker_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^node .+ \([0-9.]+\): /data/x: no such file$"):
        mapped(BuildTrace(tmp_path, problem="/data/x: no such file"), 3)


def test_batches_without_a_known_number_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As names on standard input: no more are taken than one dataset holds."""
    monkeypatch.setattr("pipeline.engines.ray_engine.SEGMENT_BLOCKS", 3)
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    one = TWO.model_copy(update={"ray_workers": 1})
    results = ENGINES.get("ray").map_batches(BuildTrace(tmp_path), batches(), count=None, runtime=one, device=CPU)
    assert list(islice(results, 30)) == [10 * n for n in range(30)]
    results.close()
    assert len(taken) == 48, "two datasets of three blocks of eight"


def test_features_are_the_same_bit_for_bit_and_resumed(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five batches of eight: by this process, by two workers, and by both in turn."""
    monkeypatch.setattr("pipeline.data.encoding.BATCH", 8)
    images = ImagesConfig(root=image_folder(), size=32)
    table, pixels = read_images(images, tmp_path / "cache")
    pieces = split(build_network(ModelConfig(weights="none"), 2, seed=0), "last_block")
    one = RuntimeConfig(threads=1, device="cpu")

    def stored(folder: str, runtime: RuntimeConfig) -> bytes:
        features = load_features(
            pieces,
            pixels,
            table.ids,
            Transform.of(images),
            cache=tmp_path / folder,
            limit_mb=100,
            device=CPU,
            config=runtime,
        )
        assert features.stored is not None
        assert np.isfinite(features.stored).all()
        (file,) = (tmp_path / folder / "features").glob("*.npy")
        return file.read_bytes()

    expected = stored("local", one)
    assert stored("ray", TWO) == expected

    class StoppedError(Exception):
        pass

    def stops(self: object, block: bytes) -> None:
        added.append(block)
        if len(added) > 3:  # the header and two blocks
            raise StoppedError
        add(self, block)  # type: ignore[arg-type]

    from pipeline.data.block_file import BlockFile

    added: list[bytes] = []
    add = BlockFile.add
    with monkeypatch.context() as patch:
        patch.setattr(BlockFile, "add", stops)
        with pytest.raises(StoppedError):
            stored("both", one)
    added.clear()
    monkeypatch.setattr(BlockFile, "add", lambda self, block: (added.append(block), add(self, block)))
    assert stored("both", TWO) == expected
    assert len(added) == -(-len(table) // 8) - 2, "two of the blocks were there"
