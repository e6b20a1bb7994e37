"""The backbone source `hf`: image models of transformers, by the name of a Hugging Face repository or a local folder.

Image classifiers (`AutoModelForImageClassification`) keep the classes that they know. Models that match images with texts
(CLIP, SigLIP) score classes by their names. Of other models the pooled output of the vision tower is used.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.base import Trainable
from pipeline.data.transforms import Normalisation
from pipeline.models.module_cut import module_cut
from pipeline.models.sources.base import BackboneSource, DataConfiguration, OwnHead
from pipeline.models.sources.extras import from_file, last_linear, new_head, reading, require, without_head, zero_head

RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as in preprocessor_config.json


class ImageClassifier(nn.Module):
    """A transformers image classifier that takes images and returns logits.

    Its weights have transformers' own names, so that transformers can read the files they are saved in.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Those of the model, without the prefix `model.`."""
        return self.model.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[f"{prefix}model.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes]."""
        return self.model(pixel_values=images).logits


class VisionTower(nn.Module):
    """A vision model and a linear head on its features."""

    def __init__(self, model: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.model = model
        self.head = zero_head(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes]."""
        outputs = self.model(pixel_values=images)
        pooled = getattr(outputs, "pooler_output", None)
        features = outputs.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)
        return self.head(features)


class TextMatcher(nn.Module):
    """The image half of CLIP or SigLIP, and a linear head on its normalised embeddings."""

    def __init__(self, model: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.model = model
        self.head = zero_head(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes]."""
        return self.head(normalised(embedding(self.model(pixel_values=images), "image_embeds")))


def embedding(output: Any, name: str) -> Tensor:
    """Embeddings [B, D] of a model's output, which differs among models."""
    found = getattr(output, name, None)
    if found is None:
        found = output if isinstance(output, Tensor) else output.pooler_output
    return found


def normalised(vectors: Tensor) -> Tensor:
    """Vectors [B, D] of length 1."""
    return vectors / vectors.norm(dim=-1, keepdim=True)


class HuggingFaceSource(BackboneSource):
    """`hf:google/vit-base-patch16-224` or `hf:/path/to/folder`; `weights: imagenet` means those of the repository."""

    def names(self) -> Sequence[str]:
        return ()

    def check(self, name: str) -> None:
        """Repositories cannot be listed: a wrong name is found when it is read."""
        if not name:
            raise ValueError("needs the name of a repository or a folder, as in hf:google/vit-base-patch16-224")

    def settings(self, name: str) -> str:
        return self._config(name).to_json_string(use_diff=False)

    @functools.cache  # noqa: B019  there is one source
    def _config(self, name: str) -> Any:
        transformers = require("transformers", "hf")
        transformers.logging.set_verbosity_error()  # its reports of weights that are not needed, such as the text half's
        transformers.logging.disable_progress_bar()
        with reading(f"hf:{name}"):
            return transformers.AutoConfig.from_pretrained(name)

    def _restored(self, name: str, settings: str) -> Any:
        if not settings:
            return self._config(name)
        transformers = require("transformers", "hf")
        with reading(f"hf:{name}"):  # a model file's settings may be damaged
            return transformers.AutoConfig.for_model(**json.loads(settings))

    def build(self, name: str, classes: int, weights: str, seed: int, settings: str = "") -> nn.Module:
        config = self._restored(name, settings)
        with reading(f"hf:{name}"):
            network = self._network(name, config, classes, published=weights == "imagenet")
        return from_file(network, weights, f"hf:{name}")

    def _network(self, name: str, config: Any, classes: int, *, published: bool) -> nn.Module:
        transformers = require("transformers", "hf")
        if self.reads_text_config(config):
            kind = _vision_with_projection(transformers, config)
            vision = config.vision_config
            width = vision.hidden_size
            if config.model_type == "clip":
                width = vision.projection_dim = config.projection_dim
            model = kind.from_pretrained(name, config=vision) if published else kind(vision)
            return TextMatcher(model, width, classes)
        if _classifies(config):
            auto = transformers.AutoModelForImageClassification
            model = auto.from_pretrained(name) if published else auto.from_config(config)
            network: nn.Module = ImageClassifier(model)
            network = new_head(network, last_linear(network, f"hf:{name}"), classes)
            model.config.num_labels = classes
            return network
        model = (
            transformers.AutoModel.from_pretrained(name) if published else transformers.AutoModel.from_config(config)
        )
        return VisionTower(model, config.hidden_size, classes)

    def own_head(self, name: str, weights: str, settings: str = "") -> OwnHead:
        config = self._restored(name, settings)
        auto = require("transformers", "hf").AutoModelForImageClassification
        with reading(f"hf:{name}"):
            model = auto.from_pretrained(name) if weights == "imagenet" else auto.from_config(config)
        return without_head(from_file(ImageClassifier(model), weights, f"hf:{name}"), f"hf:{name}")

    def categories(self, name: str) -> tuple[str, ...] | None:
        config = self._config(name)
        if not _classifies(config):
            return None
        return tuple(config.id2label[number] for number in range(len(config.id2label)))

    def data_configuration(self, name: str) -> DataConfiguration:
        from transformers import BaseImageProcessor

        with reading(f"hf:{name}"):
            fields, _ = BaseImageProcessor.get_image_processor_dict(name)
        size, crop = fields.get("size", 224), fields.get("crop_size") if fields.get("do_center_crop") else None
        resize, side = _side(size), _side(crop or size)
        return DataConfiguration(
            Normalisation(tuple(fields["image_mean"]), tuple(fields["image_std"])),
            interpolation=RESAMPLING.get(fields.get("resample", 2), "bilinear"),
            usual_size=side,
            crop=min(1.0, side / resize),
        )

    def transformers_config(self, network: nn.Module, classes: Sequence[str]) -> dict[str, Any] | None:
        if not isinstance(network, ImageClassifier):
            return None
        config: Any = copy.deepcopy(network.model.config)
        config.id2label = dict(enumerate(classes))
        config.label2id = {name: number for number, name in enumerate(classes)}
        config.architectures = [type(network.model).__name__]
        text: str = config.to_json_string()
        fields: dict[str, Any] = json.loads(text)
        return fields

    def reads_text(self, name: str) -> bool:
        return self.reads_text_config(self._config(name))

    @staticmethod
    def reads_text_config(config: Any) -> bool:
        """Whether a model of this configuration matches images with texts."""
        return hasattr(config, "vision_config") and hasattr(config, "text_config")

    @torch.no_grad()
    def text_head(self, name: str, weights: str, prompts: Sequence[Sequence[str]]) -> Tensor | None:
        if not self.reads_text(name):
            return None
        transformers = require("transformers", "hf")
        with reading(f"hf:{name}"):
            model = transformers.AutoModel.from_pretrained(name).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            padding = "max_length" if model.config.model_type.startswith("siglip") else True  # as it was trained
            rows = []
            for texts in prompts:
                tokens = tokenizer(list(texts), padding=padding, truncation=True, return_tensors="pt")
                each = normalised(embedding(model.get_text_features(**tokens), "text_embeds"))
                rows.append(normalised(each.mean(0, keepdim=True)))
        return model.logit_scale.exp() * torch.cat(rows)

    def cut(self, network: nn.Module, trainable: Trainable, size: int) -> tuple[nn.Module | None, nn.Module]:
        return (None, network) if trainable == "all" else module_cut(network, trainable, size)


def _classifies(config: Any) -> bool:
    return any(name.endswith("ForImageClassification") for name in config.architectures or [])


def _vision_with_projection(transformers: Any, config: Any) -> Any:
    """The class of the image half: for CLIP with its projection, for SigLIP the vision model, which needs none."""
    prefix = {"clip": "CLIPVisionModelWithProjection", "siglip": "SiglipVisionModel", "siglip2": "Siglip2VisionModel"}
    return getattr(transformers, prefix[config.model_type])


def _side(size: Any) -> int:
    """Pixels of the shorter side, from any of the forms in preprocessor_config.json."""
    if isinstance(size, dict):
        return int(size.get("shortest_edge") or min(size.get("height", 224), size.get("width", 224)))
    return int(size)
