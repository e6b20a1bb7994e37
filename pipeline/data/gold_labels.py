"""GoldLabels: the true classes, separate from the images so that training cannot use them by accident.

The simulated teacher, the reference's few labelled images and evaluation read them. Nothing that trains a reward model
or a policy on judgments has an argument of this type (tests/test_architecture.py); `train-reward` and `ppo` read them
to evaluate what they trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.columns import Column
from pipeline.data.image_table import ImageTable
from pipeline.errors import UserError
from pipeline.run.atomic_files import printable


@dataclass(frozen=True, eq=False)
class GoldLabels:
    """True class of each image of a table; -1 if it is not known.

    Attributes:
        classes: names, in the order of the models' outputs.
        labels: [N] int64.
    """

    classes: tuple[str, ...]
    labels: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """[N] bool."""
        return self.labels >= 0

    def utility(self, rows: np.ndarray) -> np.ndarray:
        """Gold utility g(x, a) [B, C]: 1 for the true class, 0 otherwise."""
        if not self.known[rows].all():
            raise ValueError("gold utility asked for an image without a gold label")
        return np.eye(len(self.classes))[self.labels[rows]]

    def of_rows(self, rows: np.ndarray) -> GoldLabels:
        """Those of some images."""
        return GoldLabels(self.classes, self.labels[rows])

    def by_image(self, ids: Column | np.ndarray) -> dict[str, str]:
        """True class of every image whose class is known, by id.

        Args:
            ids: [N] image ids of the table.
        """
        return {ids[row]: self.classes[self.labels[row]] for row in np.flatnonzero(self.known)}


def class_names(table: ImageTable, configured: list[str] | None) -> tuple[str, ...]:
    """Class names: those configured, otherwise the source's, otherwise the labels that occur, in alphabetical order.

    Raises:
        UserError: fewer than two classes, or an invalid name.
    """
    if configured:
        return tuple(configured)
    source, place = table.source, table.source.place
    names = source.class_names() or sorted(source.labels_of(table.paths))
    for name in names:
        if printable(name) != name:
            raise UserError(
                f"{place}: the class folder {printable(name)} has a name with bytes that are not UTF-8, or with "
                "control characters; rename it"
            )
    if len(names) == 1:
        raise UserError(f"{place}: only one class, '{names[0]}'; add another class folder")
    if not names:
        raise UserError(f"{place}: no class folders; name the classes in the configuration: images.classes: [ant, bee]")
    return tuple(names)


def read_gold_labels(table: ImageTable, classes: tuple[str, ...]) -> GoldLabels:
    """Gold labels from the table's image source (for a folder: the names of its sub-folders); -1 if unknown."""
    index = {name: number for number, name in enumerate(classes)}
    labels = (index.get(table.source.label(key) or "", -1) for key in table.paths)
    return GoldLabels(classes, np.fromiter(labels, np.int64, len(table)))
