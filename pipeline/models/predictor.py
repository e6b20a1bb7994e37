"""A trained policy, ready to use: three lines from a run's folder to predictions.

from pipeline import Predictor
predictor = Predictor.load("runs/digits")
print(predictor.predict("photo.jpg").label)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pipeline.config import ImagesConfig, RuntimeConfig
from pipeline.data.decode import decode, read_file, to_rgb
from pipeline.data.transforms import normalise
from pipeline.errors import UserError
from pipeline.learning.statistics import UNIFORM_TOLERANCE
from pipeline.models.fold_batchnorm import fold_batchnorm
from pipeline.models.policy import log_policy
from pipeline.models.precision import autocast, choose_bf16
from pipeline.models.serialization import ModelHeader, load_model, weights_hash
from pipeline.run.runtime import start

Source = str | Path | bytes | Image.Image
POLICY, REFERENCE = "ppo/model.safetensors", "reference/model.safetensors"  # in a run
EXPORTED = "model.safetensors"  # in an exported folder
BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The policy's probabilities for one image.

    Attributes:
        label: the most probable class.
        confidence: its probability.
        entropy: of the probabilities, in nats; 0 is certain, log C is uniform.
        probabilities: of every class, in the model's order.
    """

    label: str
    confidence: float
    entropy: float
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: np.ndarray, classes: Sequence[str]) -> Prediction:
        """From probabilities [C]."""
        best = int(probabilities.argmax())
        entropy = float(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum())
        named = {name: float(p) for name, p in zip(classes, probabilities, strict=True)}
        return cls(classes[best], float(probabilities[best]), entropy, named)

    @property
    def is_uniform(self) -> bool:
        """Whether all classes are equally probable, as for a uniform reference."""
        return max(self.probabilities.values()) - min(self.probabilities.values()) < UNIFORM_TOLERANCE

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes and their probabilities, in descending order; ties in the model's order."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


class Predictor:
    """A policy network with its class names, transform and device.

    Attributes:
        classes: names, in the order of the network's outputs.
        weights: SHA-256 over the weights.
        network: as it was trained; predictions come from a copy with BatchNorm folded, which is faster.
        bf16: whether it computes in bfloat16; probabilities are float32.
    """

    def __init__(
        self,
        network: nn.Module,
        header: ModelHeader,
        device: torch.device | None = None,
        *,
        max_pixels: int | None = None,
        max_megabytes: int | None = None,
        bf16: bool = False,
    ) -> None:
        self.header = header
        self.classes = header.classes
        self.weights = weights_hash(network)
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.bf16 = bf16
        self._folded = fold_batchnorm(self.network)
        limits = ImagesConfig.model_fields
        self.max_pixels: int = max_pixels or limits["max_pixels"].default
        self.max_bytes: int = (max_megabytes or limits["max_megabytes"].default) * 2**20

    @classmethod
    def load(
        cls,
        path: str | Path,
        runtime: RuntimeConfig | None = None,
        max_pixels: int | None = None,
        max_megabytes: int | None = None,
    ) -> Predictor:
        """A policy from a run's folder, an exported folder, or a model file.

        Raises:
            UserError: it is missing or damaged, or its hash is not the one in the manifest.
        """
        path = Path(path).expanduser()
        if path.suffix in (".onnx", ".pt2"):
            raise UserError(
                f"{path}: a graph for other programs; load the run's folder, or the exported folder huggingface"
            )
        if path.is_dir():
            candidates = [path / POLICY, path / EXPORTED]
            file = next((file for file in candidates if file.is_file()), None)
            if file is None:
                raise UserError(
                    f"{path}: no policy here; `make ppo` writes {POLICY} to a run's folder, an export has {EXPORTED}"
                )
            path = file
        network, header, _ = load_model(path, "policy")
        settings = runtime or RuntimeConfig()
        device = start(settings).device
        return cls(
            network,
            header,
            device,
            max_pixels=max_pixels,
            max_megabytes=max_megabytes,
            bf16=choose_bf16(settings, lambda: copy.deepcopy(network), header.size, name=header.network, device=device),
        )

    def on(self, device: torch.device) -> Predictor:
        """The same predictor on that device; itself if it is there already."""
        if device == self.device:
            return self
        other = copy.copy(self)
        other.device = device
        other.network = copy.deepcopy(self.network).to(device)
        other._folded = fold_batchnorm(other.network)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, whose machine may lack this device: the network is on the CPU, and is folded there."""
        state = self.on(torch.device("cpu")).__dict__
        return {name: value for name, value in state.items() if name != "_folded"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._folded = fold_batchnorm(self.network)

    def prepare(self, source: Source) -> np.ndarray:
        """The network's input from a file, a file's bytes or a Pillow image: uint8 [size, size, 3]; stack it for `log_probs`.

        Raises:
            BadImage: it cannot be used; the message says why.
        """
        if isinstance(source, Image.Image):
            return self.header.transform(to_rgb(source))
        if not isinstance(source, bytes):
            source = self.read(Path(source))
        return self.header.transform(decode(source, self.max_pixels))

    def read(self, path: Path) -> bytes:
        """A file's bytes.

        Raises:
            BadImage: not a regular file, unreadable, or larger than the limit.
        """
        return read_file(path, self.max_bytes)

    @torch.no_grad()
    def log_probs(self, pixels: np.ndarray | Tensor) -> Tensor:
        """log pi(.|x) [B, C], on the CPU, of uint8 pixels [B, size, size, 3]."""
        if pixels.ndim != 4:
            raise ValueError(
                f"pixels must be [B, size, size, 3], are {list(pixels.shape)}; stack the results of prepare()"
            )
        if isinstance(pixels, np.ndarray):
            pixels = torch.from_numpy(np.require(pixels, requirements="W"))
        batch = pixels.to(self.device)
        with autocast(self.device, self.bf16):
            logits = self._folded(normalise(batch, self.header.normalisation))
        return log_policy(logits).cpu()

    def predict(self, images: Source | Sequence[Source]) -> Prediction | list[Prediction]:
        """Predictions for images, each a path, a file's bytes or a Pillow image; a single image gives a single prediction.

        Raises:
            BadImage: one of them cannot be used.
        """
        if isinstance(images, str | Path | bytes | Image.Image):
            return self._predict([images])[0]
        return self._predict(images)

    def _predict(self, images: Sequence[Source]) -> list[Prediction]:
        predictions: list[Prediction] = []
        for first in range(0, len(images), BATCH):
            pixels = np.stack([self.prepare(one) for one in images[first : first + BATCH]])
            predictions += [Prediction.of(row, self.classes) for row in self.log_probs(pixels).exp().numpy()]
        return predictions
