"""`infer --engine ray` by the command line: the same files as `local`, stopped, resumed, and with a worker killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.installed import needs_packages

from benchmarks.ray_infer import kill_a_worker, make_images, make_run
from pipeline.config import dump_config
from pipeline.errors import UserError
from stages.infer.classifier import NODE
from stages.infer.run import _require_visible

ROOT = Path(__file__).resolve().parents[3]
COUNT = 2100  # two of them are no images


def start(folder: Path, engine: str, workers: int, output: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it."""
    options = ["--config", "c.yaml", "--engine", engine, "--output", output, "--set", f"runtime.ray_workers={workers}"]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.cli", "infer", *options, "images"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    return errors


def wait_for_lines(journal: Path, count: int, process: subprocess.Popen[str]) -> None:
    while not journal.exists() or len(journal.read_bytes().splitlines()) <= count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.long
@needs_packages("ray")
def test_one_or_two_workers_stopped_and_killed_write_the_same_files(tmp_path: Path) -> None:
    """Stopped by signals to the whole group, as a terminal sends them; then resumed, and a worker killed by SIGKILL."""
    make_images(tmp_path / "images", COUNT, 64)
    (tmp_path / "c.yaml").write_text(dump_config(make_run(tmp_path, "resnet18", 64)))
    ended(start(tmp_path, "local", 1, "local.csv"))
    journal, done = tmp_path / ".ray.csv.partial", 0
    for workers, stop in ((1, signal.SIGINT), (2, signal.SIGTERM)):
        process = start(tmp_path, "ray", workers, "ray.csv")
        wait_for_lines(journal, done + 1, process)
        os.killpg(process.pid, stop)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 128 + stop, errors
        done = len(journal.read_bytes().splitlines()) - 1
        assert f"stopped after {done} of {COUNT} images; the same command resumes from there" in errors
        assert "Traceback" not in errors

    process = start(tmp_path, "ray", 2, "ray.csv")
    wait_for_lines(journal, done + 1, process)
    assert kill_a_worker(process.pid)
    assert f"resuming after {done} images" in ended(process)

    for name in ("{}.csv", "{}.bad.csv"):
        assert (tmp_path / name.format("ray")).read_bytes() == (tmp_path / name.format("local")).read_bytes()
    assert len((tmp_path / "ray.bad.csv").read_text().splitlines()) == 1 + 2


def test_a_file_that_a_node_does_not_see_is_an_error_and_not_a_bad_image(tmp_path: Path) -> None:
    here = tmp_path / "here.jpg"
    here.write_bytes(b"x")
    gone = {"path": str(tmp_path / "gone.jpg"), "stamp": [], "bad": "no such file", NODE: "n7 (10.0.0.7)"}
    _require_visible([gone])
    assert NODE not in gone, "never in the journal"
    line = {"path": str(here), "stamp": [], "bad": "no such file", NODE: "n7 (10.0.0.7)"}
    with pytest.raises(UserError, match=r"here\.jpg: it is here, but node n7 \(10\.0\.0\.7\) does not find it"):
        _require_visible([line])
