"""Judgments as tensors, splits and batches, and what training does with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.judgment_sets import (
    COMPARISON,
    LABEL,
    RATING,
    VERDICT,
    judgment_set,
    pair_parameters,
    rating_parameters,
    start_parameters,
    threshold,
)
from torch import Tensor, nn

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackWarning
from feedback_store.records import Comparison, Judgment, label_choice, rating, verdict
from pipeline.config import AugmentConfig, parse_config
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.kinds import probabilities as p
from pipeline.kinds.probabilities import NO, TIE, YES, B
from pipeline.models.backbone import Split
from pipeline.run.processes import Share
from pipeline.run.runtime import generator, start
from pipeline.tracking.metrics_log import Metrics
from stages.reward.fit import Member, _decay_toward, fit
from stages.reward.folds import bootstrap_by_image, split_by_image
from stages.reward.judgment_set import JudgmentSet, read_judgments
from stages.reward.likelihood_parameters import log_likelihood, mean_nll

POSITION = {"img-0": 0, "img-1": 1, "img-2": 2, "img-3": 3}
CLASSES = ("ant", "bee", "cat")


def stored(tmp_path: Path, *judgments: Judgment) -> CsvFeedbackStore:
    store = CsvFeedbackStore(tmp_path)
    store.append(list(judgments))
    return store


def pair(image: str, a: str, b: str, choice: str, other: str = "", who: str = "x") -> Comparison:
    return Comparison(
        annotator=who, source="web", image_a=image, label_a=a, image_b=other or image, label_b=b, choice=choice
    )


WHO = {"annotator": "y", "source": "web"}


def label(image: str, answer: str) -> Judgment:
    return label_choice(image, answer, **WHO)


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
        verdict("img-0", "bee", "yes", **WHO),
        verdict("img-0", "cat", "no", **WHO),
        rating("img-1", "bee", 4, **WHO),
        verdict("img-0", "ant", "bad_image", **WHO),
    )
    with pytest.warns(FeedbackWarning, match=r"pairwise\.csv, line 6: the image does not exist .*; 1 such"):
        j = read_judgments(store, POSITION, CLASSES, "joint")
    assert j.kind.tolist() == [COMPARISON, COMPARISON, LABEL, VERDICT, VERDICT, RATING]
    assert j.rows.tolist() == [[row, row] for row in (1, 2, 3, 0, 0, 1)]
    assert j.classes[:, 0].tolist() == [0, 1, 0, 1, 2, 1]
    assert j.classes[:2, 1].tolist() == [2, 0]
    assert j.answer.tolist() == [B, TIE, 2, YES, NO, 3]
    assert [j.annotators[n] for n in j.annotator.tolist()] == ["x", "x", "y", "y", "y", "y"]
    assert (j.answers[:4], j.unknown) == ((3, 3, 2, 4), 1)
    with pytest.warns(FeedbackWarning):
        assert len(read_judgments(store, POSITION, CLASSES, "bradley_terry")) == 2
    assert len(read_judgments(store, POSITION, CLASSES, "supervised")) == 4


def test_judgments_that_cannot_be_used(tmp_path: Path) -> None:
    store = stored(tmp_path, pair("img-1", "ant", "dog", "a"))
    with pytest.raises(UserError, match=r"pairwise\.csv, line 2: label_b is 'dog'"):
        read_judgments(store, POSITION, CLASSES, "bradley_terry")
    with pytest.raises(
        UserError, match=r"no per-image judgments .* 1 comparisons; set reward.objective to bradley_terry"
    ):
        read_judgments(store, POSITION, CLASSES, "supervised")
    gone = pytest.raises(UserError, match="1 are about images that no longer exist")
    with gone, pytest.warns(FeedbackWarning):
        read_judgments(store, {}, CLASSES, "bradley_terry")


def many(count: int = 400, images: int = 40) -> JudgmentSet:
    """Judgments of all kinds, some comparisons of two images."""
    random = torch.Generator().manual_seed(0)

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (count,), generator=random)

    kind, a, b = draw(4), draw(images), draw(images)
    class_a, class_b = draw(3), draw(3)
    across = (kind == COMPARISON) & (torch.rand(count, generator=random) < 0.3)
    answers = torch.stack([draw(3), draw(3), draw(2), draw(5)])
    answer = answers.gather(0, kind[None])[0]
    rows_b, label_b = torch.where(across, b, a), torch.where(kind == COMPARISON, class_b, class_a)
    return judgment_set(kind, (a, rows_b), (class_a, label_b), answer, draw(3), ("u", "v", "w"), 5)


def test_no_image_on_both_sides_of_the_split() -> None:
    train, heldout = split_by_image(many(), 0.25, generator(1))
    assert not set(train.images.tolist()) & set(heldout.images.tolist())
    assert len(heldout.images) <= 10
    assert len(train) > len(heldout) > 0


def test_batches_hold_every_judgment_once_and_images_together() -> None:
    judgments = many()
    batches = list(judgments.batches(8, generator(2)))
    assert sum(len(b) for b in batches) == len(judgments)
    seen = [set(b.rows_a.tolist()) for b in batches]
    assert sum(len(s) for s in seen) == len(set().union(*seen)), "an image's judgments are in one batch"
    assert max(len(s) for s in seen) <= 8


def test_a_bootstrap_draws_whole_images() -> None:
    judgments = many()
    drawn = bootstrap_by_image(judgments, generator(3))
    counts, original = drawn.rows_a.bincount(minlength=40), judgments.rows_a.bincount(minlength=40)
    assert (counts % original == 0).all()
    assert int((counts // original).sum()) == 40
    assert (counts == 0).any()


def test_too_few_images_to_split(tmp_path: Path) -> None:
    alone = read_judgments(stored(tmp_path, pair("img-1", "ant", "bee", "a")), POSITION, CLASSES, "bradley_terry")
    with pytest.raises(UserError, match="two images are needed"):
        split_by_image(alone, 0.2, generator(0))


@pytest.mark.parametrize("reliability", [False, True])
@pytest.mark.parametrize("scalar", [False, True])
def test_log_likelihood_looks_up_the_right_scores(reliability: bool, scalar: bool) -> None:
    """Against a loop over judgments, comparisons of two images included."""
    judgments, utilities = many(), torch.randn(40, 3)
    latent = start_parameters(ties=True, annotators=3, reliability=reliability, scalar_ratings=scalar)
    pairs, verdicts, ratings = pair_parameters(latent), threshold(latent), rating_parameters(latent)
    with torch.no_grad():
        latent.logit_eta.copy_(torch.tensor([2.0, 0.5, -1.0]))
        verdicts.tau.fill_(0.3)
    images, slow = judgments.images, []
    for kind in range(4):
        of_kind = judgments.pick(judgments.kind == kind)
        for place in range(len(of_kind)):
            single = of_kind.pick(torch.tensor([place]))
            r = utilities[single.rows_a[0]]
            if kind == COMPARISON:
                log_p = p.davidson(
                    r[single.classes[:, 0]], utilities[single.rows[0, 1]][single.classes[:, 1]], pairs.log_nu
                )
            elif kind == LABEL:
                log_p = p.label_choice(r[None])
            elif kind == VERDICT:
                log_p = p.verdict(r[single.classes[:, 0]], verdicts.tau)
            elif scalar:
                log_p = p.gaussian(
                    r[single.classes[:, 0]],
                    5,
                    offset=ratings.offset,
                    log_gain=ratings.log_gain,
                    log_sigma=ratings.log_sigma,
                )
            else:
                log_p = p.ordinal(r[single.classes[:, 0]], ratings.cuts)
            shares = log_p.exp()[0]
            if reliability:
                eta = latent.eta[single.annotator[0]]
                flat = {LABEL: torch.full((3,), 1 / 3), RATING: torch.full((5,), 0.5 if scalar else 0.2)}
                swapped = shares[[1, 0, 2]] if kind == COMPARISON else shares.flip(0)
                other = flat.get(kind, swapped)
                shares = eta * shares + (1 - eta) * other
            slow.append(shares[single.answer[0]].log())
    fast = log_likelihood(utilities[images], images, judgments, latent)
    assert torch.allclose(fast, torch.stack(slow), atol=1e-5)
    assert mean_nll(utilities[images], judgments, latent) == pytest.approx(-float(fast.detach().mean()), abs=1e-5)


class Counted(Features):
    """Stored features that remember which rows they were asked for in training."""

    def __init__(self, stored: Tensor) -> None:
        super().__init__(None, nn.Identity(), stored.numpy(), torch.device("cpu"))  # type: ignore[arg-type]
        self.trained: list[int] = []

    def __len__(self) -> int:
        return len(self.stored)  # type: ignore[arg-type]

    def augmented(
        self, rows: Tensor, config: AugmentConfig, random: torch.Generator, share: Share | None = None
    ) -> Tensor:
        self.trained += rows.tolist()
        return self.batch(rows)


def fitted(judgments: JudgmentSet, images: int, **settings: object) -> tuple[Member, Counted, JudgmentSet]:
    """A linear reward model on random features, trained on four fifths of the images."""
    tree = {"images": {"source": "digits"}, "reward": {"batch_size": 8, **settings}, "runtime": {"device": "cpu"}}
    config = parse_config(tree, "test")
    ws: Any = SimpleNamespace(config=config, runtime=start(config.runtime))
    features = Counted(torch.randn(images, 6, generator=generator(5)))
    head = nn.Linear(6, 3)
    nn.init.zeros_(head.weight)
    train, heldout = split_by_image(judgments, 0.2, generator(6))
    with Metrics(None) as metrics:
        return (
            fit(ws, Split(head, nn.Identity(), head), features, train=train, heldout=heldout, metrics=metrics),
            features,
            train,
        )


def test_an_epoch_encodes_each_image_once_however_often_it_was_judged() -> None:
    judgments = many(4000)
    same_image = judgments.pick(judgments.rows[:, 0] == judgments.rows[:, 1])
    _, features, train = fitted(same_image, 40, epochs=1)
    assert sorted(features.trained) == train.images.tolist()


def test_weight_decay_pulls_toward_the_start_and_not_to_zero() -> None:
    weights = []
    for decay in (0.0, 1e4):
        torch.manual_seed(0)
        member, _, _ = fitted(many(400), 40, epochs=2, lr=1e-2, weight_decay=decay)
        weights.append(member.pieces.network.weight.detach().abs().max())  # type: ignore[operator, union-attr]
    assert weights[1] < 0.2 * weights[0], "the start is zero here"
    parameter = nn.Parameter(torch.tensor([1.0, 5.0]))
    _decay_toward([parameter], [torch.tensor([3.0, 5.0])], 0.25)
    assert parameter.tolist() == [1.5, 5.0]
