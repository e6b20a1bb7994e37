"""Tiny models with random weights, saved as timm, transformers and open_clip save theirs."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

import torch
from torch import Tensor

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
LABELS = ("ant", "bee", "crane", "tabby, tabby cat", "crane, machine")


def timm_folder(folder: Path, architecture: str = "test_vit") -> Path:
    """A network of five classes, with its own mean, std, interpolation and crop."""
    import timm
    from timm.models._hub import save_for_hf

    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=len(LABELS))
    network.pretrained_cfg |= {"mean": MEAN, "std": STD, "crop_pct": 0.875, "interpolation": "bicubic"}
    save_for_hf(network, folder, model_config={"label_names": list(LABELS)}, safe_serialization=True)
    return folder


def hf_classifier(folder: Path, intermediate_size: int = 64) -> Path:
    """A vision transformer of five classes at 32 pixels."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=intermediate_size,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={name: number for number, name in enumerate(LABELS)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size, image_mean=list(MEAN), image_std=list(STD), resample=3).save_pretrained(folder)
    return folder


def hf_tower(folder: Path) -> Path:
    """A vision model without classes (DINOv2) at 28 pixels."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=2
    )
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=list(MEAN), image_std=list(STD)
    ).save_pretrained(folder)
    return folder


def letter_tokenizer(folder: Path) -> tuple[int, dict[str, int]]:
    """Save a tokenizer that knows the lower-case letters: the number of tokens, and those at both ends of a text."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in [*letters, "."]), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40).save_pretrained(folder)
    last = len(vocabulary) - 1
    return len(vocabulary), {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}


TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def hf_clip(folder: Path) -> Path:
    """A CLIP model at 32 pixels."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokens, ends = letter_tokenizer(folder)
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**TINY, "vocab_size": tokens, "max_position_embeddings": 40, **ends},
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def hf_siglip(folder: Path) -> Path:
    """A SigLIP model at 32 pixels."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokens, ends = letter_tokenizer(folder)
    torch.manual_seed(0)
    config = SiglipConfig(
        text_config={**TINY, "vocab_size": tokens, "max_position_embeddings": 40, "projection_size": 32, **ends},
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def clip_folder(folder: Path) -> Path:
    """An open_clip model at 32 pixels, with open_clip's own tokenizer."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    folder.mkdir(parents=True)
    data = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": data}))
    whole = open_clip.CLIP(**config)
    save_file(whole.state_dict(), folder / "open_clip_model.safetensors")
    return folder


MAKERS = {
    "timm": (timm_folder, "timm", 160),
    "classifier": (hf_classifier, "hf", 32),
    "tower": (hf_tower, "hf", 28),
    "hf_clip": (hf_clip, "hf", 32),
    "siglip": (hf_siglip, "hf", 32),
    "open_clip": (clip_folder, "open_clip", 32),
}


@functools.cache
def made(kind: str) -> tuple[str, Path, int]:
    """`model.backbone`, folder and image size of a saved model; each is made once per process."""
    maker, source, size = MAKERS[kind]
    kept = tempfile.mkdtemp(prefix="image-rlhf-models-")
    atexit.register(shutil.rmtree, kept)
    folder = maker(Path(kept) / "model")
    return f"{source}:{folder}", folder, size


def random_images(size: int, count: int = 3) -> Tensor:
    """Normalised images [count, 3, size, size]."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
