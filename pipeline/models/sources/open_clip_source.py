"""The backbone source `open_clip`: CLIP models that score classes by the texts of their names.

`open_clip:ViT-B-32/laion2b_s34b_b79k` is a model with the tag of its weights; `open_clip:hf-hub:NAME` a repository;
`open_clip:/path/to/folder` a local folder with open_clip_config.json and weights.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.base import Trainable
from pipeline.data.transforms import Normalisation
from pipeline.models.module_cut import module_cut
from pipeline.models.sources.base import BackboneSource, DataConfiguration
from pipeline.models.sources.extras import from_file, is_folder, reading, require, zero_head
from pipeline.models.sources.hf_source import normalised

HUB = "hf-hub:"


class ClipImages(nn.Module):
    """The image half of a CLIP model, and a linear head on its normalised embeddings."""

    def __init__(self, visual: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.visual = visual
        self.head = zero_head(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes]."""
        return self.head(normalised(self.visual(images)))


class OpenClipSource(BackboneSource):
    """Networks are the image half; the text half is read once, for the zero-shot head."""

    @functools.cache  # noqa: B019  there is one source
    def names(self) -> Sequence[str]:
        open_clip = require("open_clip", "open_clip")
        return tuple(sorted({"/".join(pair) for pair in open_clip.list_pretrained()} | set(open_clip.list_models())))

    def check(self, name: str) -> None:
        if not name.startswith(HUB) and not is_folder(name):
            super().check(name)

    def settings(self, name: str) -> str:
        return json.dumps(self._saved(name), sort_keys=True)

    @functools.cache  # noqa: B019  there is one source
    def _saved(self, name: str) -> dict[str, Any]:
        """Configuration of the model, `model_cfg`, and of its images, `preprocess_cfg`."""
        open_clip = require("open_clip", "open_clip")
        with reading(f"open_clip:{name}"):
            if is_folder(name):
                fields = json.loads((Path(name) / "open_clip_config.json").read_text(encoding="utf-8"))
            elif name.startswith(HUB):
                fields = require("open_clip.factory", "open_clip")._get_hf_config(name.removeprefix(HUB))
            else:
                model, _, tag = name.partition("/")
                published = open_clip.get_pretrained_cfg(model, tag) if tag else {}
                wanted = ("mean", "std", "interpolation", "resize_mode")
                kept = {key: published[key] for key in wanted if key in published}
                fields = {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": kept}
        return {"model_cfg": fields["model_cfg"], "preprocess_cfg": fields.get("preprocess_cfg", {})}

    def _whole(self, name: str) -> tuple[Any, Any]:
        """The complete model with its published weights, and its tokenizer."""
        open_clip = require("open_clip", "open_clip")
        with reading(f"open_clip:{name}"):
            if is_folder(name):
                whole = f"local-dir:{Path(name).resolve()}"
                return open_clip.create_model(whole), open_clip.get_tokenizer(whole)
            if name.startswith(HUB):
                return open_clip.create_model(name), open_clip.get_tokenizer(name)
            model, _, tag = name.partition("/")
            return open_clip.create_model(model, pretrained=tag or None), open_clip.get_tokenizer(model)

    def build(self, name: str, classes: int, weights: str, seed: int, settings: str = "") -> nn.Module:
        with reading(f"open_clip:{name}"):  # a model file's settings may be damaged
            config = (json.loads(settings) if settings else self._saved(name))["model_cfg"]
        if weights == "imagenet":
            visual = self._whole(name)[0].visual
        else:
            model = require("open_clip.model", "open_clip")
            with reading(f"open_clip:{name}"):
                visual = model._build_vision_tower(
                    config["embed_dim"], config["vision_cfg"], quick_gelu=config.get("quick_gelu", False)
                )
        assert isinstance(visual, nn.Module)
        return from_file(ClipImages(visual, config["embed_dim"], classes), weights, f"open_clip:{name}")

    def data_configuration(self, name: str) -> DataConfiguration:
        saved, open_clip = self._saved(name), require("open_clip", "open_clip")
        data, size = saved["preprocess_cfg"], saved["model_cfg"]["vision_cfg"].get("image_size", 224)
        mean = data.get("mean", open_clip.OPENAI_DATASET_MEAN)
        std = data.get("std", open_clip.OPENAI_DATASET_STD)
        return DataConfiguration(
            Normalisation(tuple(mean), tuple(std)),
            interpolation=data.get("interpolation", "bicubic"),
            usual_size=size if isinstance(size, int) else size[0],
        )

    def reads_text(self, name: str) -> bool:
        return True

    @torch.no_grad()
    def text_head(self, name: str, weights: str, prompts: Sequence[Sequence[str]]) -> Tensor | None:
        model, tokenizer = self._whole(name)
        model.eval()
        with reading(f"open_clip:{name}"):
            each = [normalised(model.encode_text(tokenizer(list(texts)))) for texts in prompts]
            means = torch.cat([normalised(rows.mean(0, keepdim=True)) for rows in each])
            return model.logit_scale.exp() * means

    def cut(self, network: nn.Module, trainable: Trainable, size: int) -> tuple[nn.Module | None, nn.Module]:
        return (None, network) if trainable == "all" else module_cut(network, trainable, size)
