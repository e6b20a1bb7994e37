"""Figures of quality against values worked out by hand, and Krippendorff's own example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from feedback_store.agreement import Quality, as_json, as_text, quality
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison, Judgment, label_choice, rating, verdict


def measured(folder: Path, judgments: list[Judgment], **options: object) -> Quality:
    store = CsvFeedbackStore(folder)
    store.append(judgments)
    return quality(store.comparisons(), store.per_image_judgments(), **options)  # type: ignore[arg-type]


def compared(annotator: str, item: int, choice: str, *, swapped: bool = False, ms: int = 900) -> Comparison:
    """Does image `item` show an ant or a bee? Swapped, the bee is side a; `choice` is always about the ant as a."""
    labels, shown = ("bee", "ant") if swapped else ("ant", "bee"), "a"
    if swapped and choice in "ab":
        choice = "ab"["ba".index(choice)]
    return Comparison(
        annotator=annotator,
        source="web",
        image_a=f"img-{item}",
        image_b=f"img-{item}",
        label_a=labels[0],
        label_b=labels[1],
        choice=choice,
        shown_first=shown,
        response_ms=ms,
    )


# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", the example of four observers and twelve units.
TABLE = [
    (1, 1, None, 1),
    (2, 2, 3, 2),
    (3, 3, 3, 3),
    (3, 3, 3, 3),
    (2, 2, 2, 2),
    (1, 2, 3, 4),
    (4, 4, 4, 4),
    (1, 1, 2, 1),
    (2, 2, 2, 2),
    (None, 5, 5, 5),
    (None, None, 1, 1),
    (None, None, 3, None),
]


def test_alpha_of_the_published_example(tmp_path: Path) -> None:
    """Nominal 0.743, ordinal 0.815, as Krippendorff works them out."""
    nominal = [
        label_choice(f"img-{unit}", f"class {value}", annotator=f"o{observer}", source="web")
        for unit, values in enumerate(TABLE)
        for observer, value in enumerate(values)
        if value
    ]
    ordinal = [
        rating(f"img-{unit}", "ant", value, annotator=f"o{observer}", source="web")
        for unit, values in enumerate(TABLE)
        for observer, value in enumerate(values)
        if value
    ]
    questions = measured(tmp_path, nominal + ordinal).questions.set_index("question")
    assert questions.loc["label", "alpha"] == pytest.approx(0.743, abs=5e-4)
    assert questions.loc["rating", "alpha"] == pytest.approx(0.815, abs=5e-4)
    # Agreeing pairs, unit by unit: 3+3+6+6+6+0+6+3+6+3+1 of 3+6+6+6+6+6+6+6+6+3+1.
    assert questions.loc["label", "agreement"] == pytest.approx(43 / 55)


def test_the_order_of_sides_does_not_matter(tmp_path: Path) -> None:
    found = measured(tmp_path, [compared("x", 1, "a"), compared("y", 1, "a", swapped=True)])
    assert found.questions.loc[0, "agreement"] == 1
    assert found.questions.loc[0, "items"] == 1


def test_annotators_by_hand(tmp_path: Path) -> None:
    """Three items; z disagrees on item 2, repeats item 1 twice (once differently) and cannot tell item 3."""
    judgments = [
        compared("x", 1, "a"),
        compared("y", 1, "a", swapped=True),
        compared("z", 1, "a", ms=100),
        compared("x", 2, "b"),
        compared("y", 2, "b"),
        compared("z", 2, "a", ms=200),
        compared("x", 3, "tie"),
        compared("y", 3, "a"),
        compared("z", 3, "cant_tell"),
        compared("z", 1, "a", swapped=True, ms=1000),
        compared("z", 1, "b", ms=2000),
    ]
    found = measured(tmp_path, judgments, gold={"img-1": "ant", "img-2": "bee"})
    kind = found.questions.iloc[0]
    assert (kind["judgments"], kind["items"], kind["annotators"]) == (11, 3, 3)
    assert kind["no_answer"] == pytest.approx(1 / 11)
    assert kind["agreement"] == pytest.approx((3 + 1 + 0) / (3 + 3 + 1)), "items 1, 2 and 3"
    people = found.annotators.set_index("annotator")
    assert people.loc["x", "agreement"] == pytest.approx((2 + 1 + 0) / 5)
    assert people.loc["z", "agreement"] == pytest.approx((2 + 0) / 4)
    assert people.loc["z", "consistency"] == pytest.approx(1 / 2)
    assert people.loc["z", "repeats"] == 2
    assert np.isnan(people.loc["x", "consistency"])
    assert people.loc["x", "gold_accuracy"] == 1
    assert (people.loc["z", "gold_accuracy"], people.loc["z", "gold"]) == (pytest.approx(2 / 4), 4)
    assert people.loc["z", "first_side"] == pytest.approx(2 / 4), "a, a, then the second side twice"
    assert people.loc["x", "first_side"] == pytest.approx(1 / 2), "a tie has no side"
    assert people.loc["z", "no_answer"] == pytest.approx(1 / 5)
    assert people.loc["z", "fast"] == pytest.approx(2 / 5)
    assert people.loc["z", "median_ms"] == 900


def test_side_bias_is_a_binomial_test(tmp_path: Path) -> None:
    """Ten of ten on the side shown first: p = 2 / 2**10."""
    found = measured(tmp_path, [compared("x", item, "a") for item in range(10)])
    assert found.annotators.loc[0, "first_side"] == 1
    assert found.annotators.loc[0, "side_bias_p"] == pytest.approx(2 / 1024)
    assert np.isnan(found.questions.loc[0, "alpha"])


def test_gold_of_each_question(tmp_path: Path) -> None:
    common = {"annotator": "x", "source": "web"}
    two = Comparison(image_a="i", label_a="ant", image_b="j", label_b="ant", choice="a", **common)  # type: ignore[arg-type]
    undecidable = Comparison(image_a="j", label_a="ant", image_b="j", label_b="wasp", choice="a", **common)  # type: ignore[arg-type]
    judgments = [
        label_choice("i", "ant", **common),
        label_choice("j", "ant", **common),
        verdict("i", "ant", "yes", **common),
        verdict("j", "ant", "yes", **common),
        verdict("j", "ant", "cant_tell", **common),
        rating("i", "ant", 5, **common),
        two,
        undecidable,
        label_choice("unknown", "ant", **common),
    ]
    person = measured(tmp_path, judgments, gold={"i": "ant", "j": "bee"}).annotators.iloc[0]
    assert person["gold"] == 5, "two labels, two verdicts, one comparison of two images"
    assert person["gold_accuracy"] == pytest.approx(3 / 5)


def test_nothing_judged_and_nothing_shared(tmp_path: Path) -> None:
    empty = measured(tmp_path / "none", [])
    assert len(empty.questions) == len(empty.annotators) == 0
    assert as_text(empty) == ""
    alone = measured(tmp_path / "one", [label_choice("i", "ant", annotator="x", source="web")])
    assert np.isnan(alone.questions.loc[0, "alpha"])
    assert json.loads(json.dumps(as_json(alone)))["annotators"][0]["agreement"] is None
    assert " - " in as_text(alone)


def test_unanimous_answers_agree_but_have_no_alpha(tmp_path: Path) -> None:
    found = measured(tmp_path, [label_choice("i", "ant", annotator=name, source="web") for name in "xy"])
    assert found.questions.loc[0, "agreement"] == 1
    assert np.isnan(found.questions.loc[0, "alpha"])
