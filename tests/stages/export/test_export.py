"""What is exported answers as PyTorch does, with any number of images, and stands whole or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.export_packages import needs
from torch import Tensor

from pipeline.config import Config, RuntimeConfig
from pipeline.errors import UserError
from pipeline.models.predictor import Predictor
from stages.export.graph import EXTRA, PixelsToClasses
from stages.export.run import FORMATS, run
from stages.export.verify_export import TOLERANCE

pytestmark = pytest.mark.long  # three exports by the command take ten seconds

ROOT = Path(__file__).resolve().parents[3]
CPU = RuntimeConfig(device="cpu")


def folder_of(config: Config) -> Path:
    return config.runs / config.name / "export"


def test_images(config: Config) -> list[Path]:
    assert config.images.root is not None
    return sorted(config.images.root.rglob("test/*/*.png"))


test_images.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def exported(finished: Config) -> Config:
    """All three formats, by the command, which has nothing to say but what it made."""
    needs(*FORMATS)
    (folder_of(finished).parent / "c.json").write_text(json.dumps(finished.model_dump(mode="json")))
    command = [
        sys.executable,
        "-m",
        "support.tiny_network",
        "export",
        "--config",
        str(folder_of(finished).parent / "c.json"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=finished.runs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no library's warnings"
    assert done.stdout.startswith(
        "export      largest difference of a probability to PyTorch's, on 20 evaluation images"
    )
    assert [Path(line.split()[0]).name for line in done.stdout.splitlines()[1:]] == [
        "model.onnx",
        "model.pt2",
        "huggingface",
    ]
    return finished


@pytest.mark.long
def test_onnx_answers_as_the_predictor(exported: Config) -> None:
    """Decoded and cropped by the predictor, computed by onnxruntime; the file says what it wants."""
    onnxruntime = pytest.importorskip("onnxruntime")
    predictor = Predictor.load(folder_of(exported).parent, CPU)
    session = onnxruntime.InferenceSession(str(folder_of(exported) / "model.onnx"), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", 32, 32, 3])
    assert [(out.name, out.shape) for out in session.get_outputs()] == [
        ("probabilities", ["batch", 2]),
        ("logits", ["batch", 2]),
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(predictor.classes)
    assert (facts["size"], facts["resize"], facts["weights_sha256"]) == ("32", "34", predictor.weights)
    pixels = np.stack([predictor.prepare(path) for path in test_images(exported)])
    expected = predictor.log_probs(pixels)
    assert expected.exp().std(0).max() > 0.05, "a policy that says the same of every image would agree with anything"
    for size in (1, 7, 20):
        probabilities, logits = session.run(None, {"pixels": pixels[:size]})
        assert np.abs(probabilities - expected[:size].exp().numpy()).max() <= TOLERANCE
        assert (torch.from_numpy(logits).softmax(-1) - expected[:size].exp()).abs().max() <= TOLERANCE


def test_torch_export_answers_as_the_predictor(exported: Config) -> None:
    predictor = Predictor.load(folder_of(exported).parent, CPU)
    extra = {EXTRA: ""}
    module = torch.export.load(folder_of(exported) / "model.pt2", extra_files=extra).module()
    assert json.loads(json.loads(extra[EXTRA])["classes"]) == list(predictor.classes)
    pixels = torch.from_numpy(np.stack([predictor.prepare(path) for path in test_images(exported)]))
    for size in (1, 7, 20):
        probabilities, _ = module(pixels[:size])
        assert (probabilities - predictor.log_probs(pixels[:size]).exp()).abs().max() <= TOLERANCE


def test_the_folder_loads_and_predicts_the_same(exported: Config, tmp_path: Path) -> None:
    """Anywhere: it is moved away from its run first."""
    moved = (folder_of(exported) / "huggingface").rename(tmp_path / "model")
    of_run, of_folder = Predictor.load(folder_of(exported).parent, CPU), Predictor.load(moved, CPU)
    assert of_folder.predict(test_images(exported)) == of_run.predict(test_images(exported))
    assert of_folder.weights == of_run.weights
    config = json.loads((moved / "config.json").read_text())
    assert [config["id2label"][str(number)] for number in range(config["num_labels"])] == list(of_run.classes)
    assert config["label2id"] == {name: number for number, name in enumerate(of_run.classes)}
    assert (config["backbone"], config["image_size"], config["resize"]) == ("torchvision.models.tiny", 32, 34)
    prepared = json.loads((moved / "preprocessor_config.json").read_text())
    assert (prepared["size"], prepared["crop_size"]) == ({"shortest_edge": 34}, {"height": 32, "width": 32})
    moved.rename(folder_of(exported) / "huggingface")


def test_only_what_is_asked_for_and_again(finished: Config) -> None:
    """A second export replaces the first, a folder included, and leaves nothing else."""
    target = folder_of(finished)
    for _ in range(2):
        (target / "huggingface" / "stale").mkdir(parents=True, exist_ok=True)
        made = run(finished, ["huggingface", "torch"])
        assert list(made.differences) == [target / "model.pt2", target / "huggingface"]
        assert not (target / "huggingface" / "stale").exists()
        assert {path.name for path in target.iterdir()} <= {"huggingface", "model.pt2", "model.onnx"}


@pytest.mark.parametrize("before", [False, True])
def test_what_does_not_agree_is_not_exported(
    without_gold: Config, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Nothing new is left, and what stood there stays as it was."""
    target = folder_of(without_gold)
    if before:
        target.mkdir(exist_ok=True)
        (target / "model.pt2").write_bytes(b"earlier")

    def forward(self: PixelsToClasses, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(pixels.float().permute(0, 3, 1, 2) / 255)  # not normalised
        return logits.softmax(-1), logits

    monkeypatch.setattr(PixelsToClasses, "forward", forward)
    with pytest.raises(UserError, match=r"model\.pt2 does not agree with PyTorch.*nothing was exported"):
        run(without_gold, ["torch", "huggingface"])
    if before:
        assert [path.name for path in target.iterdir()] == ["model.pt2"]
        assert (target / "model.pt2").read_bytes() == b"earlier"
    else:
        assert not target.exists()


def test_a_missing_package_names_the_extra(finished: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name))
    with pytest.raises(
        UserError, match=r"needs onnxscript: pip install 'image-rlhf\[onnx\]'.*FORMAT=\"torch huggingface\""
    ):
        run(finished)


def test_without_a_policy_it_says_what_to_run(finished: Config) -> None:
    with pytest.raises(UserError, match="make ppo"):
        run(finished.model_copy(update={"name": "not-there"}), ["torch"])
