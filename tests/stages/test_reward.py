from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from feedback_store.errors import FeedbackWarning
from feedback_store.judgments import Comparison, Judgment, label_choice
from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from pipeline.runtime import generator
from stages.reward.judgment_set import JudgmentSet, read_judgments, split_by_image
from stages.reward.likelihoods import TIE, A, B, bradley_terry, davidson
from stages.reward.likelihoods import label_choice as luce
from stages.reward.run import heldout_accuracy, log_likelihood, mean_nll

POSITION = {"img-0": 0, "img-1": 1, "img-2": 2, "img-3": 3}
CLASSES = ("ant", "bee", "cat")


def test_bradley_terry_by_hand() -> None:
    log_p = bradley_terry(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]), torch.tensor([A, B]))
    assert log_p.exp().tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))])


def test_davidson_by_hand() -> None:
    """P(A) : P(B) : P(tie) = e^2 : e^1 : nu e^1.5."""
    total = math.e**2 + math.e + 0.5 * math.e**1.5
    for choice, weight in ((A, math.e**2), (B, math.e), (TIE, 0.5 * math.e**1.5)):
        one = davidson(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([choice]), torch.tensor(0.5).log())
        assert one.exp().item() == pytest.approx(weight / total)


def test_davidson_without_ties_is_bradley_terry() -> None:
    r_a, r_b, choice = torch.randn(20), torch.randn(20), torch.randint(0, 2, (20,))
    nowhere = torch.tensor(-math.inf)
    assert torch.allclose(davidson(r_a, r_b, choice, nowhere), bradley_terry(r_a, r_b, choice), atol=1e-6)


def test_a_tie_at_equal_scores_has_no_gradient() -> None:
    r = torch.tensor([1.5, 1.5], requires_grad=True)
    davidson(r[:1], r[1:], torch.tensor([TIE]), torch.tensor(0.0)).sum().backward()
    assert r.grad is not None
    assert r.grad.abs().max() == 0


def test_luce_by_hand_and_bradley_terry_is_its_two_item_case() -> None:
    r = torch.tensor([[1.0, 2.0, 4.0]])
    assert luce(r, torch.tensor([1])).exp().item() == pytest.approx(math.e**2 / (math.e + math.e**2 + math.e**4))
    two = torch.randn(9, 2)
    assert torch.allclose(
        luce(two, torch.zeros(9, dtype=torch.long)), bradley_terry(two[:, 0], two[:, 1], torch.zeros(9))
    )


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_no_overflow(scale: float) -> None:
    r_a, r_b = torch.tensor([scale, -scale]), torch.tensor([-scale, scale])
    for log_p in (
        bradley_terry(r_a, r_b, torch.tensor([B, B])),
        davidson(r_a, r_b, torch.tensor([B, TIE]), torch.tensor(0.0)),
        luce(torch.stack([r_a, r_b], -1), torch.tensor([1, 0])),
    ):
        assert torch.isfinite(log_p).all()


def stored(tmp_path: Path, *judgments: Judgment) -> FeedbackStore:
    store = FeedbackStore(tmp_path)
    store.append(list(judgments))
    return store


def pair(image: str, a: str, b: str, choice: str, other: str = "") -> Comparison:
    return Comparison(
        annotator="x", source="web", image_a=image, label_a=a, image_b=other or image, label_b=b, choice=choice
    )


def label(image: str, answer: str) -> Judgment:
    return label_choice(image, answer, annotator="x", source="web")


def test_answers_become_tensors(tmp_path: Path) -> None:
    store = stored(
        tmp_path,
        pair("img-1", "ant", "cat", "b"),
        pair("img-2", "bee", "ant", "tie"),
        pair("img-2", "bee", "ant", "cant_tell"),
        pair("img-2", "bee", "ant", "bad_image"),
        pair("img-9", "bee", "ant", "a"),
        label("img-3", "cat"),
        label("img-3", "cant_tell"),
    )
    with pytest.warns(FeedbackWarning, match=r"pairwise\.csv, line 6: the image is not there .*; 1 such"):
        j = read_judgments(store, POSITION, CLASSES, "joint")
    assert (j.rows_a.tolist(), j.class_a.tolist(), j.class_b.tolist(), j.choice.tolist()) == (
        [1, 2],
        [0, 1],
        [2, 0],
        [B, TIE],
    )
    assert (j.rows.tolist(), j.answer.tolist(), j.unknown) == ([3], [2], 1)
    with pytest.warns(FeedbackWarning):
        assert len(read_judgments(store, POSITION, CLASSES, "bradley_terry")) == 2
    assert len(read_judgments(store, POSITION, CLASSES, "supervised")) == 1


def test_judgments_that_cannot_be_used(tmp_path: Path) -> None:
    store = stored(tmp_path, pair("img-1", "ant", "dog", "a"))
    with pytest.raises(UserError, match=r"pairwise\.csv, line 2: label_b is 'dog'"):
        read_judgments(store, POSITION, CLASSES, "bradley_terry")
    with pytest.raises(UserError, match="holds no label choices"):
        read_judgments(store, POSITION, CLASSES, "supervised")
    gone = pytest.raises(UserError, match="1 are about images that are no longer there")
    with gone, pytest.warns(FeedbackWarning):
        read_judgments(store, {}, CLASSES, "bradley_terry")


def many(count: int = 300, images: int = 40) -> JudgmentSet:
    random = torch.Generator().manual_seed(0)

    def draw(high: int, size: int = count) -> Tensor:
        return torch.randint(0, high, (size,), generator=random)

    a, b = draw(images), draw(images)
    same = torch.rand(count, generator=random) < 0.7
    return JudgmentSet(a, draw(3), torch.where(same, a, b), draw(3), draw(2), draw(images, 100), draw(3, 100))


def test_no_image_on_both_sides_of_the_split() -> None:
    train, heldout = split_by_image(many(), 0.25, generator(1))
    assert not set(train.images.tolist()) & set(heldout.images.tolist())
    assert len(heldout.images) <= 10
    assert len(train) > len(heldout) > 0


def test_batches_hold_every_judgment_once_and_images_together() -> None:
    judgments = many()
    batches = list(judgments.batches(8, generator(2)))
    assert sum(len(b) for b in batches) == len(judgments)
    seen = [set(torch.cat([b.rows_a, b.rows]).tolist()) for b in batches]
    assert sum(len(s) for s in seen) == len(set().union(*seen)), "an image's judgments are in one batch"
    assert max(len(s) for s in seen) <= 8


def test_too_few_images_to_split(tmp_path: Path) -> None:
    one = read_judgments(stored(tmp_path, pair("img-1", "ant", "bee", "a")), POSITION, CLASSES, "bradley_terry")
    with pytest.raises(UserError, match="at least two images"):
        split_by_image(one, 0.2, generator(0))


def test_log_likelihood_looks_up_the_right_scores() -> None:
    """Against a loop over judgments, cross-image comparisons included."""
    judgments, utilities = many(), torch.randn(40, 3)
    images = judgments.images
    fast = log_likelihood(utilities[images], images, judgments, None)
    slow = [
        math.log(1 / (1 + math.exp(-(1 if c == A else -1) * float(utilities[ra, ca] - utilities[rb, cb]))))
        for ra, ca, rb, cb, c in zip(*(t.tolist() for t in (judgments.rows_a, judgments.class_a, judgments.rows_b, judgments.class_b, judgments.choice)), strict=True)
    ]  # fmt: skip
    slow += torch.log_softmax(utilities, -1)[judgments.rows, judgments.answer].tolist()
    assert torch.allclose(fast, torch.tensor(slow), atol=1e-5)
    assert mean_nll(utilities[images], judgments, None) == pytest.approx(-sum(slow) / len(slow), abs=1e-5)


def test_heldout_accuracy_by_hand() -> None:
    utilities = torch.tensor([[3.0, 2.0, 1.0], [0.0, 5.0, 1.0]])
    none = torch.tensor([], dtype=torch.long)
    pairs = JudgmentSet(
        torch.tensor([0, 0, 1]), torch.tensor([0, 2, 0]), torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1]),
        torch.tensor([A, A, TIE]), none, none,
    )  # fmt: skip
    assert heldout_accuracy(utilities, pairs) == (1, 2)
    labels = JudgmentSet(none, none, none, none, none, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    assert heldout_accuracy(utilities, labels) == (2, 3)
