"""What unlabelled images learn from their neighbours' judgments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.judgment_sets import COMPARISON, LABEL, judgment_set

from pipeline.config import Config, RewardConfig
from pipeline.data.feature_cache import Features
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import open_workspace
from stages.reward import run as reward
from stages.reward.folds import folds_by_image
from stages.reward.unlabelled import SHARES, SHARPNESSES, Propagation, Spread, Targets, class_evidence

CONFIG = RewardConfig()


def test_label_choices_as_evidence() -> None:
    """Three classes, one answer in ten wrong: 0.9 and twice 0.05; two equal answers multiply; so do contradictory ones."""
    kind = torch.full((5,), LABEL)
    rows = torch.tensor([4, 2, 2, 7, 7])
    zero = torch.zeros(5, dtype=torch.long)
    judgments = judgment_set(kind, (rows, rows), (zero, zero), torch.tensor([1, 0, 0, 0, 2]))
    images, found = class_evidence(judgments, 3, CONFIG)
    assert images.tolist() == [2, 4, 7]
    assert found[1].tolist() == pytest.approx([0.05, 0.9, 0.05])
    both = 0.9**2 + 2 * 0.05**2
    assert found[0].tolist() == pytest.approx([0.9**2 / both, 0.05**2 / both, 0.05**2 / both])
    other = 2 * 0.9 * 0.05 + 0.05**2
    assert found[2].tolist() == pytest.approx([0.045 / other, 0.05**2 / other, 0.045 / other])


def test_comparisons_as_evidence() -> None:
    """Class 0 preferred to class 1 says that 0 is likelier than 2, which was not asked about, and 1 less likely."""
    one = torch.tensor([COMPARISON])
    judgments = judgment_set(one, (one, one), (torch.tensor([0]), torch.tensor([1])), torch.tensor([0]))
    _, ((first, second, third),) = class_evidence(judgments, 3, CONFIG)
    assert first > third > second


def test_two_different_images_are_no_evidence_of_one() -> None:
    one = torch.tensor([COMPARISON])
    judgments = judgment_set(one, (one, one + 1), (one, one), torch.tensor([0]))
    images, _ = class_evidence(judgments, 3, CONFIG)
    assert len(images) == 0


def test_cross_entropy_by_hand() -> None:
    targets = Targets(torch.tensor([1, 3, 8]), torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]]), weight=2.0)
    utilities = torch.tensor([[0.0, 0.0], [0.6, 0.4], [9.0, 9.0]])
    found = targets.cross_entropy(utilities.log_softmax(-1), torch.tensor([1, 3, 5]), torch.tensor([3]))
    log_p = utilities[1].log_softmax(-1)
    assert found.tolist() == pytest.approx([-2 * (0.25 * float(log_p[0]) + 0.75 * float(log_p[1]))])


@pytest.mark.long
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_stripes_learn_from_their_neighbours(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config], trainable: str
) -> None:
    """Twelve answers about sixty images: with propagation the reward model knows at least as many classes."""
    root, accuracy = image_folder(classes=3, train=20, test=20), {}
    for unlabelled in ("none", "propagate"):
        config = stripes_config(
            root,
            tmp_path / unlabelled,
            model={"trainable": trainable},
            reference={"labelled_per_class": 0},
            collect={"question": "label", "count": 12, "strategy": "typical", "simulated": {"name": "oracle"}},
            reward={"objective": "supervised", "start": "backbone", "unlabelled": unlabelled, "epochs": 8, "curve": []},
        )
        from stages.collect.run import run as collect
        from stages.reference.run import run as reference

        assert reference(config)
        assert collect(config)
        assert reward.run(config)
        result = read_json(config.runs / config.name / "reward" / "result.json")["reward"]
        accuracy[unlabelled] = result["argmax_accuracy"]
        assert len(open_workspace(config).table)
    assert accuracy["propagate"] >= accuracy["none"]


class Greys:
    """Forty grey images of 4 pixels in two groups: the even ones dark, the odd ones bright."""

    def __len__(self) -> int:
        return 40

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        values = torch.where(rows % 2 == 0, 40, 200) + rows // 2
        return values.to(torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3).contiguous()


def test_judgments_spread_through_their_group_and_are_sharpened() -> None:
    """Ten answers, of which the one about image 4 is wrong: what it says is outweighed by its neighbours."""
    features = Features(Greys(), None, None, torch.device("cpu"))  # type: ignore[arg-type]
    propagation = Propagation(CONFIG, features, torch.arange(40), 2)
    rows = torch.tensor([0, 4, 8, 16, 30, 1, 7, 15, 21, 35])
    answer = torch.where(rows == 4, 1, rows % 2)
    kind, zero = torch.full((10,), LABEL), torch.zeros(10, dtype=torch.long)
    judgments = judgment_set(kind, (rows, rows), (zero, zero), answer, class_count=2)
    how = propagation.choose(folds_by_image(judgments, 5, torch.Generator().manual_seed(0)))
    assert how.share in SHARES
    assert how.sharpness in SHARPNESSES
    found = propagation.targets(judgments, Spread(0.98, 3.0))
    assert torch.equal(found.probabilities.argmax(1), torch.arange(40) % 2)
    flat = propagation.targets(judgments, Spread(0.98, 1.0)).probabilities.double()
    cubed = flat**3 / (flat**3).sum(1, keepdim=True)
    assert torch.allclose(found.probabilities.double(), cubed, atol=1e-5)
    assert float(found.probabilities.max(1).values.mean()) > float(flat.max(1).values.mean())
