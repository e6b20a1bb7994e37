"""Ctrl-C and SIGTERM at the worst moments: while a state is being written, twice, and where an exception is lost.

Each test is a real process with the real command line, whose state sends the signals itself, so that nothing depends on time.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.command_process import run_command

from pipeline.run.checkpoints import Checkpoints

PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from pipeline.run import checkpoints
from pipeline.run.checkpoints import Checkpoints
from stages.cli import main

FOLDER, SECONDS = Path(sys.argv.pop(1)), float(sys.argv.pop(1))
writes = 0
whole = checkpoints._HashingFile.write

def send(name):
    os.kill(os.getpid(), getattr(signal, name))

def write(self, data):
    global writes
    writes += 1
    DURING_WRITE
    return whole(self, data)

checkpoints._HashingFile.write = write

class Sends:
    def __del__(self):
        send("SIGTERM")

@main.command()
def loop():
    with Checkpoints(FOLDER, "key", seconds=SECONDS, what="iteration") as saved:
        for position in range(1, 4):
            DURING_LOOP
            saved.offer(position, lambda: {"position": position, "w": torch.arange(1000.0)})
    print("it was not stopped")

AROUND
main()
"""


def stopped(
    folder: Path, *, seconds: float = 0, during_write: str = "pass", during_loop: str = "pass", around: str = ""
) -> tuple[int, str]:
    """Exit code and what was said of a loop that saves three states."""
    program = (
        PROGRAM.replace("DURING_WRITE", during_write).replace("DURING_LOOP", during_loop).replace("AROUND", around)
    )
    command = ["-c", program, str(folder), str(seconds), "loop"]
    made = run_command(command, timeout=120)
    assert "it was not stopped" not in made.stdout
    return made.returncode, made.stderr


def position(folder: Path) -> int:
    """Of the newest state that is whole."""
    state = Checkpoints(folder, "key").latest()
    assert state is not None
    assert not list(folder.glob("*.damaged"))
    assert not list(folder.glob(".writing"))
    return int(state["position"])


@pytest.mark.long
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_waits_until_the_state_is_written(tmp_path: Path, name: str, code: int) -> None:
    """In the middle of the first state: torch's writer would make a RuntimeError of an exception."""
    returned, said = stopped(tmp_path, during_write=f"writes == 3 and send('{name}')")
    assert said.splitlines() == ["stopped after iteration 1; the same command resumes from there"]
    assert returned == code
    assert position(tmp_path) == 1


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_twice_in_one_write(tmp_path: Path, second: str) -> None:
    returned, said = stopped(
        tmp_path, during_write=f"(writes == 2 and send('SIGINT')) or (writes == 4 and send('{second}'))"
    )
    assert said.splitlines() == ["stopped after iteration 1; the same command resumes from there"]
    assert returned == 130
    assert position(tmp_path) == 1


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_again_while_the_last_state_is_written(tmp_path: Path, second: str) -> None:
    """The first Ctrl-C comes in the loop; the state is only written then, and the second comes in the middle of that."""
    returned, said = stopped(
        tmp_path,
        seconds=3600,
        during_loop="position == 3 and send('SIGINT')",
        during_write=f"writes == 3 and send('{second}')",
    )
    assert said.splitlines() == ["stopped after iteration 2; the same command resumes from there"]
    assert returned == 130
    assert position(tmp_path) == 2


def test_again_while_what_is_open_is_closed(tmp_path: Path) -> None:
    """The second Ctrl-C comes after the last state was written, while the stage is being left."""
    around = """
from contextlib import contextmanager
inner = main.commands["loop"].callback
def outer():
    try:
        inner()
    finally:
        send("SIGINT")
main.commands["loop"].callback = outer
"""
    returned, said = stopped(tmp_path, during_loop="position == 3 and send('SIGTERM')", around=around)
    assert said.splitlines() == ["stopped after iteration 2; the same command resumes from there"]
    assert returned == 143
    assert position(tmp_path) == 2


def test_a_signal_whose_exception_is_lost(tmp_path: Path) -> None:
    """Python prints what is raised in a finaliser and goes on; the loop stops all the same, at its next state."""
    returned, said = stopped(tmp_path, during_loop="position == 2 and Sends()")
    assert said.splitlines()[-1] == "stopped after iteration 2; the same command resumes from there"
    assert returned == 143
    assert position(tmp_path) == 2


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_outside_a_loop(tmp_path: Path, name: str, code: int) -> None:
    """Anywhere in a command: one line, and the exit code that shells give."""
    around = f"main.commands['loop'].callback = lambda: (send('{name}'), print('it was not stopped'))"
    returned, said = stopped(tmp_path, around=around)
    assert said.splitlines() == ["stopped; what was finished before is kept, and the same command resumes from there"]
    assert returned == code


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """A shell script's background job ignores Ctrl-C, which is meant for the program in front."""
    around = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    returned, said = stopped(tmp_path, during_loop="(send('SIGINT'), position == 3 and send('SIGTERM'))", around=around)
    assert said.splitlines() == ["stopped after iteration 2; the same command resumes from there"]
    assert returned == 143


def test_handlers_are_put_back() -> None:
    from pipeline.run.signals import defer_signals, stoppable

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable(), defer_signals(), stoppable():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
