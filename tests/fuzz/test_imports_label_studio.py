"""Files of Label Studio: judgments that can be stored and read back, rejects with a reason, or one refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import bounded, fuzz
from support.import_strategies import NAMES, damage, imported, numbers, outcome, some_of, texts, values, written

from feedback_store.exchange import label_studio
from feedback_store.exchange.label_studio_config import Objects
from feedback_store.schemas.pair import COMPARISON, IMAGE_COMPARISON

CONFIGS = [COMPARISON.label_studio_config(()), IMAGE_COMPARISON.label_studio_config(())]

results = some_of(
    {
        "from_name": st.sampled_from(["better", "otherwise", "class", "rating", "verdict_choice", "rating_choice"]),
        "to_name": st.sampled_from(["image", "label_a", "better"]),
        "type": st.sampled_from(["pairwise", "choices", "rating"]),
        "meta": values | st.fixed_dictionaries({}, optional={"round": values, "source": values, "shown_first": values}),
        "value": values
        | st.fixed_dictionaries(
            {}, optional={"selected": texts, "choices": st.lists(texts, max_size=2) | values, "rating": numbers}
        ),
    }
)


annotations = some_of(
    {
        "id": values,
        "unique_id": texts,
        "completed_by": values | st.fixed_dictionaries({"email": values}),
        "lead_time": numbers,
        "created_at": texts,
        "was_cancelled": st.booleans(),
        "result": st.lists(results, max_size=2),
    }
)


tasks = some_of(
    {
        "id": values,
        "annotations": st.lists(annotations, max_size=2),
        "data": st.dictionaries(st.sampled_from(["image", "label", "label_a", "label_b", "image_a", "image_b"]), texts),
    }
)


@fuzz
@given(
    made=st.lists(tasks | values, max_size=3),
    config=st.sampled_from([None, *CONFIGS]),
    changes=damage,
)
def test_label_studio(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], config: str | None, changes: Any
) -> None:
    folder = tmp_path_factory.mktemp("studio")
    path = written(folder, "x.json", json.dumps(made, indent=1), changes)
    imported(folder, "label-studio", lambda: label_studio.read(path, NAMES, config))


@fuzz
@given(
    changes=st.lists(
        st.tuples(
            st.floats(0, 1), st.integers(0, 30), st.text(max_size=8) | st.sampled_from(["<a>", "&x;", "$", "<!DOCTYPE"])
        ),
        max_size=3,
    ),
    config=st.sampled_from([*CONFIGS, ""]) | st.text(max_size=40),
)
def test_labelling_configurations(changes: list[tuple[float, int, str]], config: str) -> None:
    for place, length, piece in changes:
        start = int(place * len(config))
        config = config[:start] + piece + config[start + length :]
    with bounded():
        outcome(lambda: Objects.of(config))
