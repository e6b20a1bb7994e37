"""The reward model: utilities r(x, .) of all C classes in one forward pass, and their scale (docs/method.md 2).

One network, or an ensemble. In nats, the reward is the logarithm of the members' mean probability of each class; where
held-out judgments showed that the reference is too sure of itself, a part of its log-probabilities is subtracted. In unit scale, each member's utilities are divided by their
standard deviation under the reference, and the reward is their mean. From either, `pessimism` times the members'
standard deviation is subtracted (Coste et al. 2023), and it is centred per image. The scale is saved with the model.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.config.base import MAX_MEMBERS
from pipeline.models.serialization import ModelHeader, damaged, load_model, save_model
from pipeline.models.weight_checks import mismatch
from pipeline.run.atomic_files import Damaged

SINGLE = ("scale", "tie", "pessimism", "nats", "prior_weight")  # buffers of one value, as named in the file
ADDED = {"nats": 0.0, "prior_weight": 1.0}  # not in files of earlier versions: unit scale


def centred(utilities: Tensor, log_ref: Tensor) -> Tensor:
    """r(x,a) - sum_b pi_ref(b|x) r(x,b), [N, C]: removes the offset per image that comparisons do not determine (docs/method.md 2)."""
    return utilities - (log_ref.exp() * utilities).sum(-1, keepdim=True)


def mean_log_probability(utilities: Sequence[Tensor]) -> Tensor:
    """log of the members' mean probability of each class, [N, C], up to a constant."""
    return torch.logsumexp(torch.stack([torch.log_softmax(u, -1) for u in utilities]), 0)


def share_of(log_ref: Tensor, utilities: Tensor) -> float:
    """How many times log pi_ref is contained in utilities, both [N, C]: the slope of least squares, between 0 and 1.

    Training on few judgments wears the reference's knowledge off where nobody judged: subtracting it as a whole would leave
    its negative there.
    """
    reference, u = (of.double() - of.double().mean(-1, keepdim=True) for of in (log_ref, utilities))
    squares = float(reference.square().sum())
    return min(max(float((reference * u).sum()) / squares, 0.0), 1.0) if squares > 0 else 0.0


def reference_scale(utilities: Tensor, log_ref: Tensor) -> float:
    """Standard deviation of the centred utilities over x in the images and a ~ pi_ref."""
    variance = (log_ref.exp() * centred(utilities, log_ref).square()).sum(-1).mean()
    return float(variance.sqrt())


class RewardModel(nn.Module):
    """Networks with [B, C] outputs and, as buffers, the scales fitted after training.

    Attributes:
        networks: k networks, image [B, 3, H, W] to utilities r [B, C].
        scales: [k] standard deviation of each member's centred utilities under the reference.
        scale: standard deviation of the members' mean minus `pessimism` times their standard deviation.
        tie: Davidson's nu, the propensity of ties in comparisons; 0 without ties.
        pessimism: number of standard deviations that are subtracted.
        nats: rewards are in nats of the judgments' likelihood; else they have unit scale.
        prior_weight: exponent of pi_ref in the optimum, from 0 to 1: pi* is proportional to pi_ref^prior_weight e^{u / beta}.
    """

    scales: Tensor
    scale: Tensor
    tie: Tensor
    pessimism: Tensor
    nats: Tensor
    prior_weight: Tensor

    def __init__(
        self,
        networks: Sequence[nn.Module],
        scales: Sequence[float],
        scale: float,
        *,
        tie: float = 0.0,
        pessimism: float = 0.0,
        nats: bool = False,
        prior_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("scales", torch.tensor(list(scales), dtype=torch.float32))
        single = (scale, tie, pessimism, nats, prior_weight)
        for name, value in zip(SINGLE, single, strict=True):
            self.register_buffer(name, torch.tensor(float(value)))

    @classmethod
    def fitted(
        cls,
        networks: Sequence[nn.Module],
        utilities: Sequence[Tensor],
        log_ref: Tensor,
        *,
        tie: float,
        pessimism: float,
        nats: bool = False,
    ) -> RewardModel:
        """A model with the scales of utilities [N, C] (one per member) on the training images; a scale may be 0.

        Args:
            nats: rewards in nats.
        """
        if nats:
            model = cls(networks, [1.0] * len(networks), 1.0, tie=tie, pessimism=pessimism, nats=True)
            if not reference_scale(model._combined(utilities, log_ref), log_ref) > 0:
                model.scale.fill_(0.0)
            return model
        scales = [reference_scale(u, log_ref) for u in utilities]
        model = cls(networks, scales, 1.0, tie=tie, pessimism=pessimism)
        if min(scales) > 0:
            model.scale.fill_(reference_scale(model._combined(utilities, log_ref), log_ref))
        else:
            model.scale.fill_(0.0)
        return model

    def members(self, utilities: Sequence[Tensor], log_ref: Tensor) -> Tensor:
        """Each member's own reward [k, N, C]: mean 0 under the reference for every image, each with its own scale."""
        each = zip(utilities, self.scales.to(log_ref.device), strict=True)
        return torch.stack([centred(u, log_ref) / scale for u, scale in each])

    def _combined(self, utilities: Sequence[Tensor], log_ref: Tensor) -> Tensor:
        pessimistic = len(utilities) > 1 and bool(self.pessimism)
        each = self.members(utilities, log_ref) if pessimistic or not self.nats else None
        # A member that is unsure of an image takes less part in the mean of probabilities than of utilities.
        mean = mean_log_probability(utilities) if each is None or self.nats else each.mean(0)
        if each is None or not pessimistic:
            return mean
        return mean - self.pessimism.to(mean.device) * each.std(0, correction=0)

    def utilities(self, utilities: Sequence[Tensor], log_ref: Tensor) -> Tensor:
        """u [N, C] of the ensemble: mean 0 under the reference for every image; in unit scale, variance 1 where it was fitted.

        The highest is the class that the judgments alone would choose.
        """
        return centred(self._combined(utilities, log_ref), log_ref) / self.scale.to(log_ref.device)

    def rewards(self, utilities: Sequence[Tensor], log_ref: Tensor, beta: float = 1.0) -> Tensor:
        """r~ [N, C], mean 0 under the reference for every image: u - (1 - prior_weight) beta log pi_ref.

        Args:
            beta: weight of the KL penalty that the reward is used with.
        """
        u, discount = self.utilities(utilities, log_ref), (1 - float(self.prior_weight)) * beta
        return u - discount * centred(log_ref, log_ref) if discount else u

    def spread(self, utilities: Sequence[Tensor], log_ref: Tensor) -> Tensor:
        """Standard deviation [N, C] of the members' rewards; 0 for one network."""
        return self.members(utilities, log_ref).std(0, correction=0)

    def save(self, path: Path, header: ModelHeader) -> None:
        """Write the first member under its network's names, and of the others what differs, so that a prefix is stored once."""
        first = self.networks[0].state_dict()
        extra = {f"reward.{name}": getattr(self, name) for name in ("scales", *SINGLE)}
        for number, network in enumerate(self.networks):
            own = network.state_dict()
            extra |= {f"member.{number}.{k}": v for k, v in own.items() if number and not torch.equal(v, first[k])}
        save_model(path, self.networks[0], header, extra)

    @classmethod
    def load(cls, path: Path) -> tuple[RewardModel, ModelHeader]:
        """Read a file of `save`, in eval mode.

        Raises:
            UserError: missing, damaged, or another kind of file.
        """
        network, header, extra = load_model(path, "reward")
        try:
            scales, (scale, tie, pessimism, nats, weight) = _scales(extra)
            networks = [network, *(_member(network, extra, number) for number in range(1, len(scales)))]
        except Damaged as error:
            raise damaged(path, str(error)) from None
        model = cls(networks, scales, scale, tie=tie, pessimism=pessimism, nats=bool(nats), prior_weight=weight)
        return model.eval(), header


def _scales(extra: dict[str, Tensor]) -> tuple[list[float], list[float]]:
    """The members' scales; and the single values of the ensemble, in the order of SINGLE."""
    extra = {f"reward.{name}": torch.tensor(value) for name, value in ADDED.items()} | extra
    names = [f"reward.{name}" for name in SINGLE]
    if missing := [name for name in ("reward.scales", *names) if name not in extra]:
        raise Damaged(f"'{missing[0]}' is missing")
    scales, single = extra["reward.scales"], [extra[name] for name in names]
    if scales.dim() != 1 or not 1 <= len(scales) <= MAX_MEMBERS or any(value.numel() != 1 for value in single):
        raise Damaged("the scales of its rewards have the wrong shape")
    if not bool((scales > 0).all()) or not single[0].item() > 0:
        raise Damaged("a scale of its rewards is not positive")
    return scales.tolist(), [float(value.item()) for value in single]


def _member(first: nn.Module, extra: dict[str, Tensor], number: int) -> nn.Module:
    """A member of the ensemble: a copy of the first with the weights that differ."""
    prefix = f"member.{number}."
    own = {name.removeprefix(prefix): value for name, value in extra.items() if name.startswith(prefix)}
    network = copy.deepcopy(first)
    if reason := mismatch(network, {**network.state_dict(), **own}):
        raise Damaged(f"member {number}: {reason}")
    network.load_state_dict(own, strict=False)
    return network
