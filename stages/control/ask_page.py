"""Ask people about pairs of clips on the judging page, until all are answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from feedback_store.audit import base_source
from feedback_store.store import FeedbackStore
from pipeline.config.root import RunSettings
from pipeline.control.clip import ClipFiles, clip_path, read_facts
from pipeline.control.clip_comparison import CLIP_COMPARISON, LABEL, clip_item
from pipeline.errors import Stopped
from pipeline.kinds.items import Item, distinct
from pipeline.kinds.page_items import HashNumbers, PageItems, Plan
from pipeline.run import next_command
from pipeline.run.extension import AskAbout
from pipeline.run.run_folder import RunFolder

CLIPS = "clips"  # folder of a run
STOPPED_CODE = 130  # exit code after Ctrl-C
_OPENED: set[Path] = set()  # runs whose page was opened in a browser by this process


def ask_people(
    config: RunSettings,
    pairs: Sequence[tuple[str, str]],
    store: FeedbackStore,
    announce: Callable[[str], object],
    *,
    ask_about: AskAbout,
    round: int = 0,
) -> None:
    """Serve the page until all pairs are answered; answers that are stored already count.

    Args:
        pairs: ids of two clips each, whose files are in runs/<name>/clips/.
        announce: is called with the progress and the links, line by line.
        ask_about: `StageFunctions.ask_about`.
        round: number of the round that the answers belong to.

    Raises:
        UserError: a clip is missing or damaged, or the page cannot be served.
        Stopped: the user ended the page before all pairs were answered.
    """
    items = distinct([clip_item(*pair) for pair in pairs if pair[0] != pair[1]])
    left = unanswered(config, items, store)
    if not left:
        return
    ask_about(clip_items(config, items, store, round), store, announce)
    _OPENED.add(RunFolder(config).path)
    if left := unanswered(config, items, store):
        raise Stopped(
            f"{left} of {len(items)} questions are not answered yet; all answers are saved, `{next_command.make('rounds')}` "
            "asks the others",
            STOPPED_CODE,
        )


def unanswered(config: RunSettings, items: Sequence[Item], store: FeedbackStore) -> int:
    """How many of these questions need further answers of people."""
    people: dict[str, set[str]] = defaultdict(set)
    for item, annotator in answered(store):
        people[item.key].add(annotator)
    return sum(len(people[item.key]) < config.collect.judgments_per_item for item in items)


def answered(store: FeedbackStore) -> list[tuple[Item, str]]:
    """Question and annotator of every current answer that was given on the page, in the order of the store."""
    rows = store.comparisons()
    rows = rows[CLIP_COMPARISON.schema.select(rows) & (rows["source"].map(base_source) == "web")]
    cells = zip(rows["image_a"], rows["image_b"], rows["annotator"], strict=True)
    return [(clip_item(a, b), annotator) for a, b, annotator in cells]


def clip_items(config: RunSettings, items: Sequence[Item], store: FeedbackStore, round: int) -> PageItems:
    """What the page shows: these questions, and those answered before, so that their answers can be taken back."""
    folder, run = RunFolder(config).path / CLIPS, RunFolder(config).path
    earlier = [item for item, _ in answered(store) if all(clip_path(folder, clip).is_file() for clip in item.images)]
    plan = Plan(distinct([*earlier, *items]), [], (LABEL,))
    # Read before anybody is asked, so that a missing or damaged clip is named now.
    facts = {clip: asdict(read_facts(folder, clip)) for item in plan.items for clip in item.images}
    server = config.collect.server
    if run in _OPENED:
        server = server.model_copy(update={"open_browser": False})
    changed = {"question": CLIP_COMPARISON.name, "count": None, "server": server}

    return PageItems(
        config.collect.model_copy(update=changed),
        config.seed,
        run,
        plan,
        HashNumbers(facts),
        ClipFiles(folder),
        describe=facts.__getitem__,
        round=round,
        resume="rounds",
        next_step="rounds",
        continues=True,
    )
