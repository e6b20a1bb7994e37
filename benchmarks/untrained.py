"""Create runs with untrained networks, which are as fast as trained ones and not uniform."""

from __future__ import annotations

from torch import nn

from pipeline.config import Config
from pipeline.models.backbone import build_network
from pipeline.models.policy import final_linear
from pipeline.models.serialization import ModelHeader, save_model
from pipeline.run.atomic_files import write_json
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import generator


def make_untrained(
    config: Config, classes: tuple[str, ...], *, resize: int | None = None, reference: bool = True
) -> None:
    """Write runs/<name>/ppo/ and optionally runs/<name>/reference/, with random weights of different seeds.

    Args:
        config: with `model.weights: none`; sets backbone and image size.
        classes: class names.
        resize: pixels of the shorter side before the crop to `images.size`; None: the same.
    """
    run, size = RunFolder(config), config.images.size
    header = ModelHeader("policy", config.model.backbone, classes, size, resize or size)
    for seed, stage in enumerate(("ppo", "reference") if reference else ("ppo",)):
        network = build_network(config.model, len(classes), seed)
        nn.init.normal_(final_linear(network).weight, std=0.3, generator=generator(seed))  # a new head has zero weights
        save_model(run.path / stage / "model.safetensors", network, header)
        write_json(run.path / stage / "manifest.json", {"settings": run.stage(stage).settings})
