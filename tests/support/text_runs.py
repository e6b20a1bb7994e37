"""Texts with a planted preference, and a tiny encoder with random weights, saved as transformers saves it."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from pathlib import Path

GOOD = ("clear", "kind", "precise", "helpful")
BAD = ("vague", "rude", "wrong", "useless")
OTHER = ("the", "answer", "of", "a", "person", "is", "about", "and")
WORDS = (*GOOD, *BAD, *OTHER)


def tiny_encoder(folder: Path, width: int = 64, layers: int = 1) -> Path:
    """A BERT of one layer with random weights, and a tokenizer that knows `WORDS`."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", *WORDS]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        initializer_range=0.02,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def utility(text: str) -> float:
    """The planted preference: good words less bad words; a word listed first counts most."""
    points = {
        word: sign / (1 + 0.137 * place) for words, sign in ((GOOD, 1), (BAD, -1)) for place, word in enumerate(words)
    }
    return round(math.fsum(points.get(word, 0.0) for word in text.split()), 9)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of eight words."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choices(WORDS, k=8))] = None
    return list(found)


def planted_choice(a: str, b: str, draw: random.Random | None = None, tie: float = 0.0, sharpness: float = 3.0) -> str:
    """1, 2 or tie: which text is better.

    Args:
        draw: for answers with noise, by Bradley and Terry's model; None: the more probable answer.
        tie: differences of utility up to this are ties.
        sharpness: of the noise; the planted preference itself agrees with about nine in ten answers.
    """
    difference = utility(a) - utility(b)
    if abs(difference) <= tie:
        return "tie"
    first = difference > 0 if draw is None else draw.random() < 1 / (1 + math.exp(-sharpness * difference))
    return "1" if first else "2"


def planted_csv(
    path: Path,
    count: int,
    *,
    noisy: bool = False,
    tie: float = 0.0,
    seed: int = 0,
    names: Sequence[str] = ("Title1", "Title2", "Label"),
) -> list[tuple[str, str, str]]:
    """Write a CSV file of comparisons, each of two texts of its own; returns its rows."""
    draw = random.Random(seed + 1) if noisy else None
    texts = sentences(2 * count, seed)
    rows = [(a, b, planted_choice(a, b, draw, tie)) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    write_csv(path, [tuple(names), *rows])
    return rows


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def possible_agreement(rows: Sequence[tuple[str, str, str]]) -> float:
    """The share of these answers that the planted preference itself predicts."""
    right = [label == planted_choice(a, b) for a, b, label in rows]
    return math.fsum(right) / len(right)


def configuration(folder: Path, **sections: str) -> Path:
    """A configuration file in a folder; `sections` are lines of YAML for more or other sections."""
    lines = {
        "runs": f"runs: {folder / 'runs'}",
        "items": "items: {source: text_pairs}",
        "model": f"model: {{encoder: {folder / 'encoder'}}}",
        **sections,
    }
    path = folder / "texts.yaml"
    path.write_text("\n".join(lines.values()) + "\n", encoding="utf-8")
    return path
