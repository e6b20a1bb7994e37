"""The examples of CONTRIBUTING.md run, and register what the text says they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback_store.registry import Registry
from feedback_store.schemas import schemas
from feedback_store.store_registry import stores
from pipeline.data.sources import IMAGE_SOURCES
from pipeline.kinds import kinds
from pipeline.models.sources import BACKBONE_SOURCES
from pipeline.strategies import Candidates, strategies

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
REGISTRIES: list[Registry[Any]] = [kinds, strategies, stores, IMAGE_SOURCES, BACKBONE_SOURCES]


@pytest.fixture
def added() -> Iterator[list[set[str]]]:
    """What the examples add to each registry, in the order of the text; removed afterwards."""
    before = [set(registry.names()) for registry in REGISTRIES]
    for example in EXAMPLES:
        exec(compile(example, "CONTRIBUTING.md", "exec"), {})
    new = [set(registry.names()) - names for registry, names in zip(REGISTRIES, before, strict=True)]
    yield new
    for registry, names in zip(REGISTRIES, new, strict=True):
        for name in names:
            registry.unregister(name)
    for name in new[0]:
        schemas.unregister(name)


def test_each_example_registers_one_object(added: list[set[str]]) -> None:
    assert len(EXAMPLES) == len(REGISTRIES)
    assert [len(names) for names in added] == [1] * len(REGISTRIES)
    assert (added[0], added[1]) == ({"typical"}, {"smallest_margin"})


def test_the_strategy_asks_about_the_images_that_are_hardest_to_decide(added: list[set[str]]) -> None:
    policy = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.55, 0.45]])
    candidates = Candidates(torch.arange(4), policy.log(), torch.Generator().manual_seed(0))
    asked = strategies.get("smallest_margin").choose(kinds.get("typical"), 2, candidates)
    assert set(asked.rows[:, 0].tolist()) == {1, 3}
