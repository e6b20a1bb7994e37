"""The page about clips in a process of its own: killed at random moments, stopped, and served in several rounds."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support import clip_program
from support.browser import CHROMIUM, shot, until
from support.clips import ClipPlace, clip_place
from support.collect_process import environment
from support.command_process import PIPE, start_command

pytestmark = pytest.mark.long
QUESTIONS = 20


class Program:
    """clip_program.py, started and its links read."""

    def __init__(self, where: ClipPlace, port: int, rounds: int = 1) -> None:
        command = [clip_program.__file__, str(where.config.runs), str(port), str(rounds)]
        self.process = start_command(command, env=environment(), stdout=PIPE, stderr=PIPE)
        self.link = ""
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.match(r"\s+ann\s+(http\S+/enter/\S+)", line):
                self.link = found[1]
            if line.startswith("Every answer"):
                return

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors


@pytest.fixture
def where(tmp_path: Path) -> Iterator[ClipPlace]:
    place = clip_place(tmp_path, QUESTIONS)
    yield place
    place.close()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Person(threading.Thread):
    """Answers as the page does: each answer is sent again until it is acknowledged."""

    def __init__(self, link: str) -> None:
        super().__init__(daemon=True)
        self.client = httpx.Client(timeout=2.0, follow_redirects=True)
        self.base, self.link = link.partition("/enter/")[0], link
        self.asked: list[str] = []
        self.acknowledged: dict[str, str] = {}

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                reply = self.client.post(self.home + path, json=body, headers={"Origin": self.base})
                reply.raise_for_status()
                return reply.json()
            except httpx.HTTPError:
                time.sleep(0.05)

    def run(self) -> None:
        self.home = str(self.client.get(self.link).url)
        while len(self.asked) < QUESTIONS:
            for task in self.call("next", {"wanted": 1, "holding": []})["tasks"]:
                self.asked.append(task["key"])
                given = {
                    "id": f"answer-{len(self.asked):04d}",
                    "item": task["key"],
                    "answer": "ab"[len(self.asked) % 2],
                }
                reply = self.call("answers", {"answers": [given | {"response_ms": 5, "age_ms": 0}]})
                assert given["id"] in reply["stored"], reply
                self.acknowledged[given["id"]] = given["answer"]
                time.sleep(0.05)


def test_killed_at_random_moments(where: ClipPlace, port: int) -> None:
    """No acknowledged answer is lost, nothing is asked twice, and the program ends when all are answered."""
    program = Program(where, port)
    person, random = Person(program.link), np.random.default_rng(0)
    person.start()
    for _ in range(3):
        before = len(person.acknowledged)
        while len(person.acknowledged) == before and person.is_alive():
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        known = dict(person.acknowledged)
        assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL
        rows = where.store.comparisons()
        stored = dict(zip(rows["id"], rows["choice"], strict=True))
        assert known.items() <= stored.items()
        link, program = program.link, Program(where, port)
        assert program.link == link, "the link stays valid"
    person.join(timeout=60)
    assert not person.is_alive()
    person.client.close()
    assert program.end()[:2] == (0, "answered\n"), "it ends by itself"
    rows = where.store.comparisons()
    assert dict(zip(rows["id"], rows["choice"], strict=True)) == person.acknowledged
    assert len(set(person.asked)) == len(person.asked) == len(rows) == QUESTIONS


def test_stopping_it_says_what_is_left(where: ClipPlace, port: int) -> None:
    program = Program(where, port)
    httpx.get(program.link)  # answered once it serves, and handles signals
    code, out, errors = program.end(signal.SIGINT)
    assert (code, out) == (130, "")
    assert errors == ("20 of 20 questions are not answered yet; all answers are saved, `make rounds` asks the others\n")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser")
def test_a_page_that_stays_open_gets_the_questions_of_the_next_round(page: Any, where: ClipPlace, port: int) -> None:
    program = Program(where, port, rounds=2)
    page.goto(program.link)
    for number in range(QUESTIONS):
        page.wait_for_selector("#stage canvas:visible", timeout=60_000)
        until(
            page, "(number) => document.getElementById('counts').textContent.startsWith(`${number} answered`)", number
        )
        page.keyboard.press("ArrowLeft")
        if number == QUESTIONS // 2 - 1:
            page.wait_for_selector("#finished:not([hidden])")
            assert "urther questions appear here" in page.inner_text("#finished")
    page.wait_for_selector("#finished:not([hidden])")
    assert program.end()[:2][0] == 0
    until(page, "() => document.getElementById('question').textContent === 'The model is training'")
    shot(page, "clips-training")
    assert where.store.comparisons()["round"].astype(int).tolist() == [0] * 10 + [1] * 10
