"""The model card: metadata the hub takes, the run's own figures, its limits in words, and nobody's name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config import Config, RuntimeConfig
from pipeline.learning.statistics import expected_calibration_error, wilson_interval
from pipeline.models.predictor import Predictor
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.workspace import open_workspace
from stages.export.model_card import plain, render
from stages.export.model_facts import gather, origin
from stages.export.run import run


def card_of(config: Config) -> str:
    run(config, ["huggingface"])
    return (config.runs / config.name / "export" / "huggingface" / "README.md").read_text(encoding="utf-8")


def facts_of(config: Config) -> dict[str, Any]:
    policy = config.runs / config.name / "ppo" / "model.safetensors"
    return gather(open_workspace(config), policy, "0" * 64)


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def test_the_hub_takes_its_metadata(finished: Config) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(card_of(finished))
    assert card.data.library_name == "image-rlhf"
    assert card.data.pipeline_tag == "image-classification"
    assert "tiny" in card.data.tags
    assert card.data.license is None, "the user's to choose"
    (result,) = card.data.eval_results
    accuracy = read_json(finished.runs / "gold" / "summary.json")["policy"]["accuracy"]
    assert (result.metric_type, result.metric_value) == ("accuracy", pytest.approx(accuracy, abs=1e-6))


def test_its_figures_are_the_runs(finished: Config) -> None:
    """Accuracies with Wilson's intervals, calibration, KL, beta, the reward model's verdict, judgments."""
    card = card_of(finished)
    folder = finished.runs / "gold"
    summary, reward = read_json(folder / "summary.json"), read_json(folder / "reward" / "card.json")
    for stage in ("reference", "policy"):
        accuracy = summary[stage]["accuracy"]
        low, high = wilson_interval(round(accuracy * 20), 20)
        assert f"{percent(accuracy)} [{percent(low)}, {percent(high)}]" in card
    policy = summary["policy"]
    for value in ("beta", "kl", "kl_heldout", "kl_star", "J_star"):
        assert f"{policy[value]:.3f}" in card, value
    assert percent(policy["attained_heldout"]) in card
    assert reward["verdict"]["why"] in card
    assert "60 judgments by 1 annotator (source: simulated 60)" in card
    assert "None of them was given by a person" in card
    assert "On 20 labelled evaluation images" in card
    assert percent(summary["reference"]["ece"]) in card
    predictor = Predictor.load(folder, RuntimeConfig(device="cpu"))
    assert finished.images.root
    files = sorted(finished.images.root.rglob("test/*/*.png"))
    log_probs = predictor.log_probs(np.stack([predictor.prepare(file) for file in files]))
    labels = torch.tensor([predictor.classes.index(file.parent.name) for file in files])
    assert f"| {percent(expected_calibration_error(log_probs, labels))} |" in card
    right = log_probs.argmax(-1) == labels
    assert f"| dark | 10 | {percent(right[labels == predictor.classes.index('dark')].double().mean())} [" in card
    assert predictor.weights in card


@pytest.mark.long
def test_without_gold_labels_it_claims_nothing(without_gold: Config) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = card_of(without_gold)
    assert hub.ModelCard(card).data.eval_results is None
    assert "**Not evaluated**" in card
    assert "never tested on labelled images" in card
    assert "a reference policy\nthat is uniform (every class equally probable), a reward model" in card
    results = card.split("## Results")[1]
    assert "accuracy" not in results
    summary = read_json(without_gold.runs / "flat" / "summary.json")
    assert f"{summary['judgments']} judgments by 2 annotators" in card
    assert "| 100.0 % | 1.00 |" in card, "the two agree"


def test_what_the_reference_was_is_known(finished: Config, without_gold: Config) -> None:
    """Trained, given or uniform: what it was stands in its manifest; without one chance is what is beaten."""
    ws = open_workspace(without_gold)
    assert origin(open_workspace(finished), 6) == "trained on 6 labelled images"
    assert origin(ws, 0).startswith("that is uniform")
    manifest = ws.run.path / "reference" / "manifest.json"
    kept = read_json(manifest)
    write_json(manifest, kept | {"inputs": kept["inputs"] | {"checkpoint": "0" * 64}})
    assert origin(ws, 0) == "that was trained elsewhere (reference.checkpoint)"
    write_json(manifest, kept)
    facts = facts_of(finished)
    assert not facts["uniform_reference"]
    text = render(facts | {"uniform_reference": True})
    assert "| accuracy | 50.0 % | **" in text
    assert "| | reference |" not in text
    assert "calibrated" not in render(facts | {"doubts": "too few"})
    assert "calibrated" in render(facts | {"doubts": None})


def test_nothing_private_is_in_it(without_gold: Config) -> None:
    """Cards are published: no annotator's name, no path of the machine."""
    run(without_gold, ["huggingface"])
    folder = without_gold.runs / "flat" / "export" / "huggingface"
    people = set(CsvFeedbackStore(without_gold.runs / "flat" / "feedback").per_image_judgments()["annotator"])
    assert people == {"Jane Doe", "John Roe"}
    for file in folder.glob("*.*"):
        if file.suffix != ".safetensors":
            text = file.read_text(encoding="utf-8")
            assert not any(word in text for word in ("Jane", "Roe", str(without_gold.runs), "/tmp"))


@pytest.mark.parametrize("name", ["a|b", "<script>", "a\n# b", "*a*", "[a](b)", "`a`", "a & b"])
def test_a_name_is_no_markup(name: str) -> None:
    shown = plain(name)
    assert "\n" not in shown
    assert "<" not in shown
    for sign in "|*[`#":
        assert shown.count(sign) == shown.count("\\" + sign)


def test_names_in_the_card(finished: Config) -> None:
    card = card_of(finished)
    assert "light\\|&lt;b&gt;" in card
    assert "<b>" not in card
    config = json.loads((finished.runs / "gold" / "export" / "huggingface" / "config.json").read_text())
    assert "light|<b>" in config["label2id"]


def test_what_gives_pause_is_said(finished: Config) -> None:
    facts = facts_of(finished)
    assert "verdict is not" not in render(facts | {"reward": with_verdict(facts["reward"], "ready")})
    facts["reward"] = with_verdict(facts["reward"], "needs more judgments")
    facts["policy"] = facts["policy"] | {"stopped": "KL 9.1 is above ppo.max_kl"}
    facts["judgments"] = facts["judgments"] | {"automatic": 10, "sources": {"simulated": 10, "web": 50}}
    text = render(facts)
    assert '**The reward model\'s verdict is not "ready"** but "needs more judgments"' in text
    assert "it **stopped early**: KL 9.1 is above" in text
    assert "10 of them are from a simulated teacher" in text
    assert "None of them was given by a person" not in text
    facts["judgments"] = facts["judgments"] | {"total": 0, "kinds": [], "sources": {}, "automatic": 0}
    assert "no longer in the run's folder" in render(facts)


def with_verdict(reward: dict[str, Any], short: str) -> dict[str, Any]:
    return reward | {"verdict": {"short": short, "why": "it agrees with some"}}
