"""Must learn, end to end in one process: trivial images, and real photographs where they are present."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from pipeline.config import Config, load_config
from pipeline.config.teachers import ReplayConfig
from pipeline.data.gold_labels import read_gold_labels
from pipeline.data.image_table import ImageTable
from pipeline.data.sources.base import identity
from pipeline.data.sources.folder import FolderSource
from pipeline.errors import UserError
from pipeline.learning.environment import Environment
from pipeline.models.serialization import load_model, weights_hash
from pipeline.run.atomic_files import read_json
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.workspace import open_workspace
from pipeline.tracking.metrics_log import Metrics
from stages.cli import STAGES
from stages.collect.teachers.replay import read_recorded
from stages.ppo import run as ppo
from stages.ppo.start import choose_start

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def run(config: Config) -> dict[str, Any]:
    for _, module, _ in STAGES:
        importlib.import_module(module).run(config)
    summary: dict[str, Any] = read_json(config.runs / config.name / "summary.json")
    return summary


@pytest.mark.draws
@pytest.mark.parametrize("question", [pytest.param("comparison", marks=pytest.mark.long), "label"])
def test_stripes_and_chequerboards(
    image_folder: Callable[..., Path], tmp_path: Path, question: str, stripes_config: Callable[..., Config]
) -> None:
    """Three classes that two labelled images each do not teach, and judgments do.

    Of comparisons a third may be about two wrong labels, which the teacher answers by a coin.
    """
    root = image_folder(classes=3, train=40, test=20)
    objective = {"comparison": "bradley_terry", "label": "supervised"}[question]
    config = stripes_config(root, tmp_path / "runs", collect={"question": question}, reward={"objective": objective})
    summary = run(config)
    assert summary["reward"]["heldout_accuracy"] > {"comparison": 0.6, "label": 0.9}[question]
    assert summary["policy"]["accuracy"] > 0.9
    assert summary["policy"]["attained"] > 0.8
    assert summary["policy"]["attained_heldout"] > 0.7


def test_frozen_models_stay_frozen(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    """PPO changes neither reference nor reward model, BatchNorm's buffers included."""
    config = stripes_config(
        image_folder(classes=3, train=20, test=10),
        tmp_path / "runs",
        images={"augment": {"shift": 2}},
        ppo={"augment": True, "refresh_batchnorm": True, "iterations": 3},
    )
    run(config)
    environment = Environment.open(open_workspace(config))
    environment.check_frozen()
    start = choose_start(environment)
    pieces = start.pieces
    with Metrics(None) as metrics:
        ppo.optimise(environment, pieces, start.features, metrics=metrics, checkpoints=Checkpoints(None, ""))
    environment.check_frozen()
    trained, _, _ = load_model(config.runs / config.name / "ppo" / "model.safetensors", "policy")
    assert weights_hash(pieces.network) == weights_hash(trained), "and the same seed gives the same policy"
    norms = [module for module in environment.reward_model.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].running_mean += 1e-6
    with pytest.raises(RuntimeError, match="frozen reward model was changed"):
        environment.check_frozen()


def test_without_any_gold_label(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    """A flat folder, named classes, recorded judgments: everything runs, figures that need gold labels are null."""
    source = image_folder(classes=2, train=60)
    flat, lines = tmp_path / "flat", ["image,label"]
    flat.mkdir()
    for path in sorted(source.rglob("*.png")):
        path.rename(flat / f"{path.parent.name}{path.name}")
        lines.append(f"{path.parent.name}{path.name},{path.parent.name}")
    (tmp_path / "votes.csv").write_text("\n".join(lines))
    config = stripes_config(
        flat,
        tmp_path / "runs",
        images={"classes": ["a", "b"]},
        reference={"labelled_per_class": 0},
        collect={
            "question": "label",
            "teacher": "replay",
            "count": None,
            "replay": {"csv": str(tmp_path / "votes.csv")},
        },
        reward={"objective": "supervised"},
    )
    summary = run(config)
    assert summary["reference"]["accuracy"] is None
    assert summary["policy"]["accuracy"] is None
    assert summary["policy"]["kl_star"] <= np.log(2) + 1e-6
    assert summary["policy"]["attained_heldout"] > 0.7
    assert summary["reward"]["heldout_accuracy"] > 0.9


def test_labels_that_are_not_there_are_asked_for(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    config = stripes_config(image_folder(), tmp_path / "runs", reference={"labelled_per_class": 13})
    with pytest.raises(UserError, match=r"class 'a' has 12 labelled training images"):
        run(config)


def test_given_checkpoint_becomes_the_reference(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    root = image_folder()
    first = stripes_config(root, tmp_path / "runs")
    importlib.import_module("stages.reference.run").run(first)
    made = tmp_path / "runs" / "default" / "reference" / "model.safetensors"
    again = stripes_config(root, tmp_path / "other", reference={"checkpoint": str(made)})
    importlib.import_module("stages.reference.run").run(again)
    copied, _, _ = load_model(tmp_path / "other" / "default" / "reference" / "model.safetensors", "policy")
    original, _, _ = load_model(made, "policy")
    assert weights_hash(copied) == weights_hash(original)
    wrong = stripes_config(image_folder("three", classes=3), tmp_path / "third", reference={"checkpoint": str(made)})
    with pytest.raises(UserError, match="made for the classes a, b, not a, b, c"):
        importlib.import_module("stages.reference.run").run(wrong)


@pytest.mark.long
def test_ants_and_bees(shared: Path, tmp_path: Path) -> None:
    """Real photographs, pretrained SqueezeNet, head only: PPO beats the reference and reaches the optimum."""
    weights = shared / "weights" / "squeezenet1_1_imagenet.safetensors"
    given = [f"images.root={shared / 'data' / 'hymenoptera'}", f"model.weights={weights}", f"runs={tmp_path}"]
    summary = run(load_config(CONFIGS / "ants_bees.yaml", given))
    skipped = (tmp_path / "ants_bees" / "images.csv").read_text()
    assert "imageNotFound.gif" in skipped
    assert summary["policy"]["accuracy"] > summary["reference"]["accuracy"]
    assert summary["policy"]["accuracy"] > 0.75
    assert summary["policy"]["attained"] > 0.99


def test_recorded_votes_of_real_people(shared: Path) -> None:
    """CIFAR-10N: 30,000 labels by people, 18 % of them wrong, all attached to the right images, which are not decoded."""
    root = shared / "data" / "cifar10n"
    source = FolderSource(root)
    entries = [entry for entry in source.entries() if not entry.outside]
    ids, keys, splits = (
        np.array(values, dtype=object)
        for values in zip(*((identity(source.read(e.key, 2**20)), e.key, e.split) for e in entries), strict=True)
    )
    table = ImageTable(source, ids, keys, splits, ())
    classes = tuple(sorted(folder.name for folder in (root / "train").iterdir()))
    found = read_recorded(ReplayConfig(csv=root / "human_labels.csv", annotator_column="vote"), table, classes)
    assert len(found.rows) == 30_000
    gold = read_gold_labels(table, classes)
    assert (found.labels != gold.labels[found.rows]).mean() == pytest.approx(0.18, abs=0.01)


def test_ties_are_learned_and_few_judgments_do_not_break(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    """Every answer a tie; then three judged images."""
    root = image_folder(classes=3, train=10, test=5)
    teacher = {"count": 20, "simulated": {"name": "custom", "eps_equal": 9.0}}
    tied = stripes_config(root, tmp_path / "ties", collect=teacher, reward={"epochs": 2, "start": "reference"})
    few = stripes_config(root, tmp_path / "few", collect={"count": 3}, reward={"epochs": 2, "start": "reference"})
    for config in (tied, few):
        for _, module, _ in STAGES[:3]:
            importlib.import_module(module).run(config)
    ties, rest = (read_json(c.runs / "default" / "reward" / "result.json")["reward"] for c in (tied, few))
    assert ties["tie"] > 0
    assert ties["chance"] == 1, "always saying that it is a tie"
    assert ties["verdict"] in ("needs more judgments", "no better than chance")
    assert np.isfinite(ties["heldout_log_loss"])
    assert rest["tie"] == 0
    assert np.isfinite(rest["heldout_log_loss"])
