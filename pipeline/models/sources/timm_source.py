"""The backbone source `timm`: its networks by name, a Hugging Face Hub repository, or a local folder that timm saved."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.config.base import Trainable
from pipeline.data.transforms import Normalisation
from pipeline.errors import UserError
from pipeline.models.module_cut import module_cut
from pipeline.models.sources.base import BackboneSource, DataConfiguration, OwnHead
from pipeline.models.sources.extras import (
    from_file,
    is_folder,
    last_linear,
    reading,
    require,
    with_new_head,
    without_head,
)
from pipeline.models.traced_cut import traced_cut

HUB = "hf-hub:"
NO_LAYERS = ("pretrained", "checkpoint_path", "cache_dir")  # arguments by which a model file could read other files


class TimmSource(BackboneSource):
    """`timm:resnet50.a1_in1k`, `timm:hf-hub:timm/resnet18.a1_in1k`, or `timm:/path/to/folder` with a config.json."""

    @functools.cache  # noqa: B019  there is one source
    def names(self) -> Sequence[str]:
        timm = require("timm", "timm")
        return tuple(sorted({*timm.list_models(), *timm.list_pretrained()}))

    def check(self, name: str) -> None:
        if not name.startswith(HUB) and not is_folder(name):
            super().check(name)

    def settings(self, name: str) -> str:
        return "" if self._registered(name) else json.dumps(self._saved(name), sort_keys=True)

    def _registered(self, name: str) -> bool:
        return not name.startswith(HUB) and not is_folder(name)

    @functools.cache  # noqa: B019  there is one source
    def _saved(self, name: str) -> dict[str, Any]:
        """Architecture, arguments and data configuration of a repository or folder."""
        require("timm", "timm")
        from timm.models import load_model_config_from_hf
        from timm.models._hub import load_model_config_from_path

        with reading(f"timm:{name}"):
            if is_folder(name):
                data, architecture, arguments = load_model_config_from_path(name)
            else:
                data, architecture, arguments = load_model_config_from_hf(name.removeprefix(HUB))
        wanted = ("mean", "std", "interpolation", "crop_pct", "input_size", "label_names", "num_classes")
        kept = {key: data[key] for key in wanted if key in data}
        return {"architecture": architecture, "arguments": arguments or {}, "data": kept}

    def _create(self, name: str, weights: str, settings: str) -> nn.Module:
        """The network with the head of its published weights."""
        timm = require("timm", "timm")
        with reading(f"timm:{name}"):
            if settings and weights != "imagenet":
                saved = json.loads(settings)
                heads = {"num_classes": saved["data"]["num_classes"]} if "num_classes" in saved["data"] else {}
                layers = {key: value for key, value in saved["arguments"].items() if key not in NO_LAYERS}
                network: nn.Module = timm.create_model(saved["architecture"], **{**heads, **layers})
                return network
            whole = f"local-dir:{Path(name).resolve()}" if is_folder(name) else name
            return timm.create_model(whole, pretrained=weights == "imagenet")

    def build(self, name: str, classes: int, weights: str, seed: int, settings: str = "") -> nn.Module:
        if weights == "none" and not settings:
            settings = self.settings(name)
        network = self._create(name, weights, settings)
        path = last_linear(network, f"timm:{name}")
        if getattr(network, "get_classifier", lambda: None)() is not network.get_submodule(path):
            raise UserError(
                f"model.backbone: timm:{name} has no single linear layer as its head; choose another network"
            )
        return with_new_head(network, weights, classes, f"timm:{name}")

    def own_head(self, name: str, weights: str, settings: str = "") -> OwnHead:
        if weights == "none" and not settings:
            settings = self.settings(name)
        network = self._create(name, weights, settings)
        return without_head(from_file(network, weights, f"timm:{name}"), f"timm:{name}")

    def data_configuration(self, name: str) -> DataConfiguration:
        if self._registered(name):
            data = require("timm", "timm").get_pretrained_cfg(name)
            data = data.to_dict() if data else {}
        else:
            data = self._saved(name)["data"]
        mean, std = data.get("mean", (0.485, 0.456, 0.406)), data.get("std", (0.229, 0.224, 0.225))
        return DataConfiguration(
            Normalisation(tuple(mean), tuple(std)),
            interpolation="bilinear" if data.get("interpolation") == "bilinear" else "bicubic",
            usual_size=int(data.get("input_size", (3, 224, 224))[-1]),
            crop=float(data.get("crop_pct") or 1.0),
        )

    def categories(self, name: str) -> tuple[str, ...] | None:
        data = require("timm", "timm").get_pretrained_cfg(name) if self._registered(name) else None
        fields = data.to_dict() if data else self._saved(name)["data"] if not self._registered(name) else {}
        if labels := fields.get("label_names"):
            return tuple(labels)
        if fields.get("num_classes") != 1000:
            return None
        info = require("timm.data", "timm").ImageNetInfo("imagenet-1k")
        return tuple(info.index_to_description(number) for number in range(1000))

    def cut(self, network: nn.Module, trainable: Trainable, size: int) -> tuple[nn.Module | None, nn.Module]:
        if trainable == "all":
            return None, network
        if trainable == "last_block":
            try:
                return traced_cut(network, trainable)
            except UserError:
                pass
        return module_cut(network, trainable, size)
