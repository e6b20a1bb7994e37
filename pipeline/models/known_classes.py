"""Networks whose published weights know this task's classes already: their own head gives the reference's probabilities.

The head's log-probabilities of this task's classes are appended to the features, so that the network still ends in one
linear layer. With the identity on them it is the published classifier; what is learned from judgments is added to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import UserError

Groups = tuple[tuple[int, ...], ...]  # for each class, the numbers of the categories that mean it
MAX_LISTED = 4  # categories named in a message


class KnownClasses(nn.Module):
    """A network with its own head, followed by a linear head over features and known classes.

    Args:
        body: images to what the own head takes: features [B, D] or a map of them [B, D, H, W].
        own_head: that to logits [B, K] of the categories.
        features: D.
        is_map: whether `body` returns a map.
        groups: the categories of each of the C classes.
    """

    index: Tensor
    mask: Tensor

    def __init__(self, body: nn.Module, own_head: nn.Module, features: int, is_map: bool, groups: Groups) -> None:
        super().__init__()
        self.body, self.own_head = body, own_head
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if is_map else nn.Identity()
        width = max(len(group) for group in groups)
        index = [[*group, *[group[0]] * (width - len(group))] for group in groups]
        mask = [[0.0] * len(group) + [float("-inf")] * (width - len(group)) for group in groups]
        self.register_buffer("index", torch.tensor(index))
        self.register_buffer("mask", torch.tensor(mask), persistent=False)
        self.head = nn.Linear(features + len(groups), len(groups))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, C]."""
        features = self.body(images)
        own = self.own_head(features)[:, self.index] + self.mask  # [B, C, categories of a class]
        known = torch.log_softmax(torch.logsumexp(own, -1), -1)
        return self.head(torch.cat([self.pool(features), known], 1))

    def problem(self) -> str:
        """Why its category numbers cannot be used, as those of a damaged file; empty if they can."""
        layers = [module for module in self.own_head.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        outputs = layers[-1].weight.shape[0]
        wrong = self.index[(self.index < 0) | (self.index >= outputs)]
        return f"it names the category {int(wrong[0])}, and its numbers are 0 to {outputs - 1}" if len(wrong) else ""

    @torch.no_grad()
    def use_own_head(self) -> None:
        """Make the logits the known classes' log-probabilities: those of a class's categories are summed."""
        classes = len(self.index)
        self.head.weight.zero_()
        self.head.bias.zero_()
        self.head.weight[:, -classes:] = torch.eye(classes)


def known_inputs(network: nn.Module) -> int:
    """How many of the last inputs of a network's head are log-probabilities of known classes; 0 for other networks."""
    return len(network.index) if isinstance(network, KnownClasses) else 0


@dataclass(frozen=True)
class Categories:
    """The categories that published weights were trained on.

    Attributes:
        network: its name, for messages.
        names: in the order of the outputs.
    """

    network: str
    names: tuple[str, ...]

    def groups(self, classes: Sequence[str], names: Mapping[str, Sequence[str | int]]) -> Groups:
        """The categories of each class.

        Args:
            names: for each class, the names or numbers of its categories; a class that is missing has its own name.

        Raises:
            UserError: an unknown class or category, an ambiguous name, or a category of two classes.
        """
        if unknown := [name for name in names if name not in classes]:
            raise UserError(
                f"reference.names: '{unknown[0]}' is not one of the classes {', '.join(classes)}; fix the name"
            )
        # A category that is named twice counts once.
        groups = tuple(tuple({self._number(one, of): None for one in names.get(of, [of])}) for of in classes)
        taken: dict[int, str] = {}
        for of, group in zip(classes, groups, strict=True):
            for number in group:
                if taken.setdefault(number, of) != of:
                    raise UserError(
                        f"reference.names: '{self.names[number]}' (number {number}) is listed for '{taken[number]}' and for "
                        f"'{of}'; leave it out of one of them"
                    )
        return groups

    def _number(self, wanted: str | int, of: str) -> int:
        if isinstance(wanted, int):
            if not 0 <= wanted < len(self.names):
                raise UserError(
                    f"reference.names: {self.network} has no category {wanted}; its numbers are 0 to {len(self.names) - 1}"
                )
            return wanted
        found = [number for number, name in enumerate(self.names) if wanted.lower() in _synonyms(name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{number} ({self.names[number]})" for number in found[:MAX_LISTED])
            raise UserError(
                f"reference.names: '{wanted}' is ambiguous among the categories of {self.network}: {listed}; write the number "
                f"instead, as in reference.names={{{of}: [{found[0]}]}}"
            )
        every = {part: name for name in self.names for part in _synonyms(name)}
        close = difflib.get_close_matches(wanted.lower(), every, n=MAX_LISTED, cutoff=0.0)
        near = ", ".join(f"'{name}'" for name in dict.fromkeys(every[part] for part in close))
        raise UserError(
            f"reference.names: {self.network} knows no category '{wanted}'; close ones are {near}; name the categories of "
            f"'{of}' in reference.names"
        )


def _synonyms(category: str) -> set[str]:
    """`tabby, tabby cat` as its two names and as a whole, in lower case."""
    return {part.strip().lower() for part in [category, *category.split(",")]}
