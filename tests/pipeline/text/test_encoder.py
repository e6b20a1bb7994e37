"""Text encoders and reward models of texts: embeddings by hand, files, and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from support.text_runs import tiny_encoder

from pipeline.errors import UserError
from pipeline.text.config import TextModelConfig
from pipeline.text.encoder import cached_embeddings, load_encoder
from pipeline.text.reward_model import TextRewardModel
from pipeline.text.table import TextTable

TEXTS = ["the answer is kind", "rude", "a short answer of a helpful person"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="transformers is not installed: no text encoder was tested")
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), width=8)


def config(folder: Path, **more: object) -> TextModelConfig:
    return TextModelConfig(encoder=str(folder), **more)  # type: ignore[arg-type]


def test_an_embedding_is_the_mean_over_the_texts_own_tokens(folder: Path) -> None:
    """Padding to the longest text of a batch changes no embedding."""
    encoder = load_encoder(config(folder))
    together = encoder.embeddings(TEXTS)
    alone = torch.cat([encoder.embeddings([text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-5)
    with torch.no_grad():
        states = encoder.model(**encoder.tokens(TEXTS[:1])).last_hidden_state
    assert torch.allclose(alone[0], states[0].mean(0), atol=1e-6)
    first = load_encoder(config(folder, pooling="cls")).embeddings(TEXTS[:1])
    assert torch.allclose(first[0], states[0, 0], atol=1e-6)


def test_long_texts_are_cut(folder: Path) -> None:
    encoder = load_encoder(config(folder, max_tokens=3))
    assert torch.equal(encoder.embeddings(["the answer is kind"]), encoder.embeddings(["the answer is"]))
    assert load_encoder(config(folder)).length == 32, "no longer than the encoder's own limit"


def test_its_fingerprint_follows_what_changes_embeddings(folder: Path) -> None:
    fingerprints = {
        load_encoder(config(folder, **more)).fingerprint() for more in ({}, {"pooling": "cls"}, {"max_tokens": 9})
    }
    encoder = load_encoder(config(folder))
    assert encoder.fingerprint() in fingerprints
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[3] += 1e-4  # type: ignore[operator, union-attr, index]
    assert len({*fingerprints, encoder.fingerprint()}) == 4


def test_embeddings_are_computed_once_and_kept_by_content(folder: Path, tmp_path: Path) -> None:
    encoder, table = load_encoder(config(folder)), TextTable.of(TEXTS)
    first = cached_embeddings(encoder, table, tmp_path)
    assert torch.equal(first, encoder.embeddings(table.texts))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encoder, "embeddings", lambda texts: pytest.fail("computed again"))
        assert torch.equal(cached_embeddings(encoder, table, tmp_path), first)
    (file,) = (tmp_path / "text-embeddings").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert torch.equal(cached_embeddings(encoder, table, tmp_path), first), "a damaged file is made again"
    cached_embeddings(encoder, TextTable.of(TEXTS[:2]), tmp_path)
    assert len(list((tmp_path / "text-embeddings").iterdir())) == 2


def model(folder: Path, members: int = 2) -> TextRewardModel:
    encoder, random = load_encoder(config(folder)), torch.Generator().manual_seed(0)
    heads = [(torch.randn(1, 8, generator=random), torch.randn(1, generator=random)) for _ in range(members)]
    return TextRewardModel(encoder, heads, fingerprint=encoder.fingerprint(), mean=0.5, pessimism=2.0)


def test_scores_of_an_ensemble_by_hand(folder: Path, tmp_path: Path) -> None:
    made = model(folder)
    each = made.members(TEXTS)
    x = made.encoder.embeddings(TEXTS)
    weight, bias = made.heads[1]
    assert torch.allclose(each[1], (x * weight).sum(1) + bias, atol=1e-5)
    scores = made.scores(TEXTS)
    spread = (each[0] - each[1]).abs() / 2  # of two values
    assert torch.allclose(scores.score, each.mean(0) - 0.5 - 2 * spread, atol=1e-5)
    assert scores.low is not None
    assert scores.high is not None
    assert torch.allclose((scores.low + scores.high) / 2, each.mean(0) - 0.5, atol=1e-5)
    assert torch.allclose(scores.high - scores.low, 2 * 1.96 * spread * 2**0.5, atol=1e-5)
    assert model(folder, 1).scores(TEXTS).low is None
    made.save(tmp_path / "m.safetensors")
    loaded = TextRewardModel.load(tmp_path / "m.safetensors", config(folder))
    assert torch.equal(loaded.members(TEXTS), each)
    assert loaded.header == made.header


def test_trained_encoders_are_kept_for_each_member(folder: Path, tmp_path: Path) -> None:
    plain = model(folder)
    states = []
    for number in range(2):
        state = {name: value.clone() for name, value in plain.encoder.model.state_dict().items()}
        if number:
            state["embeddings.word_embeddings.weight"] = state["embeddings.word_embeddings.weight"].flip(0)
        states.append(state)
    made = TextRewardModel(plain.encoder, plain.heads, states, fingerprint=plain.header.encoder)
    made.save(tmp_path / "m.safetensors")
    loaded = TextRewardModel.load(tmp_path / "m.safetensors", config(folder))
    expected = made.members(TEXTS)
    assert torch.equal(loaded.members(TEXTS), expected)
    assert torch.equal(expected[0], plain.members(TEXTS)[0])
    assert not torch.allclose(expected[1], plain.members(TEXTS)[1])


def test_another_encoder_or_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model(folder).save(path)
    with pytest.raises(UserError, match=r"is not the encoder that .* was trained with"):
        TextRewardModel.load(path, config(folder, pooling="cls"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="damaged model file"):
        TextRewardModel.load(path, config(folder))
    diverged = model(folder, 1)
    diverged.heads[0][0][0, 0] = float("nan")
    with pytest.raises(UserError, match=r"training diverged.*lower reward\.lr"):
        diverged.save(path)


def test_what_is_no_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.encoder: .*nothing cannot be read: .*; check the name, the folder"):
        load_encoder(config(tmp_path / "nothing"))
    pickled = tmp_path / "pickled"  # weights that could run code
    shutil.copytree(folder, pickled)
    state = load_encoder(config(folder)).model.state_dict()
    (pickled / "model.safetensors").unlink()
    torch.save(state, pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model\.encoder: .*safetensors"):
        load_encoder(config(pickled))


def test_without_transformers_the_message_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        UserError,
        match=r"model\.encoder: 'text' needs the package transformers; run `pip install 'image-rlhf\[text\]'`",
    ):
        load_encoder(config(folder))
