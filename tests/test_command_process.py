"""A command that the tests' server forks is a process as a fresh interpreter's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.collect_process import CollectProcess, make_run
from support.command_process import FORKS, PIPE, STDOUT, run_command, start_command

SHOWN = """
import os, resource, signal, sys, threading
print(sys.argv, os.getcwd(), os.environ, sys.path[:2])
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.encoding, stream.errors, stream.line_buffering, stream.isatty(), stream.fileno())
print([(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)])
print(threading.active_count(), len(os.listdir("/proc/self/task")), sorted(os.listdir("/proc/self/fd")))
print(resource.getrlimit(resource.RLIMIT_NOFILE), __name__)
"""

pytestmark = pytest.mark.skipif(not FORKS, reason="forks on Linux only, and not with FRESH_INTERPRETERS")


def test_it_is_given_what_a_fresh_interpreter_is(tmp_path: Path) -> None:
    """Arguments, folder, environment, streams, signals, limits, and no other descriptor or thread."""
    for more in ({}, {"PYTHONUNBUFFERED": "1"}, {"PYTHONIOENCODING": "latin-1:replace", "PYTHONPATH": "/some:/more"}):
        environment = {"PATH": os.environ["PATH"], "SHOWN": "caf\udce9", "LC_CTYPE": "C.UTF-8", **more}
        options = {"cwd": tmp_path, "env": environment, "stdin": subprocess.DEVNULL}
        forked = run_command(["-c", SHOWN, "one", "two\n"], **options)
        fresh = subprocess.run(
            [sys.executable, "-c", SHOWN, "one", "two\n"], capture_output=True, text=True, check=False, **options
        )
        assert (forked.returncode, forked.stderr) == (0, "")
        assert forked.stdout == fresh.stdout


@pytest.mark.parametrize(
    ("code", "returncode", "said"),
    [
        ("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", 3, "err\n"),
        ("import os, signal; print('out', flush=True); os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
        ("import atexit; atexit.register(print, 'out')", 0, ""),
        ("print('out'); raise SystemExit('said')", 1, "said\n"),
        ("import threading; threading.Timer(0.1, print, ['out']).start()", 0, ""),
    ],
)
def test_how_it_ends(code: str, returncode: int, said: str) -> None:
    done = run_command(["-c", code])
    assert (done.returncode, done.stdout, done.stderr) == (returncode, "out\n", said)


def test_one_stream_for_both_and_bytes() -> None:
    done = run_command(["-c", "import os; os.write(1, b'\\xff'); os.write(2, b'e')"], stderr=STDOUT, text=False)
    assert (done.stdout, done.stderr) == (b"\xffe", None)


def test_a_command_that_takes_too_long_is_killed() -> None:
    process = start_command(["-c", "import time; print('begun', flush=True); time.sleep(600)"], stdout=PIPE)
    assert process.stdout.readline() == "begun\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.1)
    process.terminate()
    assert process.communicate(timeout=60) == ("", None)
    assert process.returncode == -signal.SIGTERM
    process.kill()  # there is nothing left to kill


def test_it_reads_what_is_written_to_it() -> None:
    process = start_command(["-c", "print(input()[::-1])"], stdin=PIPE, stdout=PIPE)
    process.stdin.write("abc\n")
    process.stdin.flush()
    assert process.communicate() == ("cba\n", None)


def test_the_limit_of_open_files() -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    assert run_command(["-c", code], open_files=99).stdout == "(99, 99)\n"


def test_the_command_line(tmp_path: Path) -> None:
    """Bad input gives 2 and one line; Ctrl-C ends `collect` in good order."""
    refused = run_command(["-m", "stages.cli", "reference", "--config", "none.yaml"], cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    usage = run_command(["-m", "stages.cli", "no-such-command"], cwd=tmp_path)
    assert usage.returncode == 2
    assert usage.stderr.startswith("Usage: python -m stages.cli")
    make_run(tmp_path)
    collect = CollectProcess(tmp_path)
    assert httpx.get(collect.address).status_code < 500
    assert collect.stop(signal.SIGINT) == ""
    assert collect.process.returncode == 0
