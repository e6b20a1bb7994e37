"""BackboneSource: the interface to a collection of networks. A new source is one subclass in one module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from pipeline.config.base import Trainable
from pipeline.data.transforms import IMAGENET, Normalisation
from pipeline.errors import UserError
from pipeline.models.traced_cut import traced_cut
from pipeline.models.weight_checks import mismatch, read_weights


@dataclass(frozen=True)
class DataConfiguration:
    """The images that a network expects.

    Attributes:
        normalisation: mean and standard deviation of each channel.
        size: the only side in pixels that it takes; None if it takes several.
        interpolation: of the resizing, `bilinear` or `bicubic`.
    """

    normalisation: Normalisation = IMAGENET
    size: int | None = None
    interpolation: str = "bilinear"


class BackboneSource(ABC):
    """Networks by name.

    Every network maps images [B, 3, size, size] to logits [B, classes]. The last `nn.Linear` among its modules outputs
    the logits; a new one is initialised with zeros, so that training starts from the uniform distribution.
    """

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The names of all networks."""

    @abstractmethod
    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        """A network with `classes` outputs.

        Args:
            name: one of `names`.
            weights: `none` for random ones, the path of a file (see `fit_weights`), or a name that the source
                defines, such as `imagenet`.
            seed: of random weights; torch's generator is seeded with it already. Called under torch's meta device, too.

        Raises:
            UserError: weights that cannot be downloaded, read or loaded.
        """

    def data_configuration(self, name: str) -> DataConfiguration:
        """The images that a network expects; by default any size in ImageNet's normalisation."""
        return DataConfiguration()

    def categories(self, name: str) -> tuple[str, ...] | None:
        """The classes that its published weights were trained on, in the order of their outputs; None if not known."""
        return None

    def cut(self, network: nn.Module, trainable: Trainable) -> tuple[nn.Module | None, nn.Module]:
        """A network as prefix and suffix that share its parameters: suffix(prefix(x)) is network(x), bit for bit.

        By default the cut is found in the traced graph (torch.fx). A source whose networks cannot be traced overrides it.

        Args:
            trainable: the part of the network that the suffix is; for `all` the prefix is None.

        Raises:
            UserError: the network cannot be cut there.
        """
        return (None, network) if trainable == "all" else traced_cut(network, trainable)


def fit_weights(network: nn.Module, path: str, name: str) -> nn.Module:
    """Load a file of weights with exactly the names and shapes of the network, including this task's head.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    state = read_weights(Path(path))
    if reason := mismatch(network, state):
        raise UserError(f"model.weights: {path} does not fit {name}: {reason}")
    network.load_state_dict(state, strict=False)
    return network
