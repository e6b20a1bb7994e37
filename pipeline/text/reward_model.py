"""A reward model of texts: r(text) = head(embedding), [N, 1], as one network or an ensemble, saved as safetensors."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.config.base import MAX_MEMBERS
from pipeline.errors import UserError
from pipeline.models.weight_checks import first_non_finite, mismatch
from pipeline.run import manifest
from pipeline.run.atomic_files import write_atomically
from pipeline.text.config import TextModelConfig
from pipeline.text.encoder import TextEncoder, load_encoder

KEY = "image_rlhf_text_reward"  # of the header in the file's metadata
FORMAT = 1


@dataclass(frozen=True)
class Header:
    """What a model file says of itself.

    Attributes:
        encoder: `TextEncoder.fingerprint` of the encoder before any training.
        members: k, of the ensemble.
        trained_encoders: whether each member has an encoder of its own in the file.
        mean: of the ensemble's score over the texts it was trained on, which is subtracted.
        pessimism: number of the members' standard deviations that are subtracted.
    """

    encoder: str
    width: int
    members: int
    trained_encoders: bool
    mean: float = 0.0
    pessimism: float = 0.0
    format: int = FORMAT


@dataclass(frozen=True)
class Scores:
    """Scores of N texts, relative to the average training text; low and high are 95 % of the ensemble's spread.

    Attributes:
        low, high: [N]; None for a single network.
    """

    score: Tensor
    low: Tensor | None = None
    high: Tensor | None = None


class TextRewardModel:
    """An ensemble.

    Args:
        heads: weight [1, D] and bias [1] of each member.
        encoders: state dict of each member's encoder; empty: all use the encoder as it is.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        heads: Sequence[tuple[Tensor, Tensor]],
        encoders: Sequence[dict[str, Tensor]] = (),
        *,
        fingerprint: str,
        mean: float = 0.0,
        pessimism: float = 0.0,
    ) -> None:
        self.encoder, self.heads, self.encoders = encoder, list(heads), list(encoders)
        self.header = Header(fingerprint, encoder.width, len(heads), bool(encoders), mean, pessimism)

    def members(self, texts: Sequence[str]) -> Tensor:
        """Each member's utilities of texts, [k, N]."""
        if not self.encoders:
            x = self.encoder.embeddings(texts)
            return torch.stack([(x @ weight.T + bias)[:, 0] for weight, bias in self.heads])
        each, own = [], copy.deepcopy(self.encoder.model.state_dict())
        for state, (weight, bias) in zip(self.encoders, self.heads, strict=True):
            self.encoder.model.load_state_dict(state)
            each.append((self.encoder.embeddings(texts) @ weight.T + bias)[:, 0])
        self.encoder.model.load_state_dict(own)
        return torch.stack(each)

    def scores(self, texts: Sequence[str]) -> Scores:
        """The ensemble's scores of texts."""
        each = self.members(texts)
        mean = each.mean(0) - self.header.mean
        if len(each) == 1:
            return Scores(mean)
        spread = each.std(0, correction=0)
        score = mean - self.header.pessimism * spread
        half = 1.96 * each.std(0, correction=1)
        return Scores(score, mean - half, mean + half)

    def save(self, path: Path) -> None:
        """Write the model, atomically.

        Raises:
            UserError: a weight is NaN or Inf.
        """
        tensors = {
            "head.weight": torch.stack([weight for weight, _ in self.heads]),
            "head.bias": torch.stack([bias for _, bias in self.heads]),
        }
        for number, state in enumerate(self.encoders):
            tensors |= {
                f"member.{number}.{name}": value.detach().cpu().contiguous().clone() for name, value in state.items()
            }
        if first_non_finite(tensors):
            raise UserError(f"{path}: training diverged: a weight is NaN or Inf; lower reward.lr")
        write_atomically(path, save(tensors, metadata={KEY: json.dumps(asdict(self.header))}))

    @classmethod
    def load(cls, path: Path, config: TextModelConfig) -> TextRewardModel:
        """Read a file of `save`, and the encoder that `config` names.

        Raises:
            UserError: missing, changed or damaged, or the encoder is another one.
        """
        if not path.is_file():
            raise UserError(f"no such model file: {path}")
        manifest.verify_model_file(path)
        try:
            with safe_open(path, framework="pt") as file:
                fields: dict[str, Any] = json.loads((file.metadata() or {})[KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            header = Header(**fields)
            weight, bias = tensors.pop("head.weight"), tensors.pop("head.bias")
            shapes = (header.members, 1, header.width), (header.members, 1)
            if (weight.shape, bias.shape) != shapes or not 1 <= header.members <= MAX_MEMBERS:
                raise ValueError("the heads have the wrong shape")
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{path}: damaged model file, or none of texts: {reason}; {manifest.how_to_remake(path.parent.name)}"
            ) from None
        encoder = load_encoder(config)
        if (fingerprint := encoder.fingerprint()) != header.encoder:
            raise UserError(
                f"model.encoder: {config.encoder} is not the encoder that {path} was trained with; name that one, or "
                f"{manifest.how_to_remake(path.parent.name)}"
            )
        encoders = []
        for number in range(header.members if header.trained_encoders else 0):
            prefix = f"member.{number}."
            state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            if reason := mismatch(encoder.model, state):
                raise UserError(f"{path}: damaged model file: {reason}; {manifest.how_to_remake(path.parent.name)}")
            encoders.append(state)
        heads = list(zip(weight, bias, strict=True))
        return cls(encoder, heads, encoders, fingerprint=fingerprint, mean=header.mean, pessimism=header.pessimism)
