"""Text encoders of transformers: a folder or a Hugging Face repository, read without running any code of its own."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.models.serialization import weights_hash
from pipeline.models.sources.extras import is_folder, reading, require
from pipeline.run.atomic_files import short_hash, write_atomically
from pipeline.text.config import MAX_TOKENS, TextModelConfig
from pipeline.text.table import TextTable

_log = logging.getLogger(__name__)

SETTING = "model.encoder"
BATCH = 64  # texts that are encoded at a time
Tokens = dict[str, Tensor]


class TextEncoder(nn.Module):
    """A transformers model whose last hidden states become one embedding per text.

    Attributes:
        tokenizer: of the model.
        length: tokens after which a text is cut.
        width: D, of an embedding.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, config: TextModelConfig) -> None:
        super().__init__()
        self.model = model
        self.tokenizer, self.pooling = tokenizer, config.pooling
        self.length = min(config.max_tokens, _longest(model, tokenizer))
        self.width: int = model.config.hidden_size  # type: ignore[union-attr, assignment]

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Texts as token numbers and attention mask [B, T], the shorter ones padded."""
        encoded = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        )
        return dict(encoded)

    def forward(self, tokens: Tokens) -> Tensor:
        """Embeddings [B, D]."""
        states: Tensor = self.model(**tokens).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]
        mask = tokens["attention_mask"][:, :, None].to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp_min(1)

    @torch.no_grad()
    def embeddings(self, texts: Sequence[str]) -> Tensor:
        """[len(texts), D] on the CPU, in eval mode; texts of similar length share a batch."""
        training = self.training
        self.eval()
        device = next(self.parameters()).device
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        result = torch.empty(len(texts), self.width)
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            tokens = {name: value.to(device) for name, value in self.tokens([texts[row] for row in rows]).items()}
            result[rows] = self(tokens).float().cpu()
        self.train(training)
        return result

    def fingerprint(self) -> str:
        """Hash of weights, tokenizer, pooling and length: equal for encoders with equal embeddings only."""
        fast = getattr(self.tokenizer, "backend_tokenizer", None)
        words = fast.to_str() if fast else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        digest = hashlib.sha256(words.encode()).hexdigest()
        return short_hash(weights_hash(self.model), digest, self.pooling, str(self.length))


def load_encoder(config: TextModelConfig) -> TextEncoder:
    """The encoder that `model.encoder` names.

    Raises:
        UserError: transformers is not installed, or the encoder cannot be read or does not encode texts.
    """
    transformers = require("transformers", "text", SETTING)
    transformers.logging.set_verbosity_error()  # its reports of weights that are not needed, such as a head's
    transformers.logging.disable_progress_bar()
    name = config.encoder
    # Pickled weights and code of repositories could run anything.
    safe = {"trust_remote_code": False, "local_files_only": is_folder(name)}
    with reading(name, SETTING):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **safe)
        model = transformers.AutoModel.from_pretrained(name, use_safetensors=True, **safe)
    if tokenizer.pad_token is None:  # models that generate text were trained without padding
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    try:
        encoder = TextEncoder(model.float(), tokenizer, config).eval()
        found = encoder.embeddings(["a", "b"])
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UserError(
            f"{SETTING}: {name} does not encode texts: {reason[:300]}; use an encoder such as a BERT or a sentence-transformers model"
        ) from None
    if not bool(torch.isfinite(found).all()):
        raise UserError(f"{SETTING}: {name} gives NaN or Inf; use another encoder")
    return encoder


def _longest(model: nn.Module, tokenizer: Any) -> int:
    """Tokens that a model can read; RoBERTa numbers positions from behind that of padding."""
    declared = int(min(getattr(tokenizer, "model_max_length", MAX_TOKENS) or MAX_TOKENS, MAX_TOKENS))
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
    first = (config.pad_token_id or 0) + 1 if "roberta" in str(config.model_type) else 0
    return min(declared, positions - first) if positions > 0 else declared


def cached_embeddings(encoder: TextEncoder, table: TextTable, cache: Path) -> Tensor:
    """Embeddings [N, D] of all texts of a table, computed once and kept by content."""
    path = cache / "text-embeddings" / f"{short_hash(encoder.fingerprint(), table.fingerprint)}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_tensor("embeddings")
        if found.shape == (len(table), encoder.width):
            return found
    except FileNotFoundError:
        pass
    except (SafetensorError, OSError, ValueError) as error:
        _log.warning(f"{path}: damaged ({error}); the embeddings are computed again")
    found = encoder.embeddings(table.texts)
    write_atomically(path, save({"embeddings": found}))
    return found
