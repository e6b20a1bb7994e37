"""Text encoders by their names on a hub: a real server that speaks its protocol, in a process that knows no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command_process import run_command
from support.installed import needs_packages
from support.model_hub import model_hub
from support.text_runs import tiny_encoder

from pipeline.text.config import TextModelConfig
from pipeline.text.encoder import load_encoder

pytestmark = [needs_packages("transformers"), pytest.mark.long]

PROGRAM = """
import sys
from pipeline.errors import UserError
from pipeline.text.config import TextModelConfig
from pipeline.text.encoder import load_encoder
for name in sys.argv[1:]:
    try:
        print("read", load_encoder(TextModelConfig(encoder=name)).fingerprint(), flush=True)
    except UserError as error:
        print("refused", error, flush=True)
"""


def test_an_encoder_by_its_name(tmp_path: Path) -> None:
    """It is downloaded once and is the same as in its folder; a damaged or missing one is refused in a sentence."""
    folder = tiny_encoder(tmp_path / "encoder")
    with model_hub() as hub:
        hub.repositories |= {"me/encoder": folder, "me/damaged": folder}
        hub.damaged.add("me/damaged/model.safetensors")
        more = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        names = ("me/encoder", "me/encoder", "me/damaged", "me/missing")
        done = run_command(["-c", PROGRAM, *names], env=os.environ | more, timeout=120)
    assert done.returncode == 0, done.stderr
    read, again, damaged, missing = (line for line in done.stdout.splitlines() if line.startswith(("read", "refused")))
    assert read == again == f"read {load_encoder(TextModelConfig(encoder=str(folder))).fingerprint()}"
    weights = [
        path
        for method, path, _ in hub.requests
        if method == "GET" and path.startswith("/me/encoder") and "safetensors" in path
    ]
    assert weights == ["/me/encoder/resolve/main/model.safetensors"]
    assert damaged.startswith(
        "refused model.encoder: me/damaged: a file was damaged while it was downloaded: its SHA-256 is "
    )
    assert missing.startswith("refused model.encoder: me/missing cannot be read: ")
