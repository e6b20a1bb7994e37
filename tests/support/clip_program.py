"""A program that asks people about the clips of a run, in one round or several: `python clip_program.py RUNS PORT ROUNDS`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from pipeline.config.collect import CollectConfig  # noqa: E402
from pipeline.errors import Stopped  # noqa: E402
from pipeline.run.run_folder import RunFolder  # noqa: E402
from stages.collect.web.server import ask_about  # noqa: E402
from stages.control.ask_page import CLIPS, ask_people  # noqa: E402
from support.clips import ClipsConfig, pairs_of  # noqa: E402


def main(runs: Path, port: int, rounds: int) -> None:
    collect = CollectConfig.model_validate(
        {"annotators": ["ann"], "repeat_fraction": 0, "server": {"port": port, "open_browser": False}}
    )
    config = ClipsConfig(runs=runs, collect=collect)
    store = RunFolder(config).open_store()
    pairs = pairs_of(sorted(path.stem for path in (RunFolder(config).path / CLIPS).iterdir()))
    each = len(pairs) // rounds
    try:
        for number in range(rounds):
            asked = pairs[number * each : (number + 1) * each]
            ask_people(config, asked, store, partial(print, flush=True), ask_about=ask_about, round=number)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.code)
    print("answered")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
