"""Networks by their names on a hub: a real server that speaks its protocol, in processes that know no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_models import hf_classifier
from support.model_hub import Hub, model_hub

pytest.importorskip("transformers", reason="the extra hf is not installed")

PROGRAM = """
import torch
from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import build_network
from pipeline.models.sources import find_backbone
try:
    network = build_network(ModelConfig(backbone="hf:me/model"), 3, 0)
    data = find_backbone("hf:me/model")[0].data_configuration("me/model")
    print("built", sum(p.numel() for p in network.parameters()), data.usual_size)
except UserError as error:
    print("refused", error)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hf_classifier(tmp_path / "model")


def load(cache: Path, endpoint: str, **more: str) -> str:
    """What the program prints, with a cache of its own."""
    names = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = os.environ | names | {"HF_HUB_ETAG_TIMEOUT": "5", "HF_HUB_DOWNLOAD_TIMEOUT": "5"} | more
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def with_repository(hub: Hub, folder: Path) -> Hub:
    hub.repositories["me/model"] = folder
    return hub


def test_a_broken_download_is_resumed_and_kept(folder: Path, tmp_path: Path) -> None:
    """The weights' first answer ends in the middle: the rest is asked for by range. The second time nothing is sent."""
    from transformers import ViTForImageClassification

    hf_classifier(folder, intermediate_size=40_000)  # 31 MB: the hub's library stores parts of 10 MB
    with model_hub() as hub:
        with_repository(hub, folder).cut.add("model.safetensors")
        own = ViTForImageClassification.from_pretrained(folder, num_labels=3, ignore_mismatched_sizes=True)
        size = sum(parameter.numel() for parameter in own.parameters())
        assert load(tmp_path / "cache", hub.url) == f"built {size} 32"
        ranges = [
            asked for method, path, asked in hub.requests if method == "GET" and path.endswith("model.safetensors")
        ]
        assert ranges[0] is None
        assert ranges[1] is not None
        assert int(ranges[1].removeprefix("bytes=").split("-")[0]) > 1_000_000, "not from the beginning"
        hub.requests.clear()
        assert load(tmp_path / "cache", hub.url).startswith("built")
        assert not [path for method, path, _ in hub.requests if method == "GET" and path.endswith(".safetensors")]


def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with model_hub() as hub:
        with_repository(hub, folder).damaged.add("model.safetensors")
        said = load(tmp_path / "cache", hub.url)
    assert said.startswith("refused model.backbone: hf:me/model cannot be read: ")


def test_without_network_it_is_one_sentence(tmp_path: Path) -> None:
    """Offline by the hub's own variable: where nothing answers, its library tries again for half a minute first."""
    said = load(tmp_path / "cache", "http://127.0.0.1:1", HF_HUB_OFFLINE="1")
    assert said.startswith("refused model.backbone: hf:me/model cannot be read: ")
    assert said.endswith("check the name, the folder or the network connection")
