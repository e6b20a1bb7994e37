"""Each part of a transformers network that can be trained: the whole pipeline, interrupted, exported, and read again."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.hub_models import hf_classifier, hf_clip
from support.installed import needs_packages
from support.pipeline_runs import fingerprint

from pipeline.config import Config, parse_config
from pipeline.data.transforms import normalise
from pipeline.errors import Stopped, UserError
from pipeline.models.predictor import Predictor
from pipeline.models.sources.hf_source import HuggingFaceSource
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import open_workspace
from stages.cli import STAGES

pytestmark = needs_packages("transformers", "peft")


def run(config: Config) -> None:
    for _, module, _ in STAGES:
        importlib.import_module(module).run(config)


@pytest.mark.parametrize("trainable", ["head", "last_block", "all", "lora"])
@pytest.mark.long
def test_trains_resumes_reloads_and_exports(
    image_folder: Callable[..., Path],
    stripes_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainable: str,
) -> None:
    backbone = f"hf:{hf_classifier(tmp_path / 'model')}"
    root = image_folder(classes=3, train=12, test=6)

    def make(name: str) -> Config:
        whole = stripes_config(
            root,
            tmp_path / name,
            images={"size": 32},
            model={"backbone": backbone, "weights": "imagenet", "trainable": trainable, "lora_rank": 2},
            runtime={"checkpoint_seconds": 0},
            reward={"start": "reference", "epochs": 3, "curve": []},
            ppo={"start": "reference", "iterations": 3, "batch_size": 24, "minibatch_size": 12},
        )
        return parse_config(whole.model_dump(mode="json"), "test")

    whole, broken = make("whole"), make("broken")
    run(whole)
    update, calls = importlib.import_module("stages.ppo.run").update, []

    def interrupted(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return update(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr("stages.ppo.run.update", interrupted)
        with pytest.raises(Stopped):
            run(broken)
    run(broken)
    folder, other = (config.runs / config.name for config in (whole, broken))
    assert fingerprint(folder) == fingerprint(other)
    stored = list(whole.runs.rglob("features/*.npy"))
    assert bool(stored) == (trainable in ("head", "last_block")), "outputs of what is trained are not stored"
    assert (folder / "ppo" / "adapters.safetensors").exists() == (trainable == "lora")
    (tmp_path / "model").rename(tmp_path / "gone")
    predictor = Predictor.load(folder, whole.runtime)
    (tmp_path / "gone").rename(tmp_path / "model")
    ws = open_workspace(whole)
    policy = ws.load_policy(folder / "ppo" / "model.safetensors")
    rows = torch.arange(8)
    expected = torch.log_softmax(ws.scores(*ws.cut(policy))[rows], -1)
    assert torch.allclose(predictor.log_probs(ws.pixels.batch(rows).numpy()), expected, atol=1e-5)
    exported = importlib.import_module("stages.export.run").run(whole, ["torch", "huggingface"])
    assert max(exported.differences.values()) < 1e-5
    from transformers import AutoModelForImageClassification

    theirs = AutoModelForImageClassification.from_pretrained(folder / "export" / "huggingface").eval()
    assert theirs.config.id2label == dict(enumerate(predictor.classes))
    with torch.no_grad():
        logits = theirs(pixel_values=normalise(ws.pixels.batch(rows), predictor.header.normalisation)).logits
    assert torch.allclose(torch.log_softmax(logits, -1), expected, atol=1e-5)
    assert read_json(folder / "summary.json")["policy"]["attained"] > 0


@pytest.fixture
def clip(image_folder: Callable[..., Path], stripes_config: Callable[..., Config], tmp_path: Path) -> Config:
    """A model that matches images with texts, and a few images."""
    backbone = f"hf:{hf_clip(tmp_path / 'model')}"
    return stripes_config(
        image_folder(classes=2, train=4, test=2),
        tmp_path / "runs",
        images={"size": 32},
        model={"backbone": backbone, "weights": "imagenet", "trainable": "head"},
    )


def test_texts_are_read_once(clip: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the reference, and the folds that calibrate it, together."""
    tree = clip.model_dump(mode="json")
    tree["reference"] |= {"kind": "zero_shot", "labelled_per_class": 2, "calibration_folds": 2, "epochs": 1}
    calls, text_head = [], HuggingFaceSource.text_head

    def counted(self: HuggingFaceSource, *arguments: Any) -> Any:
        calls.append(arguments)
        return text_head(self, *arguments)

    monkeypatch.setattr(HuggingFaceSource, "text_head", counted)
    assert importlib.import_module("stages.reference.run").run(parse_config(tree, "test"))
    assert [prompts for _, _, prompts in calls] == [(("a photo of a a.",), ("a photo of a b.",))]


def test_names_of_a_class_that_does_not_exist(clip: Config) -> None:
    """Text models take any words, so that a misspelt class would be ignored; braces in a template are no placeholders."""
    tree = clip.model_dump(mode="json")
    tree["reference"] |= {"kind": "zero_shot", "names": {"z": ["b"]}, "labelled_per_class": 0}
    run_reference = importlib.import_module("stages.reference.run").run
    with pytest.raises(UserError, match=r"reference\.names: 'z' is not one of the classes a, b; fix the name"):
        run_reference(parse_config(tree, "test"))
    tree["reference"] |= {"names": {"a": ["b"]}, "templates": ["{x} a {}"]}
    assert run_reference(parse_config(tree, "test"))
