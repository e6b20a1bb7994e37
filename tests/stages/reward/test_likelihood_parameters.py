"""Parameters of the likelihoods: names in checkpoints, label smoothing."""

from __future__ import annotations

import pytest
import torch
from support.judgment_sets import LABEL, JudgmentSet, judgment_set, start_parameters, threshold

from pipeline.config.reward import RewardConfig
from pipeline.kinds.comparison import PAIR_LIKELIHOOD
from pipeline.kinds.probabilities import A, B
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood


def of_each_kind(count: int) -> JudgmentSet:
    """`count` judgments of one image each, the four likelihoods in turn."""
    rows = torch.arange(count)
    kind, answer = rows % 4, rows % 2
    classes = rows % 3
    return judgment_set(kind.sort().values, (rows, rows), (classes, (classes + 1) % 3), answer, levels=5)


def test_label_smoothing_is_of_label_choices_alone() -> None:
    judgments = of_each_kind(40)
    images, utilities = judgments.images, torch.randn(40, 3)
    latent = start_parameters(ties=True)
    plain, smooth = (log_likelihood(utilities, images, judgments, latent, smoothing=s) for s in (0.0, 0.3))
    sizes = judgments.kind.bincount().tolist()
    before, labels, after = plain.split([sizes[0], sizes[1], sizes[2] + sizes[3]])
    before_s, labels_s, after_s = smooth.split([sizes[0], sizes[1], sizes[2] + sizes[3]])
    assert torch.equal(before, before_s)
    assert torch.equal(after, after_s)
    own = judgments.pick(judgments.kind == LABEL)
    log_p = torch.log_softmax(utilities[own.rows_a], -1)
    assert torch.allclose(labels_s, 0.7 * labels + 0.3 * log_p.mean(-1), atol=1e-6)


def test_checkpoints_of_earlier_versions_are_read() -> None:
    """They hold each parameter by its own name alone, and the optimiser's state in the same order."""
    old = {
        "log_nu": torch.tensor(0.5),
        "tau": torch.tensor(0.3),
        "first_cut": torch.tensor(-1.0),
        "gaps": torch.ones(3),
        "offset": torch.tensor(0.1),
        "log_gain": torch.tensor(0.2),
        "log_sigma": torch.tensor(0.4),
        "logit_eta": torch.tensor([2.0]),
    }
    latent = start_parameters(ties=True)
    latent.load_state_dict(old)
    assert [name.rpartition(".")[2] for name, _ in latent.named_parameters()] == list(old)
    assert all(torch.equal(value, given) for value, given in zip(latent.parameters(), old.values(), strict=True))
    again = start_parameters(ties=True)
    again.load_state_dict(latent.state_dict())
    assert float(threshold(again).tau.detach()) == pytest.approx(0.3)


def test_the_same_comparison_is_recognised_beside_kinds_with_more_labels() -> None:
    """Rows and classes are padded then; the padding repeats the first image, which depends on the side shown first."""
    rows, classes = torch.tensor([[3, 8, 3], [8, 3, 8]]), torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]])
    asked, answer = PAIR_LIKELIHOOD.canonical(rows, classes, torch.tensor([A, B]))
    assert torch.equal(asked[0], asked[1])
    assert answer.tolist() == [A, A]


@pytest.mark.parametrize(("reliability", "share"), [(True, 10 / 11), (False, 1.0)])
def test_of_one_person_one_label_choice_in_eleven_is_expected_to_be_a_guess(reliability: bool, share: float) -> None:
    """Three classes; what the person was asked otherwise counts as it is."""
    judgments = of_each_kind(40)
    images, utilities = judgments.images, torch.randn(40, 3)
    config = RewardConfig(objective="joint", reliability=reliability)
    plain, assumed = (LikelihoodParameters(judgments, config, assumed=value) for value in (False, True))
    assert not assumed.reliability
    for number, likelihood, own in judgments.by_likelihood():
        before, after = (one.log_p(number, utilities, images, own).exp() for one in (plain, assumed))
        is_label = likelihood.name == "label"
        expected = share * before + (1 - share) / 3 if is_label else before
        assert torch.allclose(after, expected, atol=1e-6)
        chosen = assumed.log_p_of_answers(number, utilities, images, own).exp()
        assert torch.allclose(chosen, after.gather(1, own.answer[:, None])[:, 0], atol=1e-6)
