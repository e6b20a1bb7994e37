"""The training process of live collection: started by the page's server, watched, and started again if it ends.

The process reads the configuration from its standard input and ends by itself when that is closed: when the server stops,
or is killed. The server never waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Sequence

from pipeline.config import Config, dump_config

_log = logging.getLogger(__name__)

END_OF_CONFIG = "...\n"  # as in YAML
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # before each new start; the last one again and again
LONG_ENOUGH_SECONDS = 120.0  # of running, after which earlier ends no longer count
STOP_SECONDS = 3.0  # until the process is killed when the server stops


class TrainingProcess:
    """Args:
    command: starts the process.
    """

    def __init__(self, command: Sequence[str], config: Config) -> None:
        self.command, self.config = list(command), config
        self.message = ""  # for the page, if the process does not run
        self.process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="training process", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close its input, so that it ends; what it has not finished is trained on the same rows next time."""
        self._stopping.set()
        with self._starting:
            process = self.process
        if process is None:
            return
        assert process.stdin
        with contextlib.suppress(OSError):  # it ended before
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _watch(self) -> None:
        ends = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run()
            if self._stopping.is_set():
                return
            ends = 1 if time.monotonic() - started > LONG_ENOUGH_SECONDS else ends + 1
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            if code > 0 and ends > len(PAUSE_SECONDS):  # an error of its own, which would come again
                self.message = "training does not run any more; answers are saved as before"
                _log.error(
                    f"the training process {how} {ends} times in a row; collecting goes on without it: questions keep their order. "
                    "Restart the command after you fixed the reason"
                )
                return
            self.message = "training is being started again"
            _log.warning(f"the training process {how}; it is started again, and nothing is lost")
            self._stopping.wait(PAUSE_SECONDS[min(ends, len(PAUSE_SECONDS)) - 1])

    def _run(self) -> int:
        """Start the process and wait for its end; returns its exit code, negative for a signal."""
        threads = str(self.config.live.threads)
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        with self._starting:
            if self._stopping.is_set():
                return 0
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                _log.warning(f"the training process cannot be started: {error.strerror}")
                return 1
            assert self.process.stdin
            with contextlib.suppress(OSError):  # it ended at once: its exit code says how
                self.process.stdin.write(dump_config(self.config) + END_OF_CONFIG)
                self.process.stdin.flush()
        self.message = ""
        code = self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return code
