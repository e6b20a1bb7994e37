"""BackboneSource: the interface to a collection of networks. A new source is one subclass in one module."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from pipeline.config.base import Trainable
from pipeline.data.transforms import IMAGENET, Normalisation
from pipeline.errors import UserError
from pipeline.models.traced_cut import traced_cut
from pipeline.models.weight_checks import mismatch, read_weights


class OwnHead(NamedTuple):
    """A network in two pieces: `body` maps images to features [B, D] or to a map of them, `head` these to its categories.

    Attributes:
        features: D.
        is_map: whether the features are a map [B, D, H, W].
    """

    body: nn.Module
    head: nn.Module
    features: int
    is_map: bool


@dataclass(frozen=True)
class DataConfiguration:
    """The images that a network expects.

    Attributes:
        normalisation: mean and standard deviation of each channel.
        size: the only side in pixels that it takes; None if it takes several.
        interpolation: of the resizing, `bilinear` or `bicubic`.
        usual_size: side in pixels where `images.size` is not set.
        crop: share of the shorter side that the centre crop keeps where neither size nor resize is set.
    """

    normalisation: Normalisation = IMAGENET
    size: int | None = None
    interpolation: str = "bilinear"
    usual_size: int = 224
    crop: float = 1.0


class BackboneSource(ABC):
    """Networks by name.

    Every network maps images [B, 3, size, size] to logits [B, classes]. The last `nn.Linear` among its modules outputs
    the logits; a new one is initialised with zeros, so that training starts from the uniform distribution.
    """

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The names of all networks, or of some if there are others, which `check` then accepts."""

    def check(self, name: str) -> None:
        """Raise ValueError if there is no such network; the message names the closest one."""
        names = self.names()
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"has no classification network '{name:.200}'{hint}")

    def settings(self, name: str) -> str:
        """What `build` needs besides the name to build the network without its origin: empty if the name suffices.

        It is stored in model files, so that they can be read where the folder or the hub is out of reach.

        Raises:
            UserError: the origin cannot be read.
        """
        return ""

    @abstractmethod
    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        """A network with `classes` outputs.

        Args:
            name: one of `names`.
            weights: `none` for random ones, the path of a file (see `fit_weights`), or a name that the source
                defines, such as `imagenet`.
            seed: of random weights; torch's generator is seeded with it already. Called under torch's meta device, too.
            Sources that override `settings` have a further argument of that name: empty for a name as the user wrote it,
            otherwise what a model file holds.

        Raises:
            UserError: weights that cannot be downloaded, read or loaded.
        """

    def data_configuration(self, name: str) -> DataConfiguration:
        """The images that a network expects; by default any size in ImageNet's normalisation."""
        return DataConfiguration()

    def categories(self, name: str) -> tuple[str, ...] | None:
        """The classes that its published weights were trained on, in the order of their outputs; None if not known."""
        return None

    def own_head(self, name: str, weights: str) -> OwnHead:
        """A network with the head of its published weights, for classes that these know already.

        Args:
            weights: as for `build`; a file must have the published head.
            Sources that override `settings` have it as a further argument, as `build`.

        Raises:
            UserError: it has no head of its own, or the weights cannot be read.
        """
        raise UserError(
            f"reference.kind: the networks of this source come without classes of their own, {name} among them; use trained, "
            "uniform or checkpoint"
        )

    def text_head(self, name: str, weights: str, prompts: Sequence[Sequence[str]]) -> Tensor | None:
        """Weight [C, D] of a head that scores each class by its prompts, for networks that match images with texts.

        Returns:
            None for networks that do not read text.

        Raises:
            UserError: the text model cannot be read.
        """
        return None

    def reads_text(self, name: str) -> bool:
        """Whether `text_head` works."""
        return False

    def transformers_config(self, network: nn.Module, classes: Sequence[str]) -> dict[str, Any] | None:
        """config.json with which transformers reads a file of the network's weights; None where it has no such network."""
        return None

    def cut(self, network: nn.Module, trainable: Trainable, size: int) -> tuple[nn.Module | None, nn.Module]:
        """A network as prefix and suffix that share its parameters: suffix(prefix(x)) is network(x), bit for bit.

        By default the cut is found in the traced graph (torch.fx). A source whose networks cannot be traced overrides it.

        Args:
            trainable: the part of the network that the suffix is; for `all` the prefix is None.
            size: side of the images in pixels.

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
