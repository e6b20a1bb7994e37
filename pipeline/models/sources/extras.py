"""What the sources of optional packages share: importing the package, and errors of files and hubs as one sentence."""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.errors import UserError
from pipeline.models.module_cut import replaced
from pipeline.models.sources.base import OwnHead, fit_weights
from pipeline.models.weight_checks import mismatch, read_weights

CLOCK_SECONDS = 2.0  # by which a file system's clock may differ from the system's


def require(module: str, extra: str, setting: str = "model.backbone") -> Any:
    """The imported module.

    Args:
        extra: that installs it, named as the value of the setting.

    Raises:
        UserError: it is not installed; the message has pip's command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{setting}: '{extra}' needs the package {error.name or module}; run `pip install 'image-rlhf[{extra}]'`"
        ) from None


@contextmanager
def reading(what: str, setting: str = "model.backbone") -> Iterator[None]:
    """Report what goes wrong while a model is read from a folder, a file or a hub in one sentence.

    Args:
        what: as the user wrote it.
        setting: that names it.

    Raises:
        UserError: for any error of the libraries; which ones they raise is not documented. Also for a file that was
            damaged while it was downloaded, which is deleted.
    """
    begin = time.time()
    try:
        yield
        check_downloads(what, begin, setting)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        check_downloads(what, begin, setting)
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UserError(
            f"{setting}: {what} cannot be read: {reason[:300]}; check the name, the folder or the network connection"
        ) from None


def check_downloads(what: str, since: float, setting: str = "model.backbone") -> None:
    """Compare new files in the cache of the Hugging Face Hub with the SHA-256 that the hub names weights by.

    The hub's library compares the size alone.

    Args:
        since: seconds since the epoch; older files are not read again.

    Raises:
        UserError: one differs.
    """
    if "huggingface_hub" not in sys.modules:
        return
    from huggingface_hub import constants

    for blob in Path(constants.HF_HUB_CACHE).glob("models--*/blobs/" + "[0-9a-f]" * 64):
        if blob.stat().st_mtime < since - CLOCK_SECONDS:
            continue
        with blob.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.name:
            blob.unlink()
            raise UserError(
                f"{setting}: {what}: a file was damaged while it was downloaded: its SHA-256 is {found}, not {blob.name}; "
                "it was deleted, try again"
            )


def is_folder(name: str) -> bool:
    """Whether a name is a local folder."""
    return Path(name).is_dir()


def zero_head(features: int, classes: int) -> nn.Linear:
    """A linear layer of zeros: training starts from the uniform distribution."""
    head = nn.Linear(features, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def new_head(network: nn.Module, path: str, classes: int) -> nn.Module:
    """Replace the linear layer at a dotted path by one of `classes` outputs, initialised with zeros."""
    old = network.get_submodule(path)
    assert isinstance(old, nn.Linear)
    head = zero_head(old.in_features, classes)
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, head)
    return network


def last_linear(network: nn.Module, what: str) -> str:
    """Dotted path of the layer that outputs the logits.

    Raises:
        UserError: there is no linear layer.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"model.backbone: {what} has no linear layer as its head; choose another network")
    return linear[-1]


def without_head(network: nn.Module, what: str) -> OwnHead:
    """A network as features and the linear head of its published weights."""
    path = last_linear(network, what)
    head = network.get_submodule(path)
    assert isinstance(head, nn.Linear)
    return OwnHead(replaced(network, {path: nn.Identity()}), head, head.in_features, is_map=False)


def from_file(network: nn.Module, weights: str, name: str) -> nn.Module:
    """Load `model.weights` if it is a file with exactly the network's names and shapes."""
    return fit_weights(network, weights, name) if weights not in ("imagenet", "none") else network


def with_new_head(network: nn.Module, weights: str, classes: int, name: str) -> nn.Module:
    """A network with the head of its published weights, as one of `classes` outputs.

    Args:
        weights: a file has either the published head, which is then replaced, or this task's.

    Raises:
        UserError: the file fits neither.
    """
    path = last_linear(network, name)
    if weights in ("imagenet", "none"):
        return new_head(network, path, classes)
    state = read_weights(Path(weights))
    published = mismatch(network, state)
    if not published:
        network.load_state_dict(state, strict=False)
    new_head(network, path, classes)
    if published:
        if own := mismatch(network, state):
            raise UserError(
                f"model.weights: {weights} does not fit {name}: as published weights, {published}; as weights of a "
                f"{classes}-class network, {own}"
            )
        network.load_state_dict(state, strict=False)
    return network
