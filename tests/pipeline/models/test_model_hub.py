"""Networks by their names on a hub: a real server that speaks its protocol, in processes that know no other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.command_process import run_command
from support.hub_models import hf_classifier
from support.installed import needs_packages
from support.model_hub import model_hub

pytestmark = needs_packages("transformers")

PROGRAM = """
import sys
from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import build_network
from pipeline.models.sources import find_backbone
for name in sys.argv[1:]:
    try:
        network = build_network(ModelConfig(backbone=f"hf:{name}"), 3, 0)
        data = find_backbone(f"hf:{name}")[0].data_configuration(name)
        print("built", sum(p.numel() for p in network.parameters()), data.usual_size, flush=True)
    except UserError as error:
        print("refused", error, flush=True)
"""


def load(cache: Path, endpoint: str, *names: str, **more: str) -> list[str]:
    """What the program prints for each repository."""
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = os.environ | hub | {"HF_HUB_ETAG_TIMEOUT": "5", "HF_HUB_DOWNLOAD_TIMEOUT": "5"} | more
    done = run_command(["-c", PROGRAM, *names], env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("built", "refused"))]


@pytest.mark.long
def test_downloads(tmp_path: Path) -> None:
    """The weights' first answer ends in the middle: the rest is asked for by range. The second time nothing is sent.

    Weights that differ from their checksum, which their length and header do not show, and a repository that does not
    exist, are one sentence each; the damaged file is deleted, and comes whole the next time.
    """
    from transformers import ViTForImageClassification

    folder = hf_classifier(tmp_path / "model", intermediate_size=40_000)  # 31 MB: the library stores parts of 10 MB
    with model_hub() as hub:
        hub.repositories |= {"me/model": folder, "me/damaged": hf_classifier(tmp_path / "small")}
        hub.cut.add("me/model/model.safetensors")
        hub.damaged.add("me/damaged/model.safetensors")
        built, again, damaged, missing = load(
            tmp_path / "cache", hub.url, "me/model", "me/model", "me/damaged", "me/missing"
        )
        hub.damaged.clear()
        (whole,) = load(tmp_path / "cache", hub.url, "me/damaged")
    own = ViTForImageClassification.from_pretrained(folder, num_labels=3, ignore_mismatched_sizes=True)
    assert built == again == f"built {sum(parameter.numel() for parameter in own.parameters())} 32"
    asked = [
        how
        for method, path, how in hub.requests
        if method == "GET" and path == "/me/model/resolve/main/model.safetensors"
    ]
    assert len(asked) == 2, "once, and the rest"
    assert asked[0] is None
    assert asked[1] is not None
    assert int(asked[1].removeprefix("bytes=").split("-")[0]) > 1_000_000, "not from the beginning"
    assert re.fullmatch(
        r"refused model.backbone: hf:me/damaged: a file was damaged while it was downloaded: its SHA-256 is [0-9a-f]{64}, "
        r"not [0-9a-f]{64}; it was deleted, try again",
        damaged,
    )
    assert whole.startswith("built ")
    path = "/me/damaged/resolve/main/model.safetensors"
    assert [name for method, name, _ in hub.requests if method == "GET"].count(path) == 2
    assert missing.startswith("refused model.backbone: hf:me/missing cannot be read: ")


@pytest.mark.long
def test_without_network_it_is_one_sentence(tmp_path: Path) -> None:
    """Offline by the hub's own variable: where nothing answers, its library tries again for a minute first."""
    (said,) = load(tmp_path / "cache", "http://127.0.0.1:1", "me/model", HF_HUB_OFFLINE="1")
    assert said.startswith("refused model.backbone: hf:me/model cannot be read: ")
    assert said.endswith("check the name, the folder or the network connection")
