"""Collecting from people, and judgments in and out, through the real command line."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from support.command_line import command, make_workplace, named
from support.command_process import PIPE, start_command
from support.pipeline_runs import COMMAND, VARIABLES


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained reference and no judgments."""
    return make_workplace(tmp_path_factory.mktemp("people"))


def test_collect_opens_the_page_and_ends_in_good_order(workplace: Path) -> None:
    words = ["collect", "--config", "small.yaml", "--set", named(workplace, "people"), "--annotators", "ann,bob"]
    process = start_command([*COMMAND, *words], cwd=workplace, env=os.environ | VARIABLES, stdout=PIPE)
    try:
        assert process.stdout
        links: dict[str, str] = {}
        for line in process.stdout:
            links |= dict(re.findall(r"^\s+(\S+)\s+(http\S+/enter/\S+)", line))
            if line.startswith("Every answer"):
                break
        assert set(links) == {"ann", "bob", "(owner)"}
        origin = links["ann"].split("/enter")[0]
        with httpx.Client(base_url=origin, headers={"Origin": origin}, timeout=60) as client:
            home = client.get(links["ann"]).headers["location"]
            assert "Judge images" in client.get(home).text
            task = client.post(home + "next", json={"wanted": 1}).json()["tasks"][0]
            answer = {"id": "by-hand-1", "item": task["key"], "answer": "a", "response_ms": 10}
            assert client.post(home + "answers", json={"answers": [answer]}).json()["stored"] == ["by-hand-1"]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert "1 judgments in" in rest
    stored = pd.read_csv(workplace / "runs/people/feedback/pairwise.csv")
    assert list(stored[["id", "annotator", "source"]].iloc[0]) == ["by-hand-1", "ann", "web"]


def test_a_port_in_use_is_said(workplace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = command(workplace, "collect", settings=f"collect.server.port={port}")
    assert refused.returncode == 2
    assert f"port {port}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("collect", "--annotators", "ann,ann"), "collect.annotators: a name is listed twice"),
        (("collect", "--annotators", "=cmd"), "'=cmd': a name has 1 to 64 letters"),
        (("collect", "--ui", "tk", "--annotators", "ann,bob"), "the window is for one person"),
        (("feedback", "import", "nowhere.csv"), "nowhere.csv: no such file"),
        (("feedback", "import", "small.yaml"), "add --format"),
        (("feedback", "export", "out.csv"), "no judgments; run"),
        (("feedback", "stats"), "no judgments; run"),
        (("feedback", "check"), "no judgments; run"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(workplace: Path, arguments: tuple[str, ...], message: str) -> None:
    refused = command(workplace, *arguments, settings=named(workplace, "nothing"))
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_simulated_answers_to_every_question(workplace: Path) -> None:
    for kind in ("image_comparison", "label", "verdict", "rating"):
        settings = f"{named(workplace, kind)} collect.question={kind}"
        made = command(workplace, "collect", "--teacher", "simulated", settings=settings)
        assert made.returncode == 0, made.stderr
        assert "40 judgments" in made.stdout
        quality = command(workplace, "feedback", "stats", settings=settings)
        assert quality.returncode == 0, quality.stderr
        assert kind in quality.stdout


def digits(workplace: Path, count: int) -> list[tuple[str, str]]:
    """Paths of training images, and their classes."""
    listed = pd.read_csv(workplace / "runs/small/images.csv", dtype=str)
    train = listed[listed["split"] == "train"].sort_values("path").groupby(listed["path"].str.split("/").str[1])
    paths = [path for _, group in train for path in group["path"].head(count // 10)]
    return [(path, path.split("/")[1]) for path in paths]


@pytest.mark.long
def test_a_label_studio_export_trains_a_reward_model(workplace: Path) -> None:
    """Tasks as labelstud.io/guide/export documents them: Choices, one of them cancelled."""
    tasks: list[dict[str, Any]] = []
    for number, (path, label) in enumerate(digits(workplace, 60), start=1):
        result = {
            "id": f"r{number}",
            "from_name": "digit",
            "to_name": "img",
            "type": "choices",
            "value": {"choices": [label]},
        }
        annotation = {
            "id": 100 + number,
            "completed_by": 1 + number % 2,
            "result": [result],
            "was_cancelled": number == 7,
            "ground_truth": False,
            "created_at": "2026-03-09T22:16:08.728353Z",
            "lead_time": 1.5,
            "task": number,
        }
        data = {"image": f"/data/local-files/?d=digits/{path}"}
        tasks.append({"id": number, "data": data, "annotations": [annotation], "project": 1})
    (workplace / "project.json").write_text(json.dumps(tasks))
    settings = f"{named(workplace, 'studio')} reward.objective=supervised"
    done = command(workplace, "feedback", "import", "project.json", settings=settings)
    assert done.returncode == 0, done.stderr
    assert "59 judgments added" in done.stdout
    assert "left out 1 cancelled annotations" in done.stdout
    again = command(workplace, "feedback", "import", "project.json", settings=settings)
    assert "0 judgments added" in again.stdout
    assert "(59 were stored already)" in again.stdout
    trained = command(workplace, "train-reward", settings=settings)
    assert trained.returncode == 0, trained.stderr
    summary = json.loads((workplace / "runs/studio/summary.json").read_text())
    assert summary["reward"]["judgments_used"] == 59


def test_import_checks_all_before_it_writes_any(workplace: Path) -> None:
    settings = named(workplace, "votes")
    rows = [(path, label, "ann") for path, label in digits(workplace, 20)]
    rows[3] = (rows[3][0], "eleven", "ann")
    rows[5] = ("gone.png", "1", "ann")
    with (workplace / "votes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "vote", "who"), *rows])
    options = ("feedback", "import", "votes.csv", "--columns", "image=file,answer=vote,annotator=who")
    refused = command(workplace, *options, settings=settings)
    assert refused.returncode == 2
    assert "votes.csv, line 5: unknown label 'eleven'; the classes are" in refused.stderr
    assert "votes.csv, line 7: there is no image 'gone.png'" in refused.stderr
    assert not (workplace / "runs/votes/feedback/per_image.csv").exists()
    done = command(workplace, *options, "--skip-bad", settings=settings)
    assert done.returncode == 0, done.stderr
    assert "18 judgments added" in done.stdout
    rejects = pd.read_csv(workplace / "runs/votes/feedback/votes.rejects.csv")
    assert list(rejects["line"]) == [5, 7]
    assert list(rejects["vote"]) == ["eleven", "1"]
    checked = command(workplace, "feedback", "check", settings=settings)
    assert "18 rows" in checked.stdout


def test_export_and_import_give_the_same_rows(workplace: Path) -> None:
    source = f"{named(workplace, 'source')} collect.simulated.name=equal collect.simulated.eps_mistake=0.1"
    assert command(workplace, "collect", "--teacher", "simulated", settings=source).returncode == 0
    before = pd.read_csv(workplace / "runs/source/feedback/pairwise.csv", dtype=str).sort_values("id")
    for form, file, read in (("csv", "out.csv", "out.csv"), ("label-studio", "out.json", "out.comparison.json")):
        made = command(workplace, "feedback", "export", file, "--format", form, settings=source)
        assert made.returncode == 0, made.stderr
        target = named(workplace, f"back-{form}")
        assert command(workplace, "feedback", "import", read, settings=target).returncode == 0
        after = pd.read_csv(workplace / f"runs/back-{form}/feedback/pairwise.csv", dtype=str).sort_values("id")
        assert after.to_csv(index=False) == before.to_csv(index=False), form
    made = command(workplace, "feedback", "export", "out.jsonl", settings=source)
    ties = int((~before["choice"].isin(["a", "b"])).sum())
    assert f"{40 - ties} comparisons" in made.stdout
    if ties:
        assert f"left out {ties} ties" in made.stdout


def test_a_changed_row_is_found_and_can_be_accepted(workplace: Path) -> None:
    settings = named(workplace, "changed")
    assert command(workplace, "collect", "--teacher", "simulated", settings=settings).returncode == 0
    path = workplace / "runs/changed/feedback/pairwise.csv"
    lines = path.read_bytes().split(b"\r\n")
    lines[9] = lines[9].replace(b",a,a,", b",b,a,") if b",a,a," in lines[9] else lines[9].replace(b",b,a,", b",a,a,")
    path.write_bytes(b"\r\n".join(lines))
    for arguments in (("feedback", "check"), ("train-reward",)):
        refused = command(workplace, *arguments, settings=settings)
        assert refused.returncode == 2
        assert "not what was stored" in refused.stderr
    assert command(workplace, "feedback", "check", "--accept", settings=settings).returncode == 0
    assert command(workplace, "feedback", "check", settings=settings).returncode == 0


def test_stats_as_table_csv_and_json(workplace: Path) -> None:
    settings = named(workplace, "counted")
    collected = command(workplace, "collect", "--teacher", "simulated", settings=settings)
    assert collected.returncode == 0, collected.stderr
    made = command(workplace, "feedback", "stats", "--csv", "q.csv", "--json", "q.json", settings=settings)
    assert made.returncode == 0, made.stderr
    assert "alpha" in made.stdout
    assert pd.read_csv(workplace / "q.annotators.csv")["judgments"].sum() == 40
    times = pd.read_csv(workplace / "q.response_times.csv")
    assert list(times.loc[0, ["question", "times", "judgments", "timed"]]) == ["comparison", "simulated", 40, 40]
    written = json.loads((workplace / "q.json").read_text())
    assert written["questions"][0]["judgments"] == 40
    (simulated,) = written["response_times"]
    assert simulated["times"] == "simulated"
    assert simulated["total_s"] == pytest.approx(times["total_s"].sum())
    assert f"{simulated['total_s']:.0f} simulated seconds of simulated teachers" in made.stdout
    assert json.loads((workplace / "runs/counted/summary.json").read_text())["seconds_simulated"] == pytest.approx(
        simulated["total_s"], abs=0.06
    )
