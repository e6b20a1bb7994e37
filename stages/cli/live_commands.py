"""The commands of live collection: its training process, and training stored rounds again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import click

from pipeline.config import Config
from pipeline.errors import Stopped, UserError

TRAINING_COMMAND = (sys.executable, "-m", "stages.cli", "live-training")
STOP_SECONDS = 10.0  # until the process ends even if it does not react
RETRY_SECONDS = 2.0


@click.command("live-training", hidden=True)
def training() -> None:
    """Train while people answer; the page's server starts this and writes the configuration to standard input."""
    import yaml

    from pipeline.config import parse_config

    lines = iter(sys.stdin.readline, "")
    config = parse_config(yaml.safe_load("".join(_until_end(lines))), "live-training")
    ended = threading.Event()
    try:
        threading.Thread(target=_stop_with_server, args=(ended,), name="server", daemon=True).start()
        if hasattr(os, "nice"):
            os.nice(config.live.niceness)
        _train(config)
    except (KeyboardInterrupt, Stopped):
        if not ended.is_set():
            raise


def _until_end(lines: object) -> list[str]:
    """The lines before `...`."""
    found: list[str] = []
    for line in lines:  # type: ignore[attr-defined]
        if line == "...\n":
            return found
        found.append(line)
    raise UserError(
        "live-training: the configuration on standard input is not complete; start it with `collect --live`"
    )


def _stop_with_server(ended: threading.Event) -> None:
    """End this process when the server's end of the pipe is closed, which the system does if the server is killed."""
    while sys.stdin.readline():
        pass
    ended.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(143)


def _train(config: Config) -> None:
    from feedback_store.errors import FeedbackError
    from pipeline.run.run_folder import RunFolder
    from pipeline.run.stage_lock import stage_lock
    from stages.collect.live_queue import write_queue
    from stages.rounds.live import run

    folder = RunFolder(config).path / "rounds"
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        try:
            with stage_lock(folder):
                run(config, write_queue)
        except (UserError, FeedbackError) as error:  # another process trains, or the owner has to repair something
            if not told:
                click.echo(click.style("warning: ", fg="yellow", bold=True) + f"training waits: {error}", err=True)
            told = True
            time.sleep(RETRY_SECONDS)


def replay_rounds(config: Config) -> None:
    """Train every finished round again, and end with exit code 1 if any weight differs."""
    from stages.rounds.replay import replay

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("rounds --replay runs in one process; start it without torchrun")

    different = replay(config, click.echo)
    if different:
        numbers = ", ".join(map(str, different))
        click.echo(
            click.style("error: ", fg="red", bold=True)
            + f"rounds that could not be made again bit for bit: {numbers}; the lines above say why. Nothing stored was changed",
            err=True,
        )
        raise click.exceptions.Exit(1)
    click.echo("all rounds came out bit for bit the same")
