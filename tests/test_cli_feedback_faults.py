"""Files of judgments that were changed, and imports with whatever can be wrong in them, through the real command line."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.command_line import command, make_workplace, named


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained reference and no judgments."""
    return make_workplace(tmp_path_factory.mktemp("faults"))


def simulated(workplace: Path, name: str) -> tuple[str, Path]:
    """A run with forty simulated judgments, stored by one append: its setting, and their file."""
    settings = named(workplace, name)
    assert command(workplace, "collect", "--teacher", "simulated", settings=settings).returncode == 0
    return settings, workplace / "runs" / name / "feedback" / "pairwise.csv"


def shorter_choices(text: bytes) -> bytes:
    """The first choices that stand for another answer, in fewer bytes."""
    return re.sub(rb",(a|b),(a|b),(\d+),simulated", rb",\1,\2,\3,sim", text, count=30)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (shorter_choices, ", line 2: not what was stored, and 180 bytes fewer than were stored"),
        (
            lambda text: b"".join(text.splitlines(keepends=True)[:20] + text.splitlines(keepends=True)[21:]),
            ", line 21: not",
        ),
        (lambda text: text.replace(b"\r\n", b"\n"), ", line 1: not what was stored, and 41 bytes fewer"),
        (lambda text: text[:-9], ": 9 bytes that were stored are gone from its end, after line 40"),
    ],
    ids=["shorter", "line deleted", "line feeds", "truncated"],
)
def test_edits_that_shorten_a_file_stop_check_and_training(
    workplace: Path, request: pytest.FixtureRequest, edit: Callable[[bytes], bytes], message: str
) -> None:
    """These passed as whole, and training used them."""
    settings, path = simulated(workplace, request.node.callspec.id.replace(" ", "-"))
    path.write_bytes(edit(path.read_bytes()))
    for arguments in (("feedback", "check"), ("train-reward",), ("feedback", "stats"), ("feedback", "export", "x.csv")):
        refused = command(workplace, *arguments, settings=settings)
        assert refused.returncode == 2, arguments
        assert f"pairwise.csv{message}" in refused.stderr
    assert command(workplace, "feedback", "check", "--accept", settings=settings).returncode == 0
    assert command(workplace, "feedback", "check", settings=settings).returncode == 0


def test_a_tail_that_was_never_acknowledged_is_reported_and_left_out(workplace: Path) -> None:
    settings, path = simulated(workplace, "torn")
    with path.open("ab") as file:
        file.write(path.read_bytes()[-60:-9])
    trained = command(workplace, "train-reward", settings=settings)
    assert trained.returncode == 0, trained.stderr
    assert "warning: " in trained.stderr
    assert "the last line is torn and left out" in trained.stderr


def test_check_says_what_has_no_checksum(workplace: Path) -> None:
    settings, path = simulated(workplace, "unsealed")
    row = path.read_text().splitlines()[-1].replace(path.read_text().splitlines()[-1].split(",")[0], "by-hand")
    with path.open("a") as file:
        file.write(row + "\n")
    checked = command(workplace, "feedback", "check", settings=settings)
    assert "41 rows" in checked.stdout
    assert "40 unchanged since they were stored; 1 have no checksum yet" in checked.stdout
    accepted = command(workplace, "feedback", "check", "--accept", settings=settings)
    assert "41 rows" in accepted.stdout
    assert "pairwise.csv.before-accept-1" in accepted.stdout, "the line end was another: the file was rewritten"
    again = command(workplace, "feedback", "check", settings=settings)
    assert "all valid, none changed since it was stored" in again.stdout


def test_a_removed_file_is_missed(workplace: Path) -> None:
    settings, path = simulated(workplace, "removed")
    path.unlink()
    for arguments in (("feedback", "check"), ("feedback", "stats"), ("collect", "--teacher", "simulated")):
        refused = command(workplace, *arguments, settings=settings)
        assert refused.returncode == 2, arguments
        assert "pairwise.csv: the file is gone" in refused.stderr
    assert command(workplace, "train-reward", settings=settings).returncode == 2
    assert command(workplace, "feedback", "check", "--accept", settings=settings).returncode == 0
    assert command(workplace, "collect", "--teacher", "simulated", settings=settings).returncode == 0
    assert "40 rows" in command(workplace, "feedback", "check", settings=settings).stdout


def image_of(workplace: Path) -> str:
    return str(pd.read_csv(workplace / "runs/small/images.csv", dtype=str)["path"].iloc[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ms.csv", "image,answer,response_ms\nIMAGE,1,11111111111111111111\n", "line 2: response_ms is '1111"),
        (
            "who.csv",
            "image,answer,annotator\nIMAGE,1," + "n" * 100_000 + "\n",
            "line 2: annotator has 100000 characters",
        ),
        (
            "round.jsonl",
            '{"prompt": "IMAGE", "chosen": "1", "rejected": "2", "round": 11111111111111111111}\n',
            "line 1: round is 1111",
        ),
        (
            "half.jsonl",
            '{"prompt": "\\ud83d", "chosen": "1", "rejected": "2"}\n',
            "line 1: there is no image '\\ud83d'",
        ),
        ("deep.json", '[{"x": ' + "[" * 100_000 + "]" * 100_000 + "}]", "line 1: nested more than 50 levels deep"),
        (
            "twice.csv",
            "id,image,answer\nx,IMAGE,1\nx,IMAGE,2\n",
            "line 3: the id 'x': line 2 has the same id and other contents",
        ),
        ("url.csv", "image,answer\nhttp://[::1,1\n", "line 2: there is no image 'http://[::1'"),
    ],
)
def test_an_import_that_could_not_be_read_back_is_refused_whole(
    workplace: Path, name: str, text: str, message: str
) -> None:
    run = name.replace(".", "-")
    settings = named(workplace, run)
    (workplace / name).write_text(text.replace("IMAGE", image_of(workplace)))
    refused = command(workplace, "feedback", "import", name, settings=settings)
    assert refused.returncode == 2
    assert f"{name}, {message}" in refused.stderr
    assert len(refused.stderr) < 2000
    assert not list((workplace / "runs" / run).glob("feedback/*.csv"))
    assert "no judgments; run" in command(workplace, "feedback", "check", settings=settings).stderr
    if not name.endswith(".json"):
        skipped = command(workplace, "feedback", "import", name, "--skip-bad", settings=settings)
        assert skipped.returncode == 0, skipped.stderr
        assert "0 judgments added" in skipped.stdout
        assert list((workplace / "runs" / run).glob("feedback/*.rejects.*"))


def test_an_import_that_contradicts_the_store_is_named_with_its_line(workplace: Path) -> None:
    settings = named(workplace, "contradiction")
    rows = f"id,image,answer\nx,{image_of(workplace)},1\ny,{image_of(workplace)},2\n"
    (workplace / "first.csv").write_text(rows)
    (workplace / "second.csv").write_text(rows.replace(",2", ",3"))
    assert "2 judgments added" in command(workplace, "feedback", "import", "first.csv", settings=settings).stdout
    assert "(2 were stored already)" in command(workplace, "feedback", "import", "first.csv", settings=settings).stdout
    refused = command(workplace, "feedback", "import", "second.csv", settings=settings)
    assert refused.returncode == 2
    assert "second.csv, line 3: the id 'y': a judgment with this id and other contents is stored" in refused.stderr


def test_a_labelling_configuration_that_is_not_utf8(workplace: Path) -> None:
    (workplace / "config.xml").write_bytes(b"<View>\xff</View>")
    (workplace / "project.json").write_text("[]")
    options = ("feedback", "import", "project.json", "--label-config", "config.xml")
    refused = command(workplace, *options, settings=named(workplace, "refused"))
    assert refused.returncode == 2
    assert "config.xml: not UTF-8 (byte 6); save it as UTF-8" in refused.stderr


def test_no_cell_of_a_written_table_is_a_formula(workplace: Path) -> None:
    """Names of annotators in `stats --csv`, and what is rejected, come from outside."""
    settings = named(workplace, "formulas")
    (workplace / "f.csv").write_text(
        f"image,answer,annotator,=1+2\n{image_of(workplace)},1,'=cmd|x,a\n{image_of(workplace)},'-eleven,@b,+a\n"
    )
    done = command(workplace, "feedback", "import", "f.csv", "--skip-bad", settings=settings)
    assert done.returncode == 0, done.stderr
    assert command(workplace, "feedback", "stats", "--csv", "q.csv", settings=settings).returncode == 0
    cells = []
    for path in (workplace / "q.annotators.csv", workplace / "runs/formulas/feedback/f.rejects.csv"):
        with path.open(newline="") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    assert "'=cmd|x" in cells
    assert {"'-eleven", "'@b", "'+a", "'=1+2"} <= set(cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    (workplace / "again.csv").write_text((workplace / "runs/formulas/feedback/f.rejects.csv").read_text())
    refused = command(workplace, "feedback", "import", "again.csv", settings=settings)
    assert "unknown label '-eleven'" in refused.stderr, "a rejected row can be imported again, once it is right"


@pytest.mark.skipif(os.name != "posix", reason="named pipes of this kind exist on POSIX only")
def test_what_is_not_a_regular_file_is_never_read(workplace: Path) -> None:
    """/dev/zero has no end and a pipe without a writer no beginning, as the file or as the labelling configuration."""
    (workplace / "some.json").write_text("[]")
    os.mkfifo(workplace / "pipe")
    for strange in ("/dev/zero", "pipe", "."):
        for arguments in ((strange,), ("some.json", "--label-config", strange)):
            refused = command(workplace, "feedback", "import", *arguments)
            assert refused.returncode == 2
            assert f"error: {strange}: not a regular file" in refused.stderr
    gone = command(workplace, "feedback", "import", "gone.json")
    assert (gone.returncode, "error: gone.json: no such file" in gone.stderr) == (2, True)


def test_a_run_folder_that_cannot_be_made(workplace: Path) -> None:
    (workplace / "some.csv").write_text("image,answer\n")
    for arguments in (("check",), ("stats",), ("import", "some.csv")):
        refused = command(workplace, "feedback", *arguments, settings="runs=/proc/x")
        assert refused.returncode == 2, refused.stderr
        assert "cannot be created" in refused.stderr
