"""Metrics, features, schedules and random streams, against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config import AugmentConfig, ImagesConfig, ModelConfig
from pipeline.data.feature_cache import load_features
from pipeline.data.gold_labels import GoldLabels
from pipeline.data.image_table import read_images
from pipeline.data.resize import Transform
from pipeline.data.score_tables import cached_scores, score
from pipeline.learning.optimisers import warmup_cosine, warmup_linear
from pipeline.learning.statistics import expected_calibration_error, fit_temperature, gold_accuracy, wilson_interval
from pipeline.models.backbone import build_network, split
from pipeline.run.runtime import Stream, generator, minibatches
from pipeline.tracking.metrics_log import Metrics


def test_wilson_interval_by_hand() -> None:
    """p = 8/10, z = 1.96: centre (p + z^2/2n) / (1 + z^2/n), half width z sqrt(pq/n + z^2/4n^2) / (1 + z^2/n)."""
    z, n, p = 1.959964, 10, 0.8
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert wilson_interval(8, 10) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    """Two of confidence .9, one right: gap .4; two of .6, both right: gap .4; ECE = .4."""
    log_p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]).log()
    assert expected_calibration_error(log_p, torch.tensor([0, 1, 0, 1])) == pytest.approx(0.4, abs=1e-6)


def test_temperature_is_found() -> None:
    """Labels drawn from softmax(logits): multiplying the logits by 3 makes 3 the best temperature."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, generator=random)
    labels = torch.multinomial(torch.softmax(logits, -1), 1, generator=random)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)


def test_accuracy_counts_known_labels_only() -> None:
    gold = GoldLabels(("a", "b"), np.array([0, 1, -1, 0]))
    scores = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    assert gold_accuracy(scores, gold, np.arange(4)) == pytest.approx(2 / 3)
    assert gold_accuracy(scores, gold, np.array([2])) is None
    with pytest.raises(ValueError, match="without a gold label"):
        gold.utility(np.array([2]))


def test_schedules() -> None:
    cosine = [warmup_cosine(step, 100, 0.1) for step in range(100)]
    assert cosine[0] == pytest.approx(0.1)
    assert max(cosine) == cosine[9] == 1
    assert cosine[55] == pytest.approx(0.5)
    assert cosine[-1] < 0.01
    linear = [warmup_linear(step, 100, 0.2) for step in range(100)]
    assert max(linear) == pytest.approx(1, abs=0.02)
    assert linear[60] == pytest.approx(0.5)
    assert linear[-1] == pytest.approx(1 / 80)
    assert warmup_linear(0, 10, 0.0) == 1


def test_minibatches_are_complete_and_none_is_tiny() -> None:
    parts = list(minibatches(torch.arange(129), 64, generator(0)))
    assert sorted(torch.cat(parts).tolist()) == list(range(129))
    assert [len(p) for p in parts] == [43, 43, 43]


def test_random_streams_are_independent_and_repeatable() -> None:
    def first(*seeds: int) -> float:
        return torch.rand(1, generator=generator(*seeds)).item()

    assert first(1, 2) == first(1, 2)
    assert len({first(a, b) for a in range(8) for b in range(8)}) == 64


def test_named_streams_are_those_of_earlier_versions() -> None:
    """The same seed gives the same results as before the streams had names."""
    values = [1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 21, 22, 23, 24, 25, 26, 27, 30, 32, 40, 50, 51, 60]
    assert [stream.value for stream in Stream] == values
    assert Stream.PPO.value == 30
    assert Stream.REWARD_DROPOUT.value == Stream.CARD_CALIBRATION.value == 25
    assert generator(3, Stream.PPO, 1).initial_seed() == generator(3, 30, 1).initial_seed()


def test_features_are_computed_once_and_exact(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImagesConfig(root=image_folder(), size=32)
    table, pixels = read_images(images, tmp_path / "cache")
    network = build_network(ModelConfig(weights="none"), 2, seed=0)
    pieces = split(network, "last_block")
    arguments = (pixels, table.ids, Transform.of(images))
    cache = tmp_path / "cache"
    rows, cpu = torch.arange(len(table)), torch.device("cpu")
    stored = load_features(pieces, *arguments, cache=cache, limit_mb=100, device=cpu)
    recomputed = load_features(pieces, *arguments, cache=cache, limit_mb=0, device=cpu)
    assert stored.stored is not None
    assert recomputed.stored is None
    assert torch.allclose(stored.batch(rows), recomputed.batch(rows), atol=1e-6)
    assert stored.batch(rows).is_contiguous(memory_format=torch.channels_last)
    moved = stored.augmented(rows, AugmentConfig(shift=2, flip=True), generator(0))
    assert torch.equal(moved, stored.batch(rows)), "stored outputs cannot be augmented"
    monkeypatch.setattr("pipeline.data.feature_cache.Features.encode", lambda *_: pytest.fail("computed again"))
    load_features(pieces, *arguments, cache=cache, limit_mb=100, device=cpu)
    whole = load_features(split(network, "all"), *arguments, cache=cache, limit_mb=100, device=cpu)
    assert (whole.prefix, whole.stored) == (None, None)
    assert len(list((cache / "features").glob("*.npy"))) == 1, "nothing is stored where all weights are trained"
    other = build_network(ModelConfig(weights="none"), 2, seed=1)
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        load_features(split(other, "last_block"), *arguments, cache=cache, limit_mb=100, device=cpu)


def test_scores_are_kept_for_these_weights_only(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    images = ImagesConfig(root=image_folder(), size=32)
    table, pixels = read_images(images, tmp_path / "cache")
    network = build_network(ModelConfig(weights="none"), 2, seed=0)
    torch.nn.init.normal_(network.fc.weight)  # type: ignore[union-attr, arg-type]
    pieces = split(network, "all")
    features = load_features(
        pieces,
        pixels,
        table.ids,
        Transform.of(images),
        cache=tmp_path / "cache",
        limit_mb=100,
        device=torch.device("cpu"),
    )

    def kept() -> torch.Tensor:
        transform = Transform.of(images)
        return cached_scores(
            network, pieces.suffix, features, ids=table.ids, transform=transform, cache=tmp_path / "cache"
        )

    first = kept()
    assert torch.equal(first, score(pieces.suffix, features))
    assert torch.equal(first, kept())
    with torch.no_grad():
        network.fc.bias += 1  # type: ignore[union-attr, operator]
    assert torch.allclose(kept(), first + 1, atol=1e-5)


def test_metrics_file(tmp_path: Path) -> None:
    with Metrics(tmp_path / "m.csv") as metrics:
        metrics.add(step=1, loss=0.5, accuracy=None)
        metrics.add(step=2, loss=0.25, accuracy=0.75)
    frame = pd.read_csv(tmp_path / "m.csv")
    assert frame["step"].tolist() == [1, 2]
    assert math.isnan(frame["accuracy"][0])
    assert frame["accuracy"][1] == 0.75
