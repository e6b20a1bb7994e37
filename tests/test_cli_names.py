"""Whatever stands in a folder of images: names that are not UTF-8, line breaks in names, pipes, devices, links."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from numpy.random import default_rng
from support.command_process import PIPE, run_command, start_command
from support.images import stripes
from support.untrained_runs import noise_images, untrained_run

from pipeline.config import ImagesConfig, dump_config
from pipeline.data.gold_labels import class_names
from pipeline.data.image_table import read_images
from pipeline.errors import UserError
from stages.cli import main

ROOT = Path(__file__).resolve().parent.parent
NOT_UTF8, BREAK, ESCAPE = os.fsdecode(b"caf\xe9.png"), "two\nlines.png", "\x1b[31mred.png"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="such names and files exist on POSIX only")


def strange_folder(root: Path) -> Path:
    """Images of two classes, some under strange names, and among them what is no image."""
    random = default_rng(0)
    for split, count in (("train", 14), ("test", 8)):
        for label in (0, 1):
            folder = root / split / "ab"[label]
            folder.mkdir(parents=True)
            names = [NOT_UTF8, BREAK, ESCAPE, *(f"{number}.png" for number in range(count - 3))]
            for name in names:
                stripes(label, random).save(folder / name)
    (root / "train" / "a" / os.fsdecode(b"broken \xff.jpg")).write_bytes(b"no picture")
    return root


@pytest.mark.long
def test_every_stage_takes_strange_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages with the real command, as a user would: the first bad file has a strange name, too."""
    strange_folder(tmp_path / "images")
    tree = {
        "name": "strange",
        "images": {"root": "images", "size": 16},
        "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none", "trainable": "head"},
        "reference": {"labelled_per_class": 2, "epochs": 1, "calibration_folds": 0},
        "collect": {"count": 30},
        "reward": {"epochs": 1},
        "ppo": {"iterations": 1, "batch_size": 16},
        "infer": {"contact_sheet": 30, "reference": True},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = run_command(["-m", "stages.cli", "run", "--config", "c.yaml"], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert ESCAPE[:5] not in done.stdout + done.stderr, "a name cannot speak to the terminal"
    assert r"the first: train/a/broken \xff.jpg: not an image" in done.stderr
    monkeypatch.chdir(tmp_path)
    for command in (["infer", "images/test"], ["report"], ["feedback", "check"], ["feedback", "export", "out.json"]):
        result = CliRunner().invoke(main, [*command, "--config", "c.yaml"])  # its streams are as strict
        assert result.exit_code == 0, (command, result.output)
        assert ESCAPE[:5] not in result.output
    run = tmp_path / "runs" / "strange"
    listed = pd.read_csv(run / "images.csv", keep_default_na=False)["path"].tolist()
    for name in (r"caf\xe9.png", r"two\nlines.png", r"\x1b[31mred.png"):
        assert f"train/a/{name}" in listed
    assert (run / "infer" / "predictions.sheet.png").is_file()
    predictions = (run / "infer" / "predictions.csv").read_bytes()
    assert os.fsencode(Path("images/test/a") / NOT_UTF8) in predictions, "the very bytes, so that the file can be found"


def test_what_is_no_file_is_listed(tmp_path: Path) -> None:
    root = strange_folder(tmp_path / "images")
    folder = root / "train" / "a"
    os.mkfifo(folder / "pipe.png")
    (folder / "null.png").symlink_to("/dev/null")
    (root / "train" / "c").symlink_to(root / "train" / "b", target_is_directory=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket has room for a hundred characters
        listener.bind("socket.png")
        os.chdir(before)
        table, _ = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    reasons = {skipped.path: skipped.reason for skipped in table.skipped}
    assert reasons["train/a/pipe.png"] == reasons["train/a/null.png"] == "not a regular file"
    assert reasons["train/a/socket.png"] == "not a regular file"
    assert reasons["train/c"].startswith("a link to a folder, which is not followed")


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9"), "two\nlines"])
def test_a_class_folder_needs_a_name_that_can_be_written(name: str, tmp_path: Path) -> None:
    root = strange_folder(tmp_path / "images")
    (root / "train" / "a").rename(root / "train" / name)
    table, _ = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    with pytest.raises(
        UserError, match=r"the class folder \S+ has a name with bytes that are not UTF-8, or with control"
    ):
        class_names(table, None)


@pytest.mark.parametrize("way", ["list", "folder", "glob", "name"])
def test_pipes_and_devices_never_block(way: str, tmp_path: Path) -> None:
    """However images are named. /dev/zero has no end, a pipe without a writer no beginning."""
    images = noise_images(tmp_path / "some", 2)
    os.mkfifo(images / "pipe.png")
    (images / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    argument = {"list": "-", "folder": str(images), "glob": f"{images}/*.png", "name": str(images / "pipe.png")}[way]
    given = "".join(f"{path}\n" for path in sorted(images.iterdir())) if way == "list" else ""
    result = CliRunner().invoke(main, ["infer", "--config", str(tmp_path / "c.yaml"), argument], input=given)
    if way == "name":
        assert result.exit_code == 2
        assert f"IMAGES={images / 'pipe.png'}: not a regular file" in result.output
        return
    assert result.exit_code == 0, result.output
    assert "2 predictions" in result.output
    if way == "list":
        assert f"left out: {images / 'pipe.png'}: not a regular file" in result.output
        assert f"left out: {images / 'zero.png'}: not a regular file" in result.output


def test_a_list_of_names_that_has_no_line_breaks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    with Path("/dev/zero").open("rb") as zero:
        arguments = ["-m", "stages.cli", "infer", "--config", str(tmp_path / "c.yaml"), "-"]
        done = run_command(arguments, stdin=zero, timeout=120)
    assert done.returncode == 2
    assert "standard input, line 1: longer than any file name; give one name per line" in done.stderr


def test_ctrl_c_while_an_image_is_slow(tmp_path: Path) -> None:
    """The processes that decode are killed: they cannot hold up the end."""
    from benchmarks.adversarial_images import many_scans

    images = noise_images(tmp_path / "some", 1)
    for number in range(20):
        (images / f"slow {number}.jpg").write_bytes(many_scans(4992, 100) + bytes([number]))
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    arguments = ["-m", "stages.cli", "infer", "--config", str(tmp_path / "c.yaml"), str(images)]
    process = start_command(arguments, stderr=PIPE)
    journal = tmp_path / "runs" / "bugs" / "infer" / ".predictions.csv.partial"
    while not journal.exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped after 0 of 21 images; the same command resumes from there" in said


def test_cells_are_no_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise_images(tmp_path / "some", 1)
    (images / "0000.png").rename(tmp_path / "=1+1.png")
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path, classes=("=2+2", "-b", "c"), top_k=3)))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["infer", "--config", "c.yaml", "=1+1.png", "--output", "o.csv"])
    assert result.exit_code == 0, result.output
    cells = [cell for line in Path("o.csv").read_text().splitlines() for cell in line.split(",")]
    assert "./=1+1.png" in cells
    assert {"'=2+2", "'-b"} <= set(cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
