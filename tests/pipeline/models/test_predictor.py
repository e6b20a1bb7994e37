"""Library use: a policy from a folder, predictions in a line; and the lines that the README shows."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.untrained_runs import CLASSES, noise_images, untrained_run

from benchmarks.untrained import make_untrained
from pipeline.config import RuntimeConfig
from pipeline.data.decode import BadImage
from pipeline.data.transforms import normalise
from pipeline.errors import UserError
from pipeline.models import predictor as predictor_module
from pipeline.models.predictor import Prediction, Predictor
from pipeline.models.serialization import weights_hash

ROOT = Path(__file__).resolve().parents[3]


def test_a_prediction_by_hand() -> None:
    said = Prediction.of(np.array([0.25, 0.5, 0.25]), CLASSES)
    assert said.label == "bee"
    assert said.confidence == 0.5
    assert said.entropy == pytest.approx(1.5 * math.log(2))
    assert said.top(2) == [("bee", 0.5), ("ant", 0.25)]
    certain = Prediction.of(np.array([0.0, 1.0, 0.0]), CLASSES)
    assert certain.entropy == 0


def test_it_is_the_network_on_the_transformed_image(tmp_path: Path) -> None:
    untrained_run(tmp_path)
    path = sorted(noise_images(tmp_path / "some", 3).iterdir())[2]
    predictor = Predictor.load(tmp_path / "runs" / "bugs", RuntimeConfig(device="cpu"))
    assert predictor.classes == CLASSES
    with Image.open(path) as image:
        pixels = predictor.header.transform(image.convert("RGB"))
    logits = predictor.network(normalise(torch.from_numpy(pixels[None].copy())))
    expected = torch.softmax(logits, -1)[0].tolist()
    assert list(predictor.predict(path).probabilities.values()) == pytest.approx(expected, abs=1e-6)


def test_a_copy_in_another_process_predicts_the_same(tmp_path: Path) -> None:
    """It is folded there once more, and the network is as it was trained."""
    config = untrained_run(tmp_path)
    model = config.model.model_copy(update={"backbone": "mobilenet_v3_small"})  # which has BatchNorm
    make_untrained(config.model_copy(update={"model": model}), CLASSES, reference=False)
    predictor = Predictor.load(tmp_path / "runs" / "bugs", RuntimeConfig(device="cpu", precision="fp32"))
    sent = pickle.dumps(predictor)
    assert len(sent) < 1.2 * sum(p.nbytes for p in predictor.network.state_dict().values()), "one network, not two"
    copied = pickle.loads(sent)
    size = predictor.header.size
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    assert torch.equal(copied.log_probs(pixels), predictor.log_probs(pixels))
    logits = copied.network(normalise(torch.from_numpy(pixels)))
    assert torch.allclose(copied.log_probs(pixels), torch.log_softmax(logits, -1), atol=1e-4)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in copied.network.modules())
    assert weights_hash(copied.network) == predictor.weights


def test_paths_bytes_and_images_one_or_many(tmp_path: Path) -> None:
    untrained_run(tmp_path)
    images = sorted(noise_images(tmp_path / "some", 70).iterdir())
    predictor = Predictor.load(str(tmp_path / "runs" / "bugs"))
    one = predictor.predict(str(images[0]))
    assert isinstance(one, Prediction)
    with Image.open(images[0]) as opened:
        for same in (images[0], images[0].read_bytes(), opened):
            assert predictor.predict(same).probabilities == pytest.approx(one.probabilities, abs=1e-6)
    many = predictor.predict(images)
    assert len(many) == 70
    for path, said in zip(images, many, strict=True):
        assert said.probabilities == pytest.approx(predictor.predict(path).probabilities, abs=1e-5)
    assert predictor.predict([]) == []


def test_bad_images_say_why(tmp_path: Path) -> None:
    untrained_run(tmp_path)
    predictor = Predictor.load(tmp_path / "runs" / "bugs")
    with pytest.raises(BadImage, match="No such file"):
        predictor.predict("nowhere.png")
    with pytest.raises(BadImage, match="not an image"):
        predictor.predict(b"hello")
    out = io.BytesIO()
    Image.new("RGB", (100, 100)).save(out, "PNG")
    small = Predictor.load(tmp_path / "runs" / "bugs", max_pixels=9999)
    with pytest.raises(BadImage, match="too large"):
        small.predict(out.getvalue())


def test_what_can_be_loaded(tmp_path: Path) -> None:
    untrained_run(tmp_path)
    run = tmp_path / "runs" / "bugs"
    weights = Predictor.load(run).weights
    assert Predictor.load(run / "ppo" / "model.safetensors").weights == weights
    assert Predictor.load(run / "ppo").weights == weights, "a folder that holds model.safetensors, as an export does"
    assert Predictor.load(run / "reference").weights != weights
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "no policy here"), (tmp_path / "gone", "no such model file")):
        with pytest.raises(UserError, match=message):
            Predictor.load(path)


def test_the_lines_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module's example runs as it stands, in a folder that has such a run and such a photo."""
    untrained_run(tmp_path)
    (tmp_path / "runs" / "bugs").rename(tmp_path / "runs" / "digits")
    sorted(noise_images(tmp_path / "some", 1).iterdir())[0].rename(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    code = (predictor_module.__doc__ or "").split("\n\n", 1)[1]
    assert len([line for line in code.splitlines() if line.strip()]) == 3
    exec(compile(code, "the example", "exec"), {})
    assert capsys.readouterr().out.split()[0] in CLASSES
