"""The whole pipeline through the real command line, on real images; and what a user sees when something is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from support.pipeline_runs import SMALL, fingerprint, invoke

from stages.cli import main

ROOT = Path(__file__).resolve().parent.parent


def test_what_a_run_leaves(workplace: Path) -> None:
    run = workplace / "runs" / "small"
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["reference"]["accuracy"] < 1
    assert 0 <= summary["reward"]["heldout_accuracy"] <= 1
    assert 0 <= summary["reward"]["argmax_accuracy"] <= 1
    policy = summary["policy"]
    rounding = 1e-9  # the policy may be the optimum itself
    assert policy["J_ref"] < policy["J"] <= policy["J_star"] + rounding
    assert 0 < policy["attained"] <= 1 + rounding
    assert policy["attained_heldout"] is not None
    assert policy["kl"] > 0
    assert summary["judgments"] == 60
    assert set(summary["seconds"]) == {"reference", "collect", "reward", "ppo"}
    assert summary["peak_rss_mb"] > 100
    for stage in ("reference", "reward", "ppo"):
        assert {"model.safetensors", "config.yaml", "metrics.csv", "manifest.json"} <= {
            p.name for p in (run / stage).iterdir()
        }
    assert len(pd.read_csv(run / "feedback" / "pairwise.csv")) == 60
    metrics = pd.read_csv(run / "ppo" / "metrics.csv")
    columns = {"J", "attained", "kl", "entropy", "clip_fraction", "approx_kl", "grad_norm", "accuracy", "beta", "lr"}
    assert columns <= set(metrics.columns)
    assert len(metrics) == 4, "the reference, and the policy after each of three updates"
    assert not list(run.rglob("*.partial"))
    last_lines = (workplace / "first.txt").read_text().strip().splitlines()[-6:]
    assert "reference" in last_lines[0]
    assert "aligned" in last_lines[0]
    assert last_lines[1].startswith("accuracy")


def test_finished_stages_are_up_to_date(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = workplace / "runs" / "small"
    stamps = {p: p.stat().st_mtime_ns for p in run.rglob("*.safetensors")}
    for stage in ("reference", "collect", "train-reward", "ppo"):
        options = ("--teacher", "simulated") if stage == "collect" else ()
        code, output = invoke(monkeypatch, workplace, stage, "--config", "small.yaml", *options)
        assert code == 0
        assert "up to date" in output
        assert f"make {stage} CONFIG=small.yaml FORCE=1" in output
    assert stamps == {p: p.stat().st_mtime_ns for p in run.rglob("*.safetensors")}


def test_same_inputs_same_bits(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced and in another process, with nothing cached: the same weights, and no judgment is lost or added."""
    run = workplace / "runs" / "small"
    before, judged = fingerprint(run), (run / "feedback" / "pairwise.csv").read_bytes()
    shutil.rmtree(workplace / "runs" / ".cache")
    code, _ = invoke(monkeypatch, workplace, "run", "--config", "small.yaml", "--force")
    assert code == 0
    assert fingerprint(run) == before
    assert (run / "feedback" / "pairwise.csv").read_bytes() == judged


def test_another_seed_gives_other_weights(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = invoke(monkeypatch, workplace, "reference", "--config", "small.yaml", "--set", "seed=1 name=other")
    assert code == 0
    other = (workplace / "runs" / "other" / "reference" / "model.safetensors").read_bytes()
    assert other != fingerprint(workplace / "runs" / "small")["reference"]


def test_gold_labels_of_the_pool_do_not_matter(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 2: once judgments are recorded, shuffling the class folders of all unlabelled training images changes no bit."""
    folder = workplace / "shuffled"
    shutil.copytree(workplace / "runs", folder / "runs")
    images = folder / "runs" / ".cache" / "digits"
    labelled = set(pd.read_csv(folder / "runs/small/reference/labelled.csv")["image"])
    known = pd.read_csv(folder / "runs/small/images.csv").set_index("path")["image"]
    pool = sorted(p for p in images.glob("train/*/*.png") if known[p.relative_to(images).as_posix()] not in labelled)
    moved = 0
    for number, path in enumerate(pool):
        target = images / "train" / str((int(path.parent.name) + 1 + number % 9) % 10) / path.name
        path.rename(target)
        moved += 1
    assert moved > 1000
    before = fingerprint(workplace / "runs" / "small")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    for stage in ("train-reward", "ppo"):
        code, output = invoke(monkeypatch, folder, stage, "--config", "small.yaml", "--force")
        assert code == 0, output
    after = fingerprint(folder / "runs" / "small")
    assert after["reward"] == before["reward"]
    assert after["ppo"] == before["ppo"]


def test_infer(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = workplace / "new pictures"
    some.mkdir(exist_ok=True)
    for number, path in enumerate(sorted((workplace / "runs/.cache/digits/test").rglob("*.png"))[:7]):
        shutil.copy(path, some / f"ü {number}.png")
    (some / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (some / "notes.txt").write_text("hello")
    code, output = invoke(monkeypatch, workplace, "infer", "--config", "small.yaml", str(some))
    assert code == 0
    assert "7 predictions" in output
    assert "broken.jpg" in output
    assert "notes.txt" in output
    made = pd.read_csv(workplace / "runs/small/infer/predictions.csv", dtype={"label": str})
    columns = [f"p_{digit}" for digit in range(10)]
    assert list(made.columns) == ["path", "label", "confidence", "entropy", *columns]
    assert len(made) == 7
    assert made[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    assert (made[columns].idxmax(axis=1) == "p_" + made["label"]).all()
    code, output = invoke(
        monkeypatch, workplace, "infer", "--config", "small.yaml", str(some / "*.png"), "--output", "o.csv"
    )
    assert code == 0
    assert (workplace / "o.csv").read_text() == (workplace / "runs/small/infer/predictions.csv").read_text()
    for pattern, message in (("nowhere/*.png", "no such file"), (str(some / "notes.txt"), "none of 1 files")):
        code, output = invoke(monkeypatch, workplace, "infer", "--config", "small.yaml", pattern)
        assert code == 2
        assert message in output


@pytest.mark.parametrize(
    ("stage", "missing", "target"),
    [
        ("collect", "reference/model.safetensors", "make reference"),
        ("train-reward", "reference/model.safetensors", "make reference"),
        ("ppo", "reference/model.safetensors", "make reference"),
    ],
)
def test_missing_input(workplace: Path, monkeypatch: pytest.MonkeyPatch, stage: str, missing: str, target: str) -> None:
    code, output = invoke(monkeypatch, workplace, stage, "--config", "small.yaml", "--set", "name=empty")
    assert code == 2
    assert missing in output
    assert target in output


def test_missing_judgments_and_reward(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(workplace / "runs/small/reference", workplace / "runs/partial/reference", dirs_exist_ok=True)
    for stage, missing, target in (
        ("train-reward", "no judgments: runs/partial/feedback", "make collect"),
        ("ppo", "reward/model.safetensors", "make train-reward"),
    ):
        code, output = invoke(monkeypatch, workplace, stage, "--config", "small.yaml", "--set", "name=partial")
        assert code == 2
        assert missing in output
        assert target in output


def test_bad_settings_exit_with_2_and_one_sentence(workplace: Path) -> None:
    """The installed script."""
    program = [Path(sys.executable).with_name("image-rlhf"), "ppo", "--config", "small.yaml", "--set", "ppo.betta=1"]
    finished = subprocess.run(program, cwd=workplace, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "did you mean 'ppo.beta'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_help_names_every_stage_quickly() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for stage in ("reference", "collect", "train-reward", "ppo", "infer", "run", "data"):
        assert stage in result.output
    check = "import stages.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_makefile_prints_its_targets() -> None:
    printed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "reference", "collect", "train-reward", "ppo", "infer"):
        assert f"make {target} " in printed
