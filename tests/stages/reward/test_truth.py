"""Planted truth: from judgments drawn from known utilities, the likelihoods must find those utilities again.

A table of free utilities stands for the network, so that what is tested is the likelihood and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.judgment_sets import (
    COMPARISON,
    LABEL,
    RATING,
    VERDICT,
    judgment_set,
    rating_parameters,
    start_parameters,
    threshold,
)
from torch import Tensor, nn

from pipeline.kinds import probabilities as p
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood

IMAGES, CLASSES = 30, 4


def utilities(seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(seed))


def asked(kind: int, count: int, annotators: int = 1, seed: int = 1) -> JudgmentSet:
    """Questions without answers yet."""
    random = torch.Generator().manual_seed(seed)

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (count,), generator=random)

    rows, class_a = draw(IMAGES), draw(CLASSES)
    class_b = (class_a + 1 + draw(CLASSES - 1)) % CLASSES
    if kind == LABEL:
        class_a = torch.zeros_like(class_a)
    second = class_b if kind == COMPARISON else class_a
    names = tuple(str(n) for n in range(annotators))
    kinds, answer = torch.full_like(rows, kind), draw(1)
    return judgment_set(kinds, (rows, rows), (class_a, second), answer, draw(annotators), names, 5, CLASSES)


def answered(questions: JudgmentSet, truth: Tensor, latent: LikelihoodParameters, seed: int = 2) -> JudgmentSet:
    """The same with answers drawn from the truth."""
    kind = int(questions.kind[0])
    with torch.no_grad():
        share = torch.log_softmax(latent.log_p(kind, truth, torch.arange(IMAGES), questions), -1).exp()
    return replace(questions, answer=torch.multinomial(share, 1, generator=torch.Generator().manual_seed(seed))[:, 0])


def learned(judgments: JudgmentSet, of: dict[str, Any], steps: int = 60) -> tuple[Tensor, LikelihoodParameters]:
    """Maximum likelihood (with a faint prior on utilities, as nothing else fixes an image's offset) by L-BFGS."""
    table, latent = nn.Parameter(torch.zeros(IMAGES, CLASSES)), start_parameters(**of, class_count=CLASSES)
    parameters = [table, *(q for q in latent.parameters() if q.requires_grad)]
    optimiser = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        fit = log_likelihood(table, torch.arange(IMAGES), judgments, latent).sum() + latent.log_prior()
        loss = (-fit + 1e-3 * table.square().sum()) / len(judgments)
        loss.backward()
        return loss

    for _ in range(4):
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return table.detach(), latent


def correlation(found: Tensor, truth: Tensor, *, per_image: bool) -> float:
    """Between utilities; centred per image where the judgments leave an image's offset free."""
    if per_image:
        found, truth = (u - u.mean(1, keepdim=True) for u in (found, truth))
    return float(torch.corrcoef(torch.stack([found.flatten(), truth.flatten()]))[0, 1])


def planted(of: dict[str, Any], **values: object) -> LikelihoodParameters:
    made = start_parameters(**of, class_count=CLASSES)
    with torch.no_grad():
        for name, value in values.items():
            owner = next(module for module in (made, *made.of.values()) if hasattr(module, name))
            getattr(owner, name).copy_(torch.as_tensor(value))
    return made


def test_comparisons() -> None:
    truth = utilities()
    judged = answered(asked(COMPARISON, 15_000), truth, planted({}))
    found, _ = learned(judged, {})
    assert correlation(found, truth, per_image=True) >= 0.98


def test_comparisons_with_ties() -> None:
    truth, of = utilities(), {"ties": True}
    judged = answered(asked(COMPARISON, 15_000), truth, planted(of, log_nu=torch.tensor(0.8).log()))
    found, latent = learned(judged, of)
    assert correlation(found, truth, per_image=True) >= 0.98
    assert latent.nu == pytest.approx(0.8, rel=0.1)


def test_label_choices() -> None:
    truth = utilities()
    # A class of low utility is chosen once in hundreds of times, so that more answers are needed than for comparisons.
    found, _ = learned(answered(asked(LABEL, 60_000), truth, planted({})), {})
    assert correlation(found, truth, per_image=True) >= 0.98


def test_verdicts() -> None:
    truth = utilities()
    judged = answered(asked(VERDICT, 60_000), truth, planted({}, tau=0.7))
    found, latent = learned(judged, {})
    assert correlation(found, truth, per_image=False) >= 0.98
    assert float((found - threshold(latent).tau.detach()).mean() - (truth.mean() - 0.7)) == pytest.approx(0, abs=0.05)


def test_binned_ratings_and_their_cut_points() -> None:
    """Utilities and cut points are known up to a common shift, which is taken out."""
    truth = utilities()
    true = planted({}, first_cut=-2.0, gaps=torch.tensor([1.0, 0.8, 1.5]).expm1().log())
    assert torch.allclose(rating_parameters(true).cuts, torch.tensor([-2.0, -1.0, -0.2, 1.3]), atol=1e-5)
    found, latent = learned(answered(asked(RATING, 100_000), truth, true), {})
    assert correlation(found, truth, per_image=False) >= 0.98
    shift = found.mean() - truth.mean()
    assert (rating_parameters(latent).cuts - shift - rating_parameters(true).cuts).abs().max().item() <= 0.05


def test_scalar_ratings() -> None:
    truth, of = utilities(), {"scalar_ratings": True}
    true = planted(of, offset=0.1, log_gain=torch.tensor(0.25).log(), log_sigma=torch.tensor(0.3).log())
    found, _ = learned(answered(asked(RATING, 15_000), truth, true), of)
    assert correlation(found, truth, per_image=False) >= 0.98


RELIABLE = torch.tensor([0.97, 0.9, 0.8, 0.5, 0.1, 0.65])


@pytest.mark.long
@pytest.mark.parametrize("kind", [COMPARISON, LABEL, VERDICT, RATING])
def test_reliability_of_annotators(kind: int) -> None:
    """One who tosses a coin (0.5), one who says the opposite (0.1): found, and the utilities beside them."""
    truth, of = utilities(), {"annotators": 6, "reliability": True}
    eta = RELIABLE if kind in (COMPARISON, VERDICT) else RELIABLE.clamp_min(0.2)
    judged = answered(asked(kind, 120_000, annotators=6), truth, planted(of, logit_eta=eta.logit()))
    found, latent = learned(judged, of)
    assert (latent.eta.detach() - eta).abs().max().item() <= 0.05
    assert correlation(found, truth, per_image=kind in (COMPARISON, LABEL)) >= 0.98


def wrong_ordinal(r: Tensor, cuts: Tensor) -> Tensor:
    return right_ordinal(-r, cuts)


right_ordinal = p.ordinal


@pytest.mark.parametrize(
    ("name", "wrong", "test"),
    [
        ("bradley_terry", lambda a, b: right_bt(b, a), test_comparisons),
        ("davidson", lambda a, b, nu: right_davidson(a, b, 2 * nu), test_comparisons_with_ties),
        pytest.param("label_choice", lambda u: torch.log_softmax(-u, -1), test_label_choices, marks=pytest.mark.long),
        ("verdict", lambda r, tau: right_verdict(r, -tau), test_verdicts),
        pytest.param("ordinal", wrong_ordinal, test_binned_ratings_and_their_cut_points, marks=pytest.mark.long),
    ],
)
def test_a_wrong_likelihood_fails_these_tests(name: str, wrong, test, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Answers are drawn by the right one and learned by the wrong one."""
    right = getattr(p, name)
    draw = answered

    def drawn_rightly(*arguments, **options):  # type: ignore[no-untyped-def]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(p, name, right)
            return draw(*arguments, **options)

    monkeypatch.setitem(test.__globals__, "answered", drawn_rightly)
    monkeypatch.setattr(p, name, wrong)
    with pytest.raises(AssertionError):
        test()


right_bt, right_davidson, right_verdict = p.bradley_terry, p.davidson, p.verdict
