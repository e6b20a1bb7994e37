"""A folder in the layout of the Hugging Face hub: config.json, model.safetensors, preprocessor_config.json, README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.models.predictor import EXPORTED, Predictor
from pipeline.models.serialization import ModelHeader
from pipeline.models.sources import BACKBONE_SOURCES
from pipeline.run.atomic_files import write_atomically, write_json
from pipeline.run.workspace import Workspace
from stages.export.model_card import render
from stages.export.model_facts import gather

LIBRARY = "image-rlhf"


def model_config(predictor: Predictor) -> dict[str, Any]:
    """config.json, with the hub's usual keys where they exist, and those of transformers where it has the network."""
    header = predictor.header
    theirs = BACKBONE_SOURCES.get(header.source).transformers_config(predictor.network, header.classes)
    return {
        "library_name": LIBRARY,
        "architecture": header.backbone,
        "architectures": [header.backbone],
        "backbone": f"torchvision.models.{header.backbone}" if header.source == "torchvision" else header.network,
        "num_labels": len(header.classes),
        "id2label": {str(number): name for number, name in enumerate(header.classes)},
        "label2id": {name: number for number, name in enumerate(header.classes)},
        "image_size": header.size,
        "resize": header.resize,
        "num_channels": 3,
        "mean": list(header.mean),
        "std": list(header.std),
    } | (theirs or {})


def preprocessor_config(header: ModelHeader) -> dict[str, Any]:
    """preprocessor_config.json.

    It names no class of transformers: those round the longer side differently, so that the crop could be a pixel off.
    """
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": header.resize},
        "resample": int(Image.Resampling[header.interpolation.upper()]),  # Pillow's number
        "do_center_crop": True,
        "crop_size": {"height": header.size, "width": header.size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(header.mean),
        "image_std": list(header.std),
    }


def write_folder(folder: Path, ws: Workspace, policy: Path, predictor: Predictor) -> None:
    """Write the folder, which must not exist.

    Args:
        policy: the run's model file; with its header `Predictor.load` can read the copy.
    """
    folder.mkdir()
    with safe_open(policy, framework="pt") as file:
        metadata = file.metadata() | {"format": "pt"}  # without it transformers refuses the file
    save_file(load_file(policy), folder / EXPORTED, metadata=metadata)
    write_json(folder / "config.json", model_config(predictor))
    write_json(folder / "preprocessor_config.json", preprocessor_config(predictor.header))
    write_atomically(folder / "README.md", render(gather(ws, policy, predictor.weights)).encode())
