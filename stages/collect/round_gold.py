"""Gold questions of a round (`collect.gold_fraction`): about images whose class the reference was given."""

from __future__ import annotations

import numpy as np
import torch

from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from pipeline.kinds import JudgmentKind, Queries
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from stages.collect.question_plan import known_labels, with_gold_tiles

MAX_DRAWS = 8  # questions drawn for each one that the known classes answer


def with_gold(
    ws: Workspace, kind: JudgmentKind, queries: Queries, store: FeedbackStore, number: int, knows: np.ndarray
) -> Queries:
    """The questions of a round with the share `collect.gold_fraction` of gold.

    Pages get gold tiles. Of other kinds, gold questions at equal distances take the place of the last questions, which the
    strategy finds least valuable; they are others than in earlier rounds as long as there are some.

    Args:
        number: of the round.
        knows: [N] whether the teacher can answer questions about an image.

    Raises:
        UserError: the reference has no labelled images, or the teacher cannot answer questions about them.
    """
    hidden = with_gold_tiles(ws, kind, queries, number)
    if hidden is not None:
        return hidden
    labelled, gold = known_labels(ws)
    known = [row for row in labelled if knows[row]]
    if not known:
        raise UserError(
            "collect.gold_fraction: the teacher has no answer about any image that the reference has a label of; set it to 0"
        )
    count = min(int(ws.config.collect.gold_fraction * len(queries) + 0.5), len(queries) - 1)
    if count < 1:
        return queries
    random = generator(ws.config.seed, Stream.GOLD_QUESTIONS)  # the same in every round, which continues the sequence
    asked = _asked_before(ws, store, number, set(known))
    drawn = kind.draw(torch.tensor(known), MAX_DRAWS * (asked + count), ws.log_reference, random)
    usable = kind.with_known_answer(drawn, gold, random)
    own = usable.pick(torch.arange(len(usable))[asked : asked + count])
    return _spread(queries.pick(torch.arange(len(queries) - len(own))), own) if len(own) else queries


def _spread(queries: Queries, gold: Queries) -> Queries:
    """Both, the gold questions at equal distances among the others."""
    total = len(queries) + len(gold)
    is_gold = torch.zeros(total, dtype=torch.bool)
    is_gold[(2 * torch.arange(len(gold)) + 1) * total // (2 * len(gold))] = True
    place = torch.where(is_gold, len(queries) + is_gold.cumsum(0) - 1, (~is_gold).cumsum(0) - 1)
    both = Queries(queries.kind, torch.cat([queries.rows, gold.rows]), torch.cat([queries.labels, gold.labels]))
    return both.pick(place)


def _asked_before(ws: Workspace, store: FeedbackStore, number: int, known: set[int]) -> int:
    """Questions of earlier rounds whose images all have known classes."""
    asked = 0
    for frame, columns in ((store.comparisons(), ["image_a", "image_b"]), (store.per_image_judgments(), ["image"])):
        own = frame.loc[frame["round"].astype(int) < number, columns]
        asked += int(own.map(lambda image: ws.table.position.get(image, -1) in known).all(axis=1).sum())
    return asked
