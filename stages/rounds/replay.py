"""`rounds --replay`: train every finished round again from the stored rows, and compare all weights bit for bit.

Nobody is asked and nothing is stored. The rounds are trained in a temporary folder, which is removed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.config import Config, load_saved_config
from pipeline.errors import UserError
from pipeline.run.atomic_files import sha256_of
from pipeline.run.manifest import read_manifest
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import stage_lock
from stages.rounds.run import ARCHIVED
from stages.rounds.trained_on import TrainedOn, read_round, rows_of_round, train

SCRATCH = ".replay-"


def replay(config: Config, announce: Callable[[str], object]) -> list[int]:
    """Train every round of the run again; returns the numbers of those that came out different.

    Args:
        announce: is called with a line about each round.

    Raises:
        UserError: there is no finished round, or the reference is missing.
    """
    folder, store = config.runs / config.name / "rounds", RunFolder(config).open_store()
    numbers = sorted(
        int(path.name) for path in folder.glob("*") if path.name.isdigit() and read_round(path) is not None
    )
    if not numbers:
        raise UserError(f"{folder}: no finished round to train again; run `make rounds` or `make collect LIVE=1` first")
    different = []
    with stage_lock(folder / "replay"):
        for left_over in folder.glob(f"{SCRATCH}*"):  # of a command that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        for number in numbers:
            archive = folder / str(number)
            on = rows_of_round(archive, store)
            assert on is not None, "it was read above"
            differences = _again(config, archive, on)
            kind = "live" if on.live else "simulated teacher"
            what = "; ".join(differences) or "all weights are bit for bit the same"
            announce(f"round {number} ({kind}, the first {sum(on.prefix.counts)} stored rows): {what}")
            if differences:
                different.append(number)
    return different


def _again(config: Config, archive: Path, on: TrainedOn) -> list[str]:
    """How a round that is trained again differs from its archive; empty if it does not."""
    reference = RunFolder(config).require("reference", "model.safetensors")
    manifest = read_manifest(archive / "ppo")
    if manifest is None:
        return [f"{archive / 'ppo'} has no manifest, so that it is not known what it was trained with"]
    if manifest.inputs.get("reference") != sha256_of(reference):
        return ["the reference was trained again since this round, and is another one"]
    try:
        with scratch(config, archive) as one:
            train(one, on, RunFolder(one).open_store(), chance_allowed=True)
            return _compared(archive, one.runs / one.name)
    except UserError as error:
        return [str(error)]


@contextmanager
def scratch(config: Config, archive: Path) -> Iterator[Config]:
    """The configuration that a round was made with, for a temporary run beside the archives with the same reference."""
    saved = load_saved_config(archive / "ppo" / "config.yaml")
    reward = load_saved_config(archive / "reward" / "config.yaml").reward  # may be another in each round
    place = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=archive.parent))
    try:
        run = place / config.name
        shutil.copytree(config.runs / config.name / "reference", run / "reference")
        with suppress(OSError):  # only to save time: what is in the cache is named by its content
            (place / ".cache").symlink_to((config.runs / ".cache").resolve(), target_is_directory=True)
        collect = saved.collect.model_copy(
            update={"folder": RunFolder(config).feedback, "store": config.collect.store, "first_rows": None}
        )
        same = {"runs": place, "name": config.name, "collect": collect, "images": config.images, "reward": reward}
        tracking = saved.tracking.model_copy(update={"tracker": "none"})
        yield saved.model_copy(update=same | {"tracking": tracking})
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _compared(archive: Path, again: Path) -> list[str]:
    differences = []
    for name in ARCHIVED:
        for path in sorted((archive / name).glob("*.safetensors")):
            other = again / name / path.name
            if not other.is_file() or sha256_of(other) != sha256_of(path):
                differences.append(f"the weights in {name}/{path.name} are different")
    return differences
