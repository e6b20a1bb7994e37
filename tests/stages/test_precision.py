"""The pipeline in bfloat16: the ratio starts at 1, the same seed gives the same bits, and figures are those of float32."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pipeline_runs import fingerprint

from pipeline.config import Config, RuntimeConfig, parse_config
from pipeline.models.predictor import Predictor
from pipeline.run.atomic_files import read_json
from stages.cli import STAGES


def run_all(config: Config, name: str, precision: str) -> Path:
    """All stages under a name, with nothing cached; the run's folder."""
    tree = config.model_dump(mode="json")
    tree |= {"name": name, "runs": str(config.runs / name), "runtime": {"device": "cpu", "precision": precision}}
    for _, module, _ in STAGES:
        importlib.import_module(module).run(parse_config(tree, "test"))
    return config.runs / name / name


@pytest.mark.long
@pytest.mark.parametrize(
    ("trainable", "augment"), [("all", True), ("last_block", False), ("head", False)], ids=["all", "last_block", "head"]
)
def test_bf16(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    stripes_config: Callable[..., Config],
    trainable: str,
    augment: bool,
) -> None:
    """`update` refuses a ratio that differs from 1 by 1e-4, so that a finished run shows that none did."""
    config = stripes_config(
        image_folder(classes=3, train=20, test=20),
        tmp_path / "runs",
        images={"augment": {"shift": 2 if augment else 0}},
        model={"trainable": trainable, "backbone": "tiny"},
        reward={"optimiser": "adamw", "lr": 0.1 if trainable == "head" else 3e-3, "curve": []},
        ppo={"start": "reference", "augment": augment, "refresh_batchnorm": augment, "lr": 0.01},
    )
    low, again, high = (run_all(config, *of) for of in (("a", "bf16"), ("b", "bf16"), ("c", "fp32")))
    assert fingerprint(low) == fingerprint(again)
    assert fingerprint(low) != fingerprint(high)
    policies = [read_json(run / "summary.json")["policy"] for run in (low, high)]
    assert policies[0]["attained"] > 0.3
    assert policies[0]["attained"] == pytest.approx(policies[1]["attained"], abs=0.1)


def test_predictions(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> None:
    """One policy in both precisions."""
    root = image_folder(classes=3, train=20, test=20)
    run = run_all(stripes_config(root, tmp_path / "runs"), "a", "fp32")
    images = sorted(root.rglob("test/*/*.png"))
    high, low = (
        Predictor.load(run, RuntimeConfig(device="cpu", precision=precision)) for precision in ("fp32", "bf16")
    )  # type: ignore[arg-type]
    assert (high.bf16, low.bf16) == (False, True)
    differences = [
        abs(one.probabilities[name] - other.probabilities[name])
        for one, other in zip(high.predict(images), low.predict(images), strict=True)
        for name in high.classes
    ]
    assert 0 < max(differences) < 0.05
    assert low.weights == high.weights
