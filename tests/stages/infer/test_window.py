"""The window on a virtual display, driven by real key events: what it says is what the policy predicts."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from support.command_process import run_command, start_command
from support.display import needs_display
from support.untrained_runs import noise_images, untrained_run

from pipeline.config import dump_config
from pipeline.models.predictor import Predictor


def wait_title(window: str, environment: dict[str, str], start: str) -> str:
    """The window's title, once it starts so."""
    give_up = time.monotonic() + 60
    while True:
        done = subprocess.run(
            ["xdotool", "getwindowname", window], env=environment, capture_output=True, text=True, check=True
        )
        if done.stdout.startswith(start):
            return done.stdout
        assert time.monotonic() < give_up, done.stdout
        time.sleep(0.05)


@needs_display
def test_look_through_a_folder_with_the_arrow_keys(tmp_path: Path, display: str) -> None:
    images = noise_images(tmp_path / "some", 3)
    (images / "0001.png").write_bytes(b"no image")
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    predictor = Predictor.load(tmp_path / "runs" / "bugs")
    environment = os.environ | {"DISPLAY": display}
    arguments = ["infer", "--config", str(tmp_path / "c.yaml"), str(images), "--ui", "tk"]
    process = start_command(["-m", "stages.cli", *arguments], env=environment)

    def tool(*words: str) -> str:
        return subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True, check=True).stdout

    window = tool("search", "--sync", "--onlyvisible", "--name", "image-rlhf: predict").split()[0]
    tool("windowfocus", "--sync", window)

    def title(name: str) -> str:
        said = predictor.predict(images / name)
        return f"{said.label} {said.confidence:.0%} "

    assert title("0000.png") != title("0002.png")
    wait_title(window, environment, title("0000.png"))
    tool("key", "Right")
    wait_title(window, environment, "image-rlhf: predict")  # the broken one: no label
    tool("key", "Right")
    wait_title(window, environment, title("0002.png"))
    tool("key", "Right")
    tool("key", "Left")
    tool("key", "Left")
    wait_title(window, environment, title("0000.png"))
    if folder := os.environ.get("IMAGE_RLHF_SCREENSHOTS"):
        from PIL import ImageGrab

        ImageGrab.grab(xdisplay=display).save(Path(folder) / "window-infer.png")
    tool("windowclose", window)
    process.wait(30)


def test_without_a_screen_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(dump_config(untrained_run(tmp_path)))
    arguments = ["-m", "stages.cli", "infer", "--config", str(tmp_path / "c.yaml"), "--ui", "tk"]
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = run_command(arguments, env=environment)
    assert done.returncode == 2
    assert "no display for the window" in done.stderr
    assert "Traceback" not in done.stderr
