"""The backbone source `torchvision`: its classification networks by name, with this task's head."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.errors import UserError
from pipeline.models.sources.base import BackboneSource, OwnHead
from pipeline.models.weight_checks import mismatch, read_weights

IMAGENET_CLASSES = 1000


class TorchvisionSource(BackboneSource):
    """Every classification network of torchvision, with its ImageNet weights.

    Special cases: the auxiliary classifiers of googlenet and inception_v3 are left out, and SqueezeNet's head, which is not
    linear, is replaced by a linear layer.
    """

    @functools.cache  # noqa: B019  there is one source
    def names(self) -> tuple[str, ...]:
        import torchvision  # here and below: slow to import, so only where it is needed

        return tuple(sorted(torchvision.models.list_models(module=torchvision.models)))

    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        if weights not in ("imagenet", "none"):
            return _from_file(name, Path(weights), classes)
        network = _download(name) if weights == "imagenet" else construct(name, None)
        replace_head(network, classes)
        return network

    def own_head(self, name: str, weights: str) -> OwnHead:
        import torchvision

        if weights == "imagenet":
            network = _download(name)
        else:
            network = construct(name, None)
            if weights != "none":
                state = read_weights(Path(weights))
                if reason := mismatch(network, state):
                    raise UserError(
                        f"model.weights: {weights} does not fit {name} with the head of its published weights, which "
                        f"reference.kind zero_shot needs: {reason}"
                    )
                network.load_state_dict(state, strict=False)
        if isinstance(network, torchvision.models.SqueezeNet):
            head = nn.Sequential(network.classifier, nn.Flatten())
            return OwnHead(network.features, head, 512, is_map=True)
        path = _head_path(network)
        own: Any = network.get_submodule(path)
        parent, _, leaf = path.rpartition(".")
        setattr(network.get_submodule(parent), leaf, nn.Identity())
        return OwnHead(network, own, own.in_features, is_map=False)

    def categories(self, name: str) -> tuple[str, ...] | None:
        import torchvision

        names = torchvision.models.get_model_weights(name).DEFAULT.meta.get("categories")
        return tuple(names) if names else None


def _download(name: str) -> nn.Module:
    try:
        return construct(name, "DEFAULT")
    except OSError as error:  # URLError is one
        raise UserError(
            f"model.weights: the ImageNet weights of {name} are not in torchvision's cache and cannot be downloaded "
            f"({getattr(error, 'reason', error)}); set model.weights=/path/to/weights.pth, a file "
            "with torchvision's keys, or model.weights=none for random weights"
        ) from error


def _from_file(name: str, path: Path, classes: int) -> nn.Module:
    """ImageNet weights (the head is then replaced), or weights of a network with this task's head."""
    state = read_weights(path)
    network = construct(name, None)
    imagenet = mismatch(network, state)
    if not imagenet:
        network.load_state_dict(state, strict=False)
    replace_head(network, classes)
    if imagenet:
        if own := mismatch(network, state):
            raise UserError(
                f"model.weights: {path} does not fit {name}: as ImageNet weights, {imagenet}; as weights of a "
                f"{classes}-class network, {own}"
            )
        network.load_state_dict(state, strict=False)
    return network


def construct(name: str, weights: str | None) -> nn.Module:
    """torchvision's network with 1,000 outputs.

    Args:
        weights: `DEFAULT` for ImageNet's; None for random ones.

    Raises:
        OSError: the weights cannot be downloaded.
    """
    import torchvision

    options = (
        {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") and not weights else {}
    )
    network: nn.Module = torchvision.models.get_model(name, weights=weights, **options)
    if weights and hasattr(network, "aux_logits"):  # the auxiliary classifiers serve training from scratch only
        setattr(network, "aux_logits", False)  # noqa: B010  a module's attributes are typed as modules
        for part in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, part):
                setattr(network, part, None)
    if hasattr(
        network, "transform_input"
    ):  # torchvision sets it only with ImageNet weights, and weight files do not contain it
        setattr(network, "transform_input", True)  # noqa: B010
    return network


def _head_path(network: nn.Module) -> str:
    """Dotted name of the layer that outputs the logits: the last one with ImageNet's number of outputs."""
    outputs = [
        name
        for name, module in network.named_modules()
        if IMAGENET_CLASSES in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ]
    if not outputs:
        raise UserError("model.backbone: no final linear layer found for this task's classes; choose another network")
    return outputs[-1]


def replace_head(network: nn.Module, classes: int) -> None:
    """Replace ImageNet's head by a linear layer of `classes` outputs, initialised with zeros.

    With a zero head training starts from the uniform distribution, and an untrained network is the uniform policy.
    SqueezeNet's head (a 1 x 1 convolution and ReLU before the pooling, which
    cannot output a negative score) becomes pooling and a linear layer, like every other network's.
    """
    import torchvision

    path = _head_path(network)
    old: Any = network.get_submodule(path)
    if isinstance(network, torchvision.models.SqueezeNet):
        head = nn.Linear(old.in_channels, classes)
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    else:
        parent, _, leaf = path.rpartition(".")
        head = nn.Linear(old.in_features, classes)
        setattr(network.get_submodule(parent), leaf, head)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
