from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.teachers import ReplayConfig, SimulatedConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.data.image_table import ImageTable
from pipeline.data.sources.folder import FolderSource
from pipeline.errors import UserError
from pipeline.kinds import Queries, Simulation, TeacherParameters, kinds
from pipeline.kinds.queries import spread_over
from pipeline.kinds.teachers import parameters_of, teachers
from stages.collect.teacher_judgments import describe_teacher
from stages.collect.teachers.replay import Recorded, read_recorded

MANY = 20_000


def simulation(gold: GoldLabels, p: TeacherParameters, mean: float = 1.0) -> Simulation:
    return Simulation(gold, p, mean, 5, np.random.default_rng(0))


def choices(a: float, b: float, p: TeacherParameters, mean: float = 1.0) -> dict[str, float]:
    """Frequencies of each choice over many identical questions."""
    asked = simulation(GoldLabels(("a", "b"), np.zeros(1, int)), p, mean)
    made = asked.choose_side(np.full(MANY, a), np.full(MANY, b))
    names, counts = np.unique(made, return_counts=True)
    return dict(zip(names.tolist(), (counts / MANY).tolist(), strict=True))


def named(name: str) -> TeacherParameters:
    return teachers.get(name).parameters


def test_named_teachers() -> None:
    """METHOD 6, each against its probability worked out by hand."""
    assert choices(1, 0, named("oracle")) == {"a": 1.0}
    assert choices(0, 1, named("oracle")) == {"b": 1.0}
    assert choices(0, 1, named("mistake"))["a"] == pytest.approx(0.1, abs=0.01)
    assert choices(1, 0, named("noisy"))["a"] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.01)
    assert choices(0.04, 0.05, named("skip"), mean=0.6) == {"cant_tell": 1.0}
    assert choices(0.07, 0.05, named("skip"), mean=0.6) == {"a": 1.0}
    assert choices(0.50, 0.55, named("equal"), mean=0.6) == {"tie": 1.0}
    assert choices(0.50, 0.57, named("equal"), mean=0.6) == {"b": 1.0}


def test_ids_of_a_teachers_answers_stay_as_they_were() -> None:
    """They hash this text; parameters that were added since are in it only where they are set."""
    before = '{"beta": -1.0, "eps_equal": 0.0, "eps_mistake": 0.0, "eps_skip": 0.0, "name": "oracle"}'
    assert describe_teacher("oracle", TeacherParameters()) == before
    assert '"miss_rate": 0.2' in describe_teacher("oracle", TeacherParameters(miss_rate=0.2))


def test_equal_sides_are_no_win_for_the_first() -> None:
    assert choices(0, 0, named("oracle"))["a"] == pytest.approx(0.5, abs=0.02)


def test_skipping_comes_before_equality() -> None:
    assert choices(0, 0, TeacherParameters(eps_skip=0.1, eps_equal=0.1)) == {"cant_tell": 1.0}


def test_given_parameters_win_over_the_name() -> None:
    assert parameters_of(SimulatedConfig(name="mistake", eps_mistake=0.3, beta=2)) == TeacherParameters(
        beta=2, eps_mistake=0.3
    )
    assert parameters_of(SimulatedConfig(name="mistake", eps_mistake=0.0)) == TeacherParameters()


def test_mistaken_label_is_another_class() -> None:
    gold = GoldLabels(("a", "b", "c"), np.arange(3).repeat(5000))
    rows = torch.arange(15_000)[:, None]
    queries = Queries("label", rows, torch.empty(15_000, 0, dtype=torch.long))
    given = teachers.get("mistake").answer(queries, simulation(gold, TeacherParameters(eps_mistake=0.3)))
    labels = np.array([gold.classes.index(name) for name in given])
    assert (labels != gold.labels).mean() == pytest.approx(0.3, abs=0.015)
    wrong = labels[(gold.labels == 0) & (labels != 0)]
    assert (wrong == 1).mean() == pytest.approx(0.5, abs=0.04)


def test_pairs_are_drawn_from_the_policy() -> None:
    """First class by pi, second by pi without it: P({0, 1}) = .6 (.3 / .4) + .3 (.6 / .7); which is A, by a coin."""
    pi = torch.tensor([[0.6, 0.3, 0.1]])
    pairs = kinds.get("comparison").draw(torch.tensor([0]), MANY, pi.log(), torch.Generator().manual_seed(0)).labels
    assert (pairs[:, 0] != pairs[:, 1]).all()
    share = np.mean([{a, b} == {0, 1} for a, b in pairs.tolist()])
    assert share == pytest.approx(0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7, abs=0.015)
    assert (pairs[:, 0] < pairs[:, 1]).float().mean().item() == pytest.approx(0.5, abs=0.015)


def test_image_comparisons_that_are_fewer_than_the_classes() -> None:
    """Some classes are asked about not at all."""
    uniform = torch.zeros(6, 5).log_softmax(1)
    asked = kinds.get("image_comparison").draw(torch.arange(6), 2, uniform, torch.Generator().manual_seed(0))
    assert (asked.rows.shape, asked.labels.shape) == ((2, 2), (2, 1))
    assert (asked.rows[:, 0] != asked.rows[:, 1]).all()
    assert set(asked.rows.flatten().tolist()) <= set(range(6))


def test_questions_are_spread_evenly() -> None:
    asked = spread_over(torch.arange(7), 17, torch.Generator().manual_seed(0))
    counts = asked.bincount(minlength=7)
    assert counts.sum() == 17
    assert set(counts.tolist()) == {2, 3}
    assert sorted(asked[:7].tolist()) == list(range(7))


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    ids = np.array(["img-1", "img-2", "img-3"], dtype=object)
    paths = np.array(["train/a/1.png", "train/b/2.png", "val/a/3.png"], dtype=object)
    return ImageTable(FolderSource(tmp_path), ids, paths, np.array(["train", "train", "val"], dtype=object), ())


def recorded(tmp_path: Path, table: ImageTable, text: str, **config: object) -> Recorded:
    path = tmp_path / "votes.csv"
    path.write_text(text, encoding="utf-8")
    return read_recorded(ReplayConfig(csv=path, **config), table, ("a", "b"))  # type: ignore[arg-type]


def test_recorded_labels(tmp_path: Path, table: ImageTable) -> None:
    text = "image,label,who\ntrain/a/1.png,a,ann\ntrain/a/1.png,b,bob\nimg-2,b,ann\nval/a/3.png,a,ann\ngone.png,a,\n"
    found = recorded(tmp_path, table, text, annotator_column="who")
    assert found.rows.tolist() == [0, 0, 1]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.annotators.tolist() == ["ann", "bob", "ann"]
    assert recorded(tmp_path, table, text, votes_per_image=1).rows.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,label\nx,a\n", "line 1: no column 'image'"),
        ("image,label\nimg-1,a\nimg-1,cat\n", "line 3: unknown label 'cat'"),
        ("image,label\nx,a\n", "none of its images"),
        ("", "not a readable CSV"),
    ],
)
def test_recorded_labels_that_cannot_be_used(tmp_path: Path, table: ImageTable, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recorded(tmp_path, table, text)


def test_pairs_answered_from_votes() -> None:
    votes = Recorded(np.array([5, 5, 9]), np.array([0, 1, 2]), np.array(["x", "y", "z"]))
    entries = votes.entries_for(np.array([5, 5, 5, 9]))
    assert votes.annotators[entries].tolist() == ["x", "y", "x", "z"]
    asked = Queries("comparison", torch.tensor([[5], [5], [5], [9]]), torch.tensor([[0, 1], [0, 1], [2, 1], [0, 1]]))
    made = kinds.get("comparison").replay(asked, votes.labels[entries], ("p", "q", "r"))
    assert made == ["a", "b", "cant_tell", "cant_tell"]
