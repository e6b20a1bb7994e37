"""Questions of every kind about the images that a strategy chooses: pages, pairs, gaps between answers, information."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.config.collect import CollectConfig
from pipeline.kinds import Queries, kinds
from pipeline.kinds.grid import Grid
from pipeline.strategies import Candidates, strategies
from pipeline.strategies.answer_gaps import answer_gap, answer_log_p
from pipeline.strategies.kind_choice import information_per_second, most_informative
from tests.support.plane import candidates, sampled


def test_gaps_between_answers_by_hand() -> None:
    """Gaps of a label choice between two classes are |u_0 - u_1|; a comparison's is the logit of Bradley-Terry, the same."""
    utilities = torch.tensor([[0.0, 0.5], [2.0, 0.0], [0.0, 1.0]]).log_softmax(-1)
    label = kinds.get("label").query_each(torch.arange(3))
    assert label is not None
    assert answer_gap(kinds.get("label"), label, utilities).tolist() == pytest.approx([0.5, 2.0, 1.0], abs=1e-6)
    pairs = Queries("comparison", torch.arange(3)[:, None], torch.tensor([[0, 1], [0, 1], [1, 0]]))
    assert answer_gap(kinds.get("comparison"), pairs, utilities).tolist() == pytest.approx([0.5, 2.0, 1.0], abs=1e-6)
    images = Queries("image_comparison", torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0], [1]]))
    expected = [abs(float(utilities[0, 0] - utilities[1, 0])), abs(float(utilities[1, 1] - utilities[2, 1]))]
    assert answer_gap(kinds.get("image_comparison"), images, utilities).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["label", "comparison", "verdict", "grid"])
def test_near_ties_and_large_gaps_are_opposites(kind: str) -> None:
    given, configured = candidates(samples=sampled(), judged=(0,)), kinds.get(kind).configured(CollectConfig())
    assert given.predicted is not None
    gaps = {}
    for name in ("near_tie", "large_gap"):
        queries = strategies.get(name).choose(configured, 2, given)
        assert len(queries) == 2
        gaps[name] = answer_gap(configured, queries, given.predicted).mean()
    assert gaps["near_tie"] <= gaps["large_gap"]


@pytest.mark.parametrize("name", ["typical", "k_center", "margin", "expected_gain"])
def test_pages_of_chosen_images(name: str) -> None:
    """A page of six of the eight images, each once."""
    page = strategies.get(name).choose(Grid(6), 1, candidates(samples=sampled()))
    assert page.rows.shape == (1, 6)
    assert len(set(page.rows[0].tolist())) == 6


@pytest.mark.parametrize("name", ["margin", "entropy", "near_tie", "k_center", "expected_gain"])
def test_a_page_has_the_best_images_of_one_class(name: str) -> None:
    """Every other image is of the other class, and the first are the least sure: a page of six has no image of both."""
    p = torch.linspace(0.6, 0.8, 24)
    log_p = torch.stack([p, 1 - p], 1).log()
    log_p[1::2] = log_p[1::2].flip(1)
    x = np.arange(24, dtype=np.float32)[:, None]
    random = torch.Generator().manual_seed(0)
    given = Candidates(torch.arange(24), log_p, random, predicted=log_p, represent=lambda: x)
    page = strategies.get(name).choose(Grid(6), 1, given)
    assert len({row % 2 for row in page.rows[0].tolist()}) == 1
    if name in ("margin", "entropy", "near_tie"):
        first = page.rows[0].min().item()
        assert sorted(page.rows[0].tolist()) == list(range(first, first + 12, 2))
        assert first in (0, 1)


@pytest.mark.parametrize("name", ["margin", "k_center", "expected_gain", "near_tie"])
def test_pages_do_not_repeat_images_while_others_are_left(name: str) -> None:
    """Eight of twenty images were judged. Two pages of six show the twelve others, whose classes alternate."""
    p = torch.linspace(0.6, 0.8, 20)
    log_p = torch.stack([p, 1 - p], 1).log()
    log_p[1::2] = log_p[1::2].flip(1)
    x = np.arange(20, dtype=np.float32)[:, None]
    judged = torch.arange(0, 16, 2)
    random = torch.Generator().manual_seed(0)
    given = Candidates(torch.arange(20), log_p, random, judged=judged, predicted=log_p, represent=lambda: x)
    pages = strategies.get(name).choose(Grid(6), 2, given)
    assert sorted(pages.rows.flatten().tolist()) == sorted(set(range(20)) - set(judged.tolist()))


def test_pages_have_images_of_which_the_policy_is_neither_sure_nor_lost() -> None:
    """Six images of twelve have a probability of 0.6; the others 0.95, or 0.2 of five classes. A page of seven takes any."""
    log_p = torch.full((12, 5), 0.2)
    log_p[:6] = torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1])
    log_p[9:] = torch.tensor([0.95, 0.02, 0.01, 0.01, 0.01])
    log_p = log_p.log()
    x = np.arange(12, dtype=np.float32)[:, None]
    for tiles, suited in ((6, 6), (7, 12)):
        random = torch.Generator().manual_seed(0)
        given = Candidates(torch.arange(12), log_p, random, predicted=log_p, represent=lambda: x)
        assert len(given.features) == 12
        assert given.suited_to(Grid(tiles), 1).pool.tolist() == list(range(suited))
        assert given.suited_to(kinds.get("label"), 1) is given
        for name in ("margin", "expected_gain", "k_center", "near_tie"):
            page = strategies.get(name).choose(Grid(tiles), 1, given).rows[0].tolist()
            assert len(set(page)) == tiles
            assert tiles == 7 or set(page) == set(range(6)), name
    judged = replace(given, judged=torch.tensor([0]))
    assert judged.suited_to(Grid(6), 1).pool.tolist() == list(range(12)), "five that were not judged are too few"


def test_information_per_second_by_hand() -> None:
    """Twelve images of two classes, all at 1/2, and people who err as usual.

    A name is right with 10/11 + 1/22 = 21/22, and tells ln 2 - H(1/22) = 0.508 nats in 2^0.62 s. A tile is left unmarked
    with 0.98 if it is right and with 0.1 if it is wrong, together 0.54, and tells H(0.54) - (H(0.02) + H(0.1)) / 2 = 0.478
    nats; a page of twelve, six of them marked, takes 1.5 + 12 * 0.35 + 6 * 0.7 = 9.9 s.
    """
    half = torch.full((12, 2), -math.log(2))
    given = Candidates(torch.arange(12), half, torch.Generator().manual_seed(0), predicted=half)
    label, page = kinds.get("label"), Grid(12)
    seconds = label.usual_seconds(2)
    names = label.query_each(torch.arange(12))
    assert names is not None
    assert information_per_second(label, names, given) == pytest.approx(0.5084 / seconds, rel=1e-3)
    one_page = Queries("grid", torch.arange(12)[None], torch.zeros(1, 1, dtype=torch.long))
    assert information_per_second(page, one_page, given) == pytest.approx(12 * 0.4783 / 9.9, rel=0.03)


def test_a_question_whose_answer_is_known_tells_nothing() -> None:
    """Of an image whose class is sure, the answer depends on the person's mistakes alone."""
    sure = torch.tensor([[0.0, -30.0, -30.0]]).expand(6, 3)
    given = Candidates(torch.arange(6), sure, torch.Generator().manual_seed(0), predicted=sure)
    for kind in (kinds.get("label"), kinds.get("verdict"), kinds.get("comparison"), kinds.get("rating"), Grid(6)):
        queries = kind.draw(torch.arange(6), 1, sure, torch.Generator().manual_seed(0))
        assert information_per_second(kind, queries, given) == pytest.approx(0.0, abs=1e-5), kind.name


def test_names_while_nothing_is_known_and_pages_later() -> None:
    """With ten equally likely classes nine of ten tiles are marked, each telling little; at 1/2 a page tells more."""
    nothing = torch.full((24, 10), -math.log(10))
    half = torch.full((24, 10), math.log(0.5 / 9))
    half[:, 0] = math.log(0.5)
    chosen_kinds = []
    for log_p in (nothing, half):
        given = Candidates(torch.arange(24), log_p, torch.Generator().manual_seed(0), predicted=log_p)
        plans = [(kind, strategies.get("margin").choose(kind, 2, given)) for kind in (kinds.get("label"), Grid(12))]
        chosen_kinds.append(most_informative(plans, given).kind)
    assert chosen_kinds == ["label", "grid"]


@pytest.mark.parametrize("kind", ["comparison", "verdict", "rating", "image_comparison"])
@pytest.mark.parametrize("name", ["near_tie", "large_gap"])
def test_no_question_is_asked_twice_while_there_are_others(name: str, kind: str) -> None:
    """Eight images and two labels: 8 comparisons, 16 verdicts and ratings, 28 pairs of images under each label."""
    queries = strategies.get(name).choose(kinds.get(kind), 8, candidates(samples=sampled()))
    asked = {
        (tuple(sorted(rows)), tuple(sorted(labels)))
        for rows, labels in zip(queries.rows.tolist(), queries.labels.tolist(), strict=True)
    }
    assert len(asked) == len(queries) == 8


@pytest.mark.parametrize("name", ["typical", "k_center", "margin", "expected_gain", "near_tie"])
@pytest.mark.parametrize("learned", [False, True])
def test_images_are_compared_whichever_strategy_chooses_them(name: str, learned: bool) -> None:
    given = candidates(samples=sampled() if learned else None)
    queries = strategies.get(name).choose(kinds.get("image_comparison"), 3, given)
    assert queries.rows.shape == (3, 2)
    assert bool((queries.rows[:, 0] != queries.rows[:, 1]).all())


def test_verdicts_follow_the_predicted_probability() -> None:
    """A label of probability 0.99 is right with 0.99: its answer is nearly certain, that of 0.5 is open."""
    log_p = torch.tensor([[0.99, 0.01], [0.5, 0.5]]).log()
    for kind in ("verdict", "rating"):
        queries = Queries(kind, torch.tensor([[0], [1]]), torch.tensor([[0], [0]]))
        p = answer_log_p(kinds.get(kind), queries, log_p).exp()
        assert p[0].tolist() == pytest.approx([0.01, 0.99], abs=1e-5)
        assert p[1].tolist() == pytest.approx([0.5, 0.5], abs=1e-5)
