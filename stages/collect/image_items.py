"""The images of a run as items of the judging page."""

from __future__ import annotations

from pipeline.data.gold_labels import read_gold_labels
from pipeline.data.image_table import ImageTable
from pipeline.kinds.page_items import PageItems
from pipeline.run.workspace import Workspace
from stages.collect.image_renditions import Renditions
from stages.collect.question_plan import plan


class RowNumbers:
    """Numbers of images: their rows in the table."""

    def __init__(self, table: ImageTable) -> None:
        self._table = table

    def number(self, item: str) -> int:
        return int(self._table.position[item])

    def item(self, number: int) -> str | None:
        return str(self._table.ids[number]) if number < len(self._table) else None


def image_items(ws: Workspace) -> PageItems:
    """The questions of this run, and what the page shows of its images; close its renditions."""
    return PageItems(
        ws.config.collect,
        ws.config.seed,
        ws.run.path,
        plan(ws),
        RowNumbers(ws.table),
        gold=read_gold_labels(ws.table, ws.classes).by_image(ws.table.ids),
        log_reference=ws.log_reference,
        renditions=Renditions.of(ws.table, ws.config),  # the last, since it starts processes
    )
