"""labelled.csv: the labelled images of the reference, written by stage 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd


def read_labelled(path: Path) -> list[tuple[str, str]]:
    """Id and class name of each labelled image, in the file's order."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return list(zip(frame["image"], frame["label"], strict=True))


def labelled_rows(path: Path, position: Mapping[str, int], classes: Sequence[str]) -> dict[int, int]:
    """Class number of each labelled image by its row number, in the file's order; missing images are left out.

    Args:
        position: row number of each image id.
        classes: names of all classes.
    """
    number = {name: n for n, name in enumerate(classes)}
    return {position[image]: number[label] for image, label in read_labelled(path) if image in position}
