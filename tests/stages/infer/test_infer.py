"""Predictions: the formats, what is said of each image, what is left out."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.untrained_runs import CLASSES, noise_images, untrained_run

from pipeline.errors import UserError
from pipeline.models.backbone import build_network
from pipeline.models.predictor import Predictor
from pipeline.models.serialization import ModelHeader, save_model
from stages.infer.run import describe, run


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def test_predictions_are_the_policys_in_order(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 11)
    made = run(untrained_run(tmp_path, batch_size=4), str(images))
    table = read(made.path)
    assert list(table.columns) == ["path", "label", "confidence", "entropy", "p_ant", "p_bee", "p_wasp"]
    assert list(table["path"]) == [str(images / f"{n:04d}.png") for n in range(11)]
    predictor = Predictor.load(tmp_path / "runs" / "bugs")
    for row, path in zip(table.itertuples(), sorted(images.iterdir()), strict=True):
        said = predictor.predict(path)
        assert row.label == said.label
        assert row.confidence == pytest.approx(said.confidence, abs=1e-5)
        assert [row.p_ant, row.p_bee, row.p_wasp] == pytest.approx(list(said.probabilities.values()), abs=1e-5)
        assert row.entropy == pytest.approx(-sum(p * math.log(p) for p in said.probabilities.values()), abs=1e-4)
    assert len(set(table["p_ant"])) == 11


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 7)
    config = untrained_run(tmp_path, reference=True, batch_size=3)
    table = read(run(config, str(images), tmp_path / "o.csv").path)
    parquet = pd.read_parquet(run(config, str(images), tmp_path / "o.parquet").path)
    assert list(parquet.columns) == list(table.columns)
    assert list(parquet["label"]) == list(table["label"])
    numbers = ["confidence", "entropy", "reference_confidence", *(f"p_{name}" for name in CLASSES)]
    np.testing.assert_allclose(parquet[numbers], table[numbers], atol=1e-6)
    lines = [json.loads(line) for line in run(config, str(images), tmp_path / "o.jsonl").path.read_text().splitlines()]
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        assert list(line) == ["path", "label", "confidence", "entropy", "reference", "probabilities"]
        assert (line["path"], line["label"]) == (row["path"], row["label"])
        assert line["reference"] == {"label": row["reference_label"], "confidence": row["reference_confidence"]}
        assert list(line["probabilities"]) == list(CLASSES)
        assert line["probabilities"]["bee"] == row["p_bee"]


def test_the_reference_beside_the_policy(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 5)
    table = read(run(untrained_run(tmp_path, reference=True), str(images)).path)
    reference = Predictor.load(tmp_path / "runs" / "bugs" / "reference" / "model.safetensors")
    expected = [reference.predict(path) for path in sorted(images.iterdir())]
    assert list(table["reference_label"]) == [one.label for one in expected]
    assert list(table["reference_confidence"]) == pytest.approx([one.confidence for one in expected], abs=1e-5)
    assert list(table["reference_confidence"]) != list(table["confidence"])


def test_a_reference_without_an_opinion_names_no_class(tmp_path: Path) -> None:
    """A uniform reference has no label: the first class is not its prediction."""
    config = untrained_run(tmp_path, reference=True)
    save_model(
        tmp_path / "runs/bugs/reference/model.safetensors",
        build_network(config.model, 3, 0),
        ModelHeader("policy", config.model.backbone, CLASSES, 32, 32),
    )
    images = noise_images(tmp_path / "some", 3)
    table = read(run(config, str(images)).path)
    assert list(table["reference_label"]) == [""] * 3
    assert list(table["reference_confidence"]) == pytest.approx([1 / 3] * 3, abs=1e-6)
    line = json.loads(run(config, str(images), tmp_path / "o.jsonl").path.read_text().splitlines()[0])
    assert line["reference"]["label"] is None


def test_top_k_and_abstaining(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 9)
    full = read(run(untrained_run(tmp_path), str(images), tmp_path / "full.csv").path)
    threshold = float(full["confidence"].median())
    config = untrained_run(tmp_path, top_k=2, abstain_below=threshold)
    table = read(run(config, str(images), tmp_path / "o.csv").path)
    assert list(table.columns) == [
        "path",
        "label",
        "confidence",
        "entropy",
        "abstain",
        "label_1",
        "p_1",
        "label_2",
        "p_2",
    ]
    by_class = full[[f"p_{name}" for name in CLASSES]].to_numpy()
    order = (-by_class).argsort(axis=1, kind="stable")
    assert list(table["label_2"]) == [CLASSES[second] for second in order[:, 1]]
    assert list(table["p_2"]) == [row[second] for row, second in zip(by_class, order[:, 1], strict=True)]
    unsure = full["confidence"] < threshold
    assert 0 < unsure.sum() < 9
    assert list(table["abstain"]) == list(unsure)
    assert list(table["label"]) == ["" if no else name for no, name in zip(unsure, full["label"], strict=True)]
    assert list(table["label_1"]) == list(full["label"]), "the best guess is still there"
    lines = run(config, str(images), tmp_path / "o.jsonl").path.read_text().splitlines()
    first = json.loads(lines[int(unsure.argmax())])
    assert first["label"] is None
    assert first["abstain"] is True
    assert [one["label"] for one in first["top"]] == [CLASSES[c] for c in order[int(unsure.argmax())][:2]]


def test_more_classes_asked_for_than_there_are(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    table = read(run(untrained_run(tmp_path, top_k=9), str(images)).path)
    assert list(table.columns)[-2:] == ["label_3", "p_3"]


def test_class_names_that_look_like_columns(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    config = untrained_run(tmp_path, classes=("label", "path", "=1+1", 'a,"b"'))
    table = read(run(config, str(images)).path)
    assert list(table.columns)[-4:] == ["p_label", "p_path", "p_=1+1", 'p_a,"b"']
    assert table[list(table.columns)[-4:]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)


def test_bad_files_are_listed_and_the_order_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(tmp_path / "some", 6)
    (images / "0001.png").write_bytes(b"no image")
    (images / "0003.png").write_bytes(b"")
    names = [str(images / f"{n:04d}.png") for n in (5, 1, 4, 3, 2, 0)] + [str(tmp_path / "gone.png")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(names)))
    made = run(untrained_run(tmp_path, batch_size=2), "-")
    assert list(read(made.path)["path"]) == [names[n] for n in (0, 2, 4, 5)]
    bad = read(made.bad_path)
    assert list(bad["path"]) == [names[1], names[3], names[6]]
    assert list(bad["reason"]) == [
        "not an image, or a format that is not supported",
        "empty file",
        "unreadable: No such file or directory",
    ]
    assert "3 left out, all listed in" in describe(made)
    assert "gone.png: unreadable" in describe(made)
    again = run(untrained_run(tmp_path), names[0])
    assert not again.bad_path.exists(), "the list is that of the last call"


def test_limits_hold(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    Image.new("RGB", (60, 60)).save(images / "large.png")
    (images / "heavy.png").write_bytes(b"\0" * (2**20 + 1))
    config = untrained_run(tmp_path)
    limited = config.images.model_copy(update={"max_pixels": 3000, "max_megabytes": 1})
    made = run(config.model_copy(update={"images": limited}), str(images))
    reasons = dict(read(made.bad_path).to_numpy().tolist())
    assert reasons[str(images / "large.png")].startswith("too large: 60 x 60 pixels")
    assert reasons[str(images / "heavy.png")].startswith("too large: 1 MiB, more than")


def test_no_usable_image_leaves_old_predictions_alone(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 2)
    config = untrained_run(tmp_path)
    before = run(config, str(images)).path.read_bytes()
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(UserError, match=r"none of 1 files is a usable image; the first: .*text.jpg: not an image"):
        run(config, str(tmp_path / "text.jpg"))
    assert (tmp_path / "runs/bugs/infer/predictions.csv").read_bytes() == before


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 1)
    with pytest.raises(UserError, match=r"unknown format; use .csv, .jsonl or .parquet"):
        run(untrained_run(tmp_path), str(images), tmp_path / "o.xlsx")


@pytest.mark.skipif(os.name != "posix", reason="names that are no text exist on POSIX only")
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_names_that_are_no_utf8(form: str, tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 1)
    strange = images / os.fsdecode(b"caf\xe9 \xc3\xbc.png")
    (images / "0000.png").rename(strange)
    made = run(untrained_run(tmp_path), str(images), tmp_path / f"o.{form}").path
    if form == "csv":
        assert os.fsencode(strange) in made.read_bytes(), "the very bytes, so that the file can be found"
    elif form == "jsonl":
        assert json.loads(made.read_text(encoding="utf-8"))["path"].endswith("caf? ü.png".replace("?", "�"))
    else:
        assert pd.read_parquet(made)["path"][0].endswith("ü.png")


def test_contact_sheet(tmp_path: Path) -> None:
    images = noise_images(tmp_path / "some", 20)
    for path in sorted(images.iterdir()):
        Image.new("RGB", (40, 20), (int(path.stem) * 10, 0, 0)).save(path)
    made = run(untrained_run(tmp_path, contact_sheet=8, reference=True, abstain_below=0.4), str(images))
    assert made.sheet is not None
    with Image.open(made.sheet) as sheet:
        red = np.asarray(sheet)[:, :, 0].astype(int)
        pure = (np.asarray(sheet)[:, :, 1:] == 0).all(axis=2)
        assert sheet.size == (16 + 6 * (224 + 16), 16 + 2 * (302 + 16))
    assert not run(untrained_run(tmp_path), str(images)).sheet
    assert not made.sheet.exists(), "a sheet beside other predictions would mislead"
    chosen = [0, 3, 5, 8, 11, 14, 16, 19]  # spread evenly over 20
    centres = [(16 + row * 318 + 112, 16 + column * 240 + 112) for row in range(2) for column in range(6)][:8]
    assert [int(red[at]) for at in centres] == [10 * n for n in chosen]
    assert all(pure[at] for at in centres)
