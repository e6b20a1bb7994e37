"""The command line of control tasks: several seeds, the report, statistics, SIGKILL, and messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml
from click.testing import CliRunner
from support.control_tasks import needs_control, small_tree

from pipeline.control import extra
from stages.cli import main
from stages.control import report_data, seeds

pytestmark = needs_control


def configuration(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(small_tree(folder / "runs", **changes)), encoding="utf-8")
    return path


def command(path: Path, *words: str) -> tuple[int, str]:
    first = words[:2] if words[0] == "feedback" else words[:1]
    result = CliRunner().invoke(main, [*first, "--config", str(path), *words[len(first) :]])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a finished run."""
    path = configuration(tmp_path_factory.mktemp("commands"))
    code, text = command(path, "rounds")
    assert code == 0, text
    assert "seed 0, round 1    12 answers, 384 steps" in text
    assert "learned from the true reward" in text
    return path


def test_the_report_is_one_page(finished: Path) -> None:
    code, text = command(finished, "report")
    assert code == 0, text
    folder = finished.parent / "runs" / "small" / "report"
    page = (folder / "report.html").read_text(encoding="utf-8")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    last = pd.read_csv(finished.parent / "runs" / "small" / "rounds" / "rounds.csv").iloc[-1]
    assert report["rounds"][-1]["learned"]["mean"] == last["true_return"]
    assert f"True return {last['true_return']:.1f}" in page
    assert page.count("<svg") >= 2
    assert "12 answers by a simulated teacher (oracle)" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "nothing is loaded from elsewhere"


def test_statistics_and_the_check_of_stored_answers(finished: Path) -> None:
    code, text = command(finished, "feedback", "stats")
    assert code == 0, text
    assert "12" in text
    assert command(finished, "feedback", "check")[1].startswith("12 valid rows in")


def test_before_the_first_round_there_is_nothing_to_report(tmp_path: Path) -> None:
    code, text = command(configuration(tmp_path), "report")
    assert code == 2
    assert "no round is finished; run `make rounds CONFIG=" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ppo",), "`ppo` does nothing for a control task; its commands are rounds, report"),
        (("rounds", "--replay"), "REPLAY: rounds of control tasks are not replayed"),
        (("rounds", "--seeds", "2", "--set", "collect.teacher=people"), "SEEDS: people answer one run at a time"),
        (("rounds", "--set", "collect.strategy=margin"), "valid names: uniform, disagreement, entropy, k_center"),
        (("rounds", "--set", "agent.kind=sac"), "'sac'"),
        (("rounds", "--set", "environment.n_env=3"), "did you mean 'environment.n_envs'"),
        (("rounds", "--set", "collect.simulated.gamma=2"), "collect.simulated.gamma"),
    ],
)
def test_bad_commands_are_one_sentence(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, text = command(configuration(tmp_path), *words)
    assert code == 2, text
    assert message in text
    assert not (tmp_path / "runs" / "small" / "feedback").exists()


def test_image_runs_have_no_seeds_in_rounds(tmp_path: Path) -> None:
    path = tmp_path / "digits.yaml"
    path.write_text("images: {source: digits}\n", encoding="utf-8")
    code, text = command(path, "rounds", "--seeds", "3")
    assert code == 2
    assert "`make compare SEEDS=5` compares over several" in text


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "missing", lambda _: ["gymnasium"])
    code, text = command(configuration(tmp_path), "rounds")
    assert code == 2
    assert "gymnasium not installed; control tasks need them: pip install 'image-rlhf[control]'" in text


def test_seeds_have_means_and_t_intervals() -> None:
    found = seeds.summary([{"true_return": 1.0}, {"true_return": 3.0}])["true_return"]
    assert found == {"mean": 2.0, "half": pytest.approx(12.706, abs=1e-3), "seeds": 2}
    assert seeds.summary([{"true_return": 1.0}])["true_return"]["half"] is None


@pytest.mark.parametrize(
    ("learned", "attained", "tone"), [(95.0, 0.9375, "good"), (60.0, 0.5, "wait"), (25.0, 0.0625, "bad")]
)
def test_the_headline_is_relative_to_random_actions(learned: float, attained: float, tone: str) -> None:
    row = {"answers": 9, "steps": 9, "learned": {"mean": learned, "half": None}, "true": {"mean": 100.0, "half": None}}
    report = {"rounds": [row], "random": 20.0, "teacher": "people", "seeds": [0]}
    headline = report_data.headline(report)
    assert (headline["attained"], headline["tone"]) == (attained, tone)


@pytest.mark.long
@pytest.mark.timeout(900)  # on a busy machine: it starts three commands with two processes each
def test_several_seeds_are_runs_of_their_own(finished: Path, tmp_path: Path) -> None:
    """Stopped, and then killed, its processes end with it, and the same command goes on."""
    path = configuration(tmp_path)
    command_line = [sys.executable, "-m", "stages.cli", "rounds", "--config", str(path), "--seeds", "2"]
    first, second = (tmp_path / "runs" / "small-s1" / name for name in ("rounds/config.yaml", "rounds/rounds.csv"))
    for number, happened, code in ((signal.SIGTERM, first, 143), (signal.SIGKILL, second, -signal.SIGKILL)):
        process = subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not happened.is_file():
            assert process.poll() is None, "it ended too early"
            time.sleep(0.005)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) == code
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout
    runs = tmp_path / "runs"
    table = pd.read_csv(runs / "small" / "rounds" / "seeds.csv")
    assert table["name"].tolist() == ["small", "small-s1"]
    for name, value in zip(table["name"], table["true_return"], strict=True):
        assert pd.read_csv(runs / name / "rounds" / "rounds.csv")["true_return"].iloc[-1] == value
    same = [folder / "small" / "rounds" / "rounds.csv" for folder in (runs, finished.parent / "runs")]
    assert same[0].read_text() == same[1].read_text()
    assert command(path, "report")[0] == 0
    assert "small-s1" in (runs / "small" / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_run_ends_with_the_same_table(finished: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as round 0 is saved, and again while round 1 is asked about."""
    path = configuration(tmp_path)
    command_line = [sys.executable, "-m", "stages.cli", "rounds", "--config", str(path)]
    run = tmp_path / "runs" / "small"
    for happened in (lambda: (run / "rounds" / "rounds.csv").is_file(), lambda: len(rows(run)) > 6):
        process = subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not happened():
            time.sleep(0.005)
        assert process.poll() is None, "it ended too early"
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    whole = finished.parent / "runs" / "small"
    for table in ("rounds/rounds.csv", "true_reward/rounds.csv"):
        assert (run / table).read_text() == (whole / table).read_text()
    assert len(rows(run)) == 12


def rows(run: Path) -> list[str]:
    files = list((run / "feedback").glob("pairwise*.csv")) if (run / "feedback").is_dir() else []
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()[1:]]
